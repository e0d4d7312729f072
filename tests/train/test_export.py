"""Export to Hugging Face's names and back, and (optional) the same scores from transformers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from codemix.errors import CodemixError
from codemix.recipe import schema
from codemix.train import attention
from codemix.train.export import export, load_exported
from codemix.train.model import hidden, init_decoder, logits

TIED = schema.Model(
    d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_head=16, d_ff=48, logit_scale=0.25, init_std=0.4, vocab_multiple=64, rope_theta=1234.0
)
VOCAB = 70


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def spec(request):
    return TIED.model_copy(update={"tied_embeddings": request.param})


@pytest.fixture(scope="module")
def model(spec):
    made = jax.jit(lambda: init_decoder(spec, VOCAB, jax.random.key(3)))()
    return jax.tree.map(lambda x: x + 0.05 * jnp.cos(jnp.arange(x.size).reshape(x.shape)), made)  # norms that are not all ones


def test_a_dtype_that_would_spoil_the_weights_and_a_folder_that_is_a_file_are_refused(model, spec, tmp_path):
    (tmp_path / "file").touch()
    for folder, dtype, rule in ((tmp_path / "hf", "int8", "export-dtype"), (tmp_path / "file", "float32", "store-write")):
        with pytest.raises(CodemixError) as error:
            export(model, spec, folder, seq_len=128, eos_id=1, dtype=dtype)
        assert error.value.problems[0].rule == rule and not (tmp_path / "hf").exists()


def test_what_is_exported_comes_back_to_the_bit(model, spec, tmp_path):
    folder = export(model, spec, tmp_path / "hf", seq_len=128, eos_id=1)
    back = load_exported(folder, spec, VOCAB)
    for (path, want), got in zip(jax.tree.leaves_with_path(model), jax.tree.leaves(back), strict=True):
        if path[-1].name in ("embedding", "unembedding"):  # the padding is cut off and comes back as zeros
            want, got = want[:VOCAB], got[:VOCAB]
        np.testing.assert_array_equal(want, got, err_msg=str(path))
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["CohereForCausalLM"] and config["vocab_size"] == VOCAB and config["logit_scale"] == 0.25
    assert config["tie_word_embeddings"] is spec.tied_embeddings
    names = load_file(folder / "model.safetensors")
    assert len(names) == 2 + 8 * spec.n_layers + (not spec.tied_embeddings)
    np.testing.assert_array_equal(names.get("lm_head.weight", names["model.embed_tokens.weight"]), model.head[:VOCAB])


def test_half_precision_and_the_tokenizer_go_along(model, spec, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    folder = export(model, spec, tmp_path / "hf", seq_len=128, eos_id=1, dtype="bfloat16", tokenizer=tmp_path / "tokenizer.json")
    back = load_exported(folder, spec, VOCAB)
    np.testing.assert_allclose(back.blocks.gate, model.blocks.gate, rtol=1e-2)
    assert (folder / "tokenizer.json").read_text() == "{}"


def test_another_shape_is_refused(model, spec, tmp_path):
    folder = export(model, spec, tmp_path / "hf", seq_len=128, eos_id=1)
    with pytest.raises(CodemixError, match="self_attn.q_proj"):
        load_exported(folder, spec.model_copy(update={"d_head": 8}), VOCAB)
    with pytest.raises(CodemixError, match="has no `model.layers.2"):
        load_exported(folder, spec.model_copy(update={"n_layers": 3}), VOCAB)
    with pytest.raises(CodemixError, match=r"has (an|no) `lm_head\.weight`"):
        load_exported(folder, spec.model_copy(update={"tied_embeddings": not spec.tied_embeddings}), VOCAB)


@pytest.mark.parametrize("choice", [{"norm": "rms"}, {"positions": "none"}, {"norm": "rms", "positions": "none"}])
def test_what_their_architecture_has_no_name_for_is_refused_before_anything_is_written(choice, tmp_path):
    spec = TIED.model_copy(update=choice)
    model = init_decoder(spec, VOCAB, jax.random.key(0))
    for export_or_load in (
        lambda: export(model, spec, tmp_path / "hf", seq_len=128, eos_id=1),
        lambda: load_exported(tmp_path / "hf", spec, VOCAB),
    ):
        with pytest.raises(CodemixError) as error:
            export_or_load()
        assert [p.rule for p in error.value.problems] == ["export-unsupported"] * len(choice)
        for name, value in choice.items():
            assert f"{tmp_path / 'hf'}: `model.{name}: {value}` cannot be a Hugging Face model" in str(error.value)
            assert f"train with `{name}: {getattr(TIED, name)}` to export it" in str(error.value)
    assert not (tmp_path / "hf").exists()


@pytest.mark.optional("needs torch and transformers")
def test_transformers_scores_the_same(model, spec, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = export(model, spec, tmp_path / "hf", seq_len=128, eos_id=1)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    assert type(theirs).__name__ == "CohereForCausalLM"
    ids = np.random.default_rng(0).integers(0, VOCAB, (2, 40)).astype(np.int32)
    with torch.no_grad():
        want = theirs(torch.from_numpy(ids).long()).logits.numpy()
    got = np.asarray(logits(model, hidden(model, jnp.asarray(ids), attention=attention.xla)))[..., :VOCAB]
    np.testing.assert_allclose(got, want, atol=2e-4, rtol=1e-4)
