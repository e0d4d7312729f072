"""The lists of what one entry of `dedup:` removes: by file of documents, the rows and what is kept in their
place."""

from __future__ import annotations

import bisect
import itertools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.build.signatures import ComparedFile
from codemix.data.document import utf8_bytes
from codemix.data.store.jsonl_zst import LineWriter, read_lines

if TYPE_CHECKING:
    from codemix.data.dedup.clusters import Place

Rank = tuple[ComparedFile, ...]


@dataclass
class RemovedCounts:
    """What is removed of one source."""

    documents: int = 0
    bytes: int = 0  # of text


@dataclass(frozen=True)
class FileRow:
    """A document by its file and its row there."""

    file: ComparedFile
    row: int

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.file.source,
            "file": self.file.path.name,
            "row": self.row,
        }


Survivors = dict[int, FileRow | None]  # by removed row of one file, what is kept in its place, where known


class RowsOfRanks:
    """From a document's place (its rank, its position among the rank's rows) to its file and row."""

    def __init__(self, ranks: Sequence[Rank]):
        self._ranks = ranks
        self._first_positions = [_first_positions(rank) for rank in ranks]

    def find(self, place: Place) -> FileRow:
        files = self._ranks[place.rank]
        first_positions = self._first_positions[place.rank]
        index = bisect.bisect_right(first_positions, place.position) - 1
        row = place.position - first_positions[index]
        return FileRow(files[index], row)


def _first_positions(rank: Rank) -> list[int]:
    sizes = [file.documents for file in rank]
    return list(itertools.accumulate(sizes, initial=0))


def write_removal_lists(
    removed: Mapping[Place, Place | None], ranks: Sequence[Rank], work: Path
) -> dict[str, dict[str, int]]:
    """Write a list for each file of which something is removed; `removed`: each document's survivor, where
    known.

    Returns by source the documents and bytes of text that are removed of it.
    """
    folder = work / "removed"
    shutil.rmtree(folder, ignore_errors=True)
    files = [file for rank in ranks for file in rank]
    counts = {file.source: RemovedCounts() for file in files}
    rows = RowsOfRanks(ranks)
    by_file = _by_file(removed, rows)
    for file, survivors in by_file.items():
        path = folder / file.source / file.path.name
        of_source = counts[file.source]
        _write_list(path, file, survivors, of_source)
    return {source: asdict(of_source) for source, of_source in counts.items()}


def _by_file(removed: Mapping[Place, Place | None], rows: RowsOfRanks) -> dict[ComparedFile, Survivors]:
    by_file: dict[ComparedFile, Survivors] = {}
    for place in sorted(removed):
        gone = rows.find(place)
        survivor = removed[place]
        survivors = by_file.setdefault(gone.file, {})
        survivors[gone.row] = rows.find(survivor) if survivor is not None else None
    return by_file


def _write_list(path: Path, file: ComparedFile, survivors: Survivors, counts: RemovedCounts) -> None:
    writer = LineWriter(path)
    for number, row in enumerate(read_lines(file.path)):
        if number not in survivors:
            continue
        survivor = survivors[number]
        kept = survivor.as_json() if survivor is not None else None
        writer.write({"row": number, "id": row["id"], "kept": kept})
        counts.documents += 1
        counts.bytes += utf8_bytes(row["text"])
    writer.close()
