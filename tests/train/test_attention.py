"""Attention functions against a plain softmax;
the TPU kernel in interpret mode, and lowered for TPU without a TPU.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codemix.train.model import attention, mesh


def plain(q, k, v, segments=None):
    T, H = q.shape[1], q.shape[-1]
    scores = jnp.einsum("btkgh,bskh->bkgts", q, k) / np.sqrt(H)
    seen = np.tril(np.ones((T, T), bool))
    if segments is not None:
        seen = (seen & (segments[:, :, None] == segments[:, None, :]))[:, None, None]
    return jnp.einsum("bkgts,bskh->btkgh", jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), -1), v)


def inputs(B, T, K, G, H, documents, seed=0):
    rng = np.random.default_rng(seed)
    q, k, v = (
        jnp.asarray(rng.standard_normal(s), jnp.float32)
        for s in ((B, T, K, G, H), (B, T, K, H), (B, T, K, H))
    )
    segments = jnp.asarray(np.sort(rng.integers(0, 4, (B, T)), 1), jnp.int32) if documents else None
    return q, k, v, segments


def gradients(attend, q, k, v, segments):
    weigh = jnp.cos(jnp.arange(q.size)).reshape(q.shape)
    return jax.jit(jax.grad(lambda *a: (attend(*a, segments) * weigh).sum(), (0, 1, 2)))(q, k, v)


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize(("T", "K", "G"), [(1, 1, 1), (300, 2, 3), (2560, 1, 1)])
def test_blocks_of_queries_equal_a_plain_softmax(T, K, G, documents):
    given = inputs(2, T, K, G, 8, documents)
    np.testing.assert_allclose(jax.jit(attention.xla)(*given), jax.jit(plain)(*given), atol=2e-6)
    for got, want in zip(gradients(attention.xla, *given), gradients(plain, *given), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5)


def test_long_rows_never_hold_all_scores():
    """All that a program holds for a row of 8192, forward and backward, is below T x T scores of one head,
    of two.
    """
    q, k, v = (
        jax.ShapeDtypeStruct(s, jnp.float32) for s in ((1, 8192, 2, 1, 8), (1, 8192, 2, 8), (1, 8192, 2, 8))
    )
    program = jax.jit(jax.grad(lambda *a: attention.xla(*a).sum(), (0, 1, 2))).lower(q, k, v).compile()
    assert program.memory_analysis().temp_size_in_bytes < 8192 * 8192 * 4 * 0.7


@pytest.mark.parametrize("documents", [False, True])
def test_the_tpu_kernel_interpreted_equals_xla(documents):
    given = inputs(1, 256, 1, 2, 128, documents)
    splash = functools.partial(attention.splash, interpret=True)
    np.testing.assert_allclose(jax.jit(splash)(*given), attention.xla(*given), atol=2e-5)
    for got, want in zip(gradients(splash, *given), gradients(attention.xla, *given), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-4)


@pytest.mark.parametrize("documents", [False, True])
def test_the_tpu_kernel_lowers_for_tpu_without_one(documents):
    q, k, v, segments = inputs(1, 512, 1, 2, 128, documents)
    attend = attention.for_platform("tpu", mesh.make_mesh())
    program = (
        jax.jit(jax.grad(lambda q: attend(q, k, v, segments).astype(jnp.float32).sum()))
        .trace(q)
        .lower(lowering_platforms=("tpu",))
        .as_text()
    )
    assert program.count("tpu_custom_call") == 3  # forward, and two kernels backward


def test_each_platform_has_its_own_and_odd_shapes_still_work():
    assert attention.for_platform("cpu") is attention.xla
    assert attention.for_platform("gpu").func is attention.for_platform("cuda").func is attention.cudnn
    given = inputs(1, 100, 1, 1, 8, True)  # 128 does not divide 100; cuDNN knows no float32
    for attend in (attention.for_platform("tpu"), attention.for_platform("gpu")):
        np.testing.assert_array_equal(attend(*given), attention.xla(*given))
