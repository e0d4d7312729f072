"""What became of documents: read = kept + dropped (by op and reason) + unreadable, also in bytes and by
language.

A `Funnel` is a sum: every task counts its own, and the source's funnel is their total, so a resumed build
counts the same as a straight one. Standard library only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from codemix.data.document import NOT_SAMPLED

UNKNOWN = "(unknown)"
SUBSAMPLE = "subsample"  # the step after dedup
SUBSAMPLE_KEY = f"{SUBSAMPLE}/{NOT_SAMPLED}"


@dataclass
class Funnel:
    """Counts of documents and of UTF-8 text [bytes]. Keys of `dropped` are `<position>-<op
    kind>/<reason>`."""

    read: int = 0
    read_bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0  # after the transforms
    dropped: Counter = field(default_factory=Counter)
    dropped_bytes: Counter = field(default_factory=Counter)
    unreadable: Counter = field(default_factory=Counter)  # by reason
    # documents whose text an op changed, by `<position>-<op kind>`, and `<position>-<op kind>/<what>` where it says
    edited: Counter = field(default_factory=Counter)
    # language -> {"read", "kept", "<op>/<reason>"}
    languages: dict[str, Counter] = field(default_factory=dict)

    def add_unreadable(self, reason: str) -> None:
        self.read += 1
        self.unreadable[reason] += 1

    def add_kept(self, language: str, read_bytes: int, kept_bytes: int) -> None:
        self.read += 1
        self.read_bytes += read_bytes
        self.kept += 1
        self.kept_bytes += kept_bytes
        counts = self.languages.setdefault(language, Counter())
        counts["read"] += 1
        counts["kept"] += 1

    def add_dropped(self, language: str, read_bytes: int, step: str, reason: str) -> None:
        self.read += 1
        self.read_bytes += read_bytes
        key = f"{step}/{reason}"
        self.dropped[key] += 1
        self.dropped_bytes[key] += read_bytes
        self.languages.setdefault(language, Counter()).update(("read", key))

    def add_edited(self, step: str, kinds: Iterable[str] = ()) -> None:
        """`kinds`: of what was changed."""
        self.edited[step] += 1
        for kind in kinds:
            self.edited[f"{step}/{kind}"] += 1

    def check(self) -> None:
        """Nothing may vanish. Raises AssertionError: a lost document is a bug, not a user's mistake."""
        dropped = self.dropped.total()
        unreadable = self.unreadable.total()
        total = self.kept + dropped + unreadable
        assert self.read == total, f"{self.read} documents read, {total} accounted for"

    def as_json(self) -> dict[str, Any]:
        self.check()
        return {
            "read": self.read,
            "read_bytes": self.read_bytes,
            "kept": self.kept,
            "kept_bytes": self.kept_bytes,
            "dropped": _sorted(self.dropped),
            "dropped_bytes": _sorted(self.dropped_bytes),
            "unreadable": self.unreadable.total(),
            "unreadable_by_reason": _sorted(self.unreadable),
            "edited": _sorted(self.edited),
            "languages": {name: _sorted(self.languages[name]) for name in sorted(self.languages)},
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Funnel:
        return cls(
            read=content["read"],
            read_bytes=content["read_bytes"],
            kept=content["kept"],
            kept_bytes=content["kept_bytes"],
            dropped=Counter(content["dropped"]),
            dropped_bytes=Counter(content["dropped_bytes"]),
            unreadable=Counter(content["unreadable_by_reason"]),
            edited=Counter(content["edited"]),
            languages={name: Counter(counts) for name, counts in content["languages"].items()},
        )


def _sorted(counts: Counter) -> dict[str, int]:
    return dict(sorted(counts.items()))


def after_dedup(documents: Funnel, removed: Funnel) -> Funnel:
    """A source's funnel once documents that it had kept were removed; `removed` holds only drops."""
    result = total([documents, removed])
    result.read = documents.read
    result.read_bytes = documents.read_bytes
    result.kept -= removed.dropped.total()
    result.kept_bytes -= removed.dropped_bytes.total()
    for language, counts in removed.languages.items():
        of_language = result.languages[language]
        of_language["read"] -= counts["read"]
        of_language["kept"] -= counts["read"]
    return result


def total(funnels: Iterable[Funnel]) -> Funnel:
    """The sum of funnels."""
    result = Funnel()
    for part in funnels:
        result.read += part.read
        result.read_bytes += part.read_bytes
        result.kept += part.kept
        result.kept_bytes += part.kept_bytes
        result.dropped.update(part.dropped)
        result.dropped_bytes.update(part.dropped_bytes)
        result.unreadable.update(part.unreadable)
        result.edited.update(part.edited)
        for language, counts in part.languages.items():
            of_language = result.languages.setdefault(language, Counter())
            of_language.update(counts)
    return result
