"""Generation with the cache against the likeliest token of a full forward pass, token by token."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from support.plain_scores import greedily

from codemix.errors import CodemixError
from codemix.eval.engine.generate import Decoding, generate
from codemix.eval.engine.score import Engine
from codemix.train.model.decoder import init_decoder

PROMPTS = ["", "a", "def f(x):\n    return", "naïve 東京 " * 2, "x" * 30, "The quick brown fox"]


def test_cached_generation_is_the_likeliest_token_each_time(engine, decoder):
    found = generate(engine, PROMPTS, Decoding(max_tokens=24))
    for prompt, [one] in zip(PROMPTS, found, strict=True):
        ids = greedily(decoder, engine.text.encode(prompt) or [256], 24)
        if 256 in ids:
            ids = ids[: ids.index(256)]
        assert one.text == engine.text.decode(ids)
        assert (one.tokens, one.truncated) == (len(ids), False)


def test_models_of_other_choices_write_as_they_score(model_spec, byte_text):
    spec = model_spec.model_copy(update={"tied_embeddings": False, "norm": "rms", "positions": "none"})
    decoder = init_decoder(spec, 257, jax.random.key(1))
    for prompt, [one] in zip(
        PROMPTS,
        generate(Engine(decoder, byte_text, longest=64), PROMPTS, Decoding(max_tokens=8)),
        strict=True,
    ):
        ids = greedily(decoder, byte_text.encode(prompt) or [256], 8)
        assert one.text == byte_text.decode(ids[: ids.index(256)] if 256 in ids else ids)


def test_a_long_prompt_keeps_its_end(engine, decoder):
    prompt = "abcdefghij" * 20
    [[one]] = generate(engine, [prompt], Decoding(max_tokens=24))
    assert one.truncated
    ids = greedily(decoder, engine.text.encode(prompt)[-40:], 24)
    assert one.text == engine.text.decode(ids[: ids.index(256)] if 256 in ids else ids)


def test_half_of_what_the_model_sees_is_kept_for_the_prompt(engine):
    assert Decoding(max_tokens=1000).within(64).max_tokens == 32


def test_stop_strings_are_cut(engine):
    whole = generate(engine, ["The quick"], Decoding(max_tokens=24))[0][0].text
    stop = whole[7:10]
    [[one]] = generate(engine, ["The quick"], Decoding(max_tokens=24, stop=("\0never", stop)))
    assert one.text == whole[: whole.index(stop)] and one.finish == "stop"


def test_a_text_depends_on_its_seed_only(engine):
    decoding = Decoding(max_tokens=12, temperature=0.8, top_p=0.9, samples=3, seed=5)
    together = generate(engine, PROMPTS, decoding)
    assert (
        generate(engine, PROMPTS[:6][::-1], decoding) != together[::-1]
    )  # a text's place is part of its seed
    assert generate(engine, [*PROMPTS[:5], "another"], decoding)[:5] == together[:5]
    assert len({g.text for g in together[4]}) > 1
    assert generate(engine, PROMPTS, dataclasses.replace(decoding, seed=6)) != together


def test_a_vanishing_top_p_is_greedy(engine):
    greedy, sampled = (
        generate(engine, PROMPTS * 3, d)
        for d in (Decoding(max_tokens=12), Decoding(max_tokens=12, temperature=1.0, top_p=1e-6))
    )
    assert [g.text for [g] in greedy] == [g.text for [g] in sampled]


def test_a_broken_model_writes_nothing(decoder, byte_text):
    broken = dataclasses.replace(decoder, norm=decoder.norm.at[0].set(jnp.nan))
    with pytest.raises(CodemixError) as caught:
        generate(Engine(broken, byte_text, longest=64), ["a"], Decoding(max_tokens=4))
    assert caught.value.problems[0].rule == "scores-not-finite"


ON_FOUR_DEVICES = """
import jax, sys
sys.path.insert(0, {here!r})
import numpy as np, pathlib, tempfile
from support import byte_store
from codemix.eval.engine.generate import Decoding, generate
from codemix.eval.engine.score import Engine
from codemix.eval.engine.text import Text
from codemix.recipe.language.schema import Model
from codemix.train.model.mesh import make_mesh, shardings
from codemix.train.model.decoder import init_decoder
assert jax.device_count() == 4
path = pathlib.Path(tempfile.mkdtemp()) / "tokenizer.json"
path.write_text(byte_store.byte_tokenizer_json())
spec = Model(d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_head=8, d_ff=48, init_std=0.5, logit_scale=0.5, vocab_multiple=8)
decoder = jax.jit(lambda key: init_decoder(spec, 257, key))(jax.random.key(1))
mesh = make_mesh(data=1, fsdp=2, model=2)
one = Engine(decoder, Text(path, 256), longest=64)
four = Engine(jax.device_put(decoder, shardings(mesh, decoder)), one.text, longest=64, mesh=mesh)
texts = ["", "abc", "def f(x):", "x" * 90, "naive"]
a, b = ([s.log_p for s in e.score_documents([e.text.encode(t * 3) for t in texts[1:]])] for e in (one, four))
np.testing.assert_allclose(a, b, atol=2e-3)
a, b = (generate(e, texts, Decoding(max_tokens=12)) for e in (one, four))
assert a == b, (a, b)
a, b = (generate(e, texts, Decoding(max_tokens=12, temperature=0.7, samples=2)) for e in (one, four))
assert a == b, (a, b)
"""


@pytest.mark.optional("takes a process of its own with four devices")
def test_four_devices_score_and_write_the_same():
    import os
    import subprocess
    import sys
    from pathlib import Path

    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    program = ON_FOUR_DEVICES.format(here=str(Path(__file__).parents[1]))
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
