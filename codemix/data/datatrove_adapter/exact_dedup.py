"""datatrove's exact deduplication: signatures of texts, matches between them, and its lists of duplicates."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.dedup import exact_dedup
from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig, ExactDedupSignature, ExactFindDedups

from codemix.data.datatrove_adapter.logs import silence, without_bar

MAX_PRIORITY = 65535


class Place(NamedTuple):
    """A document's place: the rank whose files hold it, and its position among the rank's documents."""

    rank: int
    position: int


def _text(doc: Document) -> str:
    return doc.text


def _priority(doc: Document) -> int:
    return doc.metadata["priority"]


_CONFIG = ExactDedupConfig(content_getter=_text, document_priority=_priority)


class ExactSignatures:
    """The signatures of one rank's documents. Of equal texts the one with the highest priority is kept."""

    def __init__(self, folder: Path, rank: int, priority: int):
        silence()
        self._rank = rank
        self._metadata = {"priority": priority}
        self._step = ExactDedupSignature(str(folder), _CONFIG)
        self._signatures: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return len(self._signatures)

    def add(self, text: str, position: int) -> None:
        document = Document(text, str(position), metadata=self._metadata)
        signatures = self._step.get_hashes(document, position)
        self._signatures.extend(signatures)

    def save(self) -> None:
        self._step.save_hashes(self._rank, self._signatures)


def find_duplicates(signatures: Path, duplicates: Path) -> None:
    """Merge the sorted signatures of all ranks into datatrove's lists of duplicates."""
    silence()
    exact_dedup.tqdm = without_bar
    shutil.rmtree(duplicates, ignore_errors=True)
    ExactFindDedups(str(signatures), str(duplicates), _CONFIG, lines_to_buffer=1024).run(None, 0, 1)


def read_duplicates(duplicates: Path) -> Iterator[Place]:
    """Documents equal to another of a higher priority, from the lists: `<rank>.c4_dup` of little-endian
    uint32."""
    for path in sorted(duplicates.glob("*/*.c4_dup")):
        rank = int(path.name.split(".")[0])
        for position in np.fromfile(path, "<u4").tolist():
            yield Place(rank, position)
