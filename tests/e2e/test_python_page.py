"""The snippets of docs/python.md and docs/trainers.md run, in order, in one interpreter;
a ```text block is what the block before it prints.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def blocks(page: Path):
    """(kind, content) of each fenced block of a page."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


SMALLER = {  # the snippets are what is tested here; a recipe of the same shape over a little text will do
    "{kind: python_docs}": "{kind: jsonl, paths: docs.jsonl}",
    "{kind: python_stdlib}": "{kind: jsonl, paths: stdlib.jsonl}",
    "vocab_size: 4096": "vocab_size: 512",
    "d_model: 128": "d_model: 16",
    "d_ff: 384": "d_ff: 32",
    "max_epochs: 4 ": "max_epochs: 400 ",
    "max_epochs: 1": "max_epochs: 400",
    "500k": "62k",
    "200k": "25k",
}


def write_small_quickstart(folder: Path) -> None:
    recipe = (ROOT / "recipes" / "quickstart.yaml").read_text()
    for old, new in SMALLER.items():
        assert old in recipe, old
        recipe = recipe.replace(old, new)
    (folder / "recipes").mkdir()
    (folder / "recipes" / "quickstart.yaml").write_text(recipe)
    for source in ("docs", "stdlib"):
        rows = [{"text": f"document {n} of {source}: " + "one more word " * 40} for n in range(100)]
        (folder / f"{source}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


OTHERS = ("torch", "transformers", "olmo_core")  # not installed with codemix


def test_the_snippets_of_the_python_page_run(tmp_path):
    run_blocks(blocks(ROOT / "docs" / "python.md"), tmp_path)


def test_the_snippets_for_other_trainers_run(tmp_path):
    page = blocks(ROOT / "docs" / "trainers.md")
    plain = [(kind, content) for kind, content in page if not any(name in content for name in OTHERS)]
    run_blocks(plain, tmp_path)


@pytest.mark.optional("needs torch, transformers and accelerate")
def test_the_snippets_for_torch_and_transformers_run(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("accelerate")
    page = blocks(ROOT / "docs" / "trainers.md")
    run_blocks([(kind, content) for kind, content in page if "olmo_core" not in content], tmp_path)


def run_blocks(page, folder: Path) -> None:
    """Run the Python of a page, and compare what it prints with the page's text."""
    write_small_quickstart(folder)
    script = [content for kind, content in page if kind == "python"]
    expected = [content for kind, content in page if kind == "text"]
    (folder / "page.py").write_text('if __name__ == "__main__":\n' + indented("\n".join(script)))
    ran = subprocess.run([sys.executable, "page.py"], cwd=folder, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stderr
    place = 0
    for text in expected:
        place = ran.stdout.find(text, place)
        assert place >= 0, f"lacks {text}\n{ran.stdout}"


def indented(text: str) -> str:
    """Inside a main block, since workers import the script that starts them."""
    return "".join(f"    {line}\n" for line in text.splitlines())
