"""Which documents a source has read, whatever became of them: so that an id that none has read is known
without reading again.

    documents/<source>-<fp12>/read.ids    little-endian uint64: XXH3 of each document's id, in the order of
                                          reading; of its place where it is unreadable

Eight bytes per document. A hash may be that of another id, so "read" is to be looked at; "not read" is exact.
Planning imports this by way of documents.py, so numpy and xxhash only where they are used.
"""

from __future__ import annotations

import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from codemix.data.document import Item, Unreadable, row_of
from codemix.errors import CodemixError

NAME = "read.ids"
_LOOKED_AT = 2**20  # hashes at a time


class ReadIds:
    """Notes the ids of what one task reads."""

    def __init__(self) -> None:
        self._hashes = array.array("Q")

    def noting(self, read: Iterable[Item]) -> Iterator[Item]:
        """`read`, as it is."""
        from codemix.data.store.block_checksums import id_check

        for item in read:
            for name in _names(item):
                self._hashes.append(id_check(name))
            yield item

    def write(self, path: Path) -> None:
        import numpy as np

        np.array(self._hashes, "<u8").tofile(path)


def _names(item: Item) -> Iterator[str]:
    """What an item is looked up by."""
    if not isinstance(item, Unreadable):
        yield item.id
        return
    yield item.where
    lost_path, _, _ = item.where.rpartition(", row ")
    if item.rest_lost and lost_path:  # it stands for every later row of its input
        yield lost_path


def join(paths: Iterable[Path], folder: Path) -> None:
    """One file of what the tasks noted."""
    with open(folder / NAME, "wb") as joined:
        for path in paths:
            joined.write(path.read_bytes())


def may_have_read(folder: Path, document_id: str) -> bool:
    """Whether the source of these frozen documents may have read a document with this id, or lost it with the
    rest of its input."""
    import numpy as np

    from codemix.data.store.block_checksums import id_check

    path, _, _ = document_id.rpartition("#")
    names = {*places(document_id), path}
    wanted = np.array([id_check(name) for name in names], np.uint64)
    try:
        with open(folder / NAME, "rb") as f:
            while block := f.read(8 * _LOOKED_AT):
                hashes = np.frombuffer(block, "<u8")
                if np.isin(hashes, wanted).any():
                    return True
    except (OSError, ValueError) as error:
        raise CodemixError(
            f"{folder / NAME} cannot be read: {error}",
            hints=[f"delete {folder} and run `codemix build-data`: the same inputs give the same documents"],
            rule="store-damaged",
        ) from None
    return False


def places(document_id: str) -> tuple[str, ...]:
    """How a document's place is named where there is no document: its id, its row, its file if it is the
    first."""
    path, _, number = document_id.rpartition("#")
    if not path or not number.isdecimal():
        return (document_id,)
    row = row_of(path, int(number))
    if number == "0":
        return (document_id, row, path)
    return (document_id, row)
