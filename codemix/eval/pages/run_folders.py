"""The facts of a run, read once from the folders that building, training and evaluation left in the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.manifest import Manifest
from codemix.data.store.stages import names_in_folder, read_ledger, renamed_since
from codemix.data.store.store import read_json
from codemix.errors import CodemixError
from codemix.eval.pages.curves import curves, training_seconds
from codemix.eval.pages.facts import (
    ModelFacts,
    ParentFacts,
    PlanFacts,
    Rates,
    RunFacts,
    SourceFacts,
    SourceUse,
    SplitFacts,
    StageFacts,
    TrainingFacts,
)
from codemix.eval.pages.paired_bits import family_moves
from codemix.eval.pages.results import EvalFacts, read_results
from codemix.recipe.language.tags import family
from codemix.train.run.metrics import read_metrics

if TYPE_CHECKING:
    from codemix.recipe.language.schema import Model
    from codemix.recipe.planning.plan import Plan, StagePlan

Ledger = Mapping[str, Any]
RATE_SAMPLES = 200  # steps at which the highest learning rate of a stage is looked for


def run_facts(
    plan: Plan, manifests: Mapping[str, Manifest], stage_dirs: Iterable[Path], eval_paths: Iterable[Path]
) -> RunFacts:
    """All that a report says. Raises CodemixError when a folder does not belong to the plan or is damaged."""
    folders = _folders_by_stage(plan, stage_dirs)
    results = _results_by_stage(plan, eval_paths)
    recipe = plan.recipe
    sources = dict(sorted(recipe.sources.items()))
    tags = {name: dict(source.tags) for name, source in sources.items()}
    families = {name: family(source_tags) for name, source_tags in tags.items()}
    stages = [
        _stage_facts(stage, folders.get(stage.fingerprint), results.get(stage.fingerprint, EvalFacts()))
        for stage in plan.stages
    ]
    scored = [stage.scores for stage in stages if stage.scores.sources]
    return RunFacts(
        recipe=recipe.name,
        description=recipe.description,
        seed=recipe.seed,
        model=_model_facts(recipe.model, stages),
        tags=tags,
        families=families,
        sources={name: _source_facts(manifests[name]) for name in sorted(manifests) if name in tags},
        max_epochs={name: source.max_epochs for name, source in sources.items()},
        stages=stages,
        moves=family_moves(scored[0], scored[-1], families) if len(scored) > 1 else {},
    )


def _folders_by_stage(plan: Plan, folders: Iterable[Path]) -> dict[str, Path]:
    """Stage fingerprint -> folder."""
    known = {stage.fingerprint for stage in plan.stages}
    by_fingerprint = {}
    for folder in map(Path, folders):
        lineage = _read_if_there(folder / "lineage.json") or {}
        fingerprint = lineage.get("fingerprint")
        if fingerprint not in known:
            hint = "the recipe changed after that stage was trained; `codemix run` trains what is missing"
            raise CodemixError(
                f"{folder} is not a stage of `{plan.recipe.name}`", hints=[hint], rule="report-stage"
            )
        by_fingerprint[fingerprint] = folder
    return by_fingerprint


def _results_by_stage(plan: Plan, paths: Iterable[Path]) -> dict[str, EvalFacts]:
    """Stage fingerprint -> its evaluation."""
    known = {stage.fingerprint for stage in plan.stages}
    by_fingerprint = {}
    for path in map(Path, paths):
        results = read_results(path)
        if results.stage_fingerprint not in known:
            file = path if path.is_file() else path / "results.json"
            hint = "the recipe changed after that evaluation; `codemix eval` measures again"
            raise CodemixError(
                f"{file} does not score a stage of `{plan.recipe.name}`", hints=[hint], rule="report-eval"
            )
        by_fingerprint[results.stage_fingerprint] = results
    return by_fingerprint


def _model_facts(model: Model, stages: Iterable[StageFacts]) -> ModelFacts:
    lineages = [stage.training.lineage for stage in stages if stage.training.lineage]
    vocab_size = lineages[0]["vocab_size"] if lineages else None
    return ModelFacts(
        parameters=None if vocab_size is None else model.parameters(vocab_size),
        vocab_size=vocab_size,
        d_model=model.d_model,
        n_layers=model.n_layers,
        n_heads=model.n_heads,
        d_ff=model.d_ff,
    )


def _source_facts(manifest: Manifest) -> SourceFacts:
    return SourceFacts(
        fingerprint=manifest.fingerprint,
        tokenizer=manifest.identity.get("tokenizer") or manifest.tokenizer["sha256"],
        tokenizer_sha256=manifest.tokenizer["sha256"],
        splits={name: _split_facts(manifest.splits.get(name, {})) for name in ("train", "held_out")},
        funnel=manifest.funnel,
        environment=manifest.environment,
        inputs=len(manifest.inputs),
    )


def _split_facts(totals: Mapping[str, Any]) -> SplitFacts:
    return SplitFacts(
        tokens=totals.get("tokens", 0),
        documents=totals.get("documents", 0),
        bytes=totals.get("bytes", 0),
    )


def _stage_facts(stage: StagePlan, folder: Path | None, scores: EvalFacts) -> StageFacts:
    ledger = None
    if folder is not None and (folder / "ledger.json").is_file():
        ledger = read_ledger(folder, stage)
    return StageFacts(
        name=stage.name,
        fingerprint=stage.fingerprint,
        description=stage.spec.description,
        sources=_source_uses(stage, ledger),
        plan=_plan_facts(stage),
        training=_training_facts(stage, folder, ledger),
        scores=scores,
    )


def _read_if_there(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _source_uses(stage: StagePlan, ledger: Ledger | None) -> dict[str, SourceUse]:
    planned = stage.planned_tokens()
    return {
        source.source: SourceUse(
            asked_share=float(source.share),
            share=source.windows / stage.rows if stage.rows else 0.0,
            planned=planned[source.source],
            consumed=None if ledger is None else int(ledger["consumed"].get(source.source, 0)),
            epochs_before=float(source.epochs_before),
            epochs_after=None if source.epochs_after is None else float(source.epochs_after),
        )
        for source in stage.sources
    }


def _plan_facts(stage: StagePlan) -> PlanFacts:
    schedule: Any = stage.spec.learning_rate  # of whatever kind
    settings = schedule.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
    batch_sizes = [size for _, size in stage.batches]
    parent = stage.parent
    pretrained = stage.pretrained
    return PlanFacts(
        parent=ParentFacts(parent.name, parent.fingerprint) if parent else None,
        load=stage.load,
        pretrained=f"{Path(pretrained.huggingface).name} {pretrained.sha256[:12]}" if pretrained else None,
        tokens=stage.tokens,
        asked_tokens=stage.asked_tokens,
        run_tokens_before=stage.run_tokens,
        steps=stage.steps,
        seq_len=stage.seq_len,
        batch_sizes=(min(batch_sizes), max(batch_sizes)),
        seed=stage.seed,
        learning_rate={"kind": schedule.kind, **settings},
        rates=_rates(stage) if stage.steps else None,
    )


def _rates(stage: StagePlan) -> Rates:
    last = stage.steps - 1
    stride = max(1, stage.steps // RATE_SAMPLES)
    rates = []
    for step in (*range(0, stage.steps, stride), last):
        rates.append(stage.lr(step))
    return Rates(first=rates[0], peak=max(rates), last=rates[-1])


def _training_facts(stage: StagePlan, folder: Path | None, ledger: Ledger | None) -> TrainingFacts:
    metrics = folder / "metrics.jsonl" if folder else None
    lines = read_metrics(metrics) if metrics else []
    return TrainingFacts(
        trained=ledger is not None,
        ledger_equal=None if ledger is None else _is_as_planned(ledger, stage.planned_tokens()),
        curves=curves(lines, names_in_folder(folder, stage) if folder else {}),
        renamed=renamed_since(folder, stage) if folder else "",
        training_s=training_seconds(lines, stage.run_tokens),
        lineage=read_json(folder / "lineage.json") if folder else None,
    )


def _is_as_planned(ledger: Ledger, planned: Mapping[str, int]) -> bool:
    """Whether the plan, the ledger's planned side and its consumed side name the same tokens."""
    consumed = {}
    for source, n in ledger["consumed"].items():
        if n or source in planned:
            consumed[source] = n
    return ledger["planned"] == planned == consumed
