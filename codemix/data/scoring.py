"""Ops that score documents by a model: from a file, or trained on other sources of the recipe; and that may
need the scores of all documents before they judge one.

A build makes the model once, has every document scored where a cut depends on all of them, and hands both to the
workers as `Learned`. Ranks are exact: documents of equal score are in the order of a hash of their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from codemix.data.document import Document
from codemix.data.hash_rank import hash_rank
from codemix.data.interfaces import Op

MILLION = 10**6  # scores are whole numbers of millionths
_RANK_BITS = 44  # of a key; the score is above them

Scorer = Callable[[Document], int]  # a document's score [millionths]


@dataclass(frozen=True)
class Training:
    """What a model is trained on: the sources of each class, and about how much of their text [bytes]."""

    classes: Mapping[str, tuple[str, ...]]
    bytes: int

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source that a class names, once."""
        named: dict[str, None] = {}
        for sources in self.classes.values():
            named |= dict.fromkeys(sources)
        return tuple(named)


class LabelledText(NamedTuple):
    """A text of training and its class."""

    text: str
    label: str


@dataclass(frozen=True)
class Learned:
    """What an op knows before the first document: its model, and the keys at the places it asked for."""

    model: Path
    cuts: tuple[int, ...] = ()


class ScoringOp(Op):
    """An op that scores each document by a model."""

    def training(self) -> Training | None:
        """What its model is trained on; None for one from a file."""
        return None

    def trained_on(self) -> tuple[str, ...]:
        training = self.training()
        return () if training is None else training.sources

    def model_file(self, root: Path) -> Path:
        """The file of a model that is not trained here."""
        raise NotImplementedError

    def train(self, texts: Sequence[LabelledText], path: Path) -> None:
        """Trains the model on texts, in their order, and writes it."""
        raise NotImplementedError

    def scorer(self, model: Path) -> Scorer:
        """A function that scores a document."""
        raise NotImplementedError

    def places(self, n: int) -> tuple[int, ...]:
        """The places, from 1 for the best of `n` documents, whose keys the op must know; none as a rule."""
        return ()

    @property
    def is_ranked(self) -> bool:
        """Whether all documents must be scored before the first is judged."""
        return bool(self.places(MILLION))

    def prepare(self, root: Path) -> Learned:
        model = self.model_file(root)
        return Learned(model)


def sort_key(score: int, document_id: str) -> int:
    """A number below 2**64 that orders documents by score, and equal scores by a hash of the id."""
    tie = hash_rank(document_id) >> (64 - _RANK_BITS)
    return lowest_key(score) | tie


def lowest_key(score: int) -> int:
    """The lowest `sort_key` of a score."""
    return score << _RANK_BITS


def score_of(key: int) -> int:
    """The score in a `sort_key` [millionths]."""
    return key >> _RANK_BITS


def scoring_ops(ops: Sequence[Op]) -> Iterator[tuple[int, ScoringOp]]:
    """The ops that score, each with its number, from 1."""
    for number, op in enumerate(ops, 1):
        if isinstance(op, ScoringOp):
            yield number, op
