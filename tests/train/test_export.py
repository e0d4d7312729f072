"""Export to Hugging Face's names and back, and (optional) the same scores from transformers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codemix.errors import CodemixError
from codemix.recipe import schema
from codemix.train import attention
from codemix.train.export import export, load_exported
from codemix.train.model import hidden, init_decoder, logits

pytest.importorskip("safetensors", reason="exporting needs safetensors")
SPEC = schema.Model(
    d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_head=16, d_ff=48, logit_scale=0.25, init_std=0.4, vocab_multiple=64, rope_theta=1234.0
)
VOCAB = 70


@pytest.fixture(scope="module")
def model():
    made = jax.jit(lambda: init_decoder(SPEC, VOCAB, jax.random.key(3)))()
    return jax.tree.map(lambda x: x + 0.05 * jnp.cos(jnp.arange(x.size).reshape(x.shape)), made)  # norms that are not all ones


def test_what_is_exported_comes_back_to_the_bit(model, tmp_path):
    folder = export(model, SPEC, tmp_path / "hf", seq_len=128, eos_id=1)
    back = load_exported(folder, SPEC, VOCAB)
    for (path, want), got in zip(jax.tree.leaves_with_path(model), jax.tree.leaves(back), strict=True):
        if path[-1].name == "embedding":  # the padding is cut off and comes back as zeros
            want, got = want[:VOCAB], got[:VOCAB]
        np.testing.assert_array_equal(want, got, err_msg=str(path))
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["CohereForCausalLM"] and config["vocab_size"] == VOCAB and config["logit_scale"] == 0.25


def test_half_precision_and_the_tokenizer_go_along(model, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    folder = export(model, SPEC, tmp_path / "hf", seq_len=128, eos_id=1, dtype="bfloat16", tokenizer=tmp_path / "tokenizer.json")
    back = load_exported(folder, SPEC, VOCAB)
    np.testing.assert_allclose(back.blocks.gate, model.blocks.gate, rtol=1e-2)
    assert (folder / "tokenizer.json").read_text() == "{}"


def test_another_shape_is_refused(model, tmp_path):
    folder = export(model, SPEC, tmp_path / "hf", seq_len=128, eos_id=1)
    with pytest.raises(CodemixError, match="self_attn.q_proj"):
        load_exported(folder, SPEC.model_copy(update={"d_head": 8}), VOCAB)
    with pytest.raises(CodemixError, match="has no `model.layers.2"):
        load_exported(folder, SPEC.model_copy(update={"n_layers": 3}), VOCAB)


@pytest.mark.optional("needs torch and transformers")
def test_transformers_scores_the_same(model, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = export(model, SPEC, tmp_path / "hf", seq_len=128, eos_id=1)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    assert type(theirs).__name__ == "CohereForCausalLM"
    ids = np.random.default_rng(0).integers(0, VOCAB, (2, 40)).astype(np.int32)
    with torch.no_grad():
        want = theirs(torch.from_numpy(ids).long()).logits.numpy()
    got = np.asarray(logits(model, hidden(model, jnp.asarray(ids), attention=attention.xla)))[..., :VOCAB]
    np.testing.assert_allclose(got, want, atol=2e-4, rtol=1e-4)
