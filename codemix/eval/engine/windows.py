"""The windows in which a text is scored, packed into batches, and the scores put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from codemix.errors import CodemixError
from codemix.eval.engine import packing
from codemix.eval.engine.text import Tokens


@dataclass(frozen=True)
class Score:
    """Of one continuation or document: sum of log p [nats], tokens scored,
    whether each was the likeliest one.
    """

    log_p: float
    tokens: int
    greedy: bool
    truncated: bool = False  # whether context was cut on the left to fit
    n_bytes: int = 0  # UTF-8 length of the text that was scored, where it is known

    @property
    def bits(self) -> float:
        return -self.log_p / float(np.log(2.0))


def scores_not_finite() -> CodemixError:
    return CodemixError(
        "the model gives scores that are not numbers (NaN or infinity)",
        hints=["its training diverged, or its checkpoint is damaged: look at the loss in its metrics"],
        rule="scores-not-finite",
    )


class Window(NamedTuple):
    """Tokens of which the last `scored` ones are scored."""

    tokens: np.ndarray
    scored: int


class TokenScores(NamedTuple):
    """Of one window's scored tokens: log p [nats], and whether each is the likeliest."""

    log_p: np.ndarray
    greedy: np.ndarray


class PlaceScores(NamedTuple):
    """The same of a batch, by row and place."""

    log_p: Float[Array, "B P"]
    greedy: Bool[Array, "B P"]


def add_scores(total: Score, result: TokenScores) -> Score:
    return replace(
        total,
        log_p=total.log_p + float(np.sum(result.log_p, dtype=np.float64)),
        tokens=total.tokens + len(result.log_p),
        greedy=total.greedy and bool(np.all(result.greedy)),
    )


def windows(context: Tokens, continuation: Tokens, longest: int) -> list[Window]:
    """Windows such that each token of the continuation is scored once, and none sees more than `longest`.

    >>> [(list(map(int, tokens)), n) for tokens, n in windows([0], [1, 2, 3, 4, 5], 3)]
    [([0, 1, 2, 3], 3), ([2, 3, 4, 5], 2)]
    """
    parts = [np.asarray(part, np.int64) for part in (context, continuation)]
    whole = np.concatenate(parts)
    length = len(whole)
    found = []
    for start in range(len(context), length, longest):
        end = min(length, start + longest)
        first = max(0, end - longest - 1)
        tokens = whole[first:end]
        found.append(Window(tokens, end - start))
    return found


class Place(NamedTuple):
    """Where in a batch the scored tokens of an item are found."""

    item: int
    row: int
    columns: slice


@dataclass(frozen=True)
class Batch:
    """Arrays [rows, tokens] and where each item's scores will be."""

    arrays: dict[str, np.ndarray]
    places: list[Place]


def fill_batch(packed: packing.Batch, parts: Sequence[Window]) -> Batch:
    shape = (5, packed.height, packed.room)
    inputs, targets, positions, segments, scored = np.zeros(shape, np.int32)
    places: list[Place] = []
    most = 0
    for r, row in enumerate(packed.rows):
        column = count = 0
        for segment, item in enumerate(row, 1):
            tokens, n = parts[item]
            length = len(tokens) - 1
            end = column + length
            own = (r, slice(column, end))
            inputs[own] = tokens[:-1]
            targets[own] = tokens[1:]
            positions[own] = np.arange(length)
            segments[own] = segment
            place = Place(item, r, slice(count, count + n))
            places.append(place)
            scored[r, place.columns] = np.arange(end - n, end)
            column = end
            count += n
        most = max(most, count)
    arrays = {
        "inputs": inputs,
        "targets": targets,
        "positions": positions,
        "segments": segments,
        "places": scored,
        "most": np.asarray(most, np.int32),
    }
    return Batch(arrays, places)


def unpack_scores(scores: PlaceScores, places: Sequence[Place], results: dict[int, TokenScores]) -> int:
    """Enter the scores of a batch into `results`; how many tokens they are."""
    log_p = np.asarray(scores.log_p)
    greedy = np.asarray(scores.greedy)
    n_tokens = 0
    for item, row, columns in places:
        result = TokenScores(log_p[row, columns], greedy[row, columns])
        if not np.isfinite(result.log_p).all():
            raise scores_not_finite()
        results[item] = result
        n_tokens += len(result.log_p)
    return n_tokens
