"""The order in which other trainers read an export's documents, where it follows from the seed, the lengths of
the documents and the settings that the export writes.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy import ndarray

from codemix.errors import CodemixError, did_you_mean
from codemix.recipe.planning.plan import StagePlan

ORDERS = {
    "megatron": "codemix.data.export.megatron_order:MegatronOrder",
    "olmo-core": "codemix.data.export.olmo_core_order:OlmoCoreOrder",
}
UNKNOWN_ORDERS = {
    "nanotron": "`export-data` writes no folder for it, and its reader, which is in no release, has changed: it "
    "shuffled samples once, and now reads files from front to back",
    "litdata": "LitData's order depends on the numbers of hosts and workers",
    "mds": "MosaicML Streaming's order depends on the numbers of hosts and workers",
    "arrayrecord": "the order is whatever the reader's own program shuffles",
    "parquet": "the order is whatever the reader's own program shuffles",
}


@dataclass(frozen=True)
class Piece:
    """Tokens of a sample that are one document's: `start` to `stop` - 1, from token `at` of the document."""

    document: int  # in the order of the export
    start: int
    stop: int
    at: int


class Samples(Protocol):
    """The samples of one source, by number."""

    def pieces(self, sample: int) -> Iterator[Piece]:
        """The documents of a sample."""
        ...

    def samples_of(self, document: int) -> list[int]:
        """The samples that have any token of a document, ascending; some may not be drawn."""
        ...


@dataclass(frozen=True)
class FlatTokens(Samples):
    """Documents one after the other, cut into samples: number n has `width` tokens from n * `stride` on."""

    document: ndarray  # their numbers in the export, in the order in which they lie here
    begin: ndarray  # int64 [documents + 1]: where each begins, and where the last ends
    stride: int
    width: int

    @classmethod
    def of(cls, document: ndarray, lengths: ndarray, stride: int, width: int) -> FlatTokens:
        """`lengths` are the tokens of the export's documents, each EOS included."""
        in_order = lengths[document]
        ends = np.cumsum(in_order)
        begin = np.concatenate([[0], ends])
        return cls(document, begin, stride, width)

    def pieces(self, sample: int) -> Iterator[Piece]:
        begin = sample * self.stride
        end = begin + self.width
        first = self._holding(begin)
        last = self._holding(end - 1)
        for number in range(first, last + 1):
            yield self._piece(number, begin, end)

    def _holding(self, token: int) -> int:
        """The document, by its place here, that holds a token."""
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

    def samples_of(self, document: int) -> list[int]:
        samples: list[int] = []
        for number in np.flatnonzero(self.document == document).tolist():
            samples += self._samples_of_place(number)
        return samples

    def _samples_of_place(self, number: int) -> range:
        begin = self.begin.item(number)
        end = self.begin.item(number + 1)
        overlap = self.width - self.stride
        first = max(0, (begin - overlap) // self.stride)
        last = (end - 1) // self.stride
        return range(first, last + 1)


@dataclass(frozen=True)
class Draws:
    """Sample i of a run: which source it is from, and which of the source's samples it is."""

    source: ndarray  # integers: numbers in the order's `sources`
    sample: ndarray  # int64


class TrainerOrder(ABC):
    """The order of a stage that another trainer trains with the settings of its export."""

    trainer: str  # as people call it

    def __init__(self, stage: StagePlan, shares: Mapping[str, str], lengths: Mapping[str, ndarray]):
        """`shares` are the weights that the export writes, `lengths` the documents' tokens by source.

        Raises CodemixError (`order-unknown`), for example for a stage whose batch grows.
        """
        if len(stage.batches) > 1:
            raise CodemixError(
                f"stage `{stage.name}` grows its batch, which the settings of an export leave out",
                hints=["the order is known where `batch_size` is one number"],
                rule="order-unknown",
            )
        self.stage = stage
        self.shares = shares
        self.sources = list(shares)
        self.lengths = lengths
        self.batch_size = stage.batch_size(0)
        self.source_samples: dict[str, Samples] = {}
        self._cut()

    @abstractmethod
    def _cut(self) -> None:
        """Fill `source_samples`."""
        raise NotImplementedError

    @abstractmethod
    def draws(self, steps: int) -> Draws:
        """The samples of the first `steps` steps, those of a step together."""
        raise NotImplementedError


def order_of(trained_by: str) -> type[TrainerOrder]:
    """Raises CodemixError (`order-unknown`) for a trainer whose order is not known, with the reason."""
    if trained_by in UNKNOWN_ORDERS:
        raise CodemixError(
            f"what a step of `{trained_by}` reads is not known here: {UNKNOWN_ORDERS[trained_by]}",
            hints=[
                "a stage of `export-data --materialize STAGE` that is read in order is asked without `--trained-by`"
            ],
            rule="order-unknown",
        )
    if trained_by not in ORDERS:
        raise CodemixError(
            f"`{trained_by}` is not a trainer whose order is known",
            hints=did_you_mean(trained_by, ("codemix", *ORDERS)),
            rule="order-unknown",
        )
    module, _, attribute = ORDERS[trained_by].partition(":")
    return getattr(importlib.import_module(module), attribute)
