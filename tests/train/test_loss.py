"""The chunked loss against the plain one: values and gradients, by source, with and without z-loss,
at any chunk.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.recipe.language import schema
from codemix.train.model.compute import Compute
from codemix.train.model.decoder import hidden, init_decoder, logits
from codemix.train.step.loss import Head, head_loss, next_token_loss

VOCAB = 37
SPEC = schema.Model(
    d_model=16, n_layers=2, n_heads=2, d_ff=24, logit_scale=0.7, init_std=0.5, vocab_multiple=8
)
MODEL = jax.jit(lambda: init_decoder(SPEC, VOCAB, jax.random.key(0)))()
SUMS = jax.jit(lambda rows: next_token_loss(MODEL, rows, 4, Compute(chunk=6)))


def batch(B=4, T=12, seed=0):
    rng = np.random.default_rng(seed)
    t = rng.integers(0, VOCAB, (B, T + 1)).astype(np.int32)
    weights, source = rng.integers(0, 2, (B, T)).astype(np.float32), rng.integers(0, 3, B).astype(np.int32)
    rows = dict(inputs=t[:, :-1], targets=t[:, 1:], weights=weights, source=source)
    return {name: jnp.asarray(value) for name, value in rows.items()}


def plain(model, given, z_loss):
    log_p = logits(model, hidden(model, given["inputs"]))
    log_z = jax.nn.logsumexp(log_p, -1)
    nats = log_z - jnp.take_along_axis(log_p, given["targets"][..., None], -1)[..., 0]
    return ((nats + z_loss * jnp.square(log_z)) * given["weights"]).sum()


@pytest.mark.parametrize(("chunk", "z_loss"), [(5, 1e-2), (None, 0.0)])
def test_value_and_gradients_equal_the_plain_loss(chunk, z_loss):
    rows = batch()
    compute = Compute(chunk=chunk)
    got, got_gradients = jax.jit(
        jax.value_and_grad(lambda m: next_token_loss(m, rows, 3, compute, z_loss)[0])
    )(MODEL)
    want, want_gradients = jax.jit(jax.value_and_grad(lambda m: plain(m, rows, z_loss)))(MODEL)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(got_gradients), jax.tree.leaves(want_gradients), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-4)
    assert np.all(np.asarray(got_gradients.embedding)[VOCAB:] == 0)  # the padding learns nothing


def test_the_head_equals_a_loop_in_float64():
    rng = np.random.default_rng(1)
    states, table = rng.standard_normal((2, 6, 8)), rng.standard_normal((16, 8))
    targets, weights = rng.integers(0, 13, (2, 6)), rng.random((2, 6))
    nats, z = np.zeros(2), np.zeros(2)
    for b in range(2):
        for t in range(6):
            scores = [0.5 * float(states[b, t] @ table[v]) for v in range(13)]
            log_z = float(np.log(np.sum(np.exp(scores))))
            nats[b] += weights[b, t] * (log_z - scores[targets[b, t]])
            z[b] += weights[b, t] * log_z**2
    f32 = [jnp.asarray(x, jnp.float32) for x in (states, table)]
    total, got_nats, got_z = head_loss(
        Head(13, 0.5, 0.1, Compute(chunk=2)),
        *f32,
        jnp.asarray(targets, jnp.int32),
        jnp.asarray(weights, jnp.float32),
    )
    np.testing.assert_allclose(got_nats, nats, rtol=1e-6)
    np.testing.assert_allclose(got_z, z, rtol=1e-6)
    assert float(total) == pytest.approx(nats.sum() + 0.1 * z.sum(), rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_sums_by_source_add_up_and_belong_to_their_rows(seed):
    rows = batch(seed=seed)
    total, sums = SUMS(rows)
    assert float(sums["nats"].sum()) == pytest.approx(float(total), rel=1e-5)
    tokens = [int(rows["weights"][rows["source"] == s].sum()) for s in range(4)]
    assert np.asarray(sums["tokens"]).tolist() == tokens
    assert np.asarray(sums["rows"]).tolist() == np.bincount(rows["source"], minlength=4).tolist()
    only = rows | {"weights": rows["weights"] * (rows["source"] == 1)[:, None]}
    assert float(SUMS(only)[0]) == pytest.approx(float(sums["nats"][1]), rel=1e-4, abs=1e-5)


def test_in_half_precision_the_embedding_gradient_adds_up_in_float32():
    """4096 equal positions: summed over chunks in bfloat16,
    their gradient would stop growing after some 256.
    """
    states = jnp.ones((1, 4096, 8), jnp.bfloat16)
    table = jnp.zeros((16, 8), jnp.float32)
    args = jnp.zeros((1, 4096), jnp.int32), jnp.ones((1, 4096), jnp.float32)
    gradient = jax.grad(lambda e: head_loss(Head(16, compute=Compute(chunk=1)), states, e, *args)[0])(table)
    np.testing.assert_allclose(gradient[0], 4096 * (1 / 16 - 1), rtol=1e-6)
    np.testing.assert_allclose(gradient[1:], 4096 / 16, rtol=1e-6)
