"""What a tokenizer is trained on: documents that are trained on too, chosen by hash; none held out or removed
by dedup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from codemix.data.build.documents import Documents, DocumentsFile
from codemix.data.hash_rank import hash_rank, held_out
from codemix.data.store.jsonl_zst import read_lines, removed_rows


@dataclass(frozen=True)
class TrainingText:
    """What one source gives."""

    documents: Documents
    removed: tuple[Path, ...]  # folders of dedup's lists for this source
    removed_bytes: int  # of text, in those lists
    held_out: Fraction
    wanted: int  # of text, about [bytes]

    def __iter__(self) -> Iterator[str]:
        """About `wanted` bytes of text, spread over the whole source."""
        available = (self.documents.bytes - self.removed_bytes) * (1 - self.held_out)
        for file in self.documents.files:
            for document_id, text in self._left(file):
                if hash_rank(document_id) * available >= self.wanted * 2**64:
                    continue
                if self.held_out and held_out(text.encode(), self.held_out):
                    continue
                yield text

    def _left(self, file: DocumentsFile) -> Iterator[tuple[str, str]]:
        """Id and text of the documents that dedup leaves of a file."""
        lists = [folder / file.name for folder in self.removed]
        removed = removed_rows(lists)
        path = self.documents.folder / file.path
        rows = read_lines(path)
        for number, row in enumerate(rows):
            if number not in removed:
                yield row["id"], row["text"]
