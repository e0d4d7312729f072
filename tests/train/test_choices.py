"""What the paper leaves open about the model and a recipe may choose:
each choice, and all at once, against a decoder written out plainly.
"""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from codemix.errors import CodemixError
from codemix.recipe.language import schema
from codemix.train.model.compute import Compute
from codemix.train.model.decoder import hidden, init_decoder
from codemix.train.run.checkpoint import Checkpoints, load_model
from codemix.train.step import optimizer
from codemix.train.step.loss import next_token_loss
from codemix.train.step.step import Step, TrainState

SHAPE = {"d_model": 16, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_ff": 24, "vocab_multiple": 8}
VOCAB, B, T = 30, 4, 12
CHOICES = {
    "untied": {"tied_embeddings": False},
    "rms": {"norm": "rms"},
    "no positions": {"positions": "none", "d_head": 5},  # pairs turn no more, so a head may be odd
    "sequential": {"block": "sequential"},
    "llama": {"block": "sequential", "norm": "rms", "tied_embeddings": False},
    "all": {"tied_embeddings": False, "norm": "rms", "positions": "none", "qk_norm": True},
    "qk norm": {"qk_norm": True},
    "olmo": {"block": "sequential", "norm": "rms", "qk_norm": True, "rope_theta": 50.0},
}
each_choice = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)


def batch():
    t = np.random.default_rng(0).integers(0, VOCAB, (B, T + 1)).astype(np.int32)
    rows = dict(
        inputs=t[:, :-1], targets=t[:, 1:], weights=np.ones((B, T), np.float32), source=np.zeros(B, np.int32)
    )
    return {name: jnp.asarray(value) for name, value in rows.items()}


def plain_loss(spec, model, rows):
    """Summed nats in operations that autodiff knows:
    no kernel, no recomputation, no gradient written by hand.
    """

    def norm(x, gain):
        x = x - x.mean(-1, keepdims=True) if spec.norm == "layer" else x
        return x / jnp.sqrt((x * x).mean(-1, keepdims=True) + spec.norm_eps) * gain

    def turn(x):
        if spec.positions == "none":
            return x
        half = x.shape[-1] // 2
        angle = jnp.arange(T)[:, None] * spec.rope_theta ** (-jnp.arange(half) / half)
        angle = angle.reshape(T, *[1] * (x.ndim - 3), half)
        a, b = x[..., ::2], x[..., 1::2]
        return jnp.stack(
            [a * jnp.cos(angle) - b * jnp.sin(angle), a * jnp.sin(angle) + b * jnp.cos(angle)], -1
        ).reshape(x.shape)

    x = model.embedding[rows["inputs"]]
    for layer in range(spec.n_layers):
        w = jax.tree.map(operator.itemgetter(layer), model.blocks)
        h = norm(x, w.norm)
        q, k = jnp.einsum("btd,dkgh->btkgh", h, w.query), jnp.einsum("btd,dkh->btkh", h, w.key)
        if spec.qk_norm:
            q = norm(q.reshape(B, T, -1), w.query_norm.reshape(-1)).reshape(q.shape)
            k = norm(k.reshape(B, T, -1), w.key_norm.reshape(-1)).reshape(k.shape)
        q, k = turn(q), turn(k)
        scores = jnp.einsum("btkgh,bskh->bkgts", q, k) / spec.head_size**0.5
        seen = jax.nn.softmax(jnp.where(np.tri(T, dtype=bool), scores, -jnp.inf), -1)
        attended = jnp.einsum("bkgts,bsd,dkh,khgz->btz", seen, h, w.value, w.out.swapaxes(1, 2))
        x = x + attended
        h = norm(x, w.mlp_norm) if spec.block == "sequential" else h
        gate = h @ w.gate
        x = x + (gate / (1 + jnp.exp(-gate)) * (h @ w.up)) @ w.down
    table = model.embedding if spec.tied_embeddings else model.unembedding
    log_p = jax.nn.log_softmax(spec.logit_scale * norm(x, model.norm) @ table[:VOCAB].T)
    return -jnp.take_along_axis(log_p, rows["targets"][..., None], -1).sum()


@each_choice
def test_loss_and_gradients_equal_plain_autodiff(choice):
    spec = schema.Model(**SHAPE | choice, init_std=0.3, logit_scale=0.7)
    model = jax.jit(lambda: init_decoder(spec, VOCAB, jax.random.key(1)))()
    model = jax.tree.map(
        lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size).reshape(x.shape)), model
    )  # norms that are not all ones
    ours = jax.jit(
        jax.value_and_grad(lambda m: next_token_loss(m, batch(), 1, Compute(remat="full", chunk=4))[0])
    )
    loss, gradients = ours(model)
    want, wanted = jax.jit(jax.value_and_grad(lambda m: plain_loss(spec, m, batch())))(model)
    assert float(loss) == pytest.approx(float(want), rel=1e-6)
    for (path, got), want in zip(jax.tree.leaves_with_path(gradients), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-3, err_msg=str(path))
        assert np.abs(want).max() > 1e-3, path


