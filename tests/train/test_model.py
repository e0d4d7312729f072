"""The decoder against a loop in float64, packed against unpacked,
and every way of saving memory against the plain one.
"""

import functools
import math
import operator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codemix.recipe.language import schema
from codemix.train.model.compute import Compute
from codemix.train.model.decoder import hidden, init_decoder, logits
from codemix.train.model.layers import lookup, project

SPEC = schema.Model(
    d_model=24,
    n_layers=3,
    n_heads=4,
    n_kv_heads=2,
    d_head=8,
    d_ff=40,
    logit_scale=0.5,
    rope_theta=500.0,
    init_std=0.3,
    vocab_multiple=16,
)
VOCAB = 53


def initial(spec, vocab_size, seed):
    return jax.jit(lambda: init_decoder(spec, vocab_size, jax.random.key(seed)))()


@pytest.fixture(scope="module")
def model():
    made = initial(SPEC, VOCAB, 1)
    gains = [
        jnp.asarray(np.random.default_rng(2).normal(1, 0.3, n.shape), jnp.float32)
        for n in (made.blocks.norm, made.norm)
    ]
    return eqx.tree_at(lambda m: (m.blocks.norm, m.norm), made, gains)  # norms that are not all ones


@pytest.fixture(scope="module")
def ids():
    return np.random.default_rng(0).integers(0, VOCAB, (2, 19)).astype(np.int32)


def forward(model, ids, positions=None, segments=None, **how):
    return _jitted(Compute(**how))(model, jnp.asarray(ids), positions, segments)


@functools.cache
def _jitted(compute):
    return jax.jit(functools.partial(hidden, compute=compute))


def loop(model, ids, positions, segments):
    """Scores of every id, one position and one head at a time, in float64."""
    m = jax.tree.map(lambda x: np.asarray(x, np.float64), model)
    K, G, H = m.blocks.query.shape[2:]

    def norm(x, gain):
        return (x - x.mean()) / math.sqrt(x.var() + SPEC.norm_eps) * gain

    def turn(x, position):
        out = np.empty(H)
        for pair in range(H // 2):
            angle = position * SPEC.rope_theta ** (-2 * pair / H)
            a, b = x[2 * pair], x[2 * pair + 1]
            out[2 * pair], out[2 * pair + 1] = (
                a * math.cos(angle) - b * math.sin(angle),
                a * math.sin(angle) + b * math.cos(angle),
            )
        return out

    scores = np.empty((*ids.shape, len(m.embedding)))
    for row in range(ids.shape[0]):
        xs = [m.embedding[i] for i in ids[row]]
        for layer in range(SPEC.n_layers):
            w = jax.tree.map(operator.itemgetter(layer), m.blocks)
            hs = [norm(x, w.norm) for x in xs]
            new = []
            for t, h in enumerate(hs):
                out = xs[t] + ((g := h @ w.gate) / (1 + np.exp(-g)) * (h @ w.up)) @ w.down
                seen = [s for s in range(t + 1) if segments[row, s] == segments[row, t]]
                for k in range(K):
                    keys = [turn(hs[s] @ w.key[:, k], positions[row, s]) for s in seen]
                    for g in range(G):
                        query = turn(h @ w.query[:, k, g], positions[row, t])
                        a = np.array([math.exp(query @ key / math.sqrt(H)) for key in keys])
                        out = (
                            out
                            + sum(p * (hs[s] @ w.value[:, k]) for p, s in zip(a / a.sum(), seen, strict=True))
                            @ w.out[k, g]
                        )
                new.append(out)
            xs = new
        for t, x in enumerate(xs):
            scores[row, t] = SPEC.logit_scale * m.embedding @ norm(x, m.norm)
    return scores


@pytest.mark.parametrize("documents", [False, True])
def test_equals_a_loop_in_float64(model, ids, documents):
    T = ids.shape[1]
    positions, segments = np.tile(np.arange(T, dtype=np.int32), (2, 1)), np.zeros((2, T), np.int32)
    if documents:
        segments = np.stack([np.repeat([0, 1, 2], [7, 1, 11]), np.repeat([0, 1], [18, 1])]).astype(np.int32)
        positions = np.stack(
            [np.concatenate([np.arange(7), [0], np.arange(11)]), np.concatenate([np.arange(18), [0]])]
        ).astype(np.int32)
    given = dict(positions=jnp.asarray(positions), segments=jnp.asarray(segments)) if documents else {}
    got = np.asarray(logits(model, forward(model, ids, **given)))
    want = loop(model, ids, positions, segments)
    np.testing.assert_allclose(got[..., :VOCAB], want[..., :VOCAB], atol=2e-5, rtol=2e-5)
    assert np.all(got[..., VOCAB:] == -np.inf) and got.shape[-1] == 64  # padding is never predicted


def test_documents_packed_into_a_row_are_as_if_alone(model):
    rng = np.random.default_rng(3)
    documents = [rng.integers(0, VOCAB, n).astype(np.int32) for n in (5, 130, 5)]
    packed = np.concatenate(documents)[None]
    positions = np.concatenate([np.arange(len(d)) for d in documents]).astype(np.int32)[None]
    segments = np.repeat(np.arange(3), [len(d) for d in documents]).astype(np.int32)[None]
    together = forward(model, packed, positions=jnp.asarray(positions), segments=jnp.asarray(segments))[0]
    alone = jnp.concatenate([forward(model, d[None])[0] for d in documents])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_relative_positions_alone_matter(model, ids):
    shifted = jnp.broadcast_to(jnp.arange(ids.shape[1], dtype=jnp.int32) + 100, ids.shape)
    np.testing.assert_allclose(forward(model, ids, positions=shifted), forward(model, ids), atol=1e-4)


def test_nothing_later_is_seen(model, ids):
    changed = ids.copy()
    changed[:, 10] = (changed[:, 10] + 1) % VOCAB
    before, after = forward(model, ids), forward(model, changed)
    np.testing.assert_array_equal(before[:, :10], after[:, :10])
    assert not np.allclose(before[:, 10:], after[:, 10:])


@pytest.mark.parametrize("way", [dict(remat="full"), dict(remat="dots"), dict(unroll=True)])
def test_ways_of_saving_memory_or_time_change_no_gradient(model, ids, way):
    def gradients(**given):
        return jax.jit(jax.grad(lambda m: jnp.square(forward(m, ids, **given)[..., ::3]).sum()))(model)

    for got, want in zip(jax.tree.leaves(gradients(**way)), jax.tree.leaves(gradients()), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-4)


def test_each_way_of_remat_computes_and_keeps_what_it_says(model, ids):
    """By the matmuls of the program: `full` makes queries, keys, values, gate and up again,
    and `dots` does not.
    """

    def matmuls(remat):
        loss = jax.grad(lambda m: jnp.square(forward(m, ids, remat=remat)).sum())
        return jax.jit(loss).lower(model).as_text().count("stablehlo.dot_general")

    none, dots, full = (matmuls(remat) for remat in ("none", "dots", "full"))
    assert none < dots < full  # attention's own are made again under both
    assert full - dots == 5


def test_half_precision_compute_keeps_float32_masters_and_gradients(model, ids):
    half = forward(model, ids, dtype=jnp.dtype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), forward(model, ids), atol=0.15)
    gradients = jax.eval_shape(
        jax.grad(lambda m: forward(m, ids, dtype=jnp.dtype(jnp.bfloat16)).astype(jnp.float32).sum()), model
    )
    assert {g.dtype for g in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}


