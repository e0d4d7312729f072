"""Export to Hugging Face's names and back, and (optional) the same scores from transformers."""

import importlib
import json
import os
import re
import stat
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from codemix.errors import CodemixError
from codemix.eval.engine.generate import Decoding, generate
from codemix.eval.engine.score import Engine
from codemix.eval.engine.text import Text
from codemix.recipe.language import schema
from codemix.train.model import weight_files
from codemix.train.model.architectures import ARCHITECTURES, architecture_of
from codemix.train.model.decoder import hidden, init_decoder, logits
from codemix.train.model.huggingface import check, export
from codemix.train.model.pretrained import load_pretrained

TIED = schema.Model(
    d_model=32,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    d_head=16,
    d_ff=48,
    logit_scale=0.25,
    init_std=0.4,
    vocab_multiple=64,
    rope_theta=1234.0,
)
VOCAB, EOS = 70, "<|end|>"


LLAMA = {"block": "sequential", "norm": "rms", "logit_scale": 1.0}
KINDS = {
    "tied": {},
    "untied": {"tied_embeddings": False},
    "llama": LLAMA,
    "untied llama": LLAMA | {"tied_embeddings": False},
}


def load(folder, spec, vocab_size=VOCAB):
    """What `export` wrote, as a decoder on this machine's device."""
    like = jax.eval_shape(lambda: init_decoder(spec, vocab_size, jax.random.key(0)))
    return load_pretrained(folder, spec, vocab_size, like)


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def spec(request):
    return TIED.model_copy(update=request.param)


@pytest.fixture(scope="module")
def model(spec):
    made = jax.jit(lambda: init_decoder(spec, VOCAB, jax.random.key(3)))()
    return jax.tree.map(
        lambda x: x + 0.05 * jnp.cos(jnp.arange(x.size).reshape(x.shape)), made
    )  # norms that are not all ones


def test_a_dtype_that_would_spoil_the_weights_and_a_folder_that_is_a_file_are_refused(model, spec, tmp_path):
    (tmp_path / "file").touch()
    for folder, dtype, rule in (
        (tmp_path / "hf", "int8", "export-dtype"),
        (tmp_path / "file", "float32", "store-write"),
    ):
        with pytest.raises(CodemixError) as error:
            export(model, spec, folder, seq_len=128, eos_id=1, dtype=dtype)
        assert error.value.problems[0].rule == rule and not (tmp_path / "hf").exists()


