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
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from codemix.data.export.trainer_order import Draws, FlatTokens, TrainerOrder
from codemix.errors import CodemixError


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
    counts = []
    for each in asked:
        whole = each.asked // seq_len
        counts.append(min(whole, each.held))
    missing = total - sum(counts)
    with_more = [i for i, each in enumerate(asked) if counts[i] < each.held]
    if missing <= 0 or not with_more:
        return counts
    evenly = missing // len(with_more)
    for i in with_more:
        left = asked[i].held - counts[i]
        counts[i] += min(evenly, left)
    missing = total - sum(counts)
    still_more = [i for i in with_more if counts[i] < asked[i].held]
    still_more.sort(key=lambda i: (asked[i].asked % seq_len, i), reverse=True)
    for i in still_more[:missing]:
        counts[i] += 1
    return counts


class OlmoCoreOrder(TrainerOrder):
    """The order of a stage that OLMo-core trains with the settings of its export."""

    trainer = "OLMo-core"

    def _cut(self) -> None:
        """Raises CodemixError (`order-unknown`) where the files hold less than a batch."""
        stage = self.stage
        seq_len = stage.seq_len
        tokens = {}
        for source in self.sources:
            of_source = self.lengths[source]
            in_order = np.arange(len(of_source))
            self.source_samples[source] = FlatTokens.of(in_order, of_source, seq_len, seq_len)
            tokens[source] = int(of_source.sum())
        asked = passes(self.shares, tokens, stage.tokens, seq_len)
        counts = instances(asked, stage.steps * self.batch_size, seq_len)
        numbers = [each.source for each in asked]
        of_pass = [np.arange(count) for count in counts]
        sources = np.repeat(numbers, counts)
        samples = np.concatenate(of_pass)
        self._all = Draws(sources, samples)
        self.steps_per_epoch = len(sources) // self.batch_size
        if self.steps_per_epoch == 0:
            raise CodemixError(
                f"the files of stage `{stage.name}` have fewer instances than a batch, which OLMo-core cannot read",
                hints=["a larger source, or a smaller `batch_size`"],
                rule="order-unknown",
            )

    def draws(self, steps: int) -> Draws:
        epochs = math.ceil(steps / self.steps_per_epoch)
        numbers = range(1, epochs + 1)
        order = np.concatenate([self._epoch(number) for number in numbers])
        first = order[: steps * self.batch_size]
        source = self._all.source[first]
        sample = self._all.sample[first]
        return Draws(source, sample)

    def _epoch(self, number: int) -> ndarray:
        """The instances of an epoch, counted from 1, as the data loader orders them: whole batches only."""
        total = len(self._all.source)
        order = np.arange(total, dtype=np.uint32)
        seed = self.stage.seed + number
        random = np.random.Generator(np.random.PCG64(seed))
        random.shuffle(order)
        read = self.steps_per_epoch * self.batch_size
        return order[:read]
