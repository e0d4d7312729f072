"""Scores of text under a model: log-probabilities of continuations and of whole documents.

Sequences are packed several to a row (see `packing`), logits are made only where something is scored, a few positions at
a time, in float32. Where a text is cut into context and continuation is said in `text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codemix.errors import CodemixError
from codemix.eval.engine import packing
from codemix.eval.engine.text import Cut, Pair, Text
from codemix.progress import progress
from codemix.train.model import attention
from codemix.train.model.decoder import Attention, Decoder, hidden, logits
from codemix.train.model.mesh import BATCH

LOGIT_VALUES = {"cpu": 2**20}  # float32 logits held at once: 4 MiB stay in a cache, and fault in no new pages
OTHER_LOGIT_VALUES = 2**24
SMALLEST_CHUNK = (
    64  # positions whose logits are made at once at least: fewer would read a large head too often
)


@dataclass(frozen=True)
class Score:
    """Of one continuation or document: sum of log p [nats], tokens that were scored, whether each was the likeliest one."""

    log_p: float
    tokens: int
    greedy: bool
    truncated: bool = False  # whether context was cut on the left to fit
    n_bytes: int = 0  # UTF-8 length of the text that was scored, where it is known

    @property
    def bits(self) -> float:
        return -self.log_p / float(np.log(2.0))


class Engine:
    """A model ready to score. `longest` is how many tokens it may look at: the seq_len it was trained with."""

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
        """`batch_tokens`: tokens a forward pass [tokens]; `mesh`: where the model lies, when it lies on several devices."""
        self.model, self.text, self.longest, self.mesh = model, text, longest, mesh
        platform = mesh.devices.flat[0].platform if mesh is not None else jax.default_backend()
        self.batch_tokens = max(longest, batch_tokens or (2048 if platform == "cpu" else 2**16))
        dtype = jnp.dtype(
            ("float32" if platform == "cpu" else "bfloat16") if compute_dtype == "auto" else compute_dtype
        )
        at_once = LOGIT_VALUES.get(platform, OTHER_LOGIT_VALUES)
        self.options = dict(attention=attention.for_platform(platform, mesh), compute_dtype=dtype)
        self.score_options = self.options | {"logits_at_once": at_once}

    def score_continuations(self, pairs: Sequence[Pair], label: str = "scoring") -> list[Score]:
        """Score of each continuation after its context, in order. A context too long is cut on the left."""
        return self._score_cuts([self.text.cut([pair])[0] for pair in pairs], label)

    def score_choices(self, questions: Sequence[Sequence[Pair]], label: str = "scoring") -> list[list[Score]]:
        """Like `score_continuations` for the choices of each question, which are scored on comparable text."""
        cuts = [self.text.cut(choices) for choices in questions]
        scores = iter(self._score_cuts([cut for of_question in cuts for cut in of_question], label))
        return [[next(scores) for _ in of_question] for of_question in cuts]

    def _score_cuts(self, cuts: Sequence[Cut], label: str) -> list[Score]:
        scores = self.score_tokens([(cut.given, cut.scored) for cut in cuts], label)
        return [replace(score, n_bytes=cut.n_bytes) for score, cut in zip(scores, cuts, strict=True)]

    def score_tokens(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], label: str = "scoring"
    ) -> list[Score]:
        """Like `score_continuations`, on tokens. A continuation longer than the model looks at is scored in windows of `longest`."""
        cut, owner = [], []
        for number, (context, continuation) in enumerate(pairs):
            if not len(continuation) or not len(context):
                raise CodemixError(
                    f"request {number} has no {'continuation' if len(context) else 'context'} to score: its text makes no token of its own",
                    hints=["look at that example of the task's file"],
                    rule="empty-continuation",
                )
            found = windows(context, continuation, self.longest)
            cut += found
            owner += [number] * len(found)
        log_p, greedy = self._run([w for w, _ in cut], [n for _, n in cut], label)
        totals: list[Score] = [Score(0.0, 0, True, len(c) + len(t) - 1 > self.longest) for c, t in pairs]
        for number, p, g in zip(owner, log_p, greedy, strict=True):
            so_far = totals[number]
            log = so_far.log_p + float(np.sum(p, dtype=np.float64))
            totals[number] = Score(
                log, so_far.tokens + len(p), so_far.greedy and bool(np.all(g)), so_far.truncated
            )
        return totals

    def score_documents(self, documents: Sequence[Sequence[int]], label: str = "scoring") -> list[Score]:
        """Score of every token of each document (EOS left out of the documents), the first one after EOS.

        Long documents are scored in windows of `longest` tokens: a window sees the token before it, the last one as much as
        fits (lm-eval's rolling rule). No document sees another.
        """
        found = iter(
            self.score_tokens(
                [([self.text.eos_id], document) for document in documents if len(document)], label
            )
        )
        return [next(found) if len(document) else Score(0.0, 0, True) for document in documents]

    def _run(
        self, sequences: list[np.ndarray], scored: list[int], label: str
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        lengths = [len(s) - 1 for s in sequences]
        log_p: list[Any] = [None] * len(sequences)
        greedy: list[Any] = [None] * len(sequences)
        with progress(label, sum(scored), "tokens") as advance:
            pending = None  # the device works on one batch while the host unpacks the one before
            for room, height, rows in packing.batches(
                lengths, self.longest, self.batch_tokens * self.row_shards
            ):
                batch, places = _fill(rows, sequences, scored, room, height)
                result = self._forward(batch)
                if pending:
                    advance(_unpack(*pending, log_p, greedy))
                pending = (result, places)
            if pending:
                advance(_unpack(*pending, log_p, greedy))
        return log_p, greedy

    def _forward(self, batch: dict[str, np.ndarray]) -> tuple[jax.Array, jax.Array]:
        return _log_probabilities(
            self.model, {name: self.put(value) for name, value in batch.items()}, **self.score_options
        )

    def put(self, value: np.ndarray) -> Any:
        """An array with its rows spread over the mesh; rows that belong to nobody are added where they do not divide."""
        if self.mesh is None or not value.ndim:
            return value
        short = -len(value) % self.row_shards
        value = np.concatenate([value, np.zeros((short, *value.shape[1:]), value.dtype)]) if short else value
        return jax.device_put(value, jax.sharding.NamedSharding(self.mesh, BATCH))

    @property
    def row_shards(self) -> int:
        return 1 if self.mesh is None else self.mesh.shape["data"] * self.mesh.shape["fsdp"]


def windows(
    context: Sequence[int], continuation: Sequence[int], longest: int
) -> list[tuple[np.ndarray, int]]:
    """(tokens, how many of the last ones to score): each token of the continuation is scored once, and none sees more than `longest`.

    >>> [(list(map(int, tokens)), n) for tokens, n in windows([0], [1, 2, 3, 4, 5], 3)]
    [([0, 1, 2, 3], 3), ([2, 3, 4, 5], 2)]
    """
    whole = np.concatenate([np.asarray(context, np.int64), np.asarray(continuation, np.int64)])
    ends = [min(len(whole), start + longest) for start in range(len(context), len(whole), longest)]
    return [
        (whole[max(0, end - longest - 1) : end], end - start)
        for start, end in zip([len(context), *ends], ends, strict=False)
    ]


def _fill(rows: list[list[int]], sequences: list[np.ndarray], scored: list[int], room: int, height: int):
    """One batch of arrays [rows, tokens] and where each sequence's scored tokens will be found: (item, row, first place, n)."""
    batch = {
        k: np.zeros((height, room), np.int32)
        for k in ("inputs", "targets", "positions", "segments", "places")
    }
    found, most = [], 0
    for r, row in enumerate(rows):
        column = count = 0
        for s, item in enumerate(row):
            tokens, n = sequences[item], scored[item]
            end = column + len(tokens) - 1
            batch["inputs"][r, column:end], batch["targets"][r, column:end] = tokens[:-1], tokens[1:]
            batch["positions"][r, column:end], batch["segments"][r, column:end] = (
                np.arange(len(tokens) - 1),
                s + 1,
            )
            batch["places"][r, count : count + n] = np.arange(end - n, end)
            found.append((item, r, count, n))
            column, count = end, count + n
        most = max(most, count)
    return batch | {"most": np.asarray(most, np.int32)}, found


def _unpack(
    result: tuple[jax.Array, jax.Array],
    places: list[tuple[int, int, int, int]],
    log_p: list[Any],
    greedy: list[Any],
) -> int:
    p, g = (np.asarray(a) for a in result)
    tokens = 0
    for item, row, start, n in places:
        log_p[item], greedy[item] = p[row, start : start + n], g[row, start : start + n]
        if not np.isfinite(log_p[item]).all():
            raise CodemixError(
                "the model gives scores that are not numbers (NaN or infinity)",
                hints=[
                    "its training diverged, or its checkpoint is damaged: look at the loss in its metrics"
                ],
                rule="scores-not-finite",
            )
        tokens += n
    return tokens


@partial(jax.jit, static_argnames=("attention", "compute_dtype", "logits_at_once"))
def _log_probabilities(
    model: Decoder,
    batch: dict[str, jax.Array],
    *,
    attention: Attention,
    compute_dtype: Any,
    logits_at_once: int,
) -> tuple[jax.Array, jax.Array]:
    """log p of the targets at `places` [rows, tokens], and whether each is the likeliest token."""
    states = hidden(
        model,
        batch["inputs"],
        batch["positions"],
        batch["segments"],
        attention=attention,
        compute_dtype=compute_dtype,
    )
    height, room = batch["inputs"].shape
    chunk = min(room, max(-(-SMALLEST_CHUNK // height), logits_at_once // (height * len(model.embedding))))
    places = jnp.pad(batch["places"], ((0, 0), (0, -room % chunk)))

    def body(i, carry):
        at = jax.lax.dynamic_slice_in_dim(places, i * chunk, chunk, 1)
        target = jnp.take_along_axis(batch["targets"], at, 1)
        scores = logits(model, jnp.take_along_axis(states, at[..., None], 1))
        own, best = jnp.take_along_axis(scores, target[..., None], -1)[..., 0], scores.max(-1)
        found = own - best - jnp.log(jnp.exp(scores - best[..., None]).sum(-1)), own == best
        return tuple(
            jax.lax.dynamic_update_slice_in_dim(old, new, i * chunk, 1)
            for old, new in zip(carry, found, strict=True)
        )

    nothing = jnp.zeros(places.shape, jnp.float32), jnp.zeros(places.shape, bool)
    return jax.lax.fori_loop(0, -(-batch["most"] // chunk), body, nothing)
