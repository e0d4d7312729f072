"""Scores of text under a model: log-probabilities of continuations and of whole documents.

Sequences are packed several to a row (see `packing`), logits are made only where something is scored, a few
positions at a time, in float32. Where a text is cut into context and continuation is decided in `text`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from codemix.errors import CodemixError
from codemix.eval.engine import packing
from codemix.eval.engine.text import Cut, Pair, Text, Tokens
from codemix.eval.engine.windows import (
    PlaceScores,
    Score,
    TokenScores,
    Window,
    add_scores,
    fill_batch,
    unpack_scores,
    windows,
)
from codemix.progress import progress
from codemix.train.model.compute import Compute, compute_for
from codemix.train.model.decoder import Decoder, hidden, logits
from codemix.train.model.mesh import BATCH
from codemix.train.model.shapes import Ids, Index, States

LOGIT_VALUES = {"cpu": 2**20}  # float32 logits held at once: 4 MiB stay in a cache, and fault in no new pages
OTHER_LOGIT_VALUES = 2**24
SMALLEST_CHUNK = (
    64  # positions whose logits are made at once at least: fewer would read a large head too often
)
BATCH_TOKENS = {"cpu": 2048}
OTHER_BATCH_TOKENS = 2**16
TokenPair = tuple[Tokens, Tokens]  # given, scored


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
        cuts = []
        for pair in pairs:
            cuts += self.text.cut([pair])
        return self._score_cuts(cuts, label)

    def score_choices(self, questions: Sequence[Sequence[Pair]], label: str = "scoring") -> list[list[Score]]:
        """Like `score_continuations` for the choices of each question,
        which are scored on comparable text.
        """
        cuts: list[Cut] = []
        ends = [0]
        for choices in questions:
            cuts += self.text.cut(choices)
            ends.append(len(cuts))
        scores = self._score_cuts(cuts, label)
        ranges = itertools.pairwise(ends)
        return [scores[first:end] for first, end in ranges]

    def _score_cuts(self, cuts: Sequence[Cut], label: str) -> list[Score]:
        pairs = [(cut.given, cut.scored) for cut in cuts]
        scores = []
        for cut, score in zip(cuts, self.score_tokens(pairs, label), strict=True):
            measured = replace(score, n_bytes=cut.n_bytes)
            scores.append(measured)
        return scores

    def score_tokens(self, pairs: Sequence[TokenPair], label: str = "scoring") -> list[Score]:
        """Like `score_continuations`, on tokens. A continuation longer than the model looks at is scored in
        windows of `longest`.
        """
        parts: list[Window] = []
        owners: list[int] = []
        totals: list[Score] = []
        for number, (context, continuation) in enumerate(pairs):
            _refuse_empty(number, context, continuation)
            of_pair = windows(context, continuation, self.longest)
            parts += of_pair
            owners += [number] * len(of_pair)
            inputs = len(context) + len(continuation) - 1
            totals.append(Score(0.0, 0, True, truncated=inputs > self.longest))
        results = self._run(parts, label)
        for owner, result in zip(owners, results, strict=True):
            totals[owner] = add_scores(totals[owner], result)
        return totals

    def score_documents(self, documents: Sequence[Tokens], label: str = "scoring") -> list[Score]:
        """Score of every token of each document (EOS left out of the documents), the first one after EOS.

        Long documents are scored in windows of `longest` tokens: a window sees the token before it, the last
        one as much as fits (lm-eval's rolling rule). No document sees another.
        """
        start = [self.text.eos_id]
        pairs: list[TokenPair] = []
        places = []
        scores = [Score(0.0, 0, True) for _ in documents]
        for place, document in enumerate(documents):
            if len(document):
                pairs.append((start, document))
                places.append(place)
        for place, score in zip(places, self.score_tokens(pairs, label), strict=True):
            scores[place] = score
        return scores

    def _run(self, parts: Sequence[Window], label: str) -> list[TokenScores]:
        lengths = [len(window.tokens) - 1 for window in parts]
        results: dict[int, TokenScores] = {}
        with progress(label, sum(window.scored for window in parts), "tokens") as advance:
            pending = None  # the device works on one batch while the host unpacks the one before
            batch_tokens = self.batch_tokens * self.row_shards
            for packed in packing.batches(lengths, self.longest, batch_tokens):
                batch = fill_batch(packed, parts)
                scores = self._forward(batch.arrays)
                if pending:
                    advance(unpack_scores(*pending, results))
                pending = (scores, batch.places)
            if pending:
                advance(unpack_scores(*pending, results))
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
        n_rows, *rest = value.shape
        missing = -n_rows % self.row_shards
        if missing:
            nobody = np.zeros((missing, *rest), value.dtype)
            value = np.concatenate([value, nobody])
        rows = jax.sharding.NamedSharding(self.mesh, BATCH)
        return jax.device_put(value, rows)

    @property
    def row_shards(self) -> int:
        if self.mesh is None:
            return 1
        sizes = self.mesh.shape
        return sizes["data"] * sizes["fsdp"]


def _refuse_empty(number: int, context: Tokens, continuation: Tokens) -> None:
    for what, tokens in (("context", context), ("continuation", continuation)):
        if not len(tokens):
            raise CodemixError(
                f"request {number} has no {what} to score: its text makes no token of its own",
                hints=["look at that example of the task's file"],
                rule="empty-continuation",
            )


@functools.partial(jax.jit, static_argnames=("compute", "logits_at_once"))
def _log_probabilities(
    model: Decoder, batch: dict[str, Array], *, compute: Compute, logits_at_once: int
) -> PlaceScores:
    """log p of the targets at `places` [rows, tokens], and whether each is the likeliest token."""
    inputs = batch["inputs"]
    targets = batch["targets"]
    states = hidden(model, inputs, batch["positions"], batch["segments"], compute=compute)
    height, room = inputs.shape
    positions_at_once = logits_at_once // len(model.embedding)
    chunk = _chunk_size(height, room, positions_at_once)
    missing = -room % chunk
    places = jnp.pad(batch["places"], ((0, 0), (0, missing)))
    n_chunks = -(-batch["most"] // chunk)

    def body(i: Index, so_far: PlaceScores) -> PlaceScores:
        first = i * chunk
        at = jax.lax.dynamic_slice_in_dim(places, first, chunk, 1)
        of_chunk = _place_scores(model, states, targets, at)
        write = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=first, axis=1)
        return jax.tree.map(write, so_far, of_chunk)

    log_p = jnp.zeros(places.shape, jnp.float32)
    greedy = jnp.zeros(places.shape, bool)
    nothing = PlaceScores(log_p, greedy)
    return jax.lax.fori_loop(0, n_chunks, body, nothing)


def _chunk_size(height: int, room: int, positions: int) -> int:
    """Positions of each row whose logits are made at once: so that all rows have at most `positions`, but
    not too few.
    """
    smallest = math.ceil(SMALLEST_CHUNK / height)
    wanted = max(smallest, positions // height)
    return min(room, wanted)


def _place_scores(model: Decoder, states: States, targets: Ids, at: Ids) -> PlaceScores:
    """Scores of the targets at these positions of each row."""
    targets = jnp.take_along_axis(targets, at, 1)
    at_states = at[..., None]
    states = jnp.take_along_axis(states, at_states, 1)
    scores = logits(model, states)
    at_scores = targets[..., None]
    picked = jnp.take_along_axis(scores, at_scores, -1)
    own = picked[..., 0]
    best = scores.max(-1)
    powers = jnp.exp(scores - best[..., None])
    log_z = jnp.log(powers.sum(-1))
    is_best = own == best
    return PlaceScores(own - best - log_z, is_best)
