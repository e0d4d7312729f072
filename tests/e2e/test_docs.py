"""Every command in the documentation is executed.

In README.md and docs/, each line that begins with `$ ` inside a ```console block runs, in order, in one
folder per document that holds the shipped recipes. It must exit with 0, or with what `# exits N` says. The
lines under it must appear in its output, in order, white space folded; a line `...` stands for anything.
Blocks of other kinds are not run: ```sh is for clouds and make.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    p for p in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if "```console" in p.read_text()
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


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory):
    """One store for every document, so that what one builds the next finds."""
    return tmp_path_factory.mktemp("docs-store")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_command_runs(document, tmp_path, shared_store):
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    quickstart = (
        tmp_path / "recipes" / "quickstart.yaml"
    )  # the commands are what is tested here; an eighth of the tokens will do
    quickstart.write_text(
        re.sub(r"tokens: (\d+)k", lambda m: f"tokens: {int(m[1]) // 8}k", quickstart.read_text())
    )
    broken = (
        (ROOT / "README.md")
        .read_text()
        .split("```yaml\n")[1]
        .split("```")[0]
        .replace("{docs: 50%, stdlib: 50%}", "{docs: 60%, stdlib: 50%}")
    )
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
        place, folded = 0, " ".join(output.split())
        for line in expected:
            if line.strip() == "...":
                continue
            at = folded.find(" ".join(line.split()), place)
            assert at >= 0, f"$ {command}\nlacks: {line}\n{output}"
            place = at


def test_readme_names_real_targets_and_the_recipe_it_shows_is_valid(tmp_path):
    from codemix.recipe.checks import validation
    from codemix.recipe.language import recipe_file

    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(blocks(ROOT / "README.md", "sh")), re.M):
        assert re.search(rf"^{target}:", makefile, re.M)
    for i, block in enumerate(blocks(ROOT / "README.md", "yaml")):
        assert not validation.check(recipe_file.parse_recipe(block, f"block {i}")).problems


def test_links_between_documents_lead_somewhere():
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"
