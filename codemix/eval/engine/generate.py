"""Text that a model writes after prompts: batched, keys and values cached, stop strings cut, sampling by seed.

Shapes beyond those of train/model/decoder.py: S columns of the cache. Prompts are padded on the left, so every row writes the
same column and one slice update a layer is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codemix.errors import CodemixError
from codemix.eval.engine.score import Engine
from codemix.progress import progress
from codemix.train.model.decoder import Decoder, halves, logits, normed, rope_angles, rotate

CHUNK = 16  # tokens between two looks at stop strings
CACHE_BYTES = 2**31
SMALLEST_PROMPT = 64  # columns; prompts are padded to this, times a power of two


@dataclass(frozen=True)
class Decoding:
    """How text is chosen. Temperature 0 takes the likeliest token; otherwise `top_p` of the mass is sampled from.

    `stop`: the text ends before the first of these strings. What a seed gives does not depend on the batch.
    """

    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    samples: int = 1
    seed: int = 0

    def within(self, longest: int) -> Decoding:
        """The same, with at least half of what the model can look at left for the prompt."""
        return Decoding(**vars(self) | {"max_tokens": min(self.max_tokens, max(1, longest // 2))})


@dataclass(frozen=True)
class Generation:
    """What was written, up to and without a stop string; `finish` is stop, eos or length."""

    text: str
    tokens: int
    finish: str
    truncated: bool = False  # whether the prompt was cut on the left to fit


def generate(
    engine: Engine, prompts: Sequence[str], decoding: Decoding, label: str = "generating"
) -> list[list[Generation]]:
    """For each prompt its samples. A prompt that leaves no room for `max_tokens` is cut on the left."""
    decoding = decoding.within(engine.longest)
    room = engine.longest - decoding.max_tokens
    requests = [
        (engine.text.encode(prompt) or [engine.text.eos_id], p, s)
        for p, prompt in enumerate(prompts)
        for s in range(decoding.samples)
    ]
    order = sorted(range(len(requests)), key=lambda i: len(requests[i][0]))
    found: list[list[Any]] = [[None] * decoding.samples for _ in prompts]
    with progress(label, len(requests), "texts") as advance:
        while order:
            columns = _columns(min(room, len(requests[order[0]][0])), room)
            height = _height(engine, columns + decoding.max_tokens)
            batch = [i for i in order[:height] if min(room, len(requests[i][0])) <= columns]
            order = order[len(batch) :]
            rows = [(ids[-room:], p, s) for ids, p, s in (requests[i] for i in batch)]
            texts = _write(
                engine,
                rows,
                columns,
                height if len(batch) > height // 2 else 1 << (len(batch) - 1).bit_length(),
                decoding,
            )
            for i, (text, n, finish) in zip(batch, texts, strict=True):
                ids, p, s = requests[i]
                found[p][s] = Generation(text, n, finish, len(ids) > room)
            advance(len(batch))
    return found


def _columns(length: int, room: int) -> int:
    columns = SMALLEST_PROMPT
    while columns < length:
        columns *= 2
    return min(columns, room)


def _height(engine: Engine, columns: int) -> int:
    """Rows a batch: as many as the cache's share of memory holds, at most 32 on a CPU and 256 elsewhere."""
    blocks = engine.model.blocks.key
    row = (
        2
        * blocks.shape[0]
        * columns
        * blocks.shape[2]
        * blocks.shape[3]
        * jnp.dtype(engine.options["compute_dtype"]).itemsize
    )
    most = 32 if jax.default_backend() == "cpu" else 256
    height = max(1, min(most, CACHE_BYTES // row))
    return -(-(1 << (height.bit_length() - 1)) // engine.row_shards) * engine.row_shards


def _write(
    engine: Engine, rows: list[tuple[list[int], int, int]], columns: int, height: int, decoding: Decoding
) -> list[tuple[str, int, str]]:
    tokens, pad = np.zeros((height, columns), np.int32), np.full(height, columns - 1, np.int32)
    # a fresh key for each (seed, prompt, sample): what one text is does not depend on the others
    keys = np.zeros((height, 3), np.uint32)
    for r, (ids, prompt, sample) in enumerate(rows):
        tokens[r, columns - len(ids) :], pad[r], keys[r] = (
            ids,
            columns - len(ids),
            (decoding.seed & 0xFFFFFFFF, prompt, sample),
        )
    begins = [ids == [engine.text.eos_id] for ids, _, _ in rows]  # behind an empty prompt a text begins
    chunks = -(-(decoding.max_tokens - 1) // CHUNK)
    sampling = (
        (np.float32(decoding.temperature), np.float32(decoding.top_p)) if decoding.temperature else None
    )
    dtype = engine.options["compute_dtype"]
    pad, keys = engine.put(pad), engine.put(keys)
    cache, token = _start(
        engine.model, engine.put(tokens), pad, keys, sampling, width=columns + chunks * CHUNK, dtype=dtype
    )
    written, ended = np.asarray(token)[:, None], [None] * len(rows)
    for chunk in range(chunks + 1):
        for r in range(len(rows)):
            ended[r] = ended[r] or _ending(engine, written[r], begins[r], decoding)
        if all(ended) or chunk == chunks:
            break
        cache, more = _go_on(
            engine.model,
            cache,
            token,
            np.int32(columns),
            np.int32(chunk * CHUNK),
            pad,
            keys,
            sampling,
            dtype=dtype,
        )
        written, token = np.concatenate([written, np.asarray(more)], 1), more[:, -1]
    return [end or _cut(engine, written[r], begins[r], decoding) for r, end in enumerate(ended)]


def _ending(engine: Engine, ids: np.ndarray, begins: bool, decoding: Decoding) -> tuple[str, int, str] | None:
    """What a row has become if it has ended, else None."""
    text, n, finish = _cut(engine, ids, begins, decoding)
    return (text, n, finish) if finish != "length" or len(ids) >= decoding.max_tokens else None


def _cut(engine: Engine, ids: np.ndarray, begins: bool, decoding: Decoding) -> tuple[str, int, str]:
    if (ids < 0).any():
        raise CodemixError(
            "the model gives scores that are not numbers (NaN or infinity)",
            hints=["its training diverged, or its checkpoint is damaged: look at the loss in its metrics"],
            rule="scores-not-finite",
        )
    ids = ids[: decoding.max_tokens].tolist()
    finish = "length"
    if engine.text.eos_id in ids:
        ids, finish = ids[: ids.index(engine.text.eos_id)], "eos"
    text = engine.text.decode(ids) if begins else engine.text.decode_after(ids)
    places = [place for stop in decoding.stop if (place := text.find(stop)) >= 0]
    return (text[: min(places)], len(ids), "stop") if places else (text, len(ids), finish)


@partial(jax.jit, static_argnames=("width", "dtype"))
def _start(model: Decoder, tokens, pad, keys, sampling, *, width: int, dtype):
    """The cache after the prompts [B T], and the first token of each row."""
    L, _, K, H = model.blocks.key.shape
    nothing = jnp.zeros((L, len(tokens), width, K, H), dtype)
    states, cache = _forward(model, tokens, (nothing, nothing), 0, pad, dtype)
    return cache, _choose(logits(model, states[:, -1]), keys, 0, sampling)


@partial(jax.jit, static_argnames=("dtype",), donate_argnames="cache")
def _go_on(model: Decoder, cache, token, columns, done, pad, keys, sampling, *, dtype):
    """The cache and the next CHUNK tokens of each row, of which `done` + 1 are already there."""

    def body(i, carry):
        cache, token, out = carry
        states, cache = _forward(model, token[:, None], cache, columns + done + i, pad, dtype)
        token = _choose(logits(model, states[:, -1]), keys, done + i + 1, sampling)
        return cache, token, out.at[:, i].set(token)

    cache, _, out = jax.lax.fori_loop(
        0, CHUNK, body, (cache, token, jnp.zeros((len(token), CHUNK), jnp.int32))
    )
    return cache, out


def _forward(model: Decoder, tokens, cache, start, pad, dtype):
    """Final hidden states [B T D] of tokens that stand in columns `start` and on, and the cache with them in it."""
    T, width = tokens.shape[1], cache[0].shape[2]
    column = start + jnp.arange(T)
    angles = rope_angles(jnp.maximum(column - pad[:, None], 0), model.blocks.key.shape[-1], model.rope_theta)
    places = jnp.arange(width)
    seen = (places <= column[:, None]) & (places >= pad[:, None, None])
    seen = (seen | (places == column[:, None]))[
        :, None, None
    ]  # padding sees itself: a row that sees nothing would be NaN
    blocks = jax.tree.map(lambda w: w.astype(dtype), model.blocks)

    def layer(index, carry):
        x, keys, values = carry
        w = jax.tree.map(lambda w: jax.lax.dynamic_index_in_dim(w, index, keepdims=False), blocks)
        h = normed(x, w.norm, model.norm_kind, model.norm_eps)
        q, k, v = (
            jnp.einsum("btd,dkgh->btkgh", h, w.query),
            jnp.einsum("btd,dkh->btkh", h, w.key),
            jnp.einsum("btd,dkh->btkh", h, w.value),
        )
        if angles is not None:
            q, k = (
                rotate(halves(q), *angles),
                rotate(halves(k), *angles),
            )  # a token is smaller than the weights
        keys = jax.lax.dynamic_update_slice(keys, k[None], (index, 0, start, 0, 0))
        values = jax.lax.dynamic_update_slice(values, v[None], (index, 0, start, 0, 0))
        all_k, all_v = (jax.lax.dynamic_index_in_dim(a, index, keepdims=False) for a in (keys, values))
        scores = jnp.einsum(
            "btkgh,bskh->bkgts", q * q.shape[-1] ** -0.5, all_k, preferred_element_type=jnp.float32
        )
        weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), -1).astype(dtype)
        attended = jnp.einsum("btkgh,kghd->btd", jnp.einsum("bkgts,bskh->btkgh", weights, all_v), w.out)
        return x + attended + (jax.nn.silu(h @ w.gate) * (h @ w.up)) @ w.down, keys, values

    x, keys, values = jax.lax.fori_loop(
        0, len(blocks.norm), layer, (model.embedding[tokens].astype(dtype), *cache)
    )
    return normed(x, model.norm, model.norm_kind, model.norm_eps), (keys, values)


def _choose(scores, keys, step, sampling):
    """One id a row, -1 where a score is not a number. `sampling`: temperature and top_p, or None for the likeliest."""
    broken = ~jnp.isfinite(jnp.max(scores, -1))
    if sampling is None:
        chosen = jnp.argmax(scores, -1)
    else:
        temperature, top_p = sampling
        scores = scores / temperature
        ordered = jnp.sort(scores, -1)[:, ::-1]
        mass = jnp.cumsum(jax.nn.softmax(ordered, -1), -1) - jax.nn.softmax(ordered, -1)  # before each
        least = jnp.min(jnp.where((mass < top_p) | (top_p >= 1), ordered, jnp.inf), -1, keepdims=True)
        scores = jnp.where(scores >= least, scores, -jnp.inf)

        def draw(key, row):
            seed, prompt, sample = key
            folded = jax.random.key(seed)
            for part in (prompt, sample, step):
                folded = jax.random.fold_in(folded, part)
            return jax.random.categorical(folded, row)

        chosen = jax.vmap(draw)(keys, scores)
    return jnp.where(broken, -1, chosen).astype(jnp.int32)