def test_what_is_exported_comes_back_to_the_bit(model, spec, tmp_path):
    folder = export(model, spec, tmp_path / "hf", seq_len=128, eos_id=1)
    back = load(folder, spec)
    for (path, want), got in zip(jax.tree.leaves_with_path(model), jax.tree.leaves(back), strict=True):
        if path[-1].name in ("embedding", "unembedding"):  # the padding is cut off and comes back as zeros
            want, got = want[:VOCAB], got[:VOCAB]
        np.testing.assert_array_equal(want, got, err_msg=str(path))
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == [architecture_of(spec).model_class]
    assert config["vocab_size"] == VOCAB
    assert config.get("logit_scale", 1.0) == spec.logit_scale
    assert config["tie_word_embeddings"] is spec.tied_embeddings
    names = load_file(folder / "model.safetensors")
    per_layer = 9 if spec.block == "sequential" else 8
    assert len(names) == 2 + per_layer * spec.n_layers + (not spec.tied_embeddings)
    np.testing.assert_array_equal(
        names.get("lm_head.weight", names["model.embed_tokens.weight"]), model.head[:VOCAB]
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A byte-level tokenizer of 270 ids whose file also adds EOS, cuts and pads:
    none of which training did.
    """
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=270, special_tokens=["<pre>", EOS], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(["def f(x): return x"], trainer)
    made.post_processor = processors.TemplateProcessing(single=f"{EOS} $A", special_tokens=[(EOS, 1)])
    made.enable_truncation(4)
    made.enable_padding(length=16)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture(scope="module")
def exported(tokenizer, tmp_path_factory):
    """A folder `exported` with a model over that tokenizer, and the model."""
    spec = TIED.model_copy(update={"vocab_multiple": 1})
    model = jax.jit(lambda: init_decoder(spec, 270, jax.random.key(3)))()
    return export(
        model, spec, tmp_path_factory.mktemp("home") / "exported", seq_len=128, eos_id=1, tokenizer=tokenizer
    ), model


def test_half_precision(model, spec, tmp_path):
    folder = export(model, spec, tmp_path / "hf", seq_len=128, eos_id=1, dtype="bfloat16")
    back = load(folder, spec)
    np.testing.assert_allclose(back.blocks.gate, model.blocks.gate, rtol=1e-2)


def test_the_tokenizer_goes_along_and_gives_the_ids_that_training_saw(exported, tokenizer):
    folder, _ = exported
    text = f"def f(x): {EOS} <pre>"
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.encode_special_tokens = True
    assert theirs.encode(text).ids == Text(str(tokenizer), 1).encode(text)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["eos_token"] == settings["pad_token"] == EOS
    assert settings["split_special_tokens"] is True and settings["clean_up_tokenization_spaces"] is False
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation == {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1}
    config = json.loads((folder / "config.json").read_text())
    assert config["eos_token_id"] == config["bos_token_id"] == 1 and config["pad_token_id"] is None


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_every_file_may_be_read_by_whom_the_umask_allows(model, spec, tmp_path, umask, tokenizer):
    before = os.umask(umask)
    try:
        folder = export(model, spec, tmp_path / "hf", seq_len=128, eos_id=1, tokenizer=tokenizer)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert len(modes) == 5 and set(modes.values()) == {0o666 & ~umask}


@pytest.mark.parametrize(
    "choice", [{"norm": "rms"}, {"positions": "none"}, {"norm": "rms", "positions": "none"}]
)
def test_what_their_architecture_has_no_name_for_is_refused_before_anything_is_written(choice, tmp_path):
    spec = TIED.model_copy(update=choice)
    model = init_decoder(spec, VOCAB, jax.random.key(0))
    with pytest.raises(CodemixError) as error:
        export(model, spec, tmp_path / "hf", seq_len=128, eos_id=1)
    assert [p.rule for p in error.value.problems] == ["export-unsupported"] * len(choice)
    for name, value in choice.items():
        assert f"`model.{name}: {value}` cannot be a Hugging Face model" in str(error.value)
        assert f"train with `{name}: {getattr(TIED, name)}` to export it" in str(error.value)
    assert not (tmp_path / "hf").exists()


def test_what_forbids_an_export_is_told_at_once():
    with pytest.raises(CodemixError) as error:
        check(TIED.model_copy(update={"norm": "rms"}), "int8")
    assert [p.rule for p in error.value.problems] == ["export-unsupported", "export-dtype"]
    check(TIED, "bfloat16")


@pytest.mark.parametrize(
    ("choice", "architecture", "fields"),
    [
        ({}, "llama", ["block", "norm", "logit_scale"]),
        (LLAMA, "cohere", ["block", "norm"]),
        ({"block": "sequential"}, "llama", ["norm", "logit_scale"]),
        (LLAMA | {"qk_norm": True}, "llama", ["qk_norm"]),
        ({"qk_norm": True}, "cohere", ["qk_norm"]),
    ],
)
def test_an_architecture_names_every_choice_that_it_lacks(choice, architecture, fields):
    with pytest.raises(CodemixError) as error:
        check(TIED.model_copy(update=choice), "float32", ARCHITECTURES[architecture])
    told = [problem.what for problem in error.value.problems]
    assert [next(f for f in fields if f"`model.{f}:" in what) for what in told] == fields


def test_weights_above_a_files_size_are_several_with_an_index(model, spec, tmp_path, monkeypatch):
    whole = export(model, spec, tmp_path / "whole", seq_len=128, eos_id=1)
    monkeypatch.setattr(weight_files, "FILE_BYTES", 20_000)
    folder = export(model, spec, tmp_path / "several", seq_len=128, eos_id=1)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 2 and files[0] == f"model-00001-of-{len(files):05}.safetensors"
    assert not (folder / "model.safetensors").exists()
    together = {}
    for file in files:
        together |= load_file(folder / file)
    for name, array in load_file(whole / "model.safetensors").items():
        np.testing.assert_array_equal(together[name], array)
    back, want = load(folder, spec), load(whole, spec)
    jax.tree.map(np.testing.assert_array_equal, back, want)
    export(model, spec, whole, seq_len=128, eos_id=1)
    assert not (whole / "model.safetensors").exists()  # what was here before is not beside it
    monkeypatch.undo()
    export(model, spec, whole, seq_len=128, eos_id=1)
    assert not (whole / "model.safetensors.index.json").exists()
    (folder / files[1]).unlink()
    with pytest.raises(CodemixError, match="is not there"):
        load(folder, spec)


@pytest.mark.optional("needs torch and transformers")
def test_transformers_scores_the_same(model, spec, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = export(model, spec, tmp_path / "hf", seq_len=128, eos_id=1)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    assert type(theirs).__name__ == architecture_of(spec).model_class
    ids = np.random.default_rng(0).integers(0, VOCAB, (2, 40)).astype(np.int32)
    with torch.no_grad():
        want = theirs(torch.from_numpy(ids).long()).logits.numpy()
    got = np.asarray(logits(model, hidden(model, jnp.asarray(ids))))[..., :VOCAB]
    np.testing.assert_allclose(got, want, atol=2e-4, rtol=1e-4)


@pytest.mark.optional("needs torch and transformers")
def test_the_page_runs_and_its_model_writes_what_ours_writes(exported, tokenizer, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    folder, model = exported
    monkeypatch.chdir(folder.parent)
    code, _ = re.findall(
        r"^```python\n(.*?)^```", (Path(__file__).parents[2] / "docs" / "export.md").read_text(), re.M | re.S
    )
    said = {}
    exec(code, said)
    engine = Engine(model, Text(str(tokenizer), 1), longest=128)
    ours = [generation.text for [generation] in generate(engine, said["prompts"], Decoding(max_tokens=20))]
    assert said["texts"] == ours
    for text in (f"def f(x): {EOS} <pre>", "", " a .b 'x\u0301 ", "\ttab\r\n"):
        assert said["tokenizer"](text)["input_ids"] == engine.text.encode(text)
        assert said["tokenizer"].decode(engine.text.encode(text)) == text
    assert said["tokenizer"](f"<pre>{EOS}", split_special_tokens=False)["input_ids"] == [0, 1]


@pytest.mark.optional("needs torch, transformers and lm-eval")
def test_the_hf_backend_of_lm_eval_scores_the_same(exported, tokenizer):
    backend = pytest.importorskip("lm_eval.models.huggingface")
    instance = importlib.import_module("lm_eval.api.instance").Instance
    folder, model = exported
    theirs = backend.HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=2)
    pairs = [
        ("def f(x):", " return x"),
        ("", "x = 1"),
        (f"a {EOS}", " b"),
        ("a longer context than the others", " c"),
    ]
    got = theirs.loglikelihood(
        [instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    )
    want = Engine(model, Text(str(tokenizer), 1), longest=128).score_continuations(pairs)
    np.testing.assert_allclose([log_p for log_p, _ in got], [s.log_p for s in want], atol=1e-3, rtol=1e-4)
    assert [greedy for _, greedy in got] == [s.greedy for s in want]
