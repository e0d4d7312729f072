"""Every command in the documentation is executed.

In README.md and docs/, each line that begins with `$ ` inside a ```console block runs, in order, in one
folder per document that holds the shipped recipes. It must exit with 0, or with what `# exits N` says. The
lines under it must be lines of its output, one after the other; more may come before and after. A line
`...` stands for any lines, `...` within a line for anything in that line. Whitespace is folded, blank lines
are left out. Blocks of other kinds are not run: ```sh is for clouds and make.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.buckets import bucket_server
from support.slurm import slurm

ROOT = Path(__file__).parents[2]
CLUSTERS = ROOT / "docs" / "clusters.md"
DOCUMENTS = [
    p
    for p in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "```console" in p.read_text() and p != CLUSTERS
]


def blocks(document: Path, kind: str):
    return re.findall(rf"^```{kind}\n(.*?)^```", document.read_text(), re.M | re.S)


def commands(document: Path):
    for block in blocks(document, "console"):
        command, expected = None, []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, expected
                command, expected = line[2:], []
            elif line.strip():
                expected.append(line)
        if command:
            yield command, expected


def folded(line):
    return re.sub("─+", "─", " ".join(line.split()))


def line_pattern(line):
    """A regex for one line of output, in which `...` stands for anything."""
    return ".*".join(re.escape(part) for part in folded(line).split("..."))


def missing_line(expected, output):
    """The first expected line that is not where it should be in the output, or None."""
    lines = [folded(line) for line in output.splitlines() if line.strip()]
    place = 0
    is_free = True  # the next expected line may be anywhere from the place on
    for wanted in expected:
        if wanted.strip() == "...":
            is_free = True
            continue
        matches = [i for i, line in enumerate(lines) if re.fullmatch(line_pattern(wanted), line)]
        ahead = [i for i in matches if i == place or (is_free and i > place)]
        if not ahead:
            return wanted
        place = ahead[0] + 1
        is_free = False
    return None


@pytest.mark.parametrize(
    ("expected", "missing"),
    [
        (["b"], None),
        (["a  b", "─── ─"], None),
        (["a b", "c 12"], "c 12"),
        (["a b", "...", "c 12"], None),
        (["c 12", "...", "a b"], "a b"),
        (["c ..."], None),
        (["c"], "c"),
    ],
)
def test_expected_lines_are_found_in_order(expected, missing):
    output = "a b\n\n──── ──\nb\nc   12\n"
    assert missing_line(expected, output) == missing


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory):
    """One store for every document, so that what one builds the next finds."""
    return tmp_path_factory.mktemp("docs-store")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_command_runs(document, tmp_path, shared_store):
    run_commands(document, tmp_path, shared_store)


@pytest.mark.optional("needs Slurm (Debian: slurm-wlm) and the package ray; two minutes")
def test_every_command_for_clusters_runs(tmp_path, shared_store, monkeypatch):
    pytest.importorskip("ray")
    with slurm(tmp_path / "slurm"), bucket_server("s3") as (address, _):
        monkeypatch.setenv("BUCKET", address)
        monkeypatch.setenv("CODEMIX_CACHE", str(tmp_path / "cache"))
        run_commands(CLUSTERS, tmp_path, shared_store)


def run_commands(document, tmp_path, shared_store):
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    quickstart = (
        tmp_path / "recipes" / "quickstart.yaml"
    )  # the commands are what is tested here; an eighth of the tokens will do
    quickstart.write_text(
        re.sub(r"tokens: (\d+)k", lambda m: f"tokens: {int(m[1]) // 8}k", quickstart.read_text())
    )
    shown = blocks(ROOT / "README.md", "yaml")[0]
    broken = shown.replace("{docs: 50%, stdlib: 50%}", "{docs: 60%, stdlib: 50%}")
    (tmp_path / "recipes" / "mine.yaml").write_text(shown)
    (tmp_path / "recipes" / "broken.yaml").write_text(broken)
    environment = os.environ | {
        "CODEMIX_STORE": str(shared_store),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "160",
    }
    for command, expected in commands(document):
        wanted = int(match[1]) if (match := re.search(r"# exits (\d+)", command)) else 0
        ran = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        output = ran.stdout + ran.stderr
        assert ran.returncode == wanted, f"$ {command}\n{output}"
        missing = missing_line(expected, output)
        assert missing is None, f"$ {command}\nlacks: {missing}\n{output}"


def test_readme_names_real_targets_and_the_recipe_it_shows_is_valid(tmp_path):
    from codemix.recipe.checks import validation
    from codemix.recipe.language import recipe_file

    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(blocks(ROOT / "README.md", "sh")), re.M):
        assert re.search(rf"^{target}:", makefile, re.M)
    for i, block in enumerate(blocks(ROOT / "README.md", "yaml")):
        assert not validation.check(recipe_file.parse_recipe(block, f"block {i}")).problems


def test_links_between_documents_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_names_every_page():
    linked = set(re.findall(r"\((docs/[\w-]+\.md)\)", (ROOT / "README.md").read_text()))
    assert linked >= {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
