"""Differences from what a store holds of the same name, in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from codemix.data.store.store import read_json
from codemix.errors import CodemixError
from codemix.recipe.diffs.settings import Setting

SHOWN = 4  # differences
CANDIDATES = 10  # the newest outputs of a name, which are compared
NOTHING_BUILT = "not built yet"


def line(setting: Setting) -> str:
    before, after = setting.values
    then = "nothing" if before is None else before
    now = "nothing" if after is None else after
    return f"{setting.path} {then} -> {now}"


def nearest(candidates: Iterable[list[str]]) -> list[str]:
    """The shortest of several lists of differences."""
    by_length = sorted(candidates, key=len)
    return by_length[0]


def describe(differences: list[str]) -> str:
    """A list of differences as a sentence, of which the first few are shown."""
    lines = list(dict.fromkeys(differences))
    if not lines:
        lines = ["a different version of codemix made it"]
    shown = lines[:SHOWN]
    hidden = len(lines) - len(shown)
    if hidden:
        shown.append(f"{hidden} more")
    return f"changed: {'; '.join(shown)}"


def newest(paths: Iterable[Path]) -> list[Path]:
    """The newest files, the newest first."""
    by_age = sorted(paths, key=_changed_at, reverse=True)
    return by_age[:CANDIDATES]


def _changed_at(path: Path) -> float:
    return path.stat().st_mtime


def manifests(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Manifests that exist and hold an identity, the newest first."""
    existing = [path for path in paths if path.exists()]
    for path in newest(existing):
        with suppress(CodemixError):
            content = read_json(path)
            if isinstance(content, dict) and isinstance(content.get("identity"), dict):
                yield content