@each_choice
def test_trains_and_comes_back_from_its_checkpoint(choice, tmp_path):
    spec = schema.Model(**SHAPE | choice)
    step = Step(spec, VOCAB, 1, accumulate=2)
    state, losses = step.init(0), []
    for _ in range(3):
        state, metrics = step(state, step.put(jax.device_get(batch()), B), 1e-2)
        losses.append(float(metrics["nats"][0]))
    assert losses[0] > losses[1] > losses[2] and step.traces == 1
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(3, state, {})
        checkpoints.wait()
        (tmp_path / "done.json").write_text('{"steps": 3}')
        restored = TrainState(**checkpoints.restore(3, step.shapes()))
    for got, want in ((restored, state), (load_model(tmp_path, spec, VOCAB), state.model)):
        assert jax.tree.structure(got) == jax.tree.structure(want)
        jax.tree.map(np.testing.assert_array_equal, got, want)
    if "tied_embeddings" in choice:
        with pytest.raises(
            CodemixError, match="unembedding: the checkpoint has float32.* but this recipe needs nothing"
        ):
            load_model(tmp_path, spec.model_copy(update={"tied_embeddings": True}), VOCAB)


@settings(max_examples=40, deadline=None)
@given(
    choice=st.fixed_dictionaries(
        {
            "tied_embeddings": st.booleans(),
            "norm": st.sampled_from(["layer", "rms"]),
            "positions": st.sampled_from(["rope", "none"]),
            "block": st.sampled_from(["parallel", "sequential"]),
            "qk_norm": st.booleans(),
        }
    ),
    shape=st.fixed_dictionaries(
        {
            "d_model": st.sampled_from([8, 24]),
            "n_layers": st.integers(1, 3),
            "n_kv_heads": st.sampled_from([1, 2, 4]),
            "d_head": st.sampled_from([2, 6]),
            "d_ff": st.integers(8, 20),
            "vocab_multiple": st.sampled_from([1, 16]),
        }
    ),
    vocab_size=st.integers(2, 70),
)
def test_counted_parameters_are_those_there_are(choice, shape, vocab_size):
    spec = schema.Model(**choice, **shape, n_heads=4)
    model = jax.eval_shape(lambda: init_decoder(spec, vocab_size, jax.random.key(0)))
    assert spec.parameters(vocab_size) == sum(leaf.size for leaf in jax.tree.leaves(model))
    head = jax.eval_shape(lambda model: model.head, model)
    matmuls = sum(leaf.size for leaf in jax.tree.leaves((model.blocks, head)))
    assert spec.flops_per_token(vocab_size, 64) == 6 * matmuls + 6 * spec.n_layers * 4 * spec.head_size * 64


def test_an_untied_table_starts_as_its_own_and_decays_with_the_embedding():
    model = init_decoder(schema.Model(**SHAPE, tied_embeddings=False, init_std=0.05), 4000, jax.random.key(0))
    assert model.unembedding.shape == model.embedding.shape and model.head is model.unembedding
    assert float(model.unembedding.std()) == pytest.approx(0.05, rel=0.02)
    assert abs(np.corrcoef(model.embedding.ravel(), model.unembedding.ravel())[0, 1]) < 0.02
    for embeddings in (False, True):
        mask = optimizer.decayed(model, embeddings)
        assert (mask.unembedding, mask.embedding, mask.blocks.up, mask.norm) == (
            embeddings,
            embeddings,
            True,
            False,
        )


def test_without_positions_the_order_of_what_came_before_is_not_seen():
    from codemix.train.model.decoder import hidden

    last = {}
    for positions in ("rope", "none"):
        spec = schema.Model(**SHAPE | {"n_layers": 1}, positions=positions, init_std=0.3)
        model = init_decoder(spec, VOCAB, jax.random.key(0))
        ids = jnp.arange(8, dtype=np.int32)[None]
        swapped = ids[:, np.array([3, 1, 2, 0, 6, 5, 4, 7])]
        last[positions] = [hidden(model, i)[0, -1] for i in (ids, swapped)]
    np.testing.assert_allclose(*last["none"], atol=1e-5)
    assert not np.allclose(*last["rope"], atol=1e-3)


def test_an_odd_head_is_refused_where_pairs_turn():
    with pytest.raises(ValidationError, match="d_head 5 is odd; RoPE turns pairs"):
        schema.Model(**SHAPE, d_head=5)


@pytest.mark.parametrize("choice", ["rms", "olmo", "qk norm"])
def test_few_tokens_are_read_as_many(choice):
    """Where a batch has fewer tokens than d_model, activations are put in halves, not weights."""
    spec = schema.Model(**SHAPE | CHOICES[choice], init_std=0.3)
    model = jax.jit(lambda: init_decoder(spec, VOCAB, jax.random.key(2)))()
    model = jax.tree.map(lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size).reshape(x.shape)), model)
    ids = batch()["inputs"]
    many = hidden(model, ids)
    few = hidden(model, ids[:1, :5])
    np.testing.assert_allclose(few, many[:1, :5], atol=1e-5)
