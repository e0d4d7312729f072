"""Where the sample of a source ends, that `subsample:` asks for.

    scores/<source>-subsample-<fp12>/    manifest.json: the cut; documents and bytes of the source and of the sample

Documents are taken in the order of a hash of their ids until their text comes to the share of the text of all, which
are those that dedup left and nobody holds out. The last is taken if that brings the sample nearer to its share, so
it misses that by at most half of one document. Samples are beginnings of one order, so each is in every larger one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.data.build.identity import Identity
from codemix.data.build.scores import leave, left
from codemix.data.build.tokens import TokensJob, TokensTask
from codemix.data.hash_rank import sample_rank
from codemix.data.store.store import read_json, write_json

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class SampleTask:
    """Lists the places in the order and the sizes of the documents in some files of a source."""

    tokens: TokensTask  # of the same files

    @property
    def name(self) -> str:
        return f"sample of {self.tokens.source}, part {self.tokens.number}"

    @property
    def size(self) -> int:
        return self.tokens.size

    @property
    def done(self) -> Path:
        return self.tokens.done.with_suffix(".npy")

    def run(self) -> None:
        import numpy as np

        ranks: list[int] = []
        sizes: list[int] = []
        for row, removed_by in self.tokens.judged():
            if removed_by or self.tokens.holds_out(row):
                continue
            ranks.append(sample_rank(row["id"]))
            sizes.append(row["bytes"])
        leave(self.done, np.array([ranks, sizes], np.uint64))


@dataclass(frozen=True)
class SampleJob:
    """The cut of one source."""

    tokens: TokensJob
    share: Fraction  # of the text that its documents hold
    identity: Identity

    @property
    def final(self) -> Path:
        name = f"{self.tokens.name}-subsample"
        return self.tokens.store.path("scores", name, self.identity.require())

    def tasks(self, work: Path) -> Sequence[SampleTask]:
        return [SampleTask(task) for task in self.tokens.tasks(work)]

    def finish(self, work: Path) -> dict[str, str]:
        import numpy as np

        ranks, sizes = left(work, np.zeros((2, 0), np.uint64))
        sample = sample_of(ranks, sizes, self.share)
        manifest = {
            "format": 1,
            "fingerprint": self.identity.fingerprint,
            "identity": self.identity.content,
            "documents": len(ranks),
            "bytes": int(sizes.sum()),
            "sampled_documents": sample.documents,
            "sampled_bytes": sample.bytes,
            "cut": sample.cut,
        }
        write_json(work / "manifest.json", manifest)
        return {}

    def cut(self) -> int:
        """The cut of a job that is done."""
        manifest = read_json(self.final / "manifest.json")
        return manifest["cut"]


@dataclass(frozen=True)
class Sample:
    cut: int  # documents of a lower rank are in it
    documents: int
    bytes: int  # of text


def sample_of(ranks: np.ndarray, sizes: np.ndarray, share: Fraction) -> Sample:
    """The sample whose text is nearest to a share of all, the smaller of two. `ranks`, `sizes` [bytes]: uint64 by
    document, in any order; those of equal rank are taken together."""
    import numpy as np

    order = np.argsort(ranks, kind="stable")
    ranks = ranks[order]
    is_last = np.append(ranks[1:] != ranks[:-1], True)[: len(ranks)]  # of its rank
    counts = np.append(0, np.flatnonzero(is_last) + 1)  # documents in each sample that there is
    totals = np.append(np.uint64(0), np.cumsum(sizes[order], dtype=np.uint64))
    wanted = share * int(totals[-1])
    fitting = np.searchsorted(totals[counts], np.uint64(floor(wanted)), "right")
    nearest = min(counts[fitting - 1 : fitting + 1], key=lambda n: abs(int(totals[n]) - wanted))
    cut = int(ranks[nearest - 1]) + 1 if nearest else 0
    return Sample(cut, int(nearest), int(totals[nearest]))
