"""Scores of text under a model: log-probabilities of continuations and of whole documents.

Sequences are packed several to a row (see `packing`), logits are made only where something is scored, a few
positions at a time, in float32. Where a text is cut into context and continuation is decided in `text`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from codemix.errors import CodemixError
from codemix.eval.engine import packing
from codemix.eval.engine.text import Cut, Pair, Text
from codemix.progress import progress
from codemix.train.model.compute import Compute, compute_for
from codemix.train.model.decoder import Decoder, hidden, logits
from codemix.train.model.mesh import BATCH
from codemix.train.model.shapes import Index

LOGIT_VALUES = {"cpu": 2**20}  # float32 logits held at once: 4 MiB stay in a cache, and fault in no new pages
OTHER_LOGIT_VALUES = 2**24
SMALLEST_CHUNK = (
    64  # positions whose logits are made at once at least: fewer would read a large head too often
)
BATCH_TOKENS = {"cpu": 2048}
OTHER_BATCH_TOKENS = 2**16
Tokens = Sequence[int] | np.ndarray


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


class Engine:
    """A model ready to score. `longest` is how many tokens it may look at:
    the seq_len it was trained with.
    """

    def __init__(
        self,
        model: Decoder,
        text: Text,
        *,
        longest: int,
        compute_dtype: str = "auto",
        batch_tokens: int | None = None,
        mesh: jax.sharding.Mesh | None = None,
    ):
        """`batch_tokens`: tokens per forward pass; `mesh`:
        where the model lies, when it lies on several devices.
        """
        self.model = model
        self.text = text
        self.longest = longest
        self.mesh = mesh
        self.compute = compute_for(mesh, dtype=compute_dtype)
        platform = self.compute.platform
        self.batch_tokens = max(longest, batch_tokens or BATCH_TOKENS.get(platform, OTHER_BATCH_TOKENS))
        self._logits_at_once = LOGIT_VALUES.get(platform, OTHER_LOGIT_VALUES)

    def score_continuations(self, pairs: Sequence[Pair], label: str = "scoring") -> list[Score]:
        """Score of each continuation after its context, in order. A context too long is cut on the left."""
        cuts = [self.text.cut([pair])[0] for pair in pairs]
        return self._score_cuts(cuts, label)

    def score_choices(self, questions: Sequence[Sequence[Pair]], label: str = "scoring") -> list[list[Score]]:
        """Like `score_continuations` for the choices of each question,
        which are scored on comparable text.
        """
        cuts = [self.text.cut(choices) for choices in questions]
        all_cuts = [cut for of_question in cuts for cut in of_question]
        scores = iter(self._score_cuts(all_cuts, label))
        return [[next(scores) for _ in of_question] for of_question in cuts]

    def _score_cuts(self, cuts: Sequence[Cut], label: str) -> list[Score]:
        scores = self.score_tokens([(cut.given, cut.scored) for cut in cuts], label)
        return [replace(score, n_bytes=cut.n_bytes) for score, cut in zip(scores, cuts, strict=True)]

    def score_tokens(self, pairs: Sequence[tuple[Tokens, Tokens]], label: str = "scoring") -> list[Score]:
        """Like `score_continuations`, on tokens. A continuation longer than the model looks at is scored in
        windows of `longest`.
        """
        parts: list[Window] = []
        owners: list[int] = []
        for number, (context, continuation) in enumerate(pairs):
            if not len(continuation) or not len(context):
                raise _nothing_to_score(number, "continuation" if len(context) else "context")
            of_pair = windows(context, continuation, self.longest)
            parts += of_pair
            owners += [number] * len(of_pair)
        totals = [Score(0.0, 0, True, len(c) + len(t) - 1 > self.longest) for c, t in pairs]
        for number, result in zip(owners, self._run(parts, label), strict=True):
            totals[number] = _added(totals[number], result)
        return totals

    def score_documents(self, documents: Sequence[Tokens], label: str = "scoring") -> list[Score]:
        """Score of every token of each document (EOS left out of the documents), the first one after EOS.

        Long documents are scored in windows of `longest` tokens: a window sees the token before it, the last
        one as much as fits (lm-eval's rolling rule). No document sees another.
        """
        pairs = [([self.text.eos_id], document) for document in documents if len(document)]
        scores = iter(self.score_tokens(pairs, label))
        return [next(scores) if len(document) else Score(0.0, 0, True) for document in documents]

    def _run(self, parts: Sequence[Window], label: str) -> list[TokenScores]:
        lengths = [len(window.tokens) - 1 for window in parts]
        results: dict[int, TokenScores] = {}
        with progress(label, sum(window.scored for window in parts), "tokens") as advance:
            pending = None  # the device works on one batch while the host unpacks the one before
            batch_tokens = self.batch_tokens * self.row_shards
            for packed in packing.batches(lengths, self.longest, batch_tokens):
                batch = _fill(packed, parts)
                scores = self._forward(batch.arrays)
                if pending:
                    advance(_unpack(*pending, results))
                pending = (scores, batch.places)
            if pending:
                advance(_unpack(*pending, results))
        return [results[item] for item in range(len(parts))]

    def _forward(self, batch: dict[str, np.ndarray]) -> PlaceScores:
        arrays = {name: self.put(value) for name, value in batch.items()}
        return _log_probabilities(
            self.model, arrays, compute=self.compute, logits_at_once=self._logits_at_once
        )

    def put(self, value: np.ndarray) -> Any:
        """An array with its rows spread over the mesh; rows that belong to nobody are added where they do not
        divide."""
        if self.mesh is None or not value.ndim:
            return value
        missing = -len(value) % self.row_shards
        if missing:
            value = np.concatenate([value, np.zeros((missing, *value.shape[1:]), value.dtype)])
        return jax.device_put(value, jax.sharding.NamedSharding(self.mesh, BATCH))

    @property
    def row_shards(self) -> int:
        return 1 if self.mesh is None else self.mesh.shape["data"] * self.mesh.shape["fsdp"]


def scores_not_finite() -> CodemixError:
    return CodemixError(
        "the model gives scores that are not numbers (NaN or infinity)",
        hints=["its training diverged, or its checkpoint is damaged: look at the loss in its metrics"],
        rule="scores-not-finite",
    )


def _nothing_to_score(number: int, what: str) -> CodemixError:
    return CodemixError(
        f"request {number} has no {what} to score: its text makes no token of its own",
        hints=["look at that example of the task's file"],
        rule="empty-continuation",
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


def _added(total: Score, result: TokenScores) -> Score:
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
    whole = np.concatenate([np.asarray(context, np.int64), np.asarray(continuation, np.int64)])
    found = []
    for start in range(len(context), len(whole), longest):
        end = min(len(whole), start + longest)
        found.append(Window(whole[max(0, end - longest - 1) : end], end - start))
    return found


class Place(NamedTuple):
    """Where in a batch the scored tokens of an item are found."""

    item: int
    row: int
    first: int
    n: int


@dataclass(frozen=True)
class Batch:
    """Arrays [rows, tokens] and where each item's scores will be."""

    arrays: dict[str, np.ndarray]
    places: list[Place]


def _fill(packed: packing.Batch, parts: Sequence[Window]) -> Batch:
    names = ("inputs", "targets", "positions", "segments", "places")
    arrays = {name: np.zeros((packed.height, packed.room), np.int32) for name in names}
    places: list[Place] = []
    most = 0
    for r, row in enumerate(packed.rows):
        column = count = 0
        for segment, item in enumerate(row, 1):
            tokens, n = parts[item]
            end = column + len(tokens) - 1
            arrays["inputs"][r, column:end] = tokens[:-1]
            arrays["targets"][r, column:end] = tokens[1:]
            arrays["positions"][r, column:end] = np.arange(len(tokens) - 1)
            arrays["segments"][r, column:end] = segment
            arrays["places"][r, count : count + n] = np.arange(end - n, end)
            places.append(Place(item, r, count, n))
            column = end
            count += n
        most = max(most, count)
    return Batch(arrays | {"most": np.asarray(most, np.int32)}, places)


def _unpack(scores: PlaceScores, places: Sequence[Place], results: dict[int, TokenScores]) -> int:
    """Enter the scores of a batch into `results`; how many tokens they are."""
    log_p, greedy = np.asarray(scores.log_p), np.asarray(scores.greedy)
    for place in places:
        columns = slice(place.first, place.first + place.n)
        result = TokenScores(log_p[place.row, columns], greedy[place.row, columns])
        if not np.isfinite(result.log_p).all():
            raise scores_not_finite()
        results[place.item] = result
    return sum(place.n for place in places)


@functools.partial(jax.jit, static_argnames=("compute", "logits_at_once"))
def _log_probabilities(
    model: Decoder, batch: dict[str, Array], *, compute: Compute, logits_at_once: int
) -> PlaceScores:
    """log p of the targets at `places` [rows, tokens], and whether each is the likeliest token."""
    states = hidden(model, batch["inputs"], batch["positions"], batch["segments"], compute=compute)
    height, room = batch["inputs"].shape
    smallest = -(-SMALLEST_CHUNK // height)
    chunk = min(room, max(smallest, logits_at_once // (height * len(model.embedding))))
    places = jnp.pad(batch["places"], ((0, 0), (0, -room % chunk)))

    def body(i: Index, so_far: PlaceScores) -> PlaceScores:
        at = jax.lax.dynamic_slice_in_dim(places, i * chunk, chunk, 1)
        targets = jnp.take_along_axis(batch["targets"], at, 1)
        scores = logits(model, jnp.take_along_axis(states, at[..., None], 1))
        own = jnp.take_along_axis(scores, targets[..., None], -1)[..., 0]
        best = scores.max(-1)
        log_z = jnp.log(jnp.exp(scores - best[..., None]).sum(-1))
        write = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=i * chunk, axis=1)
        return PlaceScores(write(so_far.log_p, own - best - log_z), write(so_far.greedy, own == best))

    nothing = PlaceScores(jnp.zeros(places.shape, jnp.float32), jnp.zeros(places.shape, bool))
    return jax.lax.fori_loop(0, -(-batch["most"] // chunk), body, nothing)
