"""A stage that starts from a Hugging Face model: exported, named by its lines, continued; and each thing that
does not fit."""

import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from support import tiny
from support.small_recipes import words, write_jsonl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import codemix
from codemix import cli
from codemix.api.import_model import model_lines
from codemix.errors import CodemixError
from codemix.recipe.language import recipe_file, schema
from codemix.recipe.language.yaml_text import dump
from codemix.train.model.decoder import hidden, init_decoder, logits
from codemix.train.model.huggingface import export
from codemix.train.model.pretrained import load_pretrained
from codemix.train.model.weight_files import WeightFiles
from codemix.train.run.checkpoint import load_model
from codemix.train.run.pretrained import changed, findings

VOCAB, EOS = 270, "<|end|>"
LLAMA = {
    "block": "sequential",
    "norm": "rms",
    "tied_embeddings": False,
    "norm_eps": 1e-6,
    "rope_theta": 500.0,
}
COHERE = {"logit_scale": 0.25}
SHAPE = {"d_model": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_head": 16, "d_ff": 48}


def made_tokenizer(path: Path) -> Path:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=["<pre>", EOS], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([words(1, 400)], trainer)
    made.save(str(path))
    return path


def weights(spec, seed=3, vocab=VOCAB):
    return jax.jit(lambda: init_decoder(spec, vocab, jax.random.key(seed)))()


@pytest.fixture(scope="module", params=[COHERE, LLAMA], ids=["cohere", "llama"])
def place(request, tmp_path_factory):
    """A data root with text and a folder `theirs` that holds a model, and the model."""
    root = tmp_path_factory.mktemp("pretrained")
    write_jsonl(root / "text.jsonl", [{"text": words(seed, 60)} for seed in range(60)])
    spec = schema.Model(**SHAPE, **request.param)
    model = weights(spec)
    tokenizer = made_tokenizer(root / "tokenizer.json")
    export(model, spec, root / "theirs", seq_len=64, eos_id=1, tokenizer=tokenizer)
    return root, spec, model


@pytest.fixture
def command(capsys):
    """Runs a command in this process; (exit code, all that it printed)."""

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(word) for word in words])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return stop.value.code, printed.out + printed.err

    return call


@pytest.fixture
def copy(place, tmp_path):
    """The same place, to be spoilt."""
    root, spec, model = place
    shutil.copytree(root, tmp_path / "copy")
    return tmp_path / "copy", spec, model


def recipe_of(root: Path, **changes) -> Path:
    """A recipe that continues `theirs`, from the lines that import-model prints."""
    lines = model_lines("theirs", root).fields
    stage = lines["stages"][0] | {
        "steps": 4,
        "mixture": {"text": "100%"},
        "learning_rate": {"kind": "constant", "value": 1e-3},
    }
    recipe = {
        "codemix": 1,
        "name": "continued",
        "tokenizer": lines["tokenizer"],
        "sources": {
            "text": {"read": {"kind": "jsonl", "paths": "text.jsonl"}, "max_epochs": 9, "held_out": "5%"}
        },
        "model": lines["model"],
        "training": {"seq_len": 16, "batch_size": 4},
        "stages": [stage, stage | {"name": "after", "init_from": None}],
    } | changes
    path = root / "recipe.yaml"
    path.write_text(dump(recipe))
    return path


def open_run(root: Path, **changes) -> codemix.Run:
    return codemix.open(recipe_of(root, **changes), store=root / "store", data_root=root)


def found(root: Path, **changes) -> list[str]:
    return [finding.problem.what for finding in findings(open_run(root, **changes).plan, root)]


def same(one, other) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_lines_of_an_exported_model_are_its_recipe(place, command):
    root, spec, _ = place
    lines = model_lines("theirs", root)
    read = schema.Model(**lines.fields["model"])
    for name in (
        "block",
        "norm",
        "kv_heads",
        "head_size",
        "rope_theta",
        "norm_eps",
        "logit_scale",
        "tied_embeddings",
    ):
        assert getattr(read, name) == getattr(spec, name), name
    assert lines.fields["tokenizer"]["eos"] == EOS
    assert re.fullmatch("[0-9a-f]{64}", lines.fields["stages"][0]["init_from"]["sha256"])
    code, printed = command("import-model", "theirs", "--data-root", root)
    assert code == 0 and lines.text() in printed


