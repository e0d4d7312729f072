"""The decoder: attention and MLP from one norm (or, a choice of ours, one after the other), SwiGLU, no biases.

The block is the paper's (arXiv 2408.10914, section 2.3). With LayerNorm and interleaved RoPE, our defaults
where the paper does not say, it is name by name that of Hugging Face's `CohereForCausalLM`. The letters of
shapes are those of `shapes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from codemix.recipe.language import schema
from codemix.train.model.compute import REMAT, Compute
from codemix.train.model.layers import einsum_float32, lookup, project, swiglu
from codemix.train.model.rope import Angles, Heads, halves, rope_angles, rotate
from codemix.train.model.shapes import Ids, Index, Positions, RowKeys, Segments, States, Table

PLAIN = Compute()
Vectors = Float[Array, "*B D"]
AnyShape = Float[Array, "..."]
Scores = Float[Array, "*B V"]


class Blocks(eqx.Module):
    """All layers, stacked along the first axis; a slice of it is one layer."""

    norm: Float[Array, "L D"]
    query: Float[Array, "L D K G H"]
    key: Float[Array, "L D K H"]
    value: Float[Array, "L D K H"]
    out: Float[Array, "L K G H D"]
    gate: Float[Array, "L D F"]
    up: Float[Array, "L D F"]
    down: Float[Array, "L F D"]
    mlp_norm: Float[Array, "L D"] | None = None  # None: the MLP reads what attention reads
    query_norm: Float[Array, "L K G H"] | None = None  # None: queries and keys are not normed
    key_norm: Float[Array, "L K H"] | None = None


class Decoder(eqx.Module):
    """A decoder-only language model. Arrays are the float32 master weights; what runs is a cast of them."""

    embedding: Table
    blocks: Blocks
    norm: Float[Array, " D"]
    unembedding: Table | None  # None: tied, the embedding makes the logits
    vocab_size: int = eqx.field(static=True)  # ids from here to V are padding and are never predicted
    rope_theta: float | None = eqx.field(static=True)  # None: nothing is turned by its position
    norm_kind: str = eqx.field(static=True)
    norm_eps: float = eqx.field(static=True)
    logit_scale: float = eqx.field(static=True)

    @property
    def head(self) -> Table:
        """What makes logits of the final states."""
        return self.embedding if self.unembedding is None else self.unembedding


Kept = TypeVar("Kept")
# (queries, keys, values) of one layer -> (what they attend to, anything that the caller wants to keep)
Attend = Callable[[Array, Array, Array], tuple[Array, Kept]]
Layer = tuple[Blocks, RowKeys | None]
# (addend, its number in the layer) -> the addend after dropout
Drop = Callable[[Array, int], Array]
Norm = Callable[[Array, Array], Array]  # (x, gain) -> x normed over the dimensions of its gain


def init_decoder(spec: schema.Model, vocab_size: int, key: PRNGKeyArray) -> Decoder:
    """A decoder with fresh weights: glorot-normal matrices (paper section 3.1), norms at 1, the embeddings
    normal with `init_std` (ours: the paper does not say; glorot over 256,000 rows would start it almost at
    zero).
    """
    L, D, F, H, K = spec.n_layers, spec.d_model, spec.d_ff, spec.head_size, spec.kv_heads
    G = spec.n_heads // K
    n_matrices = 9 - spec.tied_embeddings
    keys = iter(jax.random.split(key, n_matrices))

    def normal(std: float, *shape: int) -> Array:
        values = jax.random.normal(next(keys), shape, jnp.float32)
        return std * values

    def matrix(shape: tuple[int, ...], n_in: int, n_out: int) -> Array:
        std = spec.init_std
        if spec.init == "glorot_normal":
            std = (2 / (n_in + n_out)) ** 0.5
        return normal(std, L, *shape)

    def table() -> Array:
        rows = spec.vocab(vocab_size)
        return normal(spec.init_std, rows, D)

    gains = {}
    if spec.block == "sequential":
        gains["mlp_norm"] = jnp.ones((L, D), jnp.float32)
    if spec.qk_norm:
        gains["query_norm"] = jnp.ones((L, K, G, H), jnp.float32)
        gains["key_norm"] = jnp.ones((L, K, H), jnp.float32)
    heads = K * G * H
    blocks = Blocks(
        norm=jnp.ones((L, D), jnp.float32),
        query=matrix((D, K, G, H), D, heads),
        key=matrix((D, K, H), D, K * H),
        value=matrix((D, K, H), D, K * H),
        out=matrix((K, G, H, D), heads, D),
        gate=matrix((D, F), D, F),
        up=matrix((D, F), D, F),
        down=matrix((F, D), F, D),
        **gains,
    )
    embedding = table()
    unembedding = None if spec.tied_embeddings else table()
    norm = jnp.ones(D, jnp.float32)
    return decoder(spec, vocab_size, embedding, blocks, norm, unembedding)


def decoder(
    spec: schema.Model,
    vocab_size: int,
    embedding: Array,
    blocks: Blocks,
    norm: Array,
    unembedding: Array | None,
) -> Decoder:
    """These weights as the model that `spec` describes."""
    return Decoder(
        embedding,
        blocks,
        norm,
        unembedding,
        vocab_size=vocab_size,
        rope_theta=spec.rope_theta if spec.positions == "rope" else None,
        norm_kind=spec.norm,
        norm_eps=spec.norm_eps,
        logit_scale=spec.logit_scale,
    )


def normed(x: AnyShape, gain: AnyShape, kind: str, eps: float) -> AnyShape:
    """x, of mean square 1 over the dimensions of `gain`, its last, times `gain`; kind `layer`, not `rms`, makes
    its mean 0 first. In float32.
    """
    over = tuple(range(-gain.ndim, 0))
    centred = x.astype(jnp.float32)
    if kind == "layer":
        mean = centred.mean(over, keepdims=True)
        centred = centred - mean
    squares = jnp.square(centred)
    variance = squares.mean(over, keepdims=True)
    unit = centred * jax.lax.rsqrt(variance + eps)
    scaled = unit * gain.astype(jnp.float32)
    return scaled.astype(x.dtype)


def _heads(pattern: str, h: States, weights: Array, gain: Array | None, norm: Norm) -> Heads:
    heads = project(pattern, h, weights)
    if gain is None:
        return heads
    return norm(heads, gain)


def _turned(
    pattern: str, h: States, weights: Array, gain: Array | None, angles: Angles | None, norm: Norm
) -> Heads:
    """Queries or keys, normed where they have a gain, turned by their angles if there are any. What is smaller is
    put in halves: weights in training and for prompts, activations where one token is written. The mean of a norm
    over all heads does not see their order.
    """
    if angles is None:
        return _heads(pattern, h, weights, gain, norm)
    B, T, D = h.shape
    if B * T < D:
        heads = _heads(pattern, h, weights, gain, norm)
        return rotate(halves(heads), angles)
    gain = None if gain is None else halves(gain)
    heads = _heads(pattern, h, halves(weights), gain, norm)
    return rotate(heads, angles)


def block(
    model: Decoder,
    layer: Blocks,
    x: States,
    angles: Angles | None,
    attend: Attend[Kept],
    drop: Drop = lambda addend, place: addend,
) -> tuple[States, Kept]:
    """One layer, and what `attend` gives to keep, for example a cache.

    Parallel: x + attention(norm(x)) + mlp(norm(x)). With a norm of the MLP's own, y + mlp(mlp_norm(y)) where
    y = x + attention(norm(x)).
    """
    # The parts of the norm cost less to compute again than to keep.
    checkpointed = jax.checkpoint(normed, prevent_cse=False, static_argnums=(2, 3))

    def norm(x: Array, gain: Array) -> Array:
        return checkpointed(x, gain, model.norm_kind, model.norm_eps)

    h = norm(x, layer.norm)
    queries = _turned("btd,dkgh->btkgh", h, layer.query, layer.query_norm, angles, norm)
    keys = _turned("btd,dkh->btkh", h, layer.key, layer.key_norm, angles, norm)
    values = project("btd,dkh->btkh", h, layer.value)
    attended, kept = attend(queries, keys, values)
    attention = project("btkgh,kghd->btd", attended, layer.out)
    x = x + drop(attention, 0)
    if layer.mlp_norm is not None:
        h = norm(x, layer.mlp_norm)
    gate = project("btd,df->btf", h, layer.gate)
    up = project("btd,df->btf", h, layer.up)
    mlp = project("btf,fd->btd", swiglu(gate, up), layer.down)
    return x + drop(mlp, 1), kept


def fold_in(rngs: RowKeys, number: Index | int) -> RowKeys:
    """Other random keys for each row, made of its own and a number."""
    of_rows = jax.vmap(jax.random.fold_in, (0, None))
    return of_rows(rngs, number)


def apply_dropout(x: States, rate: float, rngs: RowKeys | None, place: int) -> States:
    """x with a share `rate` of the values zeroed and the others larger by as much; without keys, x.

    Which ones, the random keys of its rows and the place decide.
    """
    if rngs is None:
        return x
    share_kept = 1 - rate

    def draw(key: PRNGKeyArray) -> Array:
        of_row = x.shape[1:]
        return jax.random.bernoulli(key, share_kept, of_row)

    is_kept = jax.vmap(draw)(fold_in(rngs, place))
    kept = jnp.where(is_kept, x / share_kept, 0)
    return kept.astype(x.dtype)


def hidden(
    model: Decoder,
    inputs: Ids,
    positions: Positions | None = None,
    segments: Segments | None = None,
    *,
    compute: Compute = PLAIN,
    rngs: RowKeys | None = None,
) -> States:
    """The final hidden states, normed, ready for `model.head`.

    `positions` default to 0, 1, 2, ... in each row; with `segments`, a position sees only its own segment
    (and, as ever, nothing after itself). With random keys `rngs`, one per row, a share `compute.dropout` of
    the embedding's rows and of what layers add is zeroed.
    """
    L, _, _, H = model.blocks.key.shape
    if positions is None:
        positions = jnp.broadcast_to(jnp.arange(inputs.shape[1], dtype=jnp.int32), inputs.shape)
    angles = rope_angles(positions, H, model.rope_theta)

    def attend(queries: Array, keys: Array, values: Array) -> tuple[Array, None]:
        attended = compute.attention(queries, keys, values, segments)
        return attended, None

    def one_layer(x: Array, part: Layer) -> tuple[Array, None]:
        layer, rngs = part

        def drop(addend: Array, place: int) -> Array:
            return apply_dropout(addend, compute.dropout, rngs, place)

        return block(model, layer, x, angles, attend, drop)

    rngs_of_layers = None if rngs is None else jax.vmap(fold_in, (None, 0))(rngs, jnp.arange(L))
    rows = lookup(compute.dtype, compute.sharded, model.embedding, inputs)
    x = apply_dropout(rows, compute.dropout, rngs, L)
    remat = REMAT[compute.remat]
    x, _ = jax.lax.scan(remat(one_layer), x, (model.blocks, rngs_of_layers), unroll=compute.unroll)
    return normed(x, model.norm, model.norm_kind, model.norm_eps)


def logits(model: Decoder, states: Vectors) -> Scores:
    """Scores of every id in float32; padding of the vocabulary gets minus infinity."""
    head = model.head.astype(states.dtype)
    products = einsum_float32("...d,vd->...v", states, head)
    scores = model.logit_scale * products
    ids = jnp.arange(scores.shape[-1])
    is_padding = ids >= model.vocab_size
    return jnp.where(is_padding, -jnp.inf, scores)
