"""The command line: what it prints, where, and how it ends.
Commands that build or train are tested in e2e/.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from codemix import cli
from codemix.cli import app
from codemix.data.store import digests, used_files
from codemix.data.store.used_files import note_use

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in a folder of its own, in this process;
    returns (exit code, standard output, standard error).
    """
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(w) for w in words])
        out = capsys.readouterr()
        assert "Traceback" not in out.err
        return stop.value.code, out.out, out.err

    return call


def test_help_lists_every_command_and_each_explains_itself(run):
    code, out, _ = run("--help")
    assert code == 0 and all(re.search(rf"^  {name} ", out, re.M) for name in app.COMMANDS)
    for name in app.COMMANDS:
        code, out, _ = run(name, "--help")
        assert code == 0 and len(out.split("\n\n")[1].strip()) > 20, name


def test_help_is_in_sections_and_cuts_no_sentence(run):
    code, out, _ = run("-h")
    assert code == 0 and "..." not in out.split("Start:")[1]
    for title, names in app.SECTIONS.items():
        section = out.split(f"\n{title}:\n")[1].split("\n\n")[0].rstrip()
        assert [line.split()[0] for line in section.split("\n")] == list(names), "a line each"
    for group in ("study", "mix", "eval"):
        code, out, _ = run(group, "--help")
        assert code == 0 and "..." not in out.split("Commands:")[1]


def test_help_speaks_of_values_not_of_types(run):
    for words in (("validate",), ("train",), ("mix", "fit"), ("export", "--help")):
        out = run(*words, "-h")[1]
        assert not re.search(r"<(list|str|int|float|Path|bool)\b", out), out


def test_each_command_is_a_short_function():
    """Of at most 36 statements; the number only falls."""
    import ast

    for path in (ROOT / "codemix" / "cli").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                statements = sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - 1
                assert statements <= 36, f"{path.name}: {node.name} decides too much"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "Usage"),
        (("plann", "x"), 2, "Did you mean 'plan'"),
        (("plan",), 2, "recipe"),
        (("plan", "recipes/quickstart.yaml", "--mfu", "7"), 2, "mfu"),
        (("validate", "absent.yaml"), 1, "cannot read absent.yaml"),
        (("validate", "recipes"), 1, "is a folder"),
        (("plan", "recipes/quickstart.yaml", "--chip", "h10"), 1, "did you mean `h100`"),
        (("train", "recipes/quickstart.yaml"), 1, "not built yet"),
        (("train", "recipes/quickstart.yaml", "--mesh", "dta=4"), 1, "--mesh"),
        (("train", "recipes/quickstart.yaml", "--until", "2 hours"), 1, "not a number of steps"),
        (("train", "recipes/quickstart.yaml", "--until", "2²"), 1, "not a number of steps"),
        (("eval", "recipes/quickstart.yaml"), 1, "not trained yet"),
        (("eval", "--stage", "init", "recipes/quickstart.yaml"), 1, "not trained yet"),
        (("report", "recipes/quickstart.yaml"), 1, "no stage is trained"),
        (("components", "sources"), 1, "did you mean `source`"),
        (("components", "source", "json"), 1, "did you mean `jsonl`"),
        (("diff", "recipes/quickstart.yaml", "absent.yaml"), 1, "absent.yaml"),
        (("import", "megatronn", "recipes/quickstart.yaml"), 1, "megatron"),
        (("study", "plan", "recipes/quickstart.yaml"), 1, "not a study"),
        (("--version",), 0, "codemix 0."),
    ],
)
def test_endings(run, words, code, says):
    ended, out, err = run(*words)
    assert ended == code, out + err
    assert says.lower() in (out + err).lower()


def test_a_bad_command_line_is_not_blamed_on_what_was_read_before(run, tmp_path):
    store = tmp_path / "other"
    finished = store / "data" / "web"
    finished.mkdir(parents=True)
    (finished / "SHA256SUMS").write_text(f"{'0' * 64}  manifest.json\n")
    (finished / "manifest.json").write_text("{}")
    note_use(finished / "manifest.json")
    assert digests.damaged_in_use() == [finished / "manifest.json"]
    assert run("plann")[0] == 2
    assert digests.damaged_in_use() == []