def test_a_stage_trains_on_from_the_model_and_a_resumed_one_ends_in_the_same_weights(copy):
    root, spec, model = copy
    run = open_run(root)
    assert found(root) == [] and list(changed(run.plan, root)) == []
    run.build()
    first = run.train(tiny.options(until=2, save_every_steps=1))
    assert first == {}
    folders = run.train(tiny.options())
    other = codemix.open(root / "recipe.yaml", store=root / "straight", data_root=root)
    other.build()
    straight = other.train(tiny.options())
    for name in ("continued", "after"):
        ends = [load_model(where[name], spec, VOCAB) for where in (folders, straight)]
        same(*ends)
    moved = np.abs(np.asarray(ends[0].blocks.gate - model.blocks.gate)).max()
    assert 0 < moved < 0.05  # eight steps of 1e-3 away from the model's own
    lineage = json.loads((folders["continued"] / "lineage.json").read_text())
    assert lineage["pretrained"]["sha256"] == run.plan.stages[0].pretrained.sha256
    page = run.report().with_suffix(".md").read_text()
    assert "| theirs " in page and "| scratch |" not in page


def test_what_is_loaded_is_the_model_to_the_bit_and_trains_from_there(copy):
    root, spec, model = copy
    run = open_run(root)
    same(load_pretrained(root / "theirs", spec, VOCAB, weights(spec, seed=9)), model)
    text = (root / "recipe.yaml").read_text().replace("value: 0.001", "value: 1.0e-12")
    (root / "recipe.yaml").write_text(text)
    run = codemix.open(root / "recipe.yaml", store=root / "store", data_root=root)
    run.build()
    end = load_model(run.train(tiny.options())["after"], spec, VOCAB)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), end, model)


def test_identity_is_the_content_of_the_arrays(copy, monkeypatch):
    root, spec, model = copy
    before = open_run(root).plan
    shutil.move(root / "theirs", root / "elsewhere")
    text = (root / "recipe.yaml").read_text()
    moved = recipe_file.parse_recipe(
        text.replace("huggingface: theirs", "huggingface: elsewhere"), str(root / "recipe.yaml")
    )
    again = codemix.recipe.checks.validation.check(moved).require()
    assert [s.fingerprint for s in again.stages] == [s.fingerprint for s in before.stages]
    digest = WeightFiles(root / "elsewhere").digest()
    monkeypatch.setattr("codemix.train.model.weight_files.FILE_BYTES", 20_000)
    export(model, spec, root / "several", seq_len=64, eos_id=1)
    assert len(list((root / "several").glob("*.safetensors"))) > 2
    assert WeightFiles(root / "several").digest() == digest
    export(weights(spec, seed=4), spec, root / "other", seq_len=64, eos_id=1)
    other_digest = WeightFiles(root / "other").digest()
    assert other_digest != digest
    other = recipe_file.parse_recipe(text.replace(digest, other_digest), str(root / "recipe.yaml"))
    theirs = codemix.recipe.checks.validation.check(other).require()
    assert not {s.fingerprint for s in theirs.stages} & {s.fingerprint for s in before.stages}


def test_other_weights_in_the_folder_are_told_before_training_and_when_it_starts(copy):
    root, spec, _ = copy
    run = open_run(root)
    run.build()
    export(weights(spec, seed=4), spec, root / "theirs", seq_len=64, eos_id=1)
    assert found_changed(run, root)
    with pytest.raises(CodemixError, match="not those that the recipe names"):
        run.train(tiny.options())
    assert not list((root / "store").glob("stages/*"))


def found_changed(run, root):
    return [problem.rule for problem in changed(run.plan, root)] == ["pretrained-changed"]


def edit_config(**values):
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return edit


