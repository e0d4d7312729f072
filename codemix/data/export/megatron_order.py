"""The order in which Megatron-LM trains on an export's documents: it is a pure function of the seed, the
lengths of the documents and the arguments that the export writes.

Described from megatron-core 0.16.1 (`gpt_dataset.py`, `blended_dataset.py`,
`blended_megatron_dataset_builder.py`, `helpers.cpp`): each source's documents are shuffled over all epochs that
it needs, cut into samples, the samples are shuffled again, and sources take turns by whichever is furthest
behind its weight. Step N of a run reads the samples from N * batch size on (`--dataloader-type single`, the
default there).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy import ndarray

from codemix.errors import CodemixError
from codemix.progress import progress
from codemix.recipe.planning.plan import StagePlan

SURPLUS = 0.005  # `mid_level_dataset_surplus`: samples that each source of a blend prepares in excess
SAMPLES_PER_REPORT = 2**16  # of one source
SEPARATE_BELOW = 0.8  # of an epoch: a last epoch that is read to a smaller part is shuffled apart


@dataclass(frozen=True)
class Piece:
    """Tokens of a sample that are one document's: `start` to `stop` - 1, from token `at` of the document."""

    document: int  # in the order of the export
    start: int
    stop: int
    at: int


class SourceSamples:
    """The samples of one source: sample i of Megatron's `GPTDataset`."""

    def __init__(self, lengths: ndarray, seq_len: int, samples: int, seed: int):
        """`lengths` are the tokens of its documents, each EOS included; `samples` as many as the run asks."""
        self.seq_len = seq_len
        per_epoch = int(lengths.sum())
        tokens_asked = samples * seq_len + 1
        epochs = max(1, math.ceil(Fraction(tokens_asked, per_epoch)))
        total = (epochs * per_epoch - 1) // seq_len
        before_last = ((epochs - 1) * per_epoch - 1) // seq_len  # samples of all epochs but the last
        in_epoch = (per_epoch - 1) // seq_len
        from_last = samples - before_last
        few = int(SEPARATE_BELOW * in_epoch)
        is_apart = epochs > 1 and from_last < few

        random = np.random.RandomState(seed)
        documents = np.arange(len(lengths), dtype=np.int32)
        order = np.tile(documents, epochs)
        n_apart = len(documents) if is_apart else 0
        n_together = len(order) - n_apart
        self.document = _shuffled(order, n_together, random)
        ends = np.cumsum(lengths[self.document])
        self.begin = np.concatenate([[0], ends])  # of each document in the flat tokens

        places = np.arange(total, dtype=np.uint32)
        n_together = before_last if is_apart else total
        self.place = _shuffled(places, n_together, random)  # of sample i among those cut from the flat tokens

    def pieces(self, sample: int) -> Iterator[Piece]:
        """The documents of a sample of `seq_len` + 1 tokens, the last of which is a target only."""
        begin = self.place.item(sample) * self.seq_len
        end = begin + self.seq_len + 1
        first = self._holding(begin)
        last = self._holding(end - 1)
        for number in range(first, last + 1):
            yield self._piece(number, begin, end)

    def _holding(self, token: int) -> int:
        """The document, by its place in the order, that holds a token."""
        after = self.begin.searchsorted(token, "right")
        return int(after) - 1

    def _piece(self, number: int, begin: int, end: int) -> Piece:
        """The tokens of a document that are among `begin` to `end` - 1."""
        document_begin = self.begin.item(number)
        document_end = self.begin.item(number + 1)
        start = max(document_begin, begin)
        stop = min(document_end, end)
        return Piece(
            document=self.document.item(number),
            start=start - begin,
            stop=stop - begin,
            at=start - document_begin,
        )

    def samples_of(self, document: int) -> ndarray:
        """The samples that read any token of a document, ascending."""
        numbers = np.flatnonzero(self.document == document)
        places: list[int] = []
        for number in numbers.tolist():
            places += self._places_reading(number)
        is_reading = np.isin(self.place, places)
        return np.flatnonzero(is_reading)

    def _places_reading(self, number: int) -> range:
        """The samples, as they are cut from the flat tokens, that read a document: each has its last token in
        common with the next."""
        begin = self.begin.item(number)
        end = self.begin.item(number + 1)
        first = max(0, (begin - 1) // self.seq_len)
        last = (end - 1) // self.seq_len
        return range(first, last + 1)


def _shuffled(array: ndarray, n_first: int, random: np.random.RandomState) -> ndarray:
    """The first `n_first` items shuffled, then the others; no others ask nothing of the random numbers."""
    shuffled = array.copy()
    random.shuffle(shuffled[:n_first])
    random.shuffle(shuffled[n_first:])
    return shuffled


@dataclass(frozen=True)
class Blend:
    """Sample i of a run: which source it is from, and which of the source's samples it is."""

    source: ndarray  # int16
    sample: ndarray  # int64


def blend(weights: Sequence[float], size: int) -> Blend:
    """The first `size` samples of a blend: each is of the source that is furthest behind its weight."""
    source = np.zeros(size, np.int16)
    sample = np.zeros(size, np.int64)
    taken = [0] * len(weights)
    with progress("following Megatron's order", size, "samples") as advance:
        for i in range(size):
            due = float(max(i, 1))
            behind = [weight * due - n for weight, n in zip(weights, taken, strict=True)]
            chosen = behind.index(max(behind))
            source[i] = chosen
            sample[i] = taken[chosen]
            taken[chosen] += 1
            if taken[chosen] % SAMPLES_PER_REPORT == 0:
                advance(SAMPLES_PER_REPORT)
    return Blend(source, sample)


class MegatronOrder:
    """The order of a stage that Megatron trains with the arguments of its export."""

    def __init__(self, stage: StagePlan, shares: Mapping[str, str], lengths: Mapping[str, ndarray]):
        """`shares` are the weights that the export writes, `lengths` the documents' tokens by source.

        Raises CodemixError (`megatron-order`) for a stage whose batch grows.
        """
        if len(stage.batches) > 1:
            raise CodemixError(
                f"stage `{stage.name}` grows its batch, which the arguments of an export leave out",
                hints=["the order is known where `batch_size` is one number"],
                rule="megatron-order",
            )
        self.stage = stage
        self.sources = list(shares)
        given = np.array([float(share) for share in shares.values()])
        self.weights = (given / given.sum()).tolist()
        self.batch_size = stage.batch_size(0)
        samples = stage.steps * self.batch_size
        self.source_samples: dict[str, SourceSamples] = {}
        for name, weight in zip(self.sources, self.weights, strict=True):
            asked = samples
            if len(self.sources) > 1:
                asked = math.ceil(math.ceil(samples * weight) * (1 + SURPLUS))
            self.source_samples[name] = SourceSamples(lengths[name], stage.seq_len, asked, stage.seed)

    def blend(self, steps: int) -> Blend:
        """The samples of the first `steps` steps."""
        return blend(self.weights, steps * self.batch_size)
