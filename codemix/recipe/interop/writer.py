"""Writers of other systems' mixture files; see recipe/interop/mixtures.py. Shares are those of the plan,
after all rounding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil

from codemix.errors import Problem
from codemix.recipe.interop.values import Exported, warning
from codemix.recipe.language.subsample import subsampled
from codemix.recipe.language.yaml_text import name_text
from codemix.recipe.planning.apportion import apportion
from codemix.recipe.planning.plan import Plan, StagePlan

PLACES = 12  # decimals of an exported share; a window of a 440B-token stage is far larger


def decimals(stage: StagePlan) -> dict[str, str]:
    """The planned share of each source, in decimals that sum to exactly one."""
    names, shares = [], []
    for source in stage.sources:
        if source.windows:
            names.append(source.source)
            shares.append(Fraction(source.windows, stage.rows))
    units = apportion(10**PLACES, shares)
    return dict(zip(names, map(_decimal, units), strict=True))


def _decimal(units: int) -> str:
    whole, part = divmod(units, 10**PLACES)
    digits = str(part).rjust(PLACES, "0")
    return f"{whole}.{digits}".rstrip("0").rstrip(".")


def megatron(plan: Plan) -> Exported:
    """One file per stage, as `--per-split-data-args-path` reads it; prefixes are the sources' names."""
    files = {}
    for stage in plan.stages:
        words: list[str] = []
        for name, share in decimals(stage).items():
            words += [share, f"{name}_text_document"]
        files[f"{stage.name}.json"] = json.dumps({"train": words}, indent=1) + "\n"
    return _one_file_per_stage(
        files,
        plan,
        "Megatron",
        "Megatron has no stages: run it once per file, with the checkpoint of the stage before",
        "its blend draws again from the start of each source; `cursor: continue` is lost",
    )


def nanotron(plan: Plan) -> Exported:
    """One file with `data_stages`, first steps counted from 1."""
    lines = ["data_stages:"]
    step = 1
    for stage in plan.stages:
        lines += _nanotron_stage(stage, step)
        step += stage.steps
    last = plan.stages[-1]
    lines += [
        "tokens:",
        f"  sequence_length: {last.seq_len}",
        f"  train_steps: {step - 1}",
        f"  micro_batch_size: {last.batch_size(0)}",
        "  batch_accumulation_per_replica: 1",
        "parallelism:",
        "  dp: 1",
    ]
    lost = (*_lost(plan, "nanotron"), *_one_size(plan, "nanotron"))
    return Exported({"data_stages.yaml": _text(lines)}, lost)


def _nanotron_stage(stage: StagePlan, first_step: int) -> Iterator[str]:
    shares = decimals(stage)
    yield f"- name: {name_text(stage.name)}"
    yield f"  start_training_step: {first_step}"
    yield "  data:"
    yield f"    seed: {stage.seed % 2**32}"
    yield "    num_loading_workers: 1"
    yield "    dataset:"
    yield "      dataset_folder:"
    for name in shares:
        yield f"      - {name_text(name)}"
    yield "      dataset_weights:"
    for name, share in shares.items():
        yield f"      - {share} # {name}"


def levanter(plan: Plan) -> Exported:
    """One file with `train_weights` as `[first step, weights]`."""
    sources: set[str] = set()
    for stage in plan.stages:
        sources.update(s.source for s in stage.sources)
    names = sorted(sources)
    lines = ["data:", "  configs:"]
    lines += [f"    {name_text(name)}: {{train_urls: [{name}/*.jsonl.zst]}}" for name in names]
    lines.append("  train_weights:")
    step = 0
    for stage in plan.stages:
        lines += _levanter_stage(stage, step, names)
        step += stage.steps
    last = plan.stages[-1]
    lines += [
        "trainer:",
        f"  train_batch_size: {last.batch_size(0)}",
        f"  num_train_steps: {step}",
        f"train_seq_len: {last.seq_len}",
    ]
    lost = (*_lost(plan, "Levanter"), *_one_size(plan, "Levanter"))
    return Exported({"levanter.yaml": _text(lines)}, lost)


def _levanter_stage(stage: StagePlan, first_step: int, names: Iterable[str]) -> Iterator[str]:
    shares = decimals(stage)
    yield f"  - - {first_step}"
    dash = "- "
    for name in names:
        yield f"    {dash}{name_text(name)}: {shares.get(name, '0')}"
        dash = "  "


def olmo_core(plan: Plan) -> Exported:
    """One file per stage, with the repetitions that the plan comes to."""
    files = {}
    for stage in plan.stages:
        files[f"{stage.name}.yaml"] = _text(_olmo_core_stage(stage))
    return _one_file_per_stage(
        files,
        plan,
        "OLMo-core",
        "OLMo-core has one script per stage; each file is one",
        "each stage then starts its sources again; `cursor: continue` is lost",
    )


def _olmo_core_stage(stage: StagePlan) -> Iterator[str]:
    sources = {s.source: s for s in stage.sources}
    yield f"requested_tokens: {stage.tokens}"
    yield f"global_batch_size: {stage.batch_size(0) * stage.seq_len}"
    yield f"sequence_length: {stage.seq_len}"
    yield "source_list:"
    yield "  sources:"
    for name, share in decimals(stage).items():
        yield f"  - source_name: {name_text(name)}"
        yield f"    target_ratio: {share}"
        yield f"    paths: [{name}/*.npy]"
        windows, pool = sources[name].windows, sources[name].pool_windows
        if pool and windows > pool:
            millionths = ceil(Fraction(windows * 10**6, pool))
            yield f"    max_repetition_ratio: {millionths / 10**6:g}"


def _one_file_per_stage(
    files: dict[str, str], plan: Plan, system: str, how_stages_run: str, what_is_lost: str
) -> Exported:
    lost = list(_lost(plan, system))
    if len(plan.stages) > 1:
        lost.append(_note(how_stages_run, what_is_lost))
    return Exported(files, tuple(lost))


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _lost(plan: Plan, system: str) -> Iterator[Problem]:
    """What of a plan none of the systems can say."""
    ramped = _named([s for s in plan.stages if len(s.segments) > 1])
    if ramped:
        yield _note(
            f"{system} has no ramps: {ramped} gets the mean of its ramp",
            "split the stage into several with constant shares",
        )
    samples = subsampled(plan.recipe)
    if samples:
        listed = ", ".join(f"`{name}` ({share})" for name, share in samples.items())
        yield _note(
            f"the samples that `subsample:` takes are not exported: {listed}",
            "build the recipe and use `codemix export-data`, whose files hold the sample only",
        )
    rearranged = _named([s for s in plan.stages if s.fim])
    if rearranged:
        yield _note(
            f"the fill-in-the-middle rates of {rearranged} are not exported",
            f"set them where {system} sets its own",
        )
    growing = _named([s for s in plan.stages if len(s.batches) > 1])
    if growing:
        yield _note(
            f"the growing batch of {growing} is exported as its first size",
            "set the ramp by hand",
        )


def _named(stages: Iterable[StagePlan]) -> str:
    names = [f"`{stage.name}`" for stage in stages]
    return ", ".join(names)


def _one_size(plan: Plan, system: str) -> Iterator[Problem]:
    sizes = {(s.seq_len, s.batch_size(0)) for s in plan.stages}
    if len(sizes) > 1:
        yield _note(
            f"the stages differ in seq_len or batch_size, and {system} has one of each; "
            "the last stage's is exported",
            "export a recipe of one stage, and run the stages one by one",
        )


def _note(what: str, hint: str) -> Problem:
    return warning(what, hint, rule="export-lossy")
