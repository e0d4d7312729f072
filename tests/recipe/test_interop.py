"""Import and export: what is read is what is written, what does not add up is said,
what is exported comes back.
"""

import copy
import json
import math
import re
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.interop.mixtures import KINDS, export_mixture, import_mixture, parse_mixture, recipe_text
from codemix.recipe.interop.values import Imported, at_path, names_for
from codemix.recipe.language import recipe_file, yaml_text
from codemix.recipe.language.component import component_class
from codemix.train.schedule import Position

FILES = Path(__file__).parent / "files"
RECIPE = """\
codemix: 1
name: two
tokenizer: {kind: tokenizer_json, path: t.json}
sources:
  text: {read: {kind: jsonl, paths: t.jsonl}, tokens: 100M, held_out: 1%}
  web.code: {read: {kind: jsonl, paths: w.jsonl}, tokens: 1M, max_epochs: 90}
  1e3: {read: {kind: jsonl, paths: f.jsonl}, tokens: 100M}
model: {preset: 120M}
training: {seq_len: 1024, batch_size: 8}
stages:
  - name: init
    steps: 6000
    mixture: {text: 2/3, web.code: rest, 1e3: 0.01%}
    learning_rate: {kind: cosine, peak: 1e-3, floor: 1e-4, warmup: 1%}
  - name: "null"
    steps: 100
    mixture: {text: 1/7, web.code: rest}
    learning_rate: {kind: linear, floor: 1e-6}
silence: {many-epochs: a test}
"""


@pytest.fixture
def plan():
    checked = validation.check(recipe_file.parse_recipe(RECIPE, "two.yaml"))
    return checked.require()


def check_imported(imported: Imported):
    """The recipe that an import makes must validate as it is."""
    source = recipe_file.parse_recipe(recipe_text(imported), "imported.yaml")
    checked = validation.check(source)
    assert not checked.errors, checked.errors
    return checked.plan


def test_smollm3_as_published_does_not_sum_to_one():
    imported = import_mixture(None, FILES / "smollm3-nanotron.yaml")
    assert imported.kind == "nanotron"
    assert [p.total for p in imported.phases] == [1, Fraction("1.00005"), Fraction("1.00565")]
    assert [len(p.weights) for p in imported.phases] == [41, 46, 56]
    assert [p.steps for p in imported.phases] == [3_450_000, 748_000, 522_000]
    assert (imported.seq_len, imported.batch_size) == (4096, 576)
    rates = [p.learning_rate["kind"] for p in imported.phases]
    assert rates == ["constant", "constant", "linear"]
    assert [p.what for p in imported.problems] == [
        "not imported: `data_stages[].data.num_loading_workers`, `data_stages[].data.seed`; a recipe says such things elsewhere, or not at all",
        "the weights of `stable-2` sum to 1.00005, not 1",
        "the weights of `decay` sum to 1.00565, not 1",
    ]
    assert any("`dclm` is written 30% and trained at ~29.8315%" in note for note in imported.notes)
    plan = check_imported(imported)
    assert plan.stage("decay").spec.weights == "relative" and plan.stage("stable").spec.weights == "percent"
    share = {s.source: s.share for s in plan.stage("decay").sources}
    assert share["dclm"] == Fraction("0.3") / Fraction("1.00565") and sum(share.values()) == 1
    assert "weights: relative # they sum to 1.00565" in recipe_text(
        imported
    ) and "dclm: 0.3\n" in recipe_text(imported)


@pytest.mark.parametrize("kind", KINDS)
def test_export_then_import_gives_the_planned_shares(plan, kind):
    exported = export_mixture(kind, plan)
    phases = [
        phase
        for content in exported.files.values()
        for phase in parse_mixture(None, content, f"x.{kind}").phases
    ]
    assert len(phases) == 2
    for phase, stage in zip(phases, plan.stages, strict=True):
        assert phase.total == 1
        planned = {s.source: Fraction(s.windows, stage.rows) for s in stage.sources}
        assert phase.shares().keys() == planned.keys()
        assert all(abs(phase.shares()[n] - planned[n]) <= Fraction(1, 10**12) for n in planned)
        assert all(
            round(phase.shares()[n] * stage.rows) == round(planned[n] * stage.rows) for n in planned
        ), "the same windows"
    if kind in ("nanotron", "levanter"):
        imported = parse_mixture(kind, exported.text, "x")
        assert [p.steps for p in imported.phases] == [6000, 100] and (
            imported.seq_len,
            imported.batch_size,
        ) == (1024, 8)
        again = check_imported(imported)
        assert [[s.windows for s in a.sources] for a in again.stages] == [
            [s.windows for s in b.sources] for b in plan.stages
        ]


