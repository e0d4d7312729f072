"""AdamW against a loop in numpy, what decay touches by name, and clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codemix.recipe.language import schema
from codemix.train.model.decoder import init_decoder
from codemix.train.step import optimizer

MODEL = jax.jit(
    lambda: init_decoder(
        schema.Model(d_model=8, n_layers=2, n_heads=2, d_ff=12, init_std=0.5), 11, jax.random.key(0)
    )
)()


def some_gradients(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda w: jnp.asarray(scale * rng.standard_normal(w.shape), jnp.float32), MODEL)


@pytest.mark.parametrize("embeddings", [False, True])
def test_decay_acts_on_matrices_never_on_norms(embeddings):
    mask = optimizer.decayed(MODEL, embeddings)
    assert {name for name in mask.blocks.__dict__ if getattr(mask.blocks, name)} == {
        "query",
        "key",
        "value",
        "out",
        "gate",
        "up",
        "down",
    }
    assert (mask.norm, mask.embedding) == (False, embeddings)
    assert MODEL.blocks.norm.ndim == 2  # a rule by rank would decay it


def applied(spec, *given):
    """What `optimizer.apply` gives, as a tuple: what a compiled function may return."""
    update = optimizer.apply(spec, *given)
    return update.model, update.opt_state, update.gradient_norm


@pytest.mark.parametrize("clip", [None, 1.0])
def test_adamw_equals_a_loop_in_float64(clip):
    spec = schema.Optimizer(b1=0.8, b2=0.9, eps=1e-6, weight_decay=0.3, clip=clip)
    model, state = MODEL, optimizer.make_optimizer(spec).init(MODEL)
    mine = {path: np.asarray(w, np.float64) for path, w in jax.tree.leaves_with_path(MODEL)}
    m, v = ({path: np.zeros(w.shape) for path, w in mine.items()} for _ in range(2))
    update = jax.jit(lambda *given: applied(spec, *given))
    for step, (lr, scale) in enumerate([(0.1, 1.0), (0.05, 10.0), (0.02, 1e-4)], start=1):
        gradients = some_gradients(step, scale)
        model, state, norm = update(model, state, gradients, jnp.float32(lr))
        flat = {path: np.asarray(g, np.float64) for path, g in jax.tree.leaves_with_path(gradients)}
        whole = np.sqrt(sum((g**2).sum() for g in flat.values()))
        assert float(norm) == pytest.approx(whole, rel=1e-5)  # before clipping
        for path, w in mine.items():
            g = flat[path] * (1 if clip is None else min(1, clip / whole))
            m[path], v[path] = 0.8 * m[path] + 0.2 * g, 0.9 * v[path] + 0.1 * g**2
            adam = m[path] / (1 - 0.8**step) / (np.sqrt(v[path] / (1 - 0.9**step)) + 1e-6)
            decay = 0.0 if path[-1].name in ("norm", "embedding") else 0.3 * w
            mine[path] = w - lr * (adam + decay)
    for path, w in jax.tree.leaves_with_path(model):
        np.testing.assert_allclose(w, mine[path], atol=1e-5, rtol=1e-5)


def test_a_rate_of_zero_moves_no_weight():
    spec = schema.Optimizer()
    state = optimizer.make_optimizer(spec).init(MODEL)
    model, _, _ = jax.jit(lambda *given: applied(spec, *given))(
        MODEL, state, some_gradients(0), jnp.float32(0)
    )
    for got, want in zip(jax.tree.leaves(model), jax.tree.leaves(MODEL), strict=True):
        np.testing.assert_array_equal(got, want)