def test_the_embedding_gradient_of_a_frequent_id_adds_up_in_float32(model):
    ids = jnp.zeros((1, 3000), np.int32)  # in bfloat16 a sum of ones stops at 256
    half = jnp.dtype(jnp.bfloat16)
    gradient = jax.grad(lambda table: lookup(half, None, table, ids).astype(jnp.float32).sum())(
        model.embedding
    )
    assert float(gradient[0, 0]) == 3000


def test_matmul_gradients_are_float32_from_the_matmul_on():
    """Those of two rows, each alone, add up to those of both exactly:
    nothing was rounded to bfloat16 on the way.
    """
    rng = np.random.default_rng(5)
    x, d = (jnp.asarray(rng.integers(-9, 9, shape), jnp.bfloat16) for shape in ((2, 7, 3, 4), (2, 7, 5)))
    weights = jnp.zeros((3, 4, 5), jnp.float32)

    def gradient(x, d):
        return jax.jit(jax.grad(lambda w: (project("btkh,khd->btd", x, w) * d).astype(jnp.float32).sum()))(
            weights
        )

    both = gradient(x, d)
    np.testing.assert_array_equal(
        both, np.einsum("btkh,btd->khd", np.asarray(x, np.float64), np.asarray(d, np.float64))
    )
    assert (
        both.dtype == jnp.float32 and (np.abs(both) > 256).any()
    )  # bfloat16 knows every whole number up to 256 only
    np.testing.assert_array_equal(both, gradient(x[:1], d[:1]) + gradient(x[1:], d[1:]))


def test_initial_weights():
    spec = schema.Model(d_model=64, n_layers=4, n_heads=4, d_ff=256, init_std=0.05)
    model = initial(spec, 500, 0)
    assert sum(x.size for x in jax.tree.leaves(model)) == spec.parameters(500)
    for name, fan in {
        "query": 128,
        "value": 128,
        "out": 128,
        "gate": 320,
        "down": 320,
    }.items():  # fan_in + fan_out
        assert float(getattr(model.blocks, name).std()) == pytest.approx(math.sqrt(2 / fan), rel=0.03), name
    assert float(model.embedding.std()) == pytest.approx(0.05, rel=0.03)
    assert np.all(np.asarray(model.blocks.norm) == 1) and np.all(np.asarray(model.norm) == 1)
    stacked = np.asarray(model.blocks.gate)
    assert not np.allclose(stacked[0], stacked[1])  # every layer its own
    plain = initial(
        schema.Model(d_model=64, n_layers=2, n_heads=4, d_ff=256, init="normal", init_std=0.01), 500, 0
    )
    assert float(plain.blocks.down.std()) == pytest.approx(0.01, rel=0.03)


@pytest.mark.parametrize("preset", ["120M", "470M", "2.8B"])
def test_presets_have_the_parameters_they_are_named_after(preset):
    spec = schema.Model(preset=preset)
    shapes = eqx.filter_eval_shape(lambda: init_decoder(spec, 256_000, jax.random.key(0)))
    count = sum(x.size for x in jax.tree.leaves(shapes))
    assert count == spec.parameters(256_000)
    assert count == pytest.approx({"120M": 282e6, "470M": 467.7e6, "2.8B": 2.796e9}[preset], rel=0.01)
