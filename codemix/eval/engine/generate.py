"""Text that a model writes after prompts: batched, keys and values cached, stop strings cut,
sampling by seed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt

from codemix.eval.engine.kv_cache import Cache, cached_hidden, empty_cache
from codemix.eval.engine.score import Engine
from codemix.eval.engine.windows import scores_not_finite
from codemix.progress import progress
from codemix.train.model.compute import Compute
from codemix.train.model.decoder import Decoder, logits
from codemix.train.model.shapes import Ids, Index

Step = Index | int
TextKey = UInt[Array, " 3"]  # seed, prompt, sample
TextKeys = UInt[Array, "B 3"]
Scores = Float[Array, "B V"]
Written = tuple[Cache, Array, Array]  # cache, last tokens, all tokens of a chunk [B chunk]
CHUNK = 16  # tokens between two looks at stop strings
CACHE_BYTES = 2**31
SMALLEST_PROMPT = 64  # columns; prompts are padded to this, times a power of two
MOST_ROWS = {"cpu": 32}
OTHER_MOST_ROWS = 256


@dataclass(frozen=True)
class Decoding:
    """How text is chosen. Temperature 0 takes the likeliest token;
    otherwise `top_p` of the mass is sampled from.

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
        most = max(1, longest // 2)
        fewer = min(self.max_tokens, most)
        return dataclasses.replace(self, max_tokens=fewer)


@dataclass(frozen=True)
class Generation:
    """What was written, up to and without a stop string; `finish` is stop, eos or length."""

    text: str
    tokens: int
    finish: str
    truncated: bool = False  # whether the prompt was cut on the left to fit


@dataclass(frozen=True)
class Request:
    """One text to write."""

    prompt: list[int]  # tokens, as many as the model can look at
    prompt_index: int
    sample: int
    truncated: bool

    @property
    def length(self) -> int:
        """Of the prompt [tokens]."""
        return len(self.prompt)


@dataclass(frozen=True)
class Batch:
    """Requests that are written together, each in a row of its own."""

    requests: list[Request]
    columns: int  # for prompts
    height: int  # rows, empty ones included


def generate(
    engine: Engine, prompts: Sequence[str], decoding: Decoding, label: str = "generating"
) -> list[list[Generation]]:
    """For each prompt its samples. A prompt that leaves no room for `max_tokens` is cut on the left."""
    decoding = decoding.within(engine.longest)
    room = engine.longest - decoding.max_tokens
    requests = _requests(engine, prompts, decoding, room)
    texts: list[dict[int, Generation]] = [{} for _ in prompts]
    with progress(label, len(requests), "texts") as advance:
        for batch in _batches(engine, requests, decoding, room):
            written = _write(engine, batch, decoding)
            for request, text in zip(batch.requests, written, strict=True):
                texts[request.prompt_index][request.sample] = text
            advance(len(written))
    samples = range(decoding.samples)
    return [[of_prompt[sample] for sample in samples] for of_prompt in texts]


def _requests(engine: Engine, prompts: Sequence[str], decoding: Decoding, room: int) -> list[Request]:
    requests = []
    for index, prompt in enumerate(prompts):
        ids = engine.text.encode(prompt) or [engine.text.eos_id]
        last = ids[-room:]
        is_cut = len(ids) > room
        for sample in range(decoding.samples):
            request = Request(last, index, sample, is_cut)
            requests.append(request)
    return requests


def _batches(engine: Engine, requests: Sequence[Request], decoding: Decoding, room: int) -> Iterator[Batch]:
    """Every request once, those with short prompts first, so that a batch's prompts are of like lengths."""
    waiting = sorted(requests, key=lambda request: request.length)
    while waiting:
        columns = _columns(waiting[0].length, room)
        height = _height(engine, columns + decoding.max_tokens)
        batch = [request for request in waiting[:height] if request.length <= columns]
        size = len(batch)
        waiting = waiting[size:]
        if size <= height // 2:
            height = 1 << (size - 1).bit_length()
        yield Batch(batch, columns, height)


def _columns(length: int, room: int) -> int:
    columns = SMALLEST_PROMPT
    while columns < length:
        columns *= 2
    return min(columns, room)


def _height(engine: Engine, columns: int) -> int:
    """Rows per batch: as many as the cache's share of memory holds, at most 32 on a CPU and 256 elsewhere."""
    L, _, K, H = engine.model.blocks.key.shape
    column_bytes = 2 * L * K * H * engine.compute.dtype.itemsize
    held = CACHE_BYTES // (columns * column_bytes)
    most = MOST_ROWS.get(jax.default_backend(), OTHER_MOST_ROWS)
    height = min(most, held)
    bits = max(1, height.bit_length())
    power_of_two = 1 << (bits - 1)
    shards = engine.row_shards
    per_shard = math.ceil(power_of_two / shards)
    return per_shard * shards


@dataclass(frozen=True)
class Prompts:
    """Prompts as arrays, padded on the left."""

    tokens: Int[np.ndarray, "B T"]
    pad: Int[np.ndarray, " B"]  # columns of padding
    keys: UInt[np.ndarray, "B 3"]  # seed, prompt, sample: what one text is does not depend on the others


def _prompts(batch: Batch, seed: int) -> Prompts:
    height, columns = batch.height, batch.columns
    tokens = np.zeros((height, columns), np.int32)
    pad = np.full(height, columns - 1, np.int32)
    keys = np.zeros((height, 3), np.uint32)
    low_bits = seed & 0xFFFFFFFF
    for row, request in enumerate(batch.requests):
        n_pad = columns - request.length
        pad[row] = n_pad
        tokens[row, n_pad:] = request.prompt
        keys[row] = (low_bits, request.prompt_index, request.sample)
    return Prompts(tokens, pad, keys)


class Sampling(NamedTuple):
    """As numbers that a compiled program takes, so that another temperature compiles nothing."""

    temperature: np.float32
    top_p: np.float32


def _write(engine: Engine, batch: Batch, decoding: Decoding) -> list[Generation]:
    """The text of each request. Written CHUNK tokens at a time, until all have ended."""
    sampling = None
    if decoding.temperature:
        sampling = Sampling(np.float32(decoding.temperature), np.float32(decoding.top_p))
    prompts = _prompts(batch, decoding.seed)
    pad = engine.put(prompts.pad)
    keys = engine.put(prompts.keys)
    chunks = math.ceil((decoding.max_tokens - 1) / CHUNK)
    cache, token = _start(
        engine.model,
        engine.put(prompts.tokens),
        pad,
        keys,
        sampling,
        width=batch.columns + chunks * CHUNK,
        compute=engine.compute,
    )
    written = np.asarray(token)[:, None]
    texts = [_text(engine, request, written[row], decoding) for row, request in enumerate(batch.requests)]
    for chunk in range(chunks):
        is_open = [_is_open(text, written, decoding) for text in texts]
        if not any(is_open):
            break
        cache, more = _continue(
            engine.model,
            cache,
            token,
            np.int32(batch.columns),
            np.int32(chunk * CHUNK),
            pad,
            keys,
            sampling,
            compute=engine.compute,
        )
        written = np.concatenate([written, np.asarray(more)], 1)
        token = more[:, -1]
        for row, request in enumerate(batch.requests):
            if is_open[row]:
                texts[row] = _text(engine, request, written[row], decoding)
    return texts


def _is_open(text: Generation, written: np.ndarray, decoding: Decoding) -> bool:
    """Whether a text continues after what is written."""
    n_written = written.shape[1]
    has_room = n_written < decoding.max_tokens
    return has_room and text.finish == "length"


def _text(engine: Engine, request: Request, written: np.ndarray, decoding: Decoding) -> Generation:
    """What a row has become after these ids."""
    if (written < 0).any():
        raise scores_not_finite()
    ids: list[int] = written[: decoding.max_tokens].tolist()
    finish = "length"
    if engine.text.eos_id in ids:
        ids = ids[: ids.index(engine.text.eos_id)]
        finish = "eos"
    follows_empty_prompt = request.prompt == [engine.text.eos_id]
    text = engine.text.decode(ids) if follows_empty_prompt else engine.text.decode_after(ids)
    places = [text.find(stop) for stop in decoding.stop if stop in text]
    if places:
        text = text[: min(places)]
        finish = "stop"
    return Generation(text, len(ids), finish, request.truncated)


@partial(jax.jit, static_argnames=("width", "compute"))
def _start(
    model: Decoder,
    tokens: Ids,
    pad: Int[Array, " B"],
    keys: TextKeys,
    sampling: Sampling | None,
    *,
    width: int,
    compute: Compute,
) -> tuple[Cache, Int[Array, " B"]]:
    """The cache after the prompts, and the first token of each row."""
    empty = empty_cache(model, len(tokens), width, compute)
    states, cache = cached_hidden(model, tokens, empty, 0, pad, compute)
    return cache, _choose(logits(model, states[:, -1]), keys, 0, sampling)


@partial(jax.jit, static_argnames=("compute",), donate_argnames="cache")
def _continue(
    model: Decoder,
    cache: Cache,
    token: Int[Array, " B"],
    columns: Index,
    done: Index,
    pad: Int[Array, " B"],
    keys: TextKeys,
    sampling: Sampling | None,
    *,
    compute: Compute,
) -> tuple[Cache, Int[Array, "B chunk"]]:
    """The cache and the next CHUNK tokens of each row, of which `done` + 1 are already there."""

    def body(i: Index, carry: Written) -> Written:
        cache, token, out = carry
        step = done + i
        column = columns + step
        tokens = token[:, None]
        states, cache = cached_hidden(model, tokens, cache, column, pad, compute)
        scores = logits(model, states[:, -1])
        token = _choose(scores, keys, step + 1, sampling)
        out = out.at[:, i].set(token)
        return cache, token, out

    nothing = jnp.zeros((len(token), CHUNK), jnp.int32)
    cache, _, out = jax.lax.fori_loop(0, CHUNK, body, (cache, token, nothing))
    return cache, out


def _choose(
    scores: Scores,
    keys: TextKeys,
    step: Step,
    sampling: Sampling | None,
) -> Int[Array, " B"]:
    """One id per row, -1 where a score is not a number."""
    broken = ~jnp.isfinite(jnp.max(scores, -1))
    if sampling is None:
        chosen = jnp.argmax(scores, -1)
    else:
        chosen = jax.vmap(_draw, (0, 0, None))(keys, _nucleus(scores, sampling), step)
    return jnp.where(broken, -1, chosen).astype(jnp.int32)


def _nucleus(scores: Scores, sampling: Sampling) -> Scores:
    """Scores by temperature, minus infinity outside the likeliest ids that hold `top_p` of the mass."""
    scores = scores / sampling.temperature
    ascending = jnp.sort(scores, -1)
    ordered = ascending[:, ::-1]
    mass = jax.nn.softmax(ordered, -1)
    mass_up_to = jnp.cumsum(mass, -1)
    mass_before = mass_up_to - mass
    takes_all = sampling.top_p >= 1
    inside = (mass_before < sampling.top_p) | takes_all
    likeliest = jnp.where(inside, ordered, jnp.inf)
    least = jnp.min(likeliest, -1, keepdims=True)
    return jnp.where(scores >= least, scores, -jnp.inf)


def _draw(key: TextKey, scores: Float[Array, " V"], step: Step) -> Index:
    seed, prompt, sample = key
    random = jax.random.key(seed)
    random = jax.random.fold_in(random, prompt)
    random = jax.random.fold_in(random, sample)
    random = jax.random.fold_in(random, step)
    return jax.random.categorical(random, scores)
