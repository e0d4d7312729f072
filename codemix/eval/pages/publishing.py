"""Pages in the store: HTML with its Markdown and JSON twins, in a folder named by content and look."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from codemix.data.store import digests
from codemix.data.store.store import Store, write_text
from codemix.eval.pages.page import Page
from codemix.eval.pages.rendering import html, markdown
from codemix.files import digest, file_digest

ROOMS = ("pages", "report", "compare")  # the folders that make pages
LOOK_SUFFIXES = (".py", ".css", ".html", ".md")


def look_digest() -> str:
    """A hash of everything that decides how a page looks and reads, so that a new look gets a new place.

    That is every file of the folders that make pages, and the modules outside them that make their numbers.
    """
    eval_folder = Path(__file__).parents[1]
    package = eval_folder.parent
    files = [eval_folder / "stats.py", package / "recipe/language/quantities.py"]
    for room in ROOMS:
        files += (eval_folder / room).rglob("*")
    hashes = {}
    for file in files:
        if file.suffix in LOOK_SUFFIXES:
            name = file.relative_to(package).as_posix()
            hashes[name] = file_digest(file)
    return digest(hashes)


def publish(
    store: Store, name: str, facts: Mapping[str, Any], make: Callable[[], Page], stem: str = "report"
) -> Path:
    """The HTML page of `facts`, made by `make` unless a page of equal facts and look exists already."""
    fingerprint = digest({"facts": tidy(facts), "look": look_digest()})
    folder = store.path("reports", name, fingerprint)
    path = folder / f"{stem}.html"
    if digests.lacking(folder) or not path.is_file():
        shutil.rmtree(folder, ignore_errors=True)  # not a report: made again

    def fill(work: Path) -> None:
        page = make()
        content = {**facts, "answer": page.answer}
        write_text(work / f"{stem}.md", markdown(page))
        write_text(work / f"{stem}.json", _json(content))
        write_text(work / path.name, html(page))

    store.make(folder, fill, keep=False)
    return path


def _json(content: Mapping[str, Any]) -> str:
    plain = tidy(content)
    text = json.dumps(plain, indent=1, ensure_ascii=False, sort_keys=True)
    return text + "\n"


def tidy(value: Any) -> Any:
    """JSON that every reader accepts: numbers that are not finite become null, fractions floats."""
    if isinstance(value, Mapping):
        return {str(key): tidy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [tidy(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
