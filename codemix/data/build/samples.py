"""Samples of documents for a person to look at: the same few whatever the order, the tasks and the workers."""

from __future__ import annotations

import hashlib
import heapq
import json
from pathlib import Path
from urllib.parse import quote

from codemix.data.document import Document
from codemix.data.store.jsonl_zst import LineWriter

SAMPLES = 50  # kept for each reason
SAMPLE_CHARS = 20_000  # of text in a sample


class Samples:
    """For each key the few documents whose ids hash lowest: the same whatever the order or the number of tasks."""

    def __init__(self):
        self._held: dict[
            str, list[tuple[int, str]]
        ] = {}  # (rank, the sample as JSON): whole entries compare, also where ids are equal

    def add(self, key: str, doc: Document) -> None:
        rank = -int.from_bytes(hashlib.blake2b(doc.id.encode("utf-8", "replace"), digest_size=8).digest())
        held = self._held.setdefault(key, [])
        if len(held) < SAMPLES or rank >= held[0][0]:
            cut = len(doc.text) > SAMPLE_CHARS
            text = doc.text[:SAMPLE_CHARS].encode("utf-8", "replace").decode()
            row = {"id": doc.id, "text": text, "meta": doc.meta} | (
                {"cut": True, "chars": len(doc.text)} if cut else {}
            )
            self._push(held, (rank, json.dumps(row)))

    def _push(self, held: list, entry: tuple[int, str]) -> None:
        if len(held) < SAMPLES:
            heapq.heappush(held, entry)
        else:
            heapq.heappushpop(held, entry)

    def merge(self, other: dict[str, list]) -> None:
        for key, entries in other.items():
            for rank, row in entries:
                self._push(self._held.setdefault(key, []), (rank, row))

    def rows(self, key: str) -> list[dict]:
        """The samples of a key, in a fixed order."""
        return [json.loads(row) for _, row in self.as_json().get(key, [])]

    def as_json(self) -> dict[str, list]:
        return {key: sorted(held, key=lambda e: (-e[0], e[1])) for key, held in sorted(self._held.items())}


def sample_path(folder: Path, key: str) -> Path:
    """Where the samples of a funnel's key lie. A reason may hold a field's or a file's name, which is anyone's text."""
    step, _, reason = key.partition("/")
    return folder / "dropped" / step / f"{quote(reason, safe='')[:200]}.jsonl.zst"


def write_samples(path: Path, entries: list) -> None:
    writer = LineWriter(path)
    for _, row in entries:
        writer.write(json.loads(row))
    writer.close()