@pytest.mark.parametrize("command", ["plan", "train", "eval", "report", "inspect", "verify"])
def test_what_does_nothing_makes_no_store(run, command):
    run(command, "recipes/quickstart.yaml")
    assert not Path("store").exists()


def test_problems_as_json(run):
    (Path("bad.yaml")).write_text("codemix: 1\nname: Bad Name\n")
    code, out, _ = run("validate", "bad.yaml", "--json")
    problems = json.loads(out)["problems"]
    assert (
        code == 1
        and problems[0]["where"]["line"] == 1
        and {p["rule"] for p in problems} >= {"missing-key", "name"}
    )


def test_validate_takes_many_files_and_reports_each(run):
    code, out, _ = run("validate", "recipes/quickstart.yaml", "recipes/studies/to-code-mini.yaml")
    assert code == 0 and out.count(": ok") == 2


def test_plan_as_json_and_markdown(run):
    code, out, _ = run("plan", "recipes/quickstart.yaml", "--json")
    plan = json.loads(out)
    assert code == 0 and [s["name"] for s in plan["stages"]] == ["init", "continue", "cooldown"]
    assert not any(s["built"] for s in plan["existing"]["sources"].values())
    code, out, _ = run("plan", "recipes/quickstart.yaml", "--markdown")
    assert code == 0 and "| stage | source |" in out


def test_what_cannot_be_exported_is_told_by_plan_and_refused_before_anything_is_read(run):
    recipe = Path("recipes/quickstart.yaml")
    recipe.write_text(recipe.read_text().replace("model:\n", "model:\n  norm: rms\n  positions: none\n"))
    code, _, err = run("plan", recipe)
    assert (
        code == 0
        and "note: `model.norm: rms` cannot" in err
        and "note: `model.positions: none` cannot" in err
    )
    assert len(json.loads(run("plan", recipe, "--json")[1])["not_exportable"]) == 2
    code, _, err = run("export-model", recipe, "--output", "hf", "--dtype", "int8")
    assert (
        code == 1
        and all(said in err for said in ("norm: rms", "positions: none", "`int8`"))
        and not Path("hf").exists()
    )


def test_init_never_overwrites(run):
    assert run("init", "mine.yaml")[0] == 0
    before = Path("mine.yaml").read_text()
    code, _, err = run("init", "mine.yaml")
    assert code == 1 and "exists" in err and Path("mine.yaml").read_text() == before
    assert run("validate", "mine.yaml")[0] == 0


def test_a_file_that_cannot_be_written_is_a_problem(run):
    for words in (
        ["init", "recipes/quickstart.yaml/r.yaml"],
        ["study", "expand", "recipes/studies/to-code-mini.yaml", "--output", "recipes/tour.yaml"],
    ):
        code, _, err = run(*words)
        assert code == 1 and "cannot write recipes/" in err, err


def test_a_recipe_from_a_pipe_is_read_once(run, tmp_path):
    read_end, write_end = os.pipe()
    os.write(write_end, (tmp_path / "recipes/quickstart.yaml").read_bytes())
    os.close(write_end)
    code, out, err = run("plan", f"/dev/fd/{read_end}")
    os.close(read_end)
    assert code == 0 and "Tokens by stage and source" in out, err


def test_diff_of_a_recipe_with_itself_and_with_another(run):
    text = Path("recipes/quickstart.yaml").read_text()
    Path("other.yaml").write_text(text.replace("{docs: 80%, stdlib: 20%}", "{docs: 70%, stdlib: 30%}"))
    _, same, _ = run("diff", "recipes/quickstart.yaml", "recipes/quickstart.yaml", "--json")
    _, other, _ = run("diff", "recipes/quickstart.yaml", "other.yaml", "--json")
    assert json.loads(same) != json.loads(other)
    code, out, _ = run("diff", "recipes/quickstart.yaml", "other.yaml", "--markdown")
    assert code == 0 and "cooldown" in out and "identical" in out