def edit_arrays(edit):
    def edit_file(folder: Path) -> None:
        arrays = load_file(folder / "model.safetensors")
        edit(arrays)
        save_file(arrays, folder / "model.safetensors")

    return edit_file


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def half_a_file(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def wander(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    index = {"weight_map": {"model.norm.weight": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def other_tokenizer(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    first, second = [token for token in sorted(vocab) if len(token) > 1][:2]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    content["normalizer"] = {"type": "NFC"}
    (folder / "tokenizer.json").write_text(json.dumps(content))


UNFIT = {  # what is done to the folder -> what is said of it, all of it at once
    "another architecture": (edit_config(model_type="mistral"), ["a model of type `mistral`"]),
    "a head for something else": (
        edit_config(architectures=["LlamaForSequenceClassification"]),
        ["LlamaForSequenceClassification"],
    ),
    "biases, another activation, scaled positions": (
        edit_config(
            attention_bias=True, hidden_act="gelu", rope_scaling={"rope_type": "llama3", "factor": 8.0}
        ),
        ["`attention_bias: true`", '`hidden_act: "gelu"`', "`rope_scaling"],
    ),
    "positions as transformers 5 says them": (
        edit_config(rope_parameters={"rope_type": "yarn", "rope_theta": 1e4}),
        ["`rope_parameters"],
    ),
    "part of a head turned": (edit_config(partial_rotary_factor=0.5), ["partial_rotary_factor"]),
    "quantised": (edit_config(quantization_config={"bits": 4}), ["the weights are quantised"]),
    "code of its own": (edit_config(auto_map={"AutoModel": "x.py"}), ["code of its own"]),
    "no sizes": (edit_config(hidden_size=None, vocab_size="many"), ["`hidden_size: null`", "`vocab_size"]),
    "heads that do not divide": (edit_config(num_key_value_heads=3), ["n_kv_heads 3"]),
    "a rate that is text": (edit_config(rope_theta="big", rope_parameters=None), ["rope_theta"]),
    "another shape than its arrays": (
        edit_config(intermediate_size=96, num_hidden_layers=3),
        [
            "`model.layers.*.mlp.up_proj.weight` is [48, 32], config.json says [96, 32] (2 layers)",
            "layers.2.",
        ],
    ),
    "an array too many and one too few": (
        edit_arrays(
            lambda arrays: arrays.update(
                {"model.layers.0.self_attn.q_norm.weight": arrays.pop("model.norm.weight")}
            )
        ),
        ["there is no `model.norm.weight`", "q_norm.weight` has no place"],
    ),
    "whole numbers": (
        edit_arrays(lambda arrays: arrays.update({"model.norm.weight": np.ones(32, np.int8)})),
        ["`model.norm.weight` is I8"],
    ),
    "pickled weights only": (pickle_only, ["model.safetensors is not there"]),
    "half a file": (half_a_file, ["cannot be read as safetensors"]),
    "an index that leads outside": (wander, ["does not map"]),
    "no config": (lambda folder: (folder / "config.json").unlink(), ["config.json cannot be read"]),
    "a config that is a list": (
        lambda folder: (folder / "config.json").write_text("[]"),
        ["is not a mapping"],
    ),
    "a config cut off": (lambda folder: (folder / "config.json").write_text("{"), ["is not JSON"]),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), ["tokenizer.json is not there"]),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_cannot_be_continued_is_said_at_once(copy, command, case):
    root, _, _ = copy
    spoil, said = UNFIT[case]
    recipe_of(root)
    spoil(root / "theirs")
    with pytest.raises(CodemixError) as error:
        model_lines("theirs", root)
    text = str(error.value)
    assert all(part in text for part in said), text
    if case == "pickled weights only":
        assert "never loaded" in text
    code, printed = command("import-model", "theirs", "--data-root", root)
    assert code == 1 and all(part in printed for part in said)
    run = codemix.open(root / "recipe.yaml", store=root / "store", data_root=root)
    assert [*findings(run.plan, root), *changed(run.plan, root)]


def test_a_tied_table_that_is_stored_twice_must_be_the_same(copy):
    root, spec, _ = copy
    twice = edit_arrays(
        lambda arrays: arrays.update({"lm_head.weight": arrays["model.embed_tokens.weight"] + 0})
    )
    edit_config(tie_word_embeddings=True)(root / "theirs")
    twice(root / "theirs")
    model_lines("theirs", root)
    differ = edit_arrays(
        lambda arrays: arrays.update({"lm_head.weight": arrays["model.embed_tokens.weight"] + 1})
    )
    differ(root / "theirs")
    with pytest.raises(CodemixError, match="tie_word_embeddings"):
        model_lines("theirs", root)


DIFFERENT = {  # a change to the recipe's model -> what is said
    "d_ff": (64, "`model.d_ff` is 64 and 48"),
    "n_kv_heads": (4, "`model.n_kv_heads` is 4 and 2"),
    "rope_theta": (7.0, "`model.rope_theta` is 7.0"),
    "norm_eps": (1e-3, "`model.norm_eps` is 0.001"),
    "n_layers": (3, "`model.n_layers` is 3 and 2"),
}


def test_a_recipe_with_another_model_is_told_every_difference_by_validate_and_by_plan(
    copy, command, monkeypatch
):
    root, _, _ = copy
    lines = model_lines("theirs", root).fields["model"]
    other = lines | {name: value for name, (value, _) in DIFFERENT.items()}
    recipe = recipe_of(root, model=other)
    monkeypatch.setenv("CODEMIX_DATA_ROOT", str(root))
    for line in (["validate", recipe], ["plan", recipe, "--store", root / "store"]):
        _, printed = command(*line)
        flat = " ".join(printed.split())
        assert all(said in flat for _, said in DIFFERENT.values()), printed
    assert command("validate", recipe)[0] == 1
    monkeypatch.setenv("CODEMIX_DATA_ROOT", str(root.parent))
    assert command("validate", recipe)[0] == 0  # the model is not on this machine


def test_another_tokenizer_is_told_part_by_part_and_the_layout_of_the_file_does_not_matter(copy):
    root, _, _ = copy
    content = json.loads((root / "theirs" / "tokenizer.json").read_text())
    mine = root / "mine.json"
    mine.write_text(json.dumps(content | {"post_processor": None, "truncation": None}, indent=7))
    tokenizer = {"kind": "tokenizer_json", "path": "mine.json", "eos": EOS}
    assert found(root, tokenizer=tokenizer) == []
    other_tokenizer(root / "theirs")
    [said] = found_later(root, tokenizer)
    assert "`model.vocab` (2 entries" in said and "`normalizer`" in said


def found_later(root: Path, tokenizer) -> list[str]:
    """What is found with the recipe of the lines that were there before."""
    run = codemix.open(root / "recipe.yaml", store=root / "store", data_root=root)
    assert run.recipe_file.recipe.tokenizer.path == tokenizer["path"]
    return [finding.problem.what for finding in findings(run.plan, root)]


@pytest.mark.parametrize(("rows", "fits"), [(272, True), (288, True), (1025 * 2, False)])
def test_rows_after_the_tokenizers_ids_are_padding_that_stays(copy, rows, fits):
    root, spec, _ = copy
    padded = spec.model_copy(update={"vocab_multiple": 1})
    model = weights(padded, vocab=rows)
    export(model, padded, root / "theirs", seq_len=64, eos_id=1, tokenizer=root / "tokenizer.json")
    if not fits:
        with pytest.raises(CodemixError, match="270 ids"):
            model_lines("theirs", root)
        return
    read = schema.Model(**model_lines("theirs", root).fields["model"])
    assert read.vocab(VOCAB) == rows
    loaded = load_pretrained(root / "theirs", read, VOCAB, weights(read))
    np.testing.assert_array_equal(loaded.embedding, model.embedding)
    ids = jnp.asarray([[1, 5, 9]])
    assert np.isneginf(np.asarray(logits(loaded, hidden(loaded, ids)))[..., VOCAB:]).all()


def test_half_precision_is_read_without_loss(copy):
    root, spec, model = copy
    export(
        model,
        spec,
        root / "theirs",
        seq_len=64,
        eos_id=1,
        dtype="bfloat16",
        tokenizer=root / "tokenizer.json",
    )
    model_lines("theirs", root)
    loaded = load_pretrained(root / "theirs", spec, VOCAB, weights(spec))
    rounded = jax.tree.map(lambda array: array.astype(jnp.bfloat16).astype(jnp.float32), model)
    same(loaded, rounded)


def test_seeds_that_are_averaged_all_start_from_the_model(copy):
    root, spec, _ = copy
    stage = json.loads(json.dumps(model_lines("theirs", root).fields["stages"][0]))
    stage |= {
        "steps": 2,
        "mixture": {"text": "100%"},
        "learning_rate": {"kind": "constant", "value": 1e-3},
        "average_seeds": [1, 2],
    }
    run = open_run(root, stages=[stage])
    run.build()
    assert list(run.train(tiny.options())) == ["continued"]
    assert len(list((root / "store" / "stages").iterdir())) == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{huggingface: theirs}", "`sha256` is missing"),
        ("{huggingface: theirs, sha256: abc}", "sha256"),
        ("{huggingface: theirs, sha26: abc}", "sha256"),
        ("{stage: init, huggingface: x}", "init_from"),
    ],
)
def test_a_start_that_is_half_written_says_what_it_lacks(copy, line, said):
    root, _, _ = copy
    text = recipe_of(root).read_text()
    changed = re.sub(r"init_from:\n +huggingface: theirs\n +sha256: .+", f"init_from: {line}", text)
    assert changed != text
    with pytest.raises(CodemixError) as error:
        recipe_file.parse_recipe(changed, "x.yaml")
    assert said in str(error.value), str(error.value)


@pytest.mark.optional("needs torch and transformers")
def test_a_model_that_transformers_wrote_gives_its_logits(place, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    root, spec, _ = place
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    shared = dict(sizes, num_key_value_heads=2, vocab_size=VOCAB, max_position_embeddings=64, eos_token_id=1)
    if spec.block == "sequential":
        config = transformers.LlamaConfig(**shared, rope_theta=700.0)
    else:
        config = transformers.CohereConfig(**shared, logit_scale=0.5, pad_token_id=None, bos_token_id=1)
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    shutil.copy(root / "tokenizer.json", tmp_path / "theirs")
    fields = model_lines("theirs", tmp_path).fields
    ours_spec = schema.Model(**fields["model"])
    ours = load_pretrained(tmp_path / "theirs", ours_spec, VOCAB, weights(ours_spec))
    ids = np.random.default_rng(0).integers(0, VOCAB, (2, 40))
    with torch.no_grad():
        want = theirs(torch.from_numpy(ids)).logits.numpy()
    got = np.asarray(logits(ours, hidden(ours, jnp.asarray(ids, jnp.int32))))
    np.testing.assert_allclose(got, want, atol=1e-4, rtol=0)


def test_a_stage_that_changes_no_weight_is_the_model_as_it_came(place, tmp_path):
    """docs/export.md scores a model so, before it is continued."""
    root, _, model = place
    [first, after] = yaml.safe_load(recipe_of(root).read_text())["stages"]
    still = {"name": "as-it-came", "steps": 1, "learning_rate": {"kind": "constant", "value": 1e-30}}
    recipe = recipe_of(root, stages=[first | still, first])
    run = codemix.open(recipe, store=tmp_path / "store", data_root=root)
    assert list(findings(run.plan, root)) == []
    run.build()
    folder = run.train(tiny.options())["as-it-came"]
    end = load_model(folder, run.plan.stages[0].model, VOCAB)
    leaves = zip(jax.tree.leaves(end), jax.tree.leaves(model), strict=True)
    for ours, theirs in leaves:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-29)
    assert run.plan.stages[1].pretrained is not None  # the other stage starts from the same weights
    assert "text" in run.evaluate(stage="as-it-came").results["as-it-came"]["bits_per_byte"]


def test_a_stage_may_continue_the_model_with_another_base_of_its_angles(copy):
    root, spec, model = copy
    [first, after] = yaml.safe_load(recipe_of(root).read_text())["stages"]
    slow = {"rope_theta": 1e6, "learning_rate": {"kind": "constant", "value": 1e-12}}
    after["learning_rate"] = slow["learning_rate"]
    run = open_run(root, stages=[first | slow, after])
    assert list(findings(run.plan, root)) == []
    run.build()
    folder = run.train(tiny.options())["after"]
    planned = run.plan.stages[1].model
    end = load_model(folder, planned, VOCAB)
    assert end.rope_theta == planned.rope_theta == 1e6 != spec.rope_theta
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9),
        jax.tree.leaves(end),
        jax.tree.leaves(model),
    )
