"""Where documents went: read = kept + dropped (by op and reason) + unreadable, in documents and bytes, also by language.

A `Funnel` is a sum: every task counts its own, and the source's funnel is their total, so a resumed build counts the same
as a straight one. Standard library only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = "(unknown)"


@dataclass
class Funnel:
    """Counts of documents and of UTF-8 text [bytes]. Keys of `dropped` are `<position>-<op kind>/<reason>`."""

    read: int = 0
    read_bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0  # after the transforms
    dropped: Counter = field(default_factory=Counter)
    dropped_bytes: Counter = field(default_factory=Counter)
    unreadable: Counter = field(default_factory=Counter)  # by reason
    edited: Counter = field(
        default_factory=Counter
    )  # documents whose text an op changed, by `<position>-<op kind>`
    languages: dict[str, Counter] = field(
        default_factory=dict
    )  # language -> {"read", "kept", "<op>/<reason>"}

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

    def check(self) -> None:
        """Nothing may vanish. Raises AssertionError: a lost document is a bug, not a user's mistake."""
        total = self.kept + self.dropped.total() + self.unreadable.total()
        assert self.read == total, f"{self.read} documents read, {total} accounted for"

    def as_json(self) -> dict[str, Any]:
        self.check()
        return {
            "read": self.read,
            "read_bytes": self.read_bytes,
            "kept": self.kept,
            "kept_bytes": self.kept_bytes,
            "dropped": dict(sorted(self.dropped.items())),
            "dropped_bytes": dict(sorted(self.dropped_bytes.items())),
            "unreadable": self.unreadable.total(),
            "unreadable_by_reason": dict(sorted(self.unreadable.items())),
            "edited": dict(sorted(self.edited.items())),
            "languages": {
                name: dict(sorted(counts.items())) for name, counts in sorted(self.languages.items())
            },
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Funnel:
        return cls(
            content["read"],
            content["read_bytes"],
            content["kept"],
            content["kept_bytes"],
            Counter(content["dropped"]),
            Counter(content["dropped_bytes"]),
            Counter(content["unreadable_by_reason"]),
            Counter(content["edited"]),
            {name: Counter(counts) for name, counts in content["languages"].items()},
        )


def after_dedup(documents: Funnel, removed: Funnel) -> Funnel:
    """A source's funnel once documents that it had kept were removed; `removed` holds only drops."""
    result = total([documents, removed])
    result.read, result.read_bytes = documents.read, documents.read_bytes
    result.kept -= removed.dropped.total()
    result.kept_bytes -= removed.dropped_bytes.total()
    for language, counts in removed.languages.items():
        result.languages[language]["read"] -= counts["read"]
        result.languages[language]["kept"] -= counts["read"]
    return result


def total(funnels: Iterable[Funnel]) -> Funnel:
    """The sum of funnels."""
    result = Funnel()
    for part in funnels:
        for name in ("read", "read_bytes", "kept", "kept_bytes"):
            setattr(result, name, getattr(result, name) + getattr(part, name))
        for name in ("dropped", "dropped_bytes", "unreadable", "edited"):
            getattr(result, name).update(getattr(part, name))
        for language, counts in part.languages.items():
            result.languages.setdefault(language, Counter()).update(counts)
    return result
