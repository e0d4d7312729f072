"""The structure that docs/design.md promises, as a test; and a test that each of these rules can fail."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "codemix"
# Each may import those before it.
LAYERS = [
    "errors",
    "files",
    "environment",
    "progress",
    "tables",
    "sandbox",
    "recipe",
    "data",
    "train",
    "eval",
    "api",
    "cli",
]
OWNERS = {  # heavy package -> the files or folders that may import it
    "yaml": {
        "recipe/language/yaml_text.py",
        "recipe/language/yaml_format.py",
        "recipe/language/yaml_edit.py",
        "recipe/language/yaml_layout.py",
    },
    "typer": {"cli/"},
    "pygls": {"cli/lsp_server.py"},
    "lsprotocol": {"cli/lsp_server.py"},
    "datatrove": {"data/datatrove_adapter/", "data/text/punctuation.py"},
    "loguru": {"data/datatrove_adapter/logs.py"},
    "ray": {"data/execution/on_ray.py"},
    "tokenizers": {"data/encoding/", "data/tokenizers/", "eval/engine/text.py"},
    "fasttext": {"data/text/fasttext_model.py"},
    "fastokens": {"data/encoding/fastokens_adapter.py"},
    "tiktoken": set(),  # its files are converted
    "sentencepiece": {"data/tokenizers/sentencepiece.py"},
    "pyarrow": {
        "data/export/parquet.py",
        "data/sources/",
        "eval/measure/fetch_data.py",
        "eval/task_shapes/example_files.py",
    },
    "xxhash": {"data/store/block_checksums.py", "data/dedup/signature_writer.py"},
    "zstandard": {"data/store/jsonl_zst.py", "data/inputs/decompression.py", "data/loader/shards.py"},
    "fsspec": {"data/inputs/"},
    "obstore": {"data/remote/bucket.py"},
    "safetensors": {"train/model/weight_files.py"},
    "numpy": {"data/", "train/", "eval/"},
    "lightgbm": {"eval/mix/boosted_trees.py"},
    "scipy": {"eval/decide/", "eval/mix/"},
    "jax": {"train/", "eval/engine/", "eval/measure/evaluate.py"},
    "equinox": {"train/"},
    "array_record": {"data/export/array_record.py"},
    "grain": {"data/loader/batches.py"},
    "optax": {"train/step/optimizer.py"},
    "orbax": {"train/run/checkpoint.py"},
    "matplotlib": {
        "eval/pages/plots.py",
        "eval/pages/run_axis.py",
        "eval/plan/charts.py",
        "eval/report/charts.py",
        "eval/report/loss_chart.py",
        "eval/compare/charts.py",
        "eval/mix/charts.py",
        "eval/mix/slice_chart.py",
    },
    "jinja2": {"eval/pages/rendering.py"},
    "torch": set(),
}
LIGHT = {
    "jax",
    "numpy",
    "datatrove",
    "grain",
    "pyarrow",
    "tokenizers",
    "fastokens",
    "equinox",
    "optax",
    "orbax",
    "matplotlib",
    "fasttext",
    "rich",
    "scipy",
}
LIGHT_AT_IMPORT = (  # a folder ends in a slash
    "errors.py",
    "progress.py",
    "tables.py",
    "recipe/",
    "api/",
    "cli/",
    "data/document.py",
    "data/interfaces.py",
    "data/store/store.py",
    "data/store/manifest.py",
    "data/inputs/frozen_inputs.py",
    "data/build/build.py",
    "data/build/inventory.py",
    "data/sources/",
    "data/ops/",
    "data/tokenizers/",
    "train/schedule.py",
    "train/schedules/",
    "train/model/huggingface.py",
    "eval/tasks/",
)
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}


def imports(tree, *, top_level_only=False):
    """Modules that a file imports; with `top_level_only`, those that importing the file imports."""
    nodes = ast.walk(tree)
    if top_level_only:
        nodes, todo = [], list(tree.body)
        while todo:
            node = todo.pop()
            nodes.append(node)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            if isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
                todo += node.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def upward(path, tree):
    layer = LAYERS.index(path.split("/")[0].removesuffix(".py"))
    for name in imports(tree):
        parts = name.split(".")
        if parts[0] == "codemix" and len(parts) > 1 and parts[1] in LAYERS and LAYERS.index(parts[1]) > layer:
            yield f"{path} imports {name}, which is above it"


def owns(owner, path):
    """Whether the file or folder that OWNERS names is that file, or holds it."""
    return path == owner or (owner.endswith("/") and path.startswith(owner))


def unowned(path, tree):
    for name in imports(tree):
        package = name.split(".")[0]
        if package in OWNERS and not any(owns(owner, path) for owner in OWNERS[package]):
            yield f"{path} imports {package}, which belongs to {', '.join(OWNERS[package]) or 'nobody'}"


def heavy(path, tree):
    if path.startswith(LIGHT_AT_IMPORT):
        for name in imports(tree, top_level_only=True):
            if name.split(".")[0] in LIGHT:
                yield f"{path} imports {name} when it is imported"


def room(path):
    """The room that a file lies in: the folder inside its layer or, for a file beside those folders,
    the file itself.
    """
    return "/".join(path.removesuffix(".py").split("/")[:2])


def room_edges():
    """Which room imports which, imports for types only included."""
    edges = {}
    for path, tree in files():
        for name in imports(tree):
            end = "/".join(name.split(".")[1:3])
            if (
                name.startswith("codemix.")
                and end != room(path)
                and ((ROOT / end).is_dir() or (ROOT / f"{end}.py").is_file())
            ):
                edges.setdefault(room(path), set()).add(end)
    return edges


def badly_named(path, tree):
    if path.split("/")[-1].removesuffix(".py").lstrip("_") in BANNED_NAMES:
        yield f"{path} is named after nothing"


def circles(edges):
    """Modules that import each other in a circle, also through imports inside functions: sets of names."""
    reach = {name: set(to) & set(edges) for name, to in edges.items()}
    for _ in edges:
        reach = {name: to.union(*(reach[x] for x in to)) if to else to for name, to in reach.items()}
    return sorted(
        {tuple(sorted(x for x in reach[name] if name in reach[x])) for name in edges if name in reach[name]}
    )


def module_edges():
    """Which module of the package imports which, types apart."""
    edges = {}
    for path, tree in files():
        name = "codemix." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        kept = ast.Module(
            [n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test))], []
        )
        edges[name] = {end for found in imports(kept) for end in (found, found.rpartition(".")[0])} - {
            "codemix",
            name,
        }
    return edges


MAX_DENSITY = 8.75  # syntax nodes per line of code over the package; this number only falls
MAX_DENSITY_OF_A_FUNCTION = 14  # of any


def code_lines(text, tree):
    """The numbers of the lines that hold code: no blank lines, comments or docstrings."""
    documented = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node) is not None
        ):
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.split("\n"), 1)
    return {
        n for n, line in lines if line.strip() and not line.strip().startswith("#") and n not in documented
    }


def density(node, lines):
    """Syntax nodes per line of code of a file or a function: how much a reader must take in at each line."""
    own = [n for n in lines if getattr(node, "lineno", 0) <= n <= getattr(node, "end_lineno", n)]
    return sum(1 for _ in ast.walk(node)) / max(1, len(own))


def files():
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name not in ("__init__.py", "__main__.py"):
            yield name, ast.parse(path.read_text())


@pytest.mark.parametrize("rule", [upward, unowned, heavy, badly_named])
def test_structure(rule):
    assert [line for path, tree in files() for line in rule(path, tree)] == []


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (upward, "recipe/x.py", "from codemix.data.store.store import Store"),
        (upward, "eval/x.py", "from codemix.api.run import Run"),
        (upward, "data/x.py", "def f():\n    import codemix.train.run.session"),
        (unowned, "data/x.py", "import yaml"),
        (unowned, "train/x.py", "from torch import nn"),
        (heavy, "recipe/x.py", "import numpy as np"),
        (heavy, "data/ops/x.py", "try:\n    import jax\nexcept ImportError:\n    pass"),
        (badly_named, "data/utils.py", ""),
    ],
)
def test_each_rule_can_fail(rule, path, source):
    assert list(rule(path, ast.parse(source)))


def test_no_modules_import_each_other_in_a_circle():
    assert circles(module_edges()) == []


def test_no_rooms_import_each_other_in_a_circle_types_included():
    assert circles(room_edges()) == []


def test_lines_can_be_read_aloud():
    nodes, n_lines, dense = 0, 0, []
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        tree = ast.parse(text)
        lines = code_lines(text, tree)
        nodes, n_lines = nodes + sum(1 for _ in ast.walk(tree)), n_lines + len(lines)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        dense += [
            f"{path.name}:{f.lineno} {f.name}"
            for f in functions
            if density(f, lines) > MAX_DENSITY_OF_A_FUNCTION
        ]
    assert nodes / n_lines <= MAX_DENSITY
    assert not dense


def test_density_counts_code_only():
    text = '"""Docstring."""\n\n# comment\nx = 1\n'
    assert code_lines(text, ast.parse(text)) == {4}


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [("b", "c")]


def test_what_is_light_passes():
    assert not list(
        heavy(
            "data/ops/x.py",
            ast.parse(
                "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy\ndef f():\n    import numpy"
            ),
        )
    )


def test_packages_are_empty_so_that_importing_one_module_imports_no_other():
    for package in ROOT.rglob("__init__.py"):
        if package.parent not in (ROOT, ROOT / "cli"):
            assert len(package.read_text().splitlines()) <= 3, package


def test_the_project_names_no_machine():
    """No registry address, no path of a developer's machine, in any file that is tracked."""
    import subprocess

    found = subprocess.run(["git", "ls-files"], cwd=ROOT.parent, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    banned = ["/" + "work/", "/" + "root/", "pypi" + ".org", "files." + "pythonhosted", "/" + "opt/"]
    for name in found.stdout.split():
        path = ROOT.parent / name
        if path.suffix not in (".png", ".gz", ".zst") and path.is_file():
            content = path.read_text(errors="replace")
            assert not [b for b in banned if b in content], name


def test_no_two_test_files_have_one_name_and_none_imports_another():
    """pytest tells test files apart by their name; what several of them share is in tests/support."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    tests = [path for path in files if path.name.startswith("test_")]
    assert len({path.name for path in tests}) == len(tests)
    shared = {path.stem for path in files if path.parent.name not in ("support", "codemix_example")}
    for path in tests:
        at_import = imports(ast.parse(path.read_text()), top_level_only=True)
        assert not shared & {name.partition(".")[0] for name in at_import}, path
