"""Samples of documents for a person to look at: the same few whatever the order, the tasks and the
workers."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from codemix.data.document import Document
from codemix.data.hash_rank import hash_rank
from codemix.data.store.jsonl_zst import LineWriter

SAMPLES = 50  # kept for each reason
SAMPLE_CHARS = 20_000  # of text in a sample

Shown = Callable[[str], str]
Entry = tuple[int, str]  # rank, the sample as JSON: whole entries compare, also where ids are equal


class Samples:
    """For each key the few documents whose ids hash lowest: the same whatever the order or the number of
    tasks."""

    def __init__(self) -> None:
        self._held: dict[str, list[Entry]] = {}

    def add(self, key: str, doc: Document, shown: Shown | None = None) -> None:
        """`shown` makes of its text what people may see."""
        rank = -hash_rank(doc.id)
        held = self._held.setdefault(key, [])
        if len(held) == SAMPLES and rank < held[0][0]:
            return
        if shown is not None:
            doc = doc.with_text(shown(doc.text))
        self._push(held, (rank, _sample(doc)))

    def _push(self, held: list[Entry], entry: Entry) -> None:
        if len(held) < SAMPLES:
            heapq.heappush(held, entry)
        else:
            heapq.heappushpop(held, entry)

    def merge(self, other: dict[str, list[Any]]) -> None:
        """Take in what another task's `as_json` gave."""
        for key, entries in other.items():
            held = self._held.setdefault(key, [])
            for hashed, sample in entries:
                entry = (-hashed, sample)
                self._push(held, entry)

    def names(self) -> list[str]:
        return sorted(self._held)

    def rows(self, key: str) -> list[dict[str, Any]]:
        """The samples of a key, in a fixed order."""
        rows: list[dict[str, Any]] = []
        entries = self._in_order(key)
        for _, sample in entries:
            rows.append(json.loads(sample))
        return rows

    def _in_order(self, key: str) -> list[Entry]:
        entries = list(self._held.get(key, ()))
        entries.sort(key=_order)
        return entries

    def as_json(self) -> dict[str, list[Entry]]:
        """For each key the samples with the hashes of their ids."""
        by_key: dict[str, list[Entry]] = {}
        for key in self.names():
            entries = by_key.setdefault(key, [])
            for rank, sample in self._in_order(key):
                entries.append((-rank, sample))
        return by_key


def _order(entry: Entry) -> Entry:
    """The highest rank first, and entries of equal ranks by their samples."""
    rank, sample = entry
    return -rank, sample


def _sample(doc: Document) -> str:
    """What is shown of a document, as JSON."""
    import orjson

    encoded = doc.text[:SAMPLE_CHARS].encode("utf-8", "replace")
    text = encoded.decode()
    sample: dict[str, Any] = {"id": doc.id, "text": text, "meta": doc.meta}
    if len(doc.text) > SAMPLE_CHARS:
        sample |= {"cut": True, "chars": len(doc.text)}
    return orjson.dumps(sample).decode()


def sample_path(folder: Path, key: str) -> Path:
    """Where the samples of a funnel's key are. A reason may hold a field's or a file's name, which is
    anyone's text."""
    step, _, reason = key.partition("/")
    quoted = quote(reason, safe="")
    name = f"{quoted[:200]}.jsonl.zst"
    return folder / "dropped" / step / name


def write_samples(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    writer = LineWriter(path)
    for row in rows:
        writer.write(row)
    writer.close()
