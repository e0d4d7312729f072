"""The decoder: parallel attention and MLP from one norm, SwiGLU, no biases.

The block is the paper's (arXiv 2408.10914, section 2.3). With LayerNorm and interleaved RoPE, our defaults where the paper
does not say, it is name by name that of Hugging Face's `CohereForCausalLM`.
Shapes carry one letter a dimension, here and in the modules beside:
B rows, T positions of a row, L layers, D d_model, K key-value heads, G query heads a key-value head, H d_head,
F d_ff, V rows of the embedding (the vocabulary and its padding).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from codemix.recipe.language import schema
from codemix.train.model.mesh import BATCH, TABLE

Attention = Callable[
    ..., Array
]  # (queries, keys, values, segments or None) -> [B, T, K, G, H]; see train/model/attention.py


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


class Decoder(eqx.Module):
    """A decoder-only language model. Arrays are the float32 master weights; what runs is a cast of them."""

    embedding: Float[Array, "V D"]
    blocks: Blocks
    norm: Float[Array, " D"]
    unembedding: Float[Array, "V D"] | None  # None: tied, the embedding makes the logits
    vocab_size: int = eqx.field(static=True)  # ids from here to V are padding and are never predicted
    rope_theta: float | None = eqx.field(static=True)  # None: nothing is turned by its position
    norm_kind: str = eqx.field(static=True)
    norm_eps: float = eqx.field(static=True)
    logit_scale: float = eqx.field(static=True)

    @property
    def head(self) -> Float[Array, "V D"]:
        """What makes logits of the final states."""
        return self.embedding if self.unembedding is None else self.unembedding


def init_decoder(spec: schema.Model, vocab_size: int, key: PRNGKeyArray) -> Decoder:
    """A decoder with fresh weights: glorot-normal matrices (paper section 3.1), norms at 1, the embeddings normal with
    `init_std` (ours: the paper does not say; glorot over 256,000 rows would start it almost at zero)."""
    L, D, F, H, K = spec.n_layers, spec.d_model, spec.d_ff, spec.head_size, spec.kv_heads
    G = spec.n_heads // K
    keys = iter(jax.random.split(key, 9 - spec.tied_embeddings))

    def matrix(shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
        std = (2 / (fan_in + fan_out)) ** 0.5 if spec.init == "glorot_normal" else spec.init_std
        return std * jax.random.normal(next(keys), (L, *shape), jnp.float32)

    def table() -> Array:
        return spec.init_std * jax.random.normal(next(keys), (spec.vocab(vocab_size), D), jnp.float32)

    blocks = Blocks(
        norm=jnp.ones((L, D), jnp.float32),
        query=matrix((D, K, G, H), D, K * G * H),
        key=matrix((D, K, H), D, K * H),
        value=matrix((D, K, H), D, K * H),
        out=matrix((K, G, H, D), K * G * H, D),
        gate=matrix((D, F), D, F),
        up=matrix((D, F), D, F),
        down=matrix((F, D), F, D),
    )
    return decoder(
        spec, vocab_size, table(), blocks, jnp.ones(D, jnp.float32), None if spec.tied_embeddings else table()
    )


def decoder(
    spec: schema.Model,
    vocab_size: int,
    embedding: Array,
    blocks: Blocks,
    norm: Array,
    unembedding: Array | None,
) -> Decoder:
    """These weights as the model that `spec` describes."""
    theta = spec.rope_theta if spec.positions == "rope" else None
    return Decoder(
        embedding, blocks, norm, unembedding, vocab_size, theta, spec.norm, spec.norm_eps, spec.logit_scale
    )


def normed(x: Float[Array, "*B D"], gain: Float[Array, " D"], kind: str, eps: float) -> Float[Array, "*B D"]:
    """x, of mean square 1 over D, times `gain`; kind `layer`, not `rms`, makes its mean 0 first. Computed in float32."""
    wide = x.astype(jnp.float32)
    centred = wide - wide.mean(-1, keepdims=True) if kind == "layer" else wide
    return (
        centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + eps) * gain.astype(jnp.float32)
    ).astype(x.dtype)


def rope_angles(
    positions: Int[Array, "B T"], head: int, theta: float | None
) -> tuple[Float[Array, "B T C"], Float[Array, "B T C"]] | None:
    """Cosine and sine of the angle of each of the `head / 2` pairs at each position, in float32; None without `theta`."""
    if theta is None:
        return None
    angle = positions[..., None].astype(jnp.float32) * theta ** (
        -jnp.arange(0, head, 2, dtype=jnp.float32) / head
    )
    return jnp.cos(angle), jnp.sin(angle)


def rotate(
    x: Float[Array, "B T *heads H"], cos: Float[Array, "B T C"], sin: Float[Array, "B T C"]
) -> Float[Array, "B T *heads H"]:
    """x with pairs (0, H/2), (1, H/2 + 1), ... of H turned by their angle. RoPE is interleaved; `halves` puts its pairs so."""
    between = tuple(range(2, x.ndim - 1))
    cos, sin = jnp.expand_dims(cos, between), jnp.expand_dims(sin, between)
    a, b = jnp.split(x.astype(jnp.float32), 2, -1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1).astype(x.dtype)


def halves(x: Float[Array, "*D H"]) -> Float[Array, "*D H"]:
    """Queries or keys, or their weights, with the even places of H before the odd: neighbours become pairs (0, H/2), (1, H/2 + 1), ...

    The order inside a head does not change the products of queries and keys. Moving weights is cheaper than moving
    activations, and turning two contiguous halves is cheaper than turning neighbours.
    """
    return x.reshape(*x.shape[:-1], -1, 2).swapaxes(-1, -2).reshape(x.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def project(pattern: str, x: Array, weights: Array) -> Array:
    """`einsum(pattern, x, weights)` in the dtype of x, for float32 master weights.

    Their gradient is float32 from the matmul on: left to autodiff it would be rounded to the compute dtype, and then
    summed over devices.
    """
    return jnp.einsum(pattern, x, weights.astype(x.dtype))


def _project_backward(pattern: str, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, weights = saved
    (left, right), out = pattern.split("->")[0].split(","), pattern.split("->")[1]

    def d_weights(x: Array, gradient: Array) -> Array:
        return jnp.einsum(f"{left},{out}->{right}", x, gradient, preferred_element_type=weights.dtype)

    def d_weights_on_cpu(x: Array, gradient: Array) -> Array:
        """The same after turning x: XLA's matmuls on CPU take twice as long when they have to walk their left side down its columns."""
        x = jax.lax.optimization_barrier(jnp.moveaxis(x, (0, 1), (-2, -1)))
        return jnp.einsum(
            f"{left[2:]}{left[:2]},{out}->{right}", x, gradient, preferred_element_type=weights.dtype
        )

    d_x = jnp.einsum(f"{out},{right}->{left}", gradient, weights.astype(x.dtype))
    return d_x, jax.lax.platform_dependent(x, gradient, cpu=d_weights_on_cpu, default=d_weights)