def test_schema_and_components(run):
    code, out, _ = run("schema")
    assert code == 0 and json.loads(out)["properties"]["stages"]
    code, out, _ = run("components", "schedule", "--json")
    assert code == 0 and {c["kind"] for c in json.loads(out)} >= {
        "cosine",
        "wsd",
        "linear",
        "exponential",
        "constant",
    }
    assert "peak" in run("components", "schedule", "cosine")[1]
    assert [c["kind"] for c in json.loads(run("components", "schedule", "cosine", "--json")[1])] == ["cosine"]


def test_export_and_import_agree(run):
    code, out, _ = run("export", "megatron", "recipes/paper/balanced-only.yaml")
    assert code == 0 and out.strip()
    Path("blend.txt").write_text("3 a 1 b\n")
    code, out, err = run("import", "megatron", "blend.txt")
    assert code == 0 and "codemix: 1" in out


def test_a_bug_ends_with_3_and_keeps_its_traceback_aside(run, monkeypatch):
    from codemix.recipe.language import yaml_text

    monkeypatch.setattr(yaml_text, "load", lambda path: 1 / 0)
    code, _, err = run("validate", "recipes/quickstart.yaml")
    place = re.search(r"in (\S+\.txt)", err)[1]
    assert code == 3 and "ZeroDivisionError" in err and "Traceback" in Path(place).read_text()
    Path(place).unlink()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (IsADirectoryError(21, "Is a directory", "s/x.json"), "s/x.json: Is a directory"),
        (PermissionError(13, "Permission denied", "s/x.json"), "s/x.json: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("something else"), "something else"),
    ],
)
def test_what_the_system_refuses_is_no_bug(run, monkeypatch, error, says):
    from codemix.recipe.language import yaml_text

    def refused(path):
        raise error

    monkeypatch.setattr(yaml_text, "load", refused)
    code, _, err = run("validate", "recipes/quickstart.yaml")
    assert code == 1 and says in err and "a bug" not in err


def test_an_error_over_a_damaged_file_of_the_store_is_no_bug(run, monkeypatch, tmp_path):
    from codemix.data.store import digests, store
    from codemix.recipe.language import yaml_text

    monkeypatch.setattr(used_files, "_used", {})
    file = tmp_path / "store/data/a-1/manifest.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    (file.parent / "SHA256SUMS").write_text(digests.listing(file.parent, {}))
    monkeypatch.setattr(yaml_text, "load", lambda path: store.read_json(file)["splits"])
    code, _, err = run("validate", "recipes/quickstart.yaml")
    assert code == 3 and "KeyError" in err  # as it was finished
    file.write_text("[]")
    code, _, err = run("validate", "recipes/quickstart.yaml")
    assert code == 1 and f"{file} is damaged" in err and "codemix verify" in err


def test_ctrl_c_says_so_and_ends_with_130(run, monkeypatch):
    from codemix.recipe.language import yaml_text

    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(yaml_text, "load", interrupted)
    code, _, err = run("validate", "recipes/quickstart.yaml")
    assert code == 130 and "interrupted; finished work is kept" in err


def test_the_index_of_a_host_alone_is_not_taken_for_a_run_of_one_process(monkeypatch):
    from codemix.cli import train

    seen = []
    job = SimpleNamespace(
        workspace=SimpleNamespace(checked=None), train=lambda options: seen.append(options) or {}
    )
    monkeypatch.setattr("codemix.api.run.open_run", lambda *_: job)
    monkeypatch.setattr(train, "show_warnings", lambda _: None)
    monkeypatch.setattr(train, "_warn_of_scoring", lambda _: None)
    train.train(Path("recipe.yaml"), host=1)
    train.train(Path("recipe.yaml"))
    assert [options.hosts and options.hosts.index for options in seen] == [1, None]


