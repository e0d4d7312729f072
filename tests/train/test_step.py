"""The step: one compilation for all stages, accumulation by global tokens, the guard against NaN,
and that it learns.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codemix.errors import CodemixError
from codemix.recipe.language import schema
from codemix.train.model.compute import Compute, compute_for
from codemix.train.model.decoder import apply_dropout, hidden, init_decoder
from codemix.train.step.step import Step

SPEC = schema.Model(d_model=16, n_layers=2, n_heads=2, d_ff=24)
VOCAB, B, T = 31, 8, 12


def batch(seed=0, weights=None):
    rng = np.random.default_rng(seed)
    t = rng.integers(0, VOCAB, (B, T + 1)).astype(np.int32)
    weights = np.ones((B, T), np.float32) if weights is None else weights
    return dict(
        inputs=t[:, :-1], targets=t[:, 1:], weights=weights, source=(np.arange(B) % 3).astype(np.int32)
    )


@pytest.fixture(scope="module")
def step():
    return Step(SPEC, VOCAB, 3)


def test_one_compilation_serves_every_rate_and_every_mixture_and_it_learns(step):
    state, losses = step.init(0), []
    for i in range(60):  # a new rate each step, and a "stage" that has one source less
        rows = batch()
        rows["source"] = rows["source"] % (3 if i < 40 else 2)
        state, metrics = step(state, step.put(rows, B), 1e-2 * (1 - i / 100))
        losses.append(float(metrics["nats"].sum() / metrics["tokens"].sum()))
    assert step.traces == 1
    assert losses[0] == pytest.approx(np.log(VOCAB), abs=0.05)  # fresh weights know nothing
    assert losses[-1] < 0.3 * losses[0]
    assert np.asarray(metrics["tokens"]).tolist() == [5 * T, 3 * T, 0] and np.asarray(
        metrics["rows"]
    ).tolist() == [5, 3, 0]


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(step):
    a, b, c = (jax.tree.leaves(step.init(seed)) for seed in (7, 7, 8))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not all(np.array_equal(x, y) for x, y in zip(a, c, strict=True))


def test_a_step_that_is_not_finite_says_so_and_changes_nothing(step):
    state = step.init(0)
    for _ in range(2):
        state, _ = step(state, step.put(batch(), B), 1e-2)
    before = jax.device_get(state)
    poisoned = batch(weights=np.full((B, T), np.nan, np.float32))
    state, metrics = step(state, step.put(poisoned, B), 1e-2)
    assert not bool(metrics["ok"])
    for got, want in zip(jax.tree.leaves(state), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(got, want)
    state, metrics = step(state, step.put(batch(), B), 1e-2)
    assert bool(metrics["ok"])


@pytest.mark.parametrize(("remat", "dropout"), [("none", 0.0), ("full", 0.0), ("full", 0.3)])
def test_accumulation_divides_by_the_tokens_of_the_whole_batch(step, remat, dropout):
    """Rows with few tokens weigh by their tokens, wherever the microbatches are cut;
    a mean of means would not.
    """
    weights = np.ones((B, T), np.float32)
    weights[::2, 2:] = 0
    slow = Step(SPEC, VOCAB, 3, compute_for(remat=remat, dropout=dropout), accumulate=4)
    step = Step(SPEC, VOCAB, 3, compute_for(dropout=dropout)) if dropout else step
    (whole, a), (parts, b) = (
        (s := made.init(0)) and made(s, made.put(batch(weights=weights), B), 1e-2) for made in (step, slow)
    )
    assert float(a["tokens"].sum()) == weights.sum()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, err_msg=name)
    for got, want in zip(jax.tree.leaves(parts.model), jax.tree.leaves(whole.model), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4)


def test_seed_step_row_layer_and_place_decide_what_is_dropped(step):
    noisy, found = Step(SPEC, VOCAB, 3, compute_for(dropout=0.3)), {}
    rows = batch()
    rows["inputs"][:], rows["targets"][:] = (
        rows["inputs"][0],
        rows["targets"][0],
    )  # equal rows, so that a difference is what was dropped
    rows["source"] = np.minimum(np.arange(B), 2).astype(np.int32)
    for draw in ((0, 0), (0, 1), (1, 0), (0, 0)):
        nats = np.asarray(noisy(noisy.init(0), noisy.put(rows, B), 1e-2, draw)[1]["nats"])
        assert nats[0] != nats[1]
        found.setdefault(draw, nats)
        np.testing.assert_array_equal(nats, found[draw])
    assert len({nats.tobytes() for nats in found.values()}) == 3 and noisy.traces == 1
    nats = np.asarray(
        step(step.init(0), step.put(rows, B), 1e-2, (0, 1))[1]["nats"]
    )  # without dropout neither row nor draw matters
    assert nats[0] == nats[1] and np.array_equal(
        nats, np.asarray(step(step.init(0), step.put(rows, B), 1e-2)[1]["nats"])
    )

    shapes = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=step.batch_sharding)
        for name, x in batch().items()
    }
    assert "threefry" in noisy.lower(shapes).as_text() and "threefry" not in step.lower(shapes).as_text()


def test_dropout_keeps_the_mean_and_zeroes_its_share_in_every_layer_and_place():
    model, seen = init_decoder(SPEC, VOCAB, jax.random.key(0)), []

    def watch(x, *how):
        out = apply_dropout(x, *how)
        jax.debug.callback(lambda *both: seen.append(both), x, out)
        return out

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("codemix.train.model.decoder.apply_dropout", watch)
        rngs = jax.random.split(jax.random.key(1), 64)
        hidden(model, jnp.tile(batch()["inputs"], (8, 1)), compute=Compute(dropout=0.25), rngs=rngs)
        jax.effects_barrier()
    masks = {(out == 0).tobytes() for _, out in seen}
    assert (
        len(seen) == len(masks) == 1 + 2 * SPEC.n_layers
    )  # the embedding's rows, and two addends of each layer
    for x, out in map(lambda both: map(np.asarray, both), seen):
        assert (out == 0).mean() == pytest.approx(0.25, abs=0.02)
        np.testing.assert_allclose(out[out != 0], x[out != 0] / 0.75, rtol=1e-6)


def test_a_remat_that_there_is_not_is_refused():
    with pytest.raises(CodemixError, match="did you mean `full`"):
        Compute(remat="ful")


def test_fresh_moments_keep_the_weights(step):
    state, _ = step(step.init(0), step.put(batch(), B), 1e-2)
    weights = jax.device_get(state.model)
    reset = step.fresh_optimizer(state.model)
    assert all(np.all(np.asarray(x) == 0) for x in jax.tree.leaves(reset.opt_state))
    for got, want in zip(jax.tree.leaves(reset.model), jax.tree.leaves(weights), strict=True):
        np.testing.assert_array_equal(got, want)


def test_shapes_name_what_a_state_is(step):
    shapes, state = step.shapes(), step.init(0)
    assert jax.tree.structure(shapes) == jax.tree.structure(state)
    for shape, leaf in zip(jax.tree.leaves(shapes), jax.tree.leaves(state), strict=True):
        assert (shape.shape, shape.dtype, shape.sharding) == (leaf.shape, leaf.dtype, leaf.sharding)


def test_a_step_can_be_lowered_from_shapes_alone():
    step = Step(SPEC, VOCAB, 3, compute_for(dtype="bfloat16", remat="dots"), z_loss=1e-4)
    shapes = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=step.batch_sharding)
        for name, x in batch().items()
    }
    text = step.lower(shapes).as_text()
    assert "bf16" in text and "tensor<2x16x24xf32>" in text  # compute in half, masters whole


def test_state_is_donated(step):
    state = step.init(0)
    leaf = state.model.blocks.gate
    step(state, step.put(batch(), B), 1e-2)
    assert leaf.is_deleted()