def test_export_says_what_is_lost(plan):
    assert any("`cursor: continue` is lost" in note for note in export_mixture("megatron", plan).notes)
    ramped = RECIPE.replace(
        "text: 2/3, web.code: rest, 1e3: 0.01%", "text: {ramp: {from: 60%, to: 80%}}, web.code: rest"
    )
    notes = export_mixture("nanotron", validation.check(recipe_file.parse_recipe(ramped, "r")).plan).notes
    assert any("no ramps" in note and "`init`" in note for note in notes)
    longer = RECIPE.replace("steps: 100\n", "steps: 100\n    seq_len: 2048\n    cursor: restart\n")
    assert any(
        "seq_len" in note
        for note in export_mixture(
            "levanter", validation.check(recipe_file.parse_recipe(longer, "r")).plan
        ).notes
    )


def test_olmo_export_carries_the_repetitions(plan):
    files = export_mixture("olmo-core", plan).files
    imported = parse_mixture("olmo-core", files["init.yaml"], "init.yaml")
    caps = {w.name: w.max_epochs for w in imported.phases[0].weights}
    windows = {s.source: (s.windows, s.pool_windows) for s in plan.stages[0].sources}
    assert (
        caps["text"] == 1 and abs(caps["web.code"] - windows["web.code"][0] / windows["web.code"][1]) < 1e-4
    )
    assert (imported.phases[0].tokens, imported.seq_len, imported.batch_size) == (
        plan.stages[0].tokens,
        1024,
        8,
    )


def test_a_megatron_blend_as_words_or_json():
    per_split = '{"train": ["3", "/x/a", "7", "/x/b"], "valid": ["1", "c"]}'
    for content in (
        "0.3 /d/a_text_document 0.7 /d/b_text_document",
        "--data-path 30 a_text_document 70 b_text_document",
        per_split,
    ):
        imported = parse_mixture(None, content, "blend.txt")
        left_out = "import-left-out" in {problem.rule for problem in imported.problems}
        assert left_out == (content is per_split), "words hold nothing else"
        assert imported.kind == "megatron" and imported.phases[0].shares() == {
            "a": Fraction(3, 10),
            "b": Fraction(7, 10),
        }
        check_imported(imported)
    assert "proportions" in parse_mixture(None, "3 a 7 b", "x").problems[-1].what
    assert "proportions" not in " ".join(parse_mixture(None, "30 a 70 b", "x").notes)