project.defvjp(lambda pattern, x, weights: (project(pattern, x, weights), (x, weights)), _project_backward)


def queries_keys_values(
    h: Float[Array, "B T D"], layer: Blocks, angles: tuple[Array, Array] | None
) -> tuple[Array, Array, Array]:
    """Queries and keys of a layer, turned by their angles if there are any, and its values."""

    def turned(pattern: str, weights: Array) -> Array:
        return (
            project(pattern, h, weights)
            if angles is None
            else rotate(project(pattern, h, halves(weights)), *angles)
        )

    return (
        turned("btd,dkgh->btkgh", layer.query),
        turned("btd,dkh->btkh", layer.key),
        project("btd,dkh->btkh", h, layer.value),
    )


@jax.custom_vjp
def swiglu(gate: Float[Array, "*B F"], up: Float[Array, "*B F"]) -> Float[Array, "*B F"]:
    """silu(gate) * up; the backward pass keeps these two and nothing between."""
    return jax.nn.silu(gate) * up


def _swiglu_backward(saved: tuple[Array, Array], d: Array) -> tuple[Array, Array]:
    gate, up = saved
    s = jax.nn.sigmoid(gate)
    return d * up * s * (1 + gate * (1 - s)), d * gate * s


swiglu.defvjp(lambda gate, up: (swiglu(gate, up), (gate, up)), _swiglu_backward)


def fold_in(rngs: Key[Array, " B"], number: Int[Array, ""] | int) -> Key[Array, " B"]:
    """Other random keys for each row, made of its own and a number."""
    return jax.vmap(jax.random.fold_in, (0, None))(rngs, number)


def apply_dropout(
    x: Float[Array, "B T D"], rate: float, rngs: Key[Array, " B"] | None, place: int
) -> Float[Array, "B T D"]:
    """x with a share `rate` of the values zeroed and the others larger by as much; which ones, the random keys of its rows and the place decide.
    Without keys, x."""
    if rngs is None:
        return x
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(fold_in(rngs, place))
    return jnp.where(kept, x / (1 - rate), 0).astype(x.dtype)


def block(
    x: Float[Array, "B T D"],
    layer: Blocks,
    angles: tuple[Array, Array] | None,
    segments: Int[Array, "B T"] | None,
    attention: Attention,
    norm_kind: str,
    eps: float,
    dropout: float = 0.0,
    rngs: Key[Array, " B"] | None = None,
) -> Float[Array, "B T D"]:
    """One layer: x + attention(norm(x)) + mlp(norm(x)); with random keys for its rows, a share `dropout` of both addends is zeroed."""
    # The parts of the norm cost less to make again than to keep.
    h = jax.checkpoint(normed, prevent_cse=False, static_argnums=(2, 3))(x, layer.norm, norm_kind, eps)
    queries, keys, values = queries_keys_values(h, layer, angles)
    attended = project("btkgh,kghd->btd", attention(queries, keys, values, segments), layer.out)
    gate, up = project("btd,df->btf", h, layer.gate), project("btd,df->btf", h, layer.up)
    projected = project("btf,fd->btd", swiglu(gate, up), layer.down)
    return x + apply_dropout(attended, dropout, rngs, 0) + apply_dropout(projected, dropout, rngs, 1)