def commands():
    """(name, click's command) of every command and of those in its groups."""
    for name in app.COMMANDS:
        command = app.load_command(name)
        yield name, command
        for inner in getattr(command, "commands", {}):
            yield f"{name} {inner}", command.commands[inner]


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_what_has_a_store_takes_it_from_the_environment(name, command):
    """`gc --delete` in another store than everything else would delete what is needed."""
    for parameter in command.params:
        if parameter.name == "store" and name != "diff":  # which looks into none unless one is given
            assert parameter.envvar == "CODEMIX_STORE"


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_and_option_is_explained(name, command):
    assert command.help
    unexplained = [p.name for p in command.params if not getattr(p, "help", None) and p.name != "help"]
    assert not unexplained, f"{name}: {unexplained}"


def test_importing_changes_nothing_in_the_process():
    program = """
import gc, os, sys
before = dict(os.environ), gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()
import codemix, codemix.cli, codemix.cli.app, codemix.cli.recipe
assert (dict(os.environ), gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()) == before
assert codemix.cli.main
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_command_imports_only_its_module():
    program = """
import sys
from codemix.cli.app import run
run(["schema"])
others = {"codemix.cli.data", "codemix.cli.train", "codemix.cli.evaluation", "codemix.cli.study"}
assert not others & set(sys.modules), others & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("words", "offered"),
    [("codemix va", {"validate"}), ("codemix ci --fail", {"--fail-on"}), ("codemix study pl", {"plan"})],
)
def test_a_shell_completes_commands_and_options(words, offered):
    environment = os.environ | {
        "_CODEMIX_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    codemix = Path(sys.executable).with_name("codemix")
    done = subprocess.run([codemix], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and offered <= set(done.stdout.split())


@pytest.mark.parametrize("address", ["s3://bucket/x", "gs://bucket/x", "s3:/bucket/x"])
@pytest.mark.parametrize(
    "words",
    [
        "validate ADDRESS",
        "plan RECIPE --html ADDRESS",
        "plan RECIPE --data-root ADDRESS",
        "build-data RECIPE --data-root ADDRESS",
        "inspect RECIPE --html ADDRESS",
        "train RECIPE --data-root ADDRESS",
        "run RECIPE --eval-data ADDRESS",
        "eval run RECIPE --eval-data ADDRESS",
        "eval fetch-data ADDRESS",
        "eval generate RECIPE --prompts p.jsonl --output ADDRESS",
        "export-model RECIPE --output ADDRESS",
        "export-data RECIPE --format parquet --output ADDRESS",
        "push RECIPE ADDRESS --to x",
    ],
)
def test_no_command_takes_an_address_for_a_path(words, address, tmp_path, monkeypatch, capsys):
    """`s3://bucket/x` would be read as, or become, the local folder `s3:`."""
    recipe = str(Path(__file__).parents[1] / "recipes" / "quickstart.yaml")
    monkeypatch.chdir(tmp_path)
    assert app.run([{"RECIPE": recipe, "ADDRESS": address}.get(word, word) for word in words.split()]) == 1
    said = capsys.readouterr().err
    as_written = address.replace(":/b", "://b")  # a path has lost a slash
    assert f"`{as_written}`, an address, and a path on this machine is wanted" in said
    assert not list(tmp_path.iterdir())


def of_a_process(*words, **options):
    command = [sys.executable, "-m", "codemix", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, **options)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_lacks_characters_is_no_bug(encoding):
    ended = of_a_process("plan", "recipes/quickstart.yaml", env={**os.environ, "PYTHONIOENCODING": encoding})
    assert ended.returncode == 0, ended.stderr
    assert ("─" in ended.stdout.decode(encoding)) == (encoding == "utf-8")


def test_a_name_that_is_no_text_is_printed_as_it_is():
    ended = of_a_process("validate", b"n\xff.yaml", env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
    assert ended.returncode == 1 and b"cannot read n" in ended.stderr


@pytest.mark.parametrize("words", ["components", "plan recipes/quickstart.yaml --json", "--help"])
def test_a_reader_that_has_enough_is_no_failure(words):
    command = [sys.executable, "-m", "codemix", *words.split()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
