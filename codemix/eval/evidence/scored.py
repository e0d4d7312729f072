"""The row of evidence of a stage that was trained and scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codemix.data.store.stages import stage_dir
from codemix.data.store.store import Store, read_json
from codemix.eval.evidence.rows import Row, StageRead
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.planning.plan import Plan, StagePlan, lineage

FILE = "evidence.json"  # in the folder of the scores
BITS = "bits_per_byte"
GOLD = "gold_bits_per_byte"
ERROR = "error"
_STEPS = 100  # at which the learning rate is looked at


def scored_row(
    plan: Plan,
    index: int,
    store: Store,
    results: Mapping[str, Any],
    scored_on: str,
    vocab_size: int,
) -> Row | None:
    """What stage `index` of a plan and those before it read, by their ledgers, and what it then scored.

    `results` are the scores, `scored_on` the identity of what they were measured on. None where a ledger is
    gone, or nothing was measured.
    """
    stage = plan.stages[index]
    metrics = measured(results)
    reads = []
    data: dict[str, str] = {}
    for earlier in lineage(stage):
        ledger = stage_dir(store, earlier) / "ledger.json"
        if not ledger.is_file():
            return None
        consumed = read_json(ledger)["consumed"]
        reads.append(_read(earlier, consumed))
        for source in earlier.sources:
            data[source.source] = source.pool_fingerprint
    if not metrics:
        return None
    return Row(
        run=f"{plan.recipe.name}.{stage.name}.{stage.fingerprint[:8]}",
        stages=tuple(reads),
        metrics=metrics,
        seed=stage.seed,
        parameters=stage.model.parameters(vocab_size),
        model=fingerprint(stage.model),
        tokenizer=results["tokenizer_sha256"],
        data=data,
        scored_on=scored_on,
        stage_fingerprint=stage.fingerprint,
    )


def measured(results: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of results.json of which lower is better: `bits_per_byte/<source>`, and of each task the
    bits per byte of its right answers and the share of wrong ones, `error/<task>`."""
    metrics = {}
    for source, score in results["bits_per_byte"].items():
        metrics[f"{BITS}/{source}"] = score["bits_per_byte"]
    for task, score in results["tasks"].items():
        gold = score.get("gold_bits_per_byte")
        if gold:
            metrics[f"{GOLD}/{task}"] = gold["bits_per_byte"]
        metrics[f"{ERROR}/{task}"] = 1 - score["score"]
    return metrics


def _read(stage: StagePlan, consumed: Mapping[str, int]) -> StageRead:
    total = sum(consumed.values())
    shares = {}
    epochs = {}
    for source in stage.sources:
        name = source.source
        shares[name] = consumed[name] / total
        after = source.epochs_after
        if after is not None:
            epochs[name] = float(after)
    return StageRead(
        name=stage.name,
        tokens=total,
        shares=shares,
        epochs=epochs,
        learning_rate=_highest_rate(stage),
    )


def _highest_rate(stage: StagePlan) -> float:
    """The highest learning rate among evenly spaced steps."""
    last = stage.steps - 1
    rates = []
    for i in range(_STEPS + 1):
        step = last * i // _STEPS
        rates.append(stage.lr(step))
    return max(rates)