REMAT = {  # what the backward pass finds saved: everything | only the block's input | also matmul results
    "none": lambda f: f,
    "full": jax.checkpoint,
    "dots": lambda f: jax.checkpoint(f, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable),
}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def lookup(
    dtype: jnp.dtype, mesh: Mesh | None, table: Float[Array, "V D"], ids: Int[Array, "B T"]
) -> Float[Array, "B T D"]:
    """Rows of the embedding in the compute dtype. Their gradient adds up in float32: a frequent id gets thousands.

    On a mesh the table stays where it is. Each device looks up, in the columns that it holds, the ids of all rows of its
    fsdp group, and they change columns for rows: what travels is as large as the rows, not as the table, in both directions.
    """
    if mesh is None:
        return table[ids].astype(dtype)

    def local(table: Array, ids: Array) -> Array:
        ids, mine = _own_ids(table, ids)
        rows = jax.lax.psum(jnp.where(mine, table[ids], 0).astype(dtype), "model")
        return jax.lax.all_to_all(rows, "fsdp", 0, 2, tiled=True)

    return jax.shard_map(local, mesh=mesh, in_specs=(TABLE, BATCH), out_specs=BATCH, check_vma=False)(
        table, ids
    )


def _lookup_forward(dtype: jnp.dtype, mesh: Mesh | None, table: Array, ids: Array):
    return lookup(dtype, mesh, table, ids), (ids, table)


def _lookup_backward(dtype: jnp.dtype, mesh: Mesh | None, saved: tuple, gradient: Array):
    ids, table = saved
    if mesh is None:
        return jnp.zeros_like(table).at[ids].add(gradient.astype(jnp.float32)), None

    def local(table: Array, ids: Array, gradient: Array) -> Array:
        ids, mine = _own_ids(table, ids)
        columns = jax.lax.all_to_all(gradient, "fsdp", 2, 0, tiled=True).astype(jnp.float32)
        return jax.lax.psum(jnp.zeros_like(table).at[ids].add(jnp.where(mine, columns, 0)), "data")

    return jax.shard_map(local, mesh=mesh, in_specs=(TABLE, BATCH, BATCH), out_specs=TABLE, check_vma=False)(
        table, ids, gradient
    ), None


lookup.defvjp(_lookup_forward, _lookup_backward)


def _own_ids(
    table: Float[Array, "v d"], ids: Int[Array, "b T"]
) -> tuple[Int[Array, "B T"], Bool[Array, "B T 1"]]:
    """On one device: the ids of its fsdp group as rows of its part of the table, and whether they lie in it."""
    ids = jax.lax.all_gather(ids, "fsdp", tiled=True) - jax.lax.axis_index("model") * len(table)
    mine = (ids >= 0) & (ids < len(table))
    return jnp.where(mine, ids, 0), mine[..., None]


def hidden(
    model: Decoder,
    inputs: Int[Array, "B T"],
    positions: Int[Array, "B T"] | None = None,
    segments: Int[Array, "B T"] | None = None,
    *,
    compute_dtype: jnp.dtype = jnp.float32,
    attention: Attention,
    remat: str = "none",
    unroll: int | bool = 1,
    mesh: Mesh | None = None,
    dropout: float = 0.0,
    rngs: Key[Array, " B"] | None = None,
) -> Float[Array, "B T D"]:
    """The final hidden states, normed, ready for `model.head`.

    `positions` default to 0, 1, 2, ... in each row; with `segments`, a position sees only its own segment (and, as
    ever, nothing after itself). With random keys `rngs`, one a row, a share `dropout` of the embedding's rows and of what layers add is zeroed.
    """
    if positions is None:
        positions = jnp.broadcast_to(jnp.arange(inputs.shape[1], dtype=jnp.int32), inputs.shape)
    angles = rope_angles(positions, model.blocks.key.shape[-1], model.rope_theta)

    def one(x: Array, part: tuple[Blocks, Array | None]) -> tuple[Array, None]:
        return block(
            x, part[0], angles, segments, attention, model.norm_kind, model.norm_eps, dropout, part[1]
        ), None

    L = len(model.blocks.norm)
    of_layers = None if rngs is None else jax.vmap(fold_in, (None, 0))(rngs, jnp.arange(L))
    x = apply_dropout(lookup(compute_dtype, mesh, model.embedding, inputs), dropout, rngs, L)
    x, _ = jax.lax.scan(REMAT[remat](one), x, (model.blocks, of_layers), unroll=unroll)
    return normed(x, model.norm, model.norm_kind, model.norm_eps)


def logits(model: Decoder, states: Float[Array, "*B D"]) -> Float[Array, "*B V"]:
    """Scores of every id in float32; padding of the vocabulary gets minus infinity."""
    scores = model.logit_scale * jnp.einsum(
        "...d,vd->...v", states, model.head.astype(states.dtype), preferred_element_type=jnp.float32
    )
    return jnp.where(jnp.arange(scores.shape[-1]) < model.vocab_size, scores, -jnp.inf)