def test_levanter_stages_zeros_and_blocks():
    imported = parse_mixture(
        None,
        """\
data:
  tokenizer: a/b
  mixture_block_size: 2048
  configs:
    web: {train_urls: ["gs://x/web-*.jsonl.gz"]}
    code: {id: bigcode/thing}
    paloma/c4: {validation_urls: [v]}
  train_weights:
  - - 0
    - {web: 0.9997, code: 0.0003, paloma/c4: 0.0}
  - - 1000
    - {web: 8, code: 2, paloma/c4: 0.0}
trainer: {train_batch_size: 256, num_train_steps: 1200}
""",
        "l.yaml",
    )
    assert (
        [p.steps for p in imported.phases] == [1000, 200]
        and imported.batch_size == 256
        and imported.tokenizer == "a/b"
    )
    assert [w.name for w in imported.phases[0].weights] == ["web", "code"]
    assert [w.location for w in imported.phases[0].weights] == ["gs://x/web-*.jsonl.gz", "bigcode/thing"]
    rules = ["import-block-rounding", "import-zero", "import-left-out", "import-relative"]
    assert [p.rule for p in imported.problems] == rules
    assert "`paloma/c4`" in imported.problems[1].what
    assert "not imported: `data.configs.paloma/c4`;" in imported.problems[2].what
    assert "never reads `code`" in imported.problems[0].what
    check_imported(imported)
    single = parse_mixture("levanter", "train_weights: {a: 0.5, b: 0.4}\n", "l.yaml")
    assert "sum to 0.9, not 1" in " ".join(single.notes) and "num_train_steps" in " ".join(single.notes)


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        (None, "just: yaml\n", "none of the formats"),
        ("megatron", "a b c", "not a Megatron blend"),
        ("megatron", '{"train": ["a", "b"]}', "without weights"),
        ("nanotron", "data_stages: []\n", "no `data_stages`"),
        (
            "nanotron",
            "data_stages:\n- {name: a, data: {dataset: {dataset_folder: [a, b], dataset_weights: [1]}}}\n",
            "2 folders and 1 weights",
        ),
        (
            "nanotron",
            "data_stages:\n- {name: a, data: {dataset: {dataset_folder: [a, b]}}}\n",
            "no `dataset_weights`",
        ),
        (
            "nanotron",
            "data_stages:\n- {name: a, data: {dataset: {hf_dataset_or_datasets: x}}}\n",
            "no `dataset_folder`",
        ),
        (
            "nanotron",
            "data_stages:\n- {name: a, data: {dataset: {dataset_folder: [a, b], dataset_weights: [1, x]}}}\n",
            "`x` is not a weight",
        ),
        ("levanter", "train_weights: {a: -1}\n", "not a weight"),
        ("levanter", "train_weights: {a: 0}\n", "is zero"),
        ("olmo-core", "sources: [{source_name: a}]\n", "no list of `sources`"),
        ("megatrn", "1 a", "not a format"),
        ("megatron", "1e9999999 a 1 b", "not a Megatron blend"),
        ("megatron", "9" * 5000 + " a 1 b", "not a Megatron blend"),
        ("megatron", "[" * 100_000, "not shaped like"),
        ("levanter", "train_weights: 3\n", "neither a mapping nor a list"),
        ("levanter", "train_weights: [[0, {a: 1}], {b: 1}]\n", "neither a mapping nor a list"),
        ("levanter", "train_weights: [[0, {a: 1}], [later, {b: 1}]]\n", "neither a mapping nor a list"),
    ],
)
def test_what_cannot_be_read_is_a_problem(kind, content, says):
    with pytest.raises(CodemixError, match=says):
        parse_mixture(kind, content, "file.yaml")


def test_words_of_the_file_stay_words():
    """A name that looks like a number, and a path with a line end: neither changes what the recipe says."""
    stages = '[{name: "1", data: {dataset: {dataset_folder: ["a\\nstages: []"], dataset_weights: [1]}}}]'
    imported = parse_mixture(
        "nanotron",
        f'data_stages: {stages}\ntokenizer: {{tokenizer_name_or_path: "x\\ny: \\e[31m"}}\n',
        "2024.yaml",
    )
    recipe = recipe_file.parse_recipe(recipe_text(imported), "r.yaml").recipe
    assert (
        recipe.name == "2024"
        and [s.name for s in recipe.stages] == ["1"]
        and recipe_text(imported).replace("\n", "").isprintable()
    )


def test_names_are_short_and_unique():
    names = names_for(
        [
            "s3://b/x/pes2o/",
            "s3://b/megamath/standard/",
            "s3://b/other/standard/",
            "c/pes2o_text_document",
            "A B/Ç.d",
            "",
        ]
    )
    assert names == ["pes2o", "megamath", "other", "pes2o-2", "d", "source"]


KEYS = """data_stages data dataset dataset_folder dataset_weights name start_training_step tokens train_weights configs trainer sources source_list
target_ratio paths source_name train num_train_steps train_steps optimizer learning_rate_scheduler learning_rate""".split()  # noqa: SIM905
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**6)
    | st.floats(-1, 2, width=16)
    | st.sampled_from(["a", "b/c", "0.3", ""])
)
SHAPES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=14,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([None, *KINDS]), SHAPES)
def test_files_of_any_shape_give_a_recipe_or_a_problem(kind, value):
    try:
        imported = parse_mixture(kind, yaml_text.dump(value), "x.yaml")
    except CodemixError as error:
        assert error.problems[0].what
    else:
        assert imported.phases and all(p.total > 0 for p in imported.phases)


def nanotron(
    curve: str,
    data: str = "dataset_folder: [a, b], dataset_weights: [0.5, 0.5]",
    steps: int = 20,
    second: int | None = None,
) -> Imported:
    stages = [
        f"{{name: s{first}, start_training_step: {first}, data: {{dataset: {{{data}}}}}}}"
        for first in (1, second)
        if first
    ]
    content = (
        f"data_stages: [{', '.join(stages)}]\n"
        f"tokens: {{train_steps: {steps}, sequence_length: 64, micro_batch_size: 1, batch_accumulation_per_replica: 1}}\n"
        f"parallelism: {{dp: 4}}\noptimizer: {{learning_rate_scheduler: {{learning_rate: 0.001, {curve}}}}}\n"
    )
    return parse_mixture("nanotron", content, "n.yaml")


