"""The order in which OLMo-core trains on an export's documents: a pure function of the seed, the sizes of the
files and the settings that the export writes.

Described from ai2-olmo-core 3.0.0 (`source_mixture.py`, `numpy_dataset.py`, `data_loader.py`). A file is cut into
instances of `sequence_length` tokens from its first token on, without overlap. The mixture takes the first
instances of every file, as many as its ratio asks, the whole file again and again where it is repeated; its `seed`
draws instances too, but what it draws is not read. The data loader shuffles all instances once for an epoch.
Step N reads those from N * batch size on, whatever the numbers of ranks, threads and workers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from codemix.data.export.trainer_order import Draws, FlatTokens, Piece, TrainerOrder
from codemix.errors import CodemixError
from codemix.recipe.planning.plan import StagePlan


@dataclass(frozen=True)
class FilePass:
    """One pass over the file of a source: how much of it the mixture asks for."""

    source: int
    asked: int  # tokens
    held: int  # whole instances in the file


def passes(
    shares: Mapping[str, str], tokens: Mapping[str, int], requested: int, seq_len: int
) -> list[FilePass]:
    """The passes over the files in the mixture's order: whole ones of a source, then the rest of what it asks.

    `requested` is the mixture's `requested_tokens`. In the same binary floating point, so that the same rounding
    comes out.
    """
    made = []
    for number, (source, share) in enumerate(shares.items()):
        available = tokens[source]
        remaining = int(requested * float(share)) / available
        while True:
            part = min(1.0, remaining)
            asked = math.ceil(available * part)
            made.append(FilePass(number, asked, available // seq_len))
            remaining -= part
            if remaining <= 0:
                break
    return made


def instances(asked: list[FilePass], total: int, seq_len: int) -> list[int]:
    """How many instances each pass contributes: whole ones, then what lacks of `total` spread over the passes that
    have more, by largest remainder, the last pass first among equals.
    """
    counts = [min(each.asked // seq_len, each.held) for each in asked]
    missing = total - sum(counts)
    with_more = [i for i, each in enumerate(asked) if counts[i] < each.held]
    if missing <= 0 or not with_more:
        return counts
    evenly = missing // len(with_more)
    for i in with_more:
        counts[i] += min(evenly, asked[i].held - counts[i])
    missing = total - sum(counts)
    by_remainder = sorted(with_more, key=lambda i: (asked[i].asked % seq_len, i), reverse=True)
    still_more = [i for i in by_remainder if counts[i] < asked[i].held]
    for i in still_more[:missing]:
        counts[i] += 1
    return counts


class OlmoCoreOrder(TrainerOrder):
    """The order of a stage that OLMo-core trains with the settings of its export."""

    trainer = "OLMo-core"

    def __init__(self, stage: StagePlan, shares: Mapping[str, str], lengths: Mapping[str, ndarray]):
        """Raises CodemixError (`order-unknown`) also where the files hold less than a batch."""
        super().__init__(stage, shares, lengths)
        seq_len = stage.seq_len
        self._flat: dict[str, FlatTokens] = {}
        tokens = {}
        for source in self.sources:
            of_source = lengths[source]
            in_order = np.arange(len(of_source))
            self._flat[source] = FlatTokens.of(in_order, of_source, stride=seq_len, width=seq_len)
            tokens[source] = int(of_source.sum())
        asked = passes(shares, tokens, stage.tokens, seq_len)
        counts = instances(asked, stage.steps * self.batch_size, seq_len)
        numbers = [each.source for each in asked]
        of_pass = [np.arange(count) for count in counts]
        self._all = Draws(np.repeat(numbers, counts), np.concatenate(of_pass))
        self.steps_per_epoch = len(self._all.source) // self.batch_size
        if self.steps_per_epoch == 0:
            raise CodemixError(
                f"the files of stage `{stage.name}` have fewer instances than a batch, which OLMo-core cannot read",
                hints=["a larger source, or a smaller `batch_size`"],
                rule="order-unknown",
            )

    def draws(self, steps: int) -> Draws:
        epochs = math.ceil(steps / self.steps_per_epoch)
        places = np.concatenate([self._epoch(number) for number in range(1, epochs + 1)])
        read = places[: steps * self.batch_size]
        return Draws(self._all.source[read], self._all.sample[read])

    def _epoch(self, number: int) -> ndarray:
        """The instances of an epoch, counted from 1, as the data loader orders them: whole batches only."""
        order = np.arange(len(self._all.source), dtype=np.uint32)
        random = np.random.Generator(np.random.PCG64(self.stage.seed + number))
        random.shuffle(order)
        return order[: self.steps_per_epoch * self.batch_size]

    def pieces(self, source: str, sample: int) -> Iterator[Piece]:
        return self._flat[source].pieces(sample)

    def samples_of(self, source: str, document: int) -> ndarray:
        return np.array(self._flat[source].samples_of(document))
