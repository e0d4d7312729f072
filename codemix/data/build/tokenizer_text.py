"""What a tokenizer is trained on: documents that will be trained on too, chosen by hash. None that is held out, none that dedup removes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from codemix.data.build.documents import Documents, held_out
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
        have = (self.documents.bytes - self.removed_bytes) * (1 - self.held_out)
        for file in self.documents.files:
            gone = removed_rows(folder / Path(file["path"]).name for folder in self.removed)
            for number, row in enumerate(read_lines(self.documents.folder / file["path"])):
                rank = int.from_bytes(
                    hashlib.blake2b(row["id"].encode("utf-8", "replace"), digest_size=8).digest()
                )
                if (
                    rank * have < self.wanted * 2**64
                    and number not in gone
                    and not (self.held_out and held_out(row["text"].encode(), self.held_out))
                ):
                    yield row["text"]