@pytest.mark.parametrize(
    ("curve", "rate"),
    [
        (
            "lr_warmup_steps: 2, lr_decay_style: cosine, min_decay_lr: 0.0001",
            {"kind": "cosine", "peak": 0.001, "floor": 0.0001, "warmup": "2 steps"},
        ),
        (
            "lr_warmup_steps: 2, lr_decay_style: cosine, min_decay_lr: 0.0001, lr_decay_steps: 18",
            {"kind": "cosine", "peak": 0.001, "floor": 0.0001, "warmup": "2 steps"},
        ),
        (
            "lr_warmup_steps: 2, min_decay_lr: 0.0001",
            {"kind": "linear", "start": 0.001, "floor": 0.0001, "warmup": "2 steps"},
        ),
        (
            "lr_decay_style: 1-sqrt, min_decay_lr: 0.0, lr_decay_starting_step: 15, lr_decay_steps: 5",
            {"kind": "wsd", "peak": 0.001, "floor": 0.0, "decay": "5 steps", "shape": "sqrt"},
        ),
        (
            "lr_decay_style: linear, min_decay_lr: 0.0, lr_decay_starting_step: 15, lr_decay_steps: 6",
            {"kind": "wsd", "peak": 0.001, "floor": 0.0, "decay": "6 steps", "shape": "linear"},
        ),
        (
            "lr_warmup_steps: 2, lr_warmup_style: constant, min_decay_lr: 0.0",
            {"kind": "wsd", "peak": 0.001, "floor": 0.0, "decay": "18 steps", "shape": "linear"},
        ),
        (
            "lr_warmup_steps: 2, lr_decay_style: linear",
            {"kind": "constant", "value": 0.001, "warmup": "2 steps"},
        ),
        ("lr_decay_style: linear, min_decay_lr: 0.0, lr_decay_starting_step: 5, lr_decay_steps: 5", None),
    ],
)
def test_nanotron_rates_of_one_stage(curve, rate):
    imported = nanotron(curve)
    check_imported(imported)
    assert imported.phases[0].learning_rate == rate
    if rate is None:
        assert "the file's curve has no form here; this value is ours" in recipe_text(imported)


def nanotron_rate(step: int, steps: int, given: dict) -> float:
    """Nanotron's rate `step` steps after the start of a run, from its description (`lr_scheduler_builder`)."""
    peak, floor, warmup = 1e-3, given["min_decay_lr"], given["lr_warmup_steps"]
    begin = given.get("lr_decay_starting_step", warmup)
    length = given.get("lr_decay_steps", steps - warmup - given.get("lr_decay_starting_step", 0))
    if step <= warmup:
        return peak * step / max(warmup, 1) if given["lr_warmup_style"] == "linear" else peak
    if step < begin:
        return peak
    if step >= begin + length:
        return floor
    x = (step - begin) / length
    kept = {"linear": 1 - x, "cosine": (1 + math.cos(math.pi * x)) / 2, "1-sqrt": 1 - math.sqrt(x)}
    return floor + (peak - floor) * kept[given["lr_decay_style"]]


def nanotron_curves():
    """Schedules of 20 steps, with values that a file may leave out."""
    choices = {
        "lr_decay_style": ["linear", "cosine", "1-sqrt"],
        "lr_warmup_style": ["linear", "constant"],
        "lr_warmup_steps": [0, 4],
        "lr_decay_starting_step": [None, 0, 4, 10, 11, 15],
        "lr_decay_steps": [None, 5, 6, 9, 10, 16, 20],
        "min_decay_lr": [0.0, 1e-4],
    }
    for values in product(*choices.values()):
        yield {key: value for key, value in zip(choices, values, strict=True) if value is not None}


