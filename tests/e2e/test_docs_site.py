"""The site of the documentation builds without a warning, and its pages load nothing from the network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(config: Path, site: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(config), "--site-dir", str(site)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.optional("needs the extra docs")
def test_the_site_builds_and_loads_nothing_from_the_network(tmp_path):
    pytest.importorskip("mkdocs")
    built = build(ROOT / "mkdocs.yml", tmp_path)
    assert built.returncode == 0, built.stderr
    pages = [path.read_text() for path in tmp_path.rglob("*.html")]
    loaded = [
        url for page in pages for url in re.findall(r'<(?:script|img|iframe)[^>]*src="(https?:[^"]*)', page)
    ]
    loaded += [
        url for page in pages for url in re.findall(r'<link[^>]*stylesheet[^>]*href="(https?:[^"]*)', page)
    ]
    assert len(pages) > 15
    assert loaded == []
    assert "codemix.api.run.Run.batches" in (tmp_path / "api.html").read_text()
