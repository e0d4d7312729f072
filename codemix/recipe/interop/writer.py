"""Writers of other systems' mixture files; see recipe/interop/mixtures.py. Shares are those of the plan, after all rounding."""

from __future__ import annotations

import json
from fractions import Fraction

from codemix.errors import Problem
from codemix.recipe.interop.values import Exported
from codemix.recipe.language.yaml_text import name_text
from codemix.recipe.planning.apportion import apportion
from codemix.recipe.planning.plan import Plan, StagePlan

PLACES = 12  # decimals of an exported share; a window of a 440B-token stage is far larger


def decimals(stage: StagePlan) -> dict[str, str]:
    """The planned share of each source, in decimals that sum to exactly one."""
    read = [s for s in stage.sources if s.windows]
    units = apportion(10**PLACES, [Fraction(s.windows, stage.rows) for s in read])
    return {s.source: _decimal(n) for s, n in zip(read, units, strict=True)}


def _decimal(units: int) -> str:
    whole, part = divmod(units, 10**PLACES)
    return f"{whole}.{part:0{PLACES}d}".rstrip("0").rstrip(".") if part else str(whole)


def megatron(plan: Plan) -> Exported:
    """One file a stage, as `--per-split-data-args-path` reads it; prefixes are the sources' names."""
    files = {}
    for stage in plan.stages:
        pairs = [word for name, share in decimals(stage).items() for word in (share, f"{name}_text_document")]
        files[f"{stage.name}.json"] = json.dumps({"train": pairs}, indent=1) + "\n"
    lost = _lost(plan, "Megatron")
    if len(plan.stages) > 1:
        lost.append(
            _note(
                "Megatron has no stages: run it once a file, with the checkpoint of the stage before",
                "its blend draws again from the start of each source; `cursor: continue` is lost",
            )
        )
    return Exported(files, tuple(lost))


def nanotron(plan: Plan) -> Exported:
    """One file with `data_stages`, first steps counted from 1."""
    lines, step = ["data_stages:"], 1
    for stage in plan.stages:
        shares = decimals(stage)
        lines += [
            f"- name: {name_text(stage.name)}",
            f"  start_training_step: {step}",
            "  data:",
            f"    seed: {stage.seed % 2**32}",
            "    num_loading_workers: 1",
            "    dataset:",
        ]
        lines += [
            "      dataset_folder:",
            *(f"      - {name_text(name)}" for name in shares),
            "      dataset_weights:",
            *(f"      - {share} # {name}" for name, share in shares.items()),
        ]
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
    return Exported(
        {"data_stages.yaml": "\n".join(lines) + "\n"},
        tuple(_lost(plan, "nanotron") + _one_size(plan, "nanotron")),
    )


def levanter(plan: Plan) -> Exported:
    """One file with `train_weights` as `[first step, weights]`."""
    every = sorted({s.source for stage in plan.stages for s in stage.sources})
    lines, step = ["data:", "  configs:"], 0
    lines += [f"    {name_text(name)}: {{train_urls: [{name}/*.jsonl.zst]}}" for name in every] + [
        "  train_weights:"
    ]
    for stage in plan.stages:
        shares = decimals(stage)
        lines += [
            f"  - - {step}",
            *(
                f"    {'- ' if i == 0 else '  '}{name_text(name)}: {shares.get(name, '0')}"
                for i, name in enumerate(every)
            ),
        ]
        step += stage.steps
    last = plan.stages[-1]
    lines += [
        "trainer:",
        f"  train_batch_size: {last.batch_size(0)}",
        f"  num_train_steps: {step}",
        f"train_seq_len: {last.seq_len}",
    ]
    return Exported(
        {"levanter.yaml": "\n".join(lines) + "\n"},
        tuple(_lost(plan, "Levanter") + _one_size(plan, "Levanter")),
    )


def olmo_core(plan: Plan) -> Exported:
    """One file a stage, with the repetitions that the plan comes to."""
    files = {}
    for stage in plan.stages:
        lines = [
            f"requested_tokens: {stage.tokens}",
            f"global_batch_size: {stage.batch_size(0) * stage.seq_len}",
            f"sequence_length: {stage.seq_len}",
            "source_list:",
            "  sources:",
        ]
        pools = {s.source: s.pool_windows for s in stage.sources}
        windows = {s.source: s.windows for s in stage.sources}
        for name, share in decimals(stage).items():
            lines += [
                f"  - source_name: {name_text(name)}",
                f"    target_ratio: {share}",
                f"    paths: [{name}/*.npy]",
            ]
            if pools[name] and windows[name] > pools[name]:
                lines += [f"    max_repetition_ratio: {-(-windows[name] * 10**6 // pools[name]) / 10**6:g}"]
        files[f"{stage.name}.yaml"] = "\n".join(lines) + "\n"
    lost = _lost(plan, "OLMo-core")
    if len(plan.stages) > 1:
        lost.append(
            _note(
                "OLMo-core has one script a stage; each file is one",
                "each stage then starts its sources anew; `cursor: continue` is lost",
            )
        )
    return Exported(files, tuple(lost))


def _lost(plan: Plan, system: str) -> list[Problem]:
    out = []
    if ramped := [s.name for s in plan.stages if len(s.segments) > 1]:
        out.append(
            _note(
                f"{system} has no ramps: {', '.join(f'`{n}`' for n in ramped)} gets the mean of its ramp",
                "split the stage into several with constant shares",
            )
        )
    if filled := [s.name for s in plan.stages if s.fim]:
        out.append(
            _note(
                f"the fill-in-the-middle rates of {', '.join(f'`{n}`' for n in filled)} are not exported",
                f"set them where {system} sets its own",
            )
        )
    growing = [s.name for s in plan.stages if len(s.batches) > 1]
    if growing:
        out.append(
            _note(
                f"the growing batch of {', '.join(f'`{n}`' for n in growing)} is exported as its first size",
                "set the ramp by hand",
            )
        )
    return out


def _one_size(plan: Plan, system: str) -> list[Problem]:
    sizes = {(s.seq_len, s.batch_size(0)) for s in plan.stages}
    if len(sizes) == 1:
        return []
    return [
        _note(
            f"the stages differ in seq_len or batch_size, and {system} has one of each; the last stage's is exported",
            "export a recipe of one stage, and run the stages one by one",
        )
    ]


def _note(what: str, hint: str) -> Problem:
    return Problem(what, hints=(hint,), rule="export-lossy", severity="warning")