@pytest.mark.parametrize("second", [None, 11])
def test_rates_from_nanotron_are_its_own(second):
    """Up to two steps on: ours learns in its first step and ends at the floor, nanotron begins its warm-up at 0,
    and files count the last step of a decay in or not.
    """
    n_checked = 0
    for described in nanotron_curves():
        curve = ", ".join(f"{key}: {value}" for key, value in described.items())
        imported = nanotron(curve, second=second)
        if any(phase.learning_rate is None for phase in imported.phases):
            continue
        n_checked += 1
        rates = []
        for phase in imported.phases:
            made = component_class("schedule", phase.learning_rate["kind"]).model_validate(
                phase.learning_rate
            )
            position = Position(0, phase.steps, ((0, 256),), previous=rates[-1] if rates else None)
            assert made.problems(position) == []
            rates += [made.lr(replace(position, step=step)) for step in range(phase.steps)]
        for step, rate in enumerate(rates):
            theirs = [nanotron_rate(step + later, 20, described) for later in (0, 1, 2)]
            assert any(rate == pytest.approx(near, abs=1e-12) for near in theirs), (described, step)
    assert n_checked > 80


def test_nanotron_one_folder_in_a_list_needs_no_weight():
    imported = nanotron("min_decay_lr: 0.0", "dataset_folder: [only]")
    assert [w.weight for w in imported.phases[0].weights] == [1]


COOKBOOK = """\
name: cookbook
max_tokens: 1000000
sequence_length: 64
seed: 3
wandb: {name: x}
dataset:
  sources:
    - {name: web, target_ratio: 0.3333333333333333, paths: [a/*.npy]}
    - {name: code, target_ratio: 0.3333333333333333, paths: [b/*.npy]}
    - {name: math, target_ratio: 0.3333333333333333, paths: [c/*.npy]}
"""


def test_olmo_cookbook_names_tokens_and_a_sum_that_is_one_but_for_rounding():
    imported = parse_mixture(None, COOKBOOK, "c.yaml")
    plan = check_imported(imported)
    assert [w.name for w in imported.phases[0].weights] == ["web", "code", "math"] and imported.phases[
        0
    ].tokens == 1_000_000
    written = recipe_text(imported)
    assert "weights: relative" not in written and "web: rest # 0.3333333333333333" in written
    assert any("which is 1 but for rounding" in note for note in imported.notes)
    assert any("not imported: `name`, `seed`, `wandb`" in note for note in imported.notes)
    assert sum(s.share for s in plan.stages[0].sources) == 1


LEAVES = {
    "nanotron": """\
data_stages:
- name: stable
  start_training_step: 1
  data: {seed: 3, dataset: {dataset_folder: [a, b], dataset_weights: [0.25, 0.75], vocab_size: 9}}
- name: decay
  start_training_step: 11
  data: {dataset: {dataset_folder: {c: 1.0}, dataset_weights: [0.5]}}
tokens: {train_steps: 20, sequence_length: 64, micro_batch_size: 2, batch_accumulation_per_replica: 3, val: -1}
parallelism: {dp: 4, tp: 2}
optimizer:
  zero_stage: 0
  learning_rate_scheduler: {learning_rate: 0.001, lr_warmup_steps: 2, lr_warmup_style: linear,
    lr_decay_style: linear, lr_decay_starting_step: 15, lr_decay_steps: 6, min_decay_lr: 0.0001}
model: {dtype: bf16, model_config: {hidden_size: 64, vocab_size: 8, num_hidden_layers: 2}}
tokenizer: {tokenizer_name_or_path: x, tokenizer_max_length: 5}
general: {run: r}
""",
    "levanter": """\
data:
  tokenizer: t
  shuffle: true
  mixture_block_size: 2
  configs:
    web: {train_urls: [u, v], format: text}
    code: {source: {id: c, splits: [s]}}
    idle: {train_urls: [w]}
    unused: gs://x
    plain: gs://y
  components: {web: {cache_dir: z}}
  train_weights:
  - [0, {web: 0.5, code: 0.25, plain: 0.25, idle: 0.0}]
  - [10, {web: 0.25, code: 0.5, plain: 0.25, idle: 0.0}]
trainer: {train_batch_size: 8, num_train_steps: 20, seed: 1, mesh: {data: 3}}
train_seq_len: 64
model: {seq_len: 32, type: llama}
""",
    "olmo-core": """\
dataset:
  requested_tokens: 100000
  global_batch_size: 640
  sequence_length: 64
  source_list:
    seed: 4
    sources:
    - {source_name: web, name: other, target_ratio: 0.5, paths: [p, q], max_repetition_ratio: 2.0, extra: {a: 1}}
    - {name: code, target_ratio: 0.5, max_source_fraction: 0.5}
max_tokens: 5
data_loader: {global_batch_size: 1280, seed: 1}
train_module:
  optim: {lr: 0.001, eps: 0.5}
  scheduler: {type: cos_with_warmup, _CLASS_: Cos, units: steps, warmup: 3, warmup_steps: 4, warmup_min_lr: 0.0001,
    alpha_f: 0.25, lr_field: lr}
trainer: {max_duration: {value: 64000, unit: tokens, other: 1}, hard_stop: {value: 3, unit: steps}}
""",
    "megatron": '{"train": ["3", "a", "7", "b"], "valid": ["1", "c"], "test": null}',
}


