"""Scores against a forward pass written out plainly, one sequence at a time."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plain_scores import greedily, plainly

from codemix.errors import CodemixError
from codemix.eval.engine import packing
from codemix.eval.engine.score import Engine
from codemix.eval.engine.windows import windows

SEQ_LEN = 64


def test_packed_scores_equal_the_plain_forward(engine, decoder):
    rng = np.random.default_rng(0)
    pairs = [
        (
            rng.integers(0, 257, rng.integers(1, 40)).tolist(),
            rng.integers(0, 256, rng.integers(1, 24)).tolist(),
        )
        for _ in range(40)
    ]
    pairs += [(pairs[0][0], greedily(decoder, pairs[0][0], 3))]
    scores = engine.score_tokens(pairs)
    for score, (context, continuation) in zip(scores, pairs, strict=True):
        expected, greedy = plainly(decoder, context, continuation)
        assert score.log_p == pytest.approx(expected, abs=1e-3)
        assert (score.greedy, score.tokens, score.truncated) == (greedy, len(continuation), False)
    assert scores[-1].greedy and not all(s.greedy for s in scores)


def rolling(document, eos_id, longest):
    return [(tokens[:-n], tokens[-n:]) for tokens, n in windows([eos_id], document, longest)]


def test_a_long_context_is_cut_on_the_left_and_a_long_continuation_is_scored_in_windows(engine, decoder):
    rng = np.random.default_rng(1)
    context, continuation = rng.integers(0, 256, 100).tolist(), rng.integers(0, 256, 10).tolist()
    [score] = engine.score_tokens([(context, continuation)])
    assert score.truncated
    assert score.log_p == pytest.approx(
        plainly(decoder, context[-(SEQ_LEN - 9) :], continuation)[0], abs=1e-3
    )
    long = rng.integers(0, 256, 150).tolist()
    [score] = engine.score_tokens([(context, long)])
    whole = [*context, *long]
    expected = sum(
        plainly(decoder, whole[end - 65 : start], whole[start:end])[0]
        for start, end in ((100, 164), (164, 228), (228, 250))
    )
    assert score.truncated and score.tokens == 150 and score.log_p == pytest.approx(expected, abs=2e-3)
    with pytest.raises(CodemixError, match="no continuation"):
        engine.score_tokens([([1], [])])


@given(st.integers(0, 40), st.integers(1, 12))
def test_rolling_windows_score_each_token_once_and_fit(n, longest):
    document = list(range(1, n + 1))
    windows = rolling(document, 0, longest)
    assert [t for _, scored in windows for t in scored] == document
    for place, (context, scored) in enumerate(windows):
        assert len(context) >= 1 and len(context) + len(scored) - 1 <= longest
        joined = [*context, *scored]
        assert joined == list(range(joined[0], joined[0] + len(joined)))  # a stretch of EOS + document
        if place > 0:
            assert len(context) + len(scored) - 1 == longest


def test_rolling_windows_are_those_of_lm_eval():
    harness = pytest.importorskip("lm_eval.utils", reason="lm-eval is not installed")
    for n in (1, 5, 12, 13, 30):
        theirs = map(
            harness.make_disjoint_window, harness.get_rolling_token_windows(list(range(1, n + 1)), 0, 6, 1)
        )
        assert [(list(c), list(t)) for c, t in rolling(range(1, n + 1), 0, 6)] == [
            (list(c), list(t)) for c, t in theirs
        ]


def test_documents_do_not_see_each_other(engine, decoder):
    rng = np.random.default_rng(2)
    documents = [rng.integers(0, 256, n).tolist() for n in (3, 200, 64, 65, 1, 17)]
    together = engine.score_documents(documents)
    for document, score in zip(documents, together, strict=True):
        expected = sum(
            plainly(decoder, c.tolist(), t.tolist())[0] for c, t in rolling(document, 256, SEQ_LEN)
        )
        assert score.log_p == pytest.approx(expected, abs=2e-3)
        assert score.tokens == len(document)


def test_a_uniform_model_scores_eight_bits_a_byte(decoder, byte_text):
    flat = dataclasses.replace(decoder, vocab_size=256, embedding=jnp.zeros((256 + 8, 32)))
    text = "naïve café — 東京 🦊\n" * 9
    [score] = Engine(flat, byte_text, longest=SEQ_LEN).score_documents([byte_text.encode(text)])
    assert score.bits / len(text.encode()) == pytest.approx(8.0, abs=1e-5)


def test_scores_that_are_not_numbers_are_an_error(decoder, byte_text):
    broken = dataclasses.replace(decoder, norm=decoder.norm.at[3].set(jnp.nan))
    with pytest.raises(CodemixError) as caught:
        Engine(broken, byte_text, longest=SEQ_LEN).score_continuations([("a", " b")])
    assert caught.value.problems[0].rule == "scores-not-finite"


def test_a_mesh_changes_no_score(decoder, byte_text, engine):
    from codemix.train.model.mesh import make_mesh, shardings

    mesh = make_mesh(data=jax.device_count() if jax.device_count() in (2, 4) else 1)
    placed = jax.device_put(decoder, shardings(mesh, decoder))
    pairs = [("def f(x):", " return x"), ("a", "b"), ("", "abc")]
    ours = Engine(placed, byte_text, longest=SEQ_LEN, mesh=mesh).score_continuations(pairs)
    assert [s.log_p for s in ours] == pytest.approx(
        [s.log_p for s in engine.score_continuations(pairs)], abs=1e-4
    )


def test_an_empty_context_is_eos(byte_text):
    assert byte_text.pair("ab  ", "c") == (byte_text.encode("ab  "), byte_text.encode("c"))
    assert byte_text.pair("", "c") == ([256], byte_text.encode("c"))
    assert byte_text.encode("<|endoftext|>") != [256]


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 600), max_size=80),
    st.sampled_from([32, 256, 300, 1024, 2048]),
    st.sampled_from([256, 2048, 8192]),
)
def test_batches_hold_each_sequence_once_and_fit(lengths, longest, batch_tokens):
    lengths = [min(n, longest) for n in lengths]
    seen, shapes = [], set()
    for packed in packing.batches(lengths, longest, batch_tokens):
        room, height, rows = packed.room, packed.height, packed.rows
        assert len(rows) <= height and room in packing.row_lengths(longest)
        assert all(0 < sum(lengths[i] for i in row) <= room for row in rows)
        seen += [i for row in rows for i in row]
        shapes.add((room, height))
    assert sorted(seen) == list(range(len(lengths)))
    assert len(shapes) <= len(packing.row_lengths(longest))
