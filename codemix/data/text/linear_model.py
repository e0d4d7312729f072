"""A linear classifier of texts: logistic regression over hashed words and pairs of words.

What DCLM (arXiv 2406.11794, section 4.4) and FineWeb-Edu (arXiv 2406.17557) do with fastText and a linear head is
this, without an embedding. The features are hashed (Weinberger et al., arXiv 0902.2206), the rates are AdaGrad's
(Duchi et al., JMLR 12, 2011), and the order is given, so that the same texts make the same model. Weights are
whole numbers of 2**-16: a sum of them is exact in any order, and so is a score.

    file: the line `codemix-linear 1`, a line of JSON, the weights as little-endian int32
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from codemix.data.text.words import words
from codemix.files import replacing

MAGIC = b"codemix-linear 1\n"
BITS = 20  # of a feature's number
UNIT = 2**16  # of a weight
PASSES = 3  # over the texts of training
RATE = 0.3
MAX_CHARS = 50_000  # of a text that are looked at
MILLION = 10**6
_MAX_WORDS = 500_000  # held in memory with their hashes
_MULTIPLIER = np.uint32(0x9E3779B1)  # 2**32 over the golden ratio: mixes bits, and tells `a b` from `b a`
_HALF = np.uint32(15)
_UNUSED_BITS = np.uint32(32 - BITS)


class NotLinear(ValueError):
    """Why a file is not a whole linear model."""


class Labelled(NamedTuple):
    """A text of training."""

    text: str
    positive: bool


class _Hashes(dict[str, int]):
    """The hash of each word, counted once a word."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MAX_WORDS:
            self.clear()
        hashed = zlib.crc32(word.encode())
        self[word] = hashed
        return hashed


_HASHES = _Hashes()


def features(text: str) -> np.ndarray:
    """The numbers, below 2**BITS, of a text's words and of its pairs of neighbouring words; each occurrence."""
    start = text[:MAX_CHARS]
    found = words(start.lower())
    hashes = np.fromiter(map(_HASHES.__getitem__, found), np.uint32, len(found))
    firsts = hashes[:-1] * _MULTIPLIER
    pairs = firsts + hashes[1:]
    both = np.concatenate([hashes, pairs])
    high_bits = both >> _HALF
    mixed = (both ^ high_bits) * _MULTIPLIER
    return mixed >> _UNUSED_BITS


@dataclass(frozen=True)
class LinearModel:
    """Weights of the features, and what is added to every sum."""

    weights: np.ndarray  # int32[2**BITS], of UNIT
    bias: float

    def score(self, text: str) -> int:
        """The probability that a text is like the positive ones [millionths]."""
        found = features(text)
        weights = self.weights[found]
        total = int(weights.sum(dtype=np.int64))
        length = math.sqrt(max(1, len(found)))
        log_odds = total / UNIT / length + self.bias
        return round(_logistic(log_odds) * MILLION)

    def save(self, path: Path) -> None:
        about = {"bits": BITS, "bias": self.bias, "max_chars": MAX_CHARS}
        line = json.dumps(about) + "\n"
        weights = self.weights.astype("<i4")
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(MAGIC)
            file.write(line.encode())
            file.write(weights.tobytes())


def load(path: Path) -> LinearModel:
    """The model in a file. Raises NotLinear for a file that is not one, or not whole."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise NotLinear("it is not a linear model of codemix: its first line is different")
        about = _about(file.readline(1000))
        expected = 4 * 2**BITS
        held = file.read(expected + 1)
    if len(held) != expected:
        raise NotLinear("it is cut off, or something was added to it")
    return LinearModel(np.frombuffer(held, "<i4"), about["bias"])


def _about(line: bytes) -> dict[str, Any]:
    try:
        about = json.loads(line)
        bits, bias, max_chars = about["bits"], about["bias"], about["max_chars"]
    except (ValueError, KeyError, TypeError):
        raise NotLinear("its second line is not what codemix writes") from None
    if (bits, max_chars) != (BITS, MAX_CHARS) or not isinstance(bias, float) or not math.isfinite(bias):
        raise NotLinear("its second line is not what this version of codemix writes")
    return about


def train(texts: Iterable[Labelled]) -> LinearModel:
    """The model of texts, of which some are positive and some are not, in their order. Both count the same."""
    rows = [_Row.of(labelled) for labelled in texts]
    n_positive = sum(row.positive for row in rows)
    n_of_class = {True: n_positive, False: len(rows) - n_positive}
    trainer = _Trainer()
    for _ in range(PASSES):
        for row in rows:
            importance = len(rows) / 2 / n_of_class[row.positive]
            trainer.learn(row, importance)
    limit = 2**31 - 1
    whole = np.rint(trainer.weights * UNIT)
    bounded = np.clip(whole, -limit, limit)
    weights = bounded.astype(np.int32)
    return LinearModel(weights, trainer.bias)


class _Row(NamedTuple):
    """The features of a text of training, each once."""

    numbers: np.ndarray
    values: np.ndarray  # how often each occurs, over the root of all occurrences
    positive: bool

    @classmethod
    def of(cls, labelled: Labelled) -> _Row:
        found = features(labelled.text)
        numbers, counts = np.unique(found, return_counts=True)
        length = math.sqrt(max(1, len(found)))
        values = counts / length
        narrow = values.astype(np.float32)  # there are many rows in memory
        return cls(numbers, narrow, labelled.positive)


class _Trainer:
    """Weights while they are learnt, and the sums of their squared gradients."""

    def __init__(self) -> None:
        self.weights = np.zeros(2**BITS)
        self.bias = 0.0
        self._squares = np.full(2**BITS, 1e-6)
        self._bias_squares = 1e-6

    def learn(self, row: _Row, importance: float) -> None:
        """One step of AdaGrad along the gradient of one text's loss."""
        numbers = row.numbers
        values = row.values.astype(np.float64)
        weights = self.weights[numbers]
        products = weights * values
        log_odds = float(products.sum()) + self.bias
        error = importance * (_logistic(log_odds) - row.positive)
        gradient = values * error
        squares = self._squares[numbers] + gradient**2
        steps = RATE * gradient / np.sqrt(squares)
        self._squares[numbers] = squares
        self.weights[numbers] = weights - steps
        self._bias_squares += error**2
        self.bias -= RATE * error / math.sqrt(self._bias_squares)


def _logistic(x: float) -> float:
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    grown = math.exp(x)
    return grown / (1 + grown)


def auc(positive: Sequence[int], negative: Sequence[int]) -> float:
    """The area under the ROC curve: how often a positive text's score is the higher one, ties counted half."""
    others = np.sort(np.asarray(negative))
    scores = np.asarray(positive)
    lower = np.searchsorted(others, scores, "left")
    lower_or_equal = np.searchsorted(others, scores, "right")
    wins = (lower + lower_or_equal) / 2
    pairs = len(positive) * len(negative)
    return float(wins.sum()) / pairs
