"""Where the sample of a source ends, that `subsample:` asks for.

    scores/<source>-subsample-<fp12>/    places/<task>.npy: the place in the order and the tokens of each document
                                         manifest.json

Documents are taken in the order of a hash of their ids until they come to the share of all tokens that are not
removed by dedup or held out. The last is taken if that brings the sample nearer to its share, so it misses that by
at most half of one document. Samples are beginnings of one order, so each is in every larger one, and the places
serve all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np

from codemix.data.build.identity import Identity
from codemix.data.build.shards import Row, batches
from codemix.data.build.tokens import TokensTask
from codemix.data.build.tokens_job import TokensJob
from codemix.data.hash_rank import sample_rank
from codemix.data.store.store import write_json
from codemix.files import replacing

_PLACES = "places"
_BIN_BITS = 16  # of a rank: what is sorted at a time is what begins with the same


@dataclass(frozen=True)
class PlacesTask:
    """Lists the ranks and the tokens of the documents in some files of a source."""

    tokens: TokensTask  # of the same files

    @property
    def name(self) -> str:
        return f"sample of {self.tokens.source}, part {self.tokens.number}"

    @property
    def size(self) -> int:
        return self.tokens.size

    @property
    def done(self) -> Path:
        places = self.tokens.work / _PLACES
        return places / f"{self.tokens.number:05d}.npy"

    def reads(self) -> list[Path]:
        return self.tokens.reads()

    def run(self) -> None:
        task = self.tokens
        tokenizer = task.encoding.shard_tokenizer()
        ranks: list[int] = []
        tokens: list[int] = []
        for batch in batches(self._candidates()):
            encoded = tokenizer.encoded(batch)
            ranks += [sample_rank(row["id"]) for row in batch]
            tokens += encoded.lengths.tolist()
        self.done.parent.mkdir(exist_ok=True)
        with replacing(self.done) as temporary, temporary.open("wb") as file:
            np.save(file, np.array([ranks, tokens], np.uint64))

    def _candidates(self) -> Iterator[Row]:
        for file in self.tokens.files:
            for row, removed_by in self.tokens.judged(file):
                if not removed_by and not self.tokens.holds_out(row):
                    yield row


@dataclass(frozen=True)
class PlacesJob:
    """The places of the documents of one source."""

    tokens: TokensJob
    identity: Identity

    @property
    def final(self) -> Path:
        name = f"{self.tokens.name}-subsample"
        return self.tokens.store.path("scores", name, self.identity.require())

    def tasks(self, work: Path) -> Sequence[PlacesTask]:
        tasks: list[PlacesTask] = []
        for task in self.tokens.tasks(work):
            tasks.append(PlacesTask(task))
        return tasks

    def finish(self, work: Path) -> dict[str, str]:
        manifest = {
            "format": 1,
            "fingerprint": self.identity.fingerprint,
            "identity": self.identity.content,
        }
        write_json(work / "manifest.json", manifest)
        return {}

    def cut(self, share: Fraction) -> int:
        """The end of a sample, once the job is done."""
        folder = self.final / _PLACES
        paths = sorted(folder.glob("*.npy"))
        places = _Saved(paths)
        return cut_of(places, share)


@dataclass(frozen=True)
class _Saved:
    """Arrays in files, one of them open at a time."""

    paths: Sequence[Path]

    def __iter__(self) -> Iterator[np.ndarray]:
        for path in self.paths:
            yield np.load(path, mmap_mode="r")


def cut_of(places: Iterable[np.ndarray], share: Fraction) -> int:
    """The rank below which the documents come nearest to a share of all tokens; the lower of two. `places`: uint64
    [2, documents], the ranks and the tokens, in any order."""
    tokens_by_bin = np.zeros(2**_BIN_BITS, np.int64)
    for ranks, tokens in places:
        np.add.at(tokens_by_bin, _bins(ranks), tokens.astype(np.int64))
    totals = np.cumsum(tokens_by_bin)
    wanted = share * int(totals[-1])
    last_bin = int(np.searchsorted(totals[:-1], floor(wanted), "right"))
    before = int(totals[last_bin] - tokens_by_bin[last_bin])
    nearest = last_bin << (64 - _BIN_BITS)
    missed = abs(before - wanted)
    for rank, tokens_so_far in _in_order(places, last_bin):
        distance = abs(before + tokens_so_far - wanted)
        if distance < missed:
            nearest = rank + 1
            missed = distance
    return nearest


def _bins(ranks: np.ndarray) -> np.ndarray:
    return ranks >> np.uint64(64 - _BIN_BITS)


def _in_order(places: Iterable[np.ndarray], chosen: int) -> Iterator[tuple[int, int]]:
    """The ranks in one bin, each with the tokens of the documents up to it, that bin's first the first."""
    tokens_by_rank: Counter[int] = Counter()
    for ranks, tokens in places:
        (numbers,) = np.nonzero(_bins(ranks) == chosen)
        for number in numbers:
            rank = int(ranks[number])
            tokens_by_rank[rank] += int(tokens[number])
    tokens_so_far = 0
    for rank in sorted(tokens_by_rank):
        tokens_so_far += tokens_by_rank[rank]
        yield rank, tokens_so_far
