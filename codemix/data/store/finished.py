"""What is finished in a store, and what of it belongs together. Standard library only.

A folder's name ends in the beginning of its fingerprint, and its JSON files name in full what it was made from. That is all
that is needed to walk from an output to what it rests on, and back, without the inputs and without the recipe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

MADE_FROM = ("documents", "dedup", "tokenizers", "data")  # made from each other
MADE_OF = ("stages", "evals", "reports")  # made of data, and of each other
KINDS = MADE_FROM + MADE_OF
_FINGERPRINT = re.compile(r"\b[0-9a-f]{64}\b")


def finished(root: Path) -> list[Path]:
    """Every finished folder of a store, by kind and name."""
    return [folder for kind in KINDS for folder in sorted((root / kind).glob("*")) if folder.is_dir()]


def related(root: Path, fingerprints: Iterable[str]) -> list[Path]:
    """The finished folders of these outputs, what they were made from, and what was made of either."""
    folders = finished(root)
    names = {folder.name[-12:] for folder in folders}
    mentions = {folder: _mentions(folder) & names for folder in folders}
    wanted = {fingerprint[:12] for fingerprint in fingerprints}
    size = -1
    while size != len(wanted):  # what they were made from
        size = len(wanted)
        wanted |= {
            mention for folder in folders if folder.name[-12:] in wanted for mention in mentions[folder]
        }
    size = -1
    while size != len(wanted):  # what was made of them
        size = len(wanted)
        wanted |= {
            f.name[-12:] for f in folders if f.parent.name in MADE_OF and not mentions[f].isdisjoint(wanted)
        }
    return [folder for folder in folders if folder.name[-12:] in wanted]


def _mentions(folder: Path) -> set[str]:
    """The beginnings of all fingerprints that a folder's JSON files name; what cannot be read names nothing."""
    found: set[str] = set()
    for path in folder.glob("*.json"):
        try:
            found.update(
                name[:12] for name in _FINGERPRINT.findall(path.read_text(encoding="utf-8", errors="replace"))
            )
        except OSError:
            continue
    return found
