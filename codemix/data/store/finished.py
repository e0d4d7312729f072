"""What is finished in a store, and what of it belongs together. Standard library only.

A folder's name ends in the beginning of its fingerprint, and its JSON files name in full what it was made
from. That is all that is needed to walk from an output to what it rests on, and back, without the inputs and
without the recipe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

MADE_FROM = ("documents", "classifiers", "scores", "dedup", "tokenizers", "data")  # made from each other
MADE_OF = ("stages", "evals", "reports")  # made of data, and of each other
OF_STAGES = ("evals", "reports")
KINDS = MADE_FROM + MADE_OF
PREFIX = 12  # digits of a fingerprint at the end of a folder's name
_FINGERPRINT = re.compile(r"\b[0-9a-f]{64}\b")


def finished(root: Path) -> list[Path]:
    """Every finished folder of a store, by kind and name."""
    folders: list[Path] = []
    for kind in KINDS:
        paths = sorted((root / kind).glob("*"))
        folders += [path for path in paths if path.is_dir()]
    return folders


def related(root: Path, fingerprints: Iterable[str]) -> list[Path]:
    """The finished folders of these outputs, what they were made from, and what was made of either."""
    folders = finished(root)
    mentions = _all_mentions(folders)
    wanted = {fingerprint[:PREFIX] for fingerprint in fingerprints}
    wanted = _with_what_they_rest_on(wanted, mentions)
    wanted = _with_what_was_made_of_them(wanted, mentions)
    return [folder for folder in folders if _prefix(folder) in wanted]


def belonging(root: Path, fingerprints: Iterable[str]) -> list[Path]:
    """The finished folders of these outputs, what they were made from, and the scores and reports of the stages
    among these outputs alone."""
    folders = finished(root)
    mentions = _all_mentions(folders)
    wanted = {fingerprint[:PREFIX] for fingerprint in fingerprints}
    rests_on = _with_what_they_rest_on(wanted, mentions)
    stages = {_prefix(folder) for folder in folders if folder.parent.name == "stages"}
    asked = wanted & stages
    chosen = []
    for folder in folders:
        is_of_asked = folder.parent.name in OF_STAGES and not mentions[folder].isdisjoint(asked)
        if _prefix(folder) in rests_on or is_of_asked:
            chosen.append(folder)
    return chosen


def named_by(folders: Iterable[Path]) -> set[str]:
    """The beginnings of all fingerprints that finished folders name, their own too."""
    named: set[str] = set()
    for folder in folders:
        named |= _mentions(folder) | {_prefix(folder)}
    return named


def _all_mentions(folders: list[Path]) -> dict[Path, set[str]]:
    """For each folder, which of the others its JSON files name."""
    names = {_prefix(folder) for folder in folders}
    mentions: dict[Path, set[str]] = {}
    for folder in folders:
        mentions[folder] = _mentions(folder) & names
    return mentions


def _prefix(folder: Path) -> str:
    """The beginning of a folder's fingerprint."""
    return folder.name[-PREFIX:]


def _with_what_they_rest_on(wanted: set[str], mentions: dict[Path, set[str]]) -> set[str]:
    size = -1
    while size != len(wanted):
        size = len(wanted)
        for folder, mentioned in mentions.items():
            if _prefix(folder) in wanted:
                wanted = wanted | mentioned
    return wanted


def _with_what_was_made_of_them(wanted: set[str], mentions: dict[Path, set[str]]) -> set[str]:
    size = -1
    while size != len(wanted):
        size = len(wanted)
        for folder, mentioned in mentions.items():
            if folder.parent.name in MADE_OF and not mentioned.isdisjoint(wanted):
                wanted = wanted | {_prefix(folder)}
    return wanted


def _mentions(folder: Path) -> set[str]:
    """The beginnings of all fingerprints that a folder's JSON files name; what cannot be read names
    nothing."""
    prefixes: set[str] = set()
    for path in folder.glob("*.json"):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        prefixes.update(name[:PREFIX] for name in _FINGERPRINT.findall(text))
    return prefixes
