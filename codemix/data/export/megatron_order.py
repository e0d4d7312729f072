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
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy import ndarray

from codemix.data.export.trainer_order import Draws, FlatTokens, Piece, Samples, TrainerOrder
from codemix.progress import progress

SURPLUS = 0.005  # `mid_level_dataset_surplus`: samples that each source of a blend prepares in excess
SAMPLES_PER_REPORT = 2**16  # of one source
SEPARATE_BELOW = 0.8  # of an epoch: a last epoch that is read to a smaller part is shuffled apart


class SourceSamples(Samples):
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
        in_order = _shuffled(order, n_together, random)
        self.flat = FlatTokens.of(in_order, lengths, stride=seq_len, width=seq_len + 1)

        places = np.arange(total, dtype=np.uint32)
        n_together = before_last if is_apart else total
        self.place = _shuffled(places, n_together, random)  # of sample i among those cut from the flat tokens

    def pieces(self, sample: int) -> Iterator[Piece]:
        """The documents of a sample of `seq_len` + 1 tokens, the last of which is a target only."""
        place = self.place.item(sample)
        return self.flat.pieces(place)

    def samples_of(self, document: int) -> list[int]:
        places = self.flat.samples_of(document)
        is_reading = np.isin(self.place, places)
        return np.flatnonzero(is_reading).tolist()


def _shuffled(array: ndarray, n_first: int, random: np.random.RandomState) -> ndarray:
    """The first `n_first` items shuffled, then the others; no others ask nothing of the random numbers."""
    shuffled = array.copy()
    random.shuffle(shuffled[:n_first])
    random.shuffle(shuffled[n_first:])
    return shuffled


def blend(weights: Sequence[float], size: int) -> Draws:
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
    return Draws(source, sample)


class MegatronOrder(TrainerOrder):
    """The order of a stage that Megatron trains with the arguments of its export."""

    trainer = "Megatron"

    def _cut(self) -> None:
        given = np.array([float(share) for share in self.shares.values()])
        weights = given / given.sum()
        self.weights = weights.tolist()
        for name, weight in zip(self.sources, self.weights, strict=True):
            asked = self._asked(weight)
            lengths = self.lengths[name]
            samples = SourceSamples(lengths, self.stage.seq_len, asked, self.stage.seed)
            self.source_samples[name] = samples

    def _asked(self, weight: float) -> int:
        """How many samples a source prepares."""
        samples = self.stage.steps * self.batch_size
        if len(self.sources) == 1:
            return samples
        of_source = math.ceil(samples * weight)
        return math.ceil(of_source * (1 + SURPLUS))

    def draws(self, steps: int) -> Draws:
        return blend(self.weights, steps * self.batch_size)
