"""Documents of a store by their places, and what dedup says of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from codemix.data.build.documents import Documents
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError


@dataclass(frozen=True)
class StoredPlace:
    """Where a frozen document is: source, file and row, as the lists of dedup write it."""

    source: str
    file: str
    row: int


@dataclass(frozen=True)
class DedupEntry:
    """A finished entry of `dedup:` in the store."""

    store: Store
    folder: Path

    @functools.cached_property
    def _manifest(self) -> dict[str, Any]:
        path = self.folder / "manifest.json"
        return read_json(path)

    @property
    def kind(self) -> str:
        return self._manifest["identity"]["entry"]["kind"]

    def removed_documents(self, source: str) -> int:
        """How many documents it removed of a source."""
        return self._manifest["removed"][source]["documents"]

    def _documents_folders(self) -> dict[str, Path]:
        """The folder of each source's documents that it compared, in the entry's order."""
        folders: dict[str, Path] = {}
        for source, fingerprint in self._manifest["identity"]["documents"]:
            folders[source] = self.store.path("documents", source, fingerprint)
        return folders

    def removals(self, source: str) -> Iterator[tuple[StoredPlace, dict[str, Any]]]:
        """What it removed of a source: each document's place, and its line in the lists."""
        folder = self.folder / "removed" / source
        paths = sorted(folder.glob("*.jsonl.zst"))
        for path in paths:
            for line in read_lines(path):
                place = StoredPlace(source, path.name, line["row"])
                yield place, line

    def row(self, place: StoredPlace) -> dict[str, Any]:
        """A document that it compared."""
        folder = self._documents_folders()[place.source]
        path = folder / "docs" / place.file
        rows = read_lines(path)
        return next(islice(rows, place.row, None))

    def kept_place(self, line: dict[str, Any]) -> StoredPlace | None:
        """The document that is kept in place of the one that a line of the lists names, where the line
        says."""
        kept = line["kept"]
        return StoredPlace(**kept) if kept else None

    def first_equal(self, text: str) -> StoredPlace:
        """The first document with this text, which the entry keeps: its lists of equal texts do not say."""
        for source, folder in self._documents_folders().items():
            for file in Documents.load(folder).files:
                for number, row in enumerate(read_lines(folder / file.path)):
                    if row["text"] == text:
                        return StoredPlace(source, file.name, number)
        raise CodemixError(
            "the documents that `dedup:` compared are not what they were",
            hints=["run `codemix verify`"],
            rule="store-damaged",
        )


def dedup_entries(store: Store, fingerprints: list[str]) -> list[DedupEntry]:
    entries: list[DedupEntry] = []
    for fingerprint in fingerprints:
        folder = store.path("dedup", fingerprint[:12])
        entries.append(DedupEntry(store, folder))
    return entries