def leaves(value, at=()):
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in inside:
        if isinstance(child, (dict, list)):
            yield from leaves(child, (*at, key))
        elif child is not None:
            yield (*at, key)


def other(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}1"
    return value * 2 + (1 if isinstance(value, int) else 0.0625)


def replaced(value, path, new):
    value = copy.deepcopy(value)
    around = at_path(value, path[:-1])
    around[path[-1]] = new
    return value


def imported_or_refused(kind, value) -> str:
    try:
        return recipe_text(parse_mixture(kind, json.dumps(value), "x.yaml"))
    except CodemixError as error:
        return str(error)


def named_in(note: str, path) -> bool:
    """Whether the note names the leaf, or a branch that it is in."""
    shown = re.findall(r"`([^`]*)`", note)
    names = [
        "".join("[]" if isinstance(part, int) else f".{part}" for part in path[:n])[1:]
        for n in range(1, len(path) + 1)
    ]
    return any(name in shown for name in names)


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_of_a_file_is_used_or_named(kind):
    value = yaml_text.parse(LEAVES[kind], "x.yaml").value
    before = imported_or_refused(kind, value)
    (note,) = [line for line in before.splitlines() if "not imported" in line]
    for path in leaves(value):
        changed = imported_or_refused(kind, replaced(value, path, other(at_path(value, path))))
        assert changed != before or named_in(note, path), path


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_nothing_reads_is_named_wherever_it_is(kind):
    value = yaml_text.parse(LEAVES[kind], "x.yaml").value
    for around in {path[:n] for path in leaves(value) for n in range(len(path))}:
        if not isinstance(at_path(value, around), dict):
            continue
        added = (*around, "nobody")
        said = imported_or_refused(kind, replaced(value, added, {"reads": "this"}))
        notes = [line for line in said.splitlines() if "not imported" in line]
        assert "is not a weight" in said or named_in(notes[0], added), added


@pytest.mark.parametrize(
    "path", [("tokens", "train_steps"), ("data_stages", 1, "start_training_step"), ("parallelism", "dp")]
)
def test_a_value_of_a_wrong_type_is_not_read_and_named(path):
    value = yaml_text.parse(LEAVES["nanotron"], "x.yaml").value
    for wrong in ("many", True, {"a": 1}):
        said = imported_or_refused("nanotron", replaced(value, path, wrong))
        assert named_in(said, path), wrong


def test_olmo_core_is_not_said_to_divide_in_silence():
    imported = parse_mixture(None, COOKBOOK.replace("0.3333333333333333", "0.3"), "c.yaml")
    assert "in silence" not in " ".join(imported.notes) and "refuses such a sum or warns" in " ".join(
        imported.notes
    )


def test_a_levanter_stage_that_begins_at_the_end_is_left_out():
    content = "data: {train_weights: [[0, {a: 1.0}], [100, {a: 0.5, b: 0.5}]]}\ntrainer: {num_train_steps: 100, train_batch_size: 8}\n"
    imported = parse_mixture("levanter", content, "l.yaml")
    assert [p.steps for p in imported.phases] == [100] and any(
        "begins at step 100" in note for note in imported.notes
    )


@pytest.mark.parametrize(
    ("kind", "content", "advice"),
    [
        ("levanter", "data: !include data.yaml\n", "with what the tag stands for written out"),
        (
            "megatron",
            "#!/bin/bash\npython pretrain_gpt.py \\\n --data-path 30 a 70 b \\\n --lr 1e-3\n",
            "save what follows --data-path",
        ),
    ],
)
def test_advice_is_about_the_other_systems_file(kind, content, advice):
    with pytest.raises(CodemixError) as caught:
        parse_mixture(kind, content, "x")
    assert advice in str(caught.value) and "delete the tag" not in str(caught.value)
