"""What a run was asked to do and what it did, read once from its folders into one plain value.

Reports and comparisons are made from this value, and their JSON twins hold it. Nothing here depends on where the store is
or on the time of day: equal folders give equal facts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.manifest import Manifest
from codemix.data.store.store import read_json
from codemix.errors import CodemixError
from codemix.eval.task_shapes.example_files import records
from codemix.recipe.language.tags import family

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan, StagePlan

FORMAT = 1
Documents = dict[str, dict[str, tuple[float, int]]]  # source -> document id -> (bits, bytes)
CURVE_POINTS = 160  # a stage; longer curves are averaged in bins, so a page stays small whatever the run


def run_facts(
    plan: Plan, manifests: Mapping[str, Manifest], stage_dirs: Iterable[Path], eval_paths: Iterable[Path]
) -> dict[str, Any]:
    """Everything a report says. Raises CodemixError when a folder does not belong to the plan or is damaged."""
    folders = _by_stage(plan, stage_dirs)
    results = _results(plan, eval_paths)
    recipe = plan.recipe
    tags = {name: dict(source.tags) for name, source in sorted(recipe.sources.items())}
    stages = [
        _stage(stage, folders.get(stage.fingerprint), results.get(stage.fingerprint)) for stage in plan.stages
    ]
    scored = [results[s["fingerprint"]] for s in stages if s["bits_per_byte"]]
    lineages = [s["lineage"] for s in stages if s["lineage"]]
    return {
        "format": FORMAT,
        "recipe": recipe.name,
        "description": recipe.description,
        "seed": recipe.seed,
        "model": {
            "parameters": recipe.model.parameters(lineages[0]["vocab_size"]) if lineages else None,
            "vocab_size": lineages[0]["vocab_size"] if lineages else None,
            **{k: getattr(recipe.model, k) for k in ("d_model", "n_layers", "n_heads", "d_ff")},
        },
        "tags": tags,
        "families": {name: family(tags[name]) for name in tags},
        "sources": {name: _source(manifests[name]) for name in sorted(manifests) if name in tags},
        "max_epochs": {name: source.max_epochs for name, source in sorted(recipe.sources.items())},
        "stages": stages,
        "moves": moves(scored, {name: family(tags[name]) for name in tags}) if len(scored) > 1 else {},
    }


def _by_stage(plan: Plan, folders: Iterable[Path]) -> dict[str, Path]:
    """Stage fingerprint -> folder."""
    known, found = {s.fingerprint for s in plan.stages}, {}
    for folder in map(Path, folders):
        about = read_json(folder / "lineage.json") if (folder / "lineage.json").is_file() else {}
        if about.get("fingerprint") not in known:
            raise CodemixError(
                f"{folder} is not a stage of `{plan.recipe.name}`",
                hints=[
                    "the recipe changed after that stage was trained; `codemix run` trains what is missing"
                ],
                rule="report-stage",
            )
        found[about["fingerprint"]] = folder
    return found


def _results(plan: Plan, paths: Iterable[Path]) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Stage fingerprint -> (folder, results.json)."""
    known, found = {s.fingerprint for s in plan.stages}, {}
    for path in map(Path, paths):
        path = path if path.is_file() else path / "results.json"
        content = read_json(path)
        if content.get("stage_fingerprint") not in known:
            raise CodemixError(
                f"{path} scores no stage of `{plan.recipe.name}`",
                hints=["the recipe changed after that evaluation; `codemix eval` measures again"],
                rule="report-eval",
            )
        found[content["stage_fingerprint"]] = (path.parent, content)
    return found


def _source(manifest: Manifest) -> dict[str, Any]:
    splits = {
        name: {k: manifest.splits.get(name, {}).get(k, 0) for k in ("tokens", "documents", "bytes")}
        for name in ("train", "held_out")
    }
    return {
        "fingerprint": manifest.fingerprint,
        "tokenizer_sha256": manifest.tokenizer["sha256"],
        "splits": splits,
        "funnel": manifest.funnel,
        "environment": manifest.environment,
        "inputs": len(manifest.inputs),
    }


def _stage(
    stage: StagePlan, folder: Path | None, result: tuple[Path, dict[str, Any]] | None
) -> dict[str, Any]:
    spec = stage.spec
    schedule = spec.learning_rate.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
    planned, ledger = (
        stage.planned_tokens(),
        read_json(folder / "ledger.json") if folder and (folder / "ledger.json").is_file() else None,
    )
    consumed = ledger["consumed"] if ledger else None
    lineage = read_json(folder / "lineage.json") if folder else None
    lines = read_lines(folder / "metrics.jsonl") if folder and (folder / "metrics.jsonl").is_file() else []
    batches = [size for _, size in stage.batches]
    return {
        "name": stage.name,
        "fingerprint": stage.fingerprint,
        "description": spec.description,
        "trained": ledger is not None,
        "parent": stage.parent and {"stage": stage.parent.name, "fingerprint": stage.parent.fingerprint},
        "load": stage.load,
        "tokens": stage.tokens,
        "asked_tokens": stage.asked_tokens,
        "run_tokens_before": stage.run_tokens,
        "steps": stage.steps,
        "seq_len": stage.seq_len,
        "batch_size": batches[0] if len(set(batches)) == 1 else [min(batches), max(batches)],
        "seed": stage.seed,
        "learning_rate": {"kind": spec.learning_rate.kind, **schedule},
        "rates": [stage.lr(0), max(stage.lr(s) for s in _sample(stage.steps)), stage.lr(stage.steps - 1)]
        if stage.steps
        else None,
        "sources": {
            s.source: {
                "asked_share": float(s.share),
                "share": s.windows / stage.rows if stage.rows else 0.0,
                "planned": planned[s.source],
                "consumed": None if consumed is None else int(consumed.get(s.source, 0)),
                "epochs_before": float(s.epochs_before),
                "epochs_after": None if s.epochs_after is None else float(s.epochs_after),
            }
            for s in stage.sources
        },
        "ledger_equal": None if ledger is None else _equal(ledger, planned),
        "curves": curves(lines, [s.source for s in stage.sources]),
        "training_s": training_seconds(lines, stage.run_tokens),
        "lineage": lineage,
        "evaluated": result is not None,
        "bits_per_byte": _scores(result),
        "tasks": result[1].get("tasks", {}) if result else {},
        "aggregates": result[1].get("aggregates", {}) if result else {},
        "evaluation": result
        and {
            "fingerprint": result[1].get("fingerprint", ""),
            "environment": result[1].get("environment", {}),
        },
    }


def _equal(ledger: Mapping[str, Any], planned: Mapping[str, int]) -> bool:
    """Whether the plan, the ledger's planned side and its consumed side name the same tokens."""
    consumed = {k: v for k, v in ledger["consumed"].items() if v or k in planned}
    return ledger["planned"] == planned == consumed


def _sample(steps: int) -> list[int]:
    return sorted({0, *range(0, steps, max(1, steps // 200)), steps - 1})


def _scores(result: tuple[Path, dict[str, Any]] | None) -> dict[str, Any]:
    """Bits per byte by source. A score that is not finite, or that its own sums contradict, is damage, never a number."""
    if result is None:
        return {}
    path, content = result
    for source, s in content.get("bits_per_byte", {}).items():
        if not (
            s["bytes"] > 0
            and math.isfinite(s["bits"])
            and math.isclose(s["bits"] / s["bytes"], s["bits_per_byte"], rel_tol=1e-6)
        ):
            raise CodemixError(
                f"{path / 'results.json'} is damaged: `{source}` has {s['bits']} bits over {s['bytes']} bytes and claims {s['bits_per_byte']}",
                hints=["delete its folder and run `codemix eval` again"],
                rule="store-damaged",
            )
    return content.get("bits_per_byte", {})


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file, the last one for each step, in order of steps. A torn last line is left out."""
    lines: dict[int, dict[str, Any]] = {}
    raw = path.read_text(encoding="utf-8").split("\n")
    for number, text in enumerate(raw):
        try:
            line = json.loads(text) if text.strip() else None
        except ValueError:
            if number < len(raw) - 1:
                raise CodemixError(
                    f"{path} is damaged at line {number + 1}",
                    hints=["delete its folder and train that stage again"],
                    rule="store-damaged",
                ) from None
            line = None
        if line is not None:
            lines[line["step"]] = line
    return [lines[step] for step in sorted(lines)]


def curves(lines: Sequence[Mapping[str, Any]], sources: Sequence[str]) -> dict[str, list]:
    """Tokens of the run against losses, learning rate and speed; long runs averaged in bins of equal numbers of lines."""
    keys = {f"train/{s}/loss_nats_per_token": s for s in sources} | {"train/loss_nats_per_token": "*"}
    keys |= {"lr": "lr", "tokens_per_s": "tokens_per_s", "grad_norm": "grad_norm"}
    bins = _bins(lines, CURVE_POINTS)
    out: dict[str, list] = {"tokens": [group[-1]["tokens"] for group in bins]}
    for key, name in keys.items():
        column = []
        for group in bins:
            values = [
                float(line[key]) for line in group if line.get(key) is not None and math.isfinite(line[key])
            ]
            column.append(sum(values) / len(values) if values else None)
        if any(v is not None for v in column):
            out[name] = column
    return out


def _bins(lines: Sequence[Any], most: int) -> list[Sequence[Any]]:
    edges = [len(lines) * i // most for i in range(most + 1)] if len(lines) > most else range(len(lines) + 1)
    return [lines[a:b] for a, b in zip(edges, edges[1:], strict=False)]


def training_seconds(lines: Sequence[Mapping[str, Any]], tokens_before: int) -> float | None:
    """Seconds of training [s], from tokens and speed of each line: pauses between two sittings do not count."""
    seconds, before = 0.0, tokens_before
    for line in lines:
        speed = line.get("tokens_per_s")
        if speed and math.isfinite(speed) and speed > 0:
            seconds += (line["tokens"] - before) / speed
        before = line["tokens"]
    return seconds or None


def pooled(scores: Mapping[str, Mapping[str, Any]], sources: Iterable[str]) -> float | None:
    """Bits per byte of several sources together: bits summed, bytes summed, divided once."""
    chosen = [scores[s] for s in sources if s in scores]
    total = sum(s["bytes"] for s in chosen)
    return sum(s["bits"] for s in chosen) / total if total else None


def documents(path: Path) -> Documents:
    """Bits and bytes of every held-out document that an evaluation scored; empty when it kept no records."""
    if not path.is_file():
        return {}
    stat = path.stat()
    return _documents(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(64)
def _documents(path: Path, _size: int, _changed: int) -> Documents:
    """Read once for each state of a file: a comparison asks for the first and the last evaluation of a run again."""
    found: Documents = {}
    for record in records(path):
        found.setdefault(record["source"], {})[record["id"]] = (float(record["bits"]), int(record["bytes"]))
    return found


def moves(results: Sequence[tuple[Path, Mapping[str, Any]]], families: Mapping[str, str]) -> dict[str, Any]:
    """How bits per byte of each family moved from the first to the last evaluation, with a paired interval over documents."""
    from codemix.eval import stats

    sides, found = [documents(folder / "documents.jsonl") for folder, _ in (results[0], results[-1])], {}
    for kind in ("code", "text", "other"):
        pairs = []
        for source in sorted(n for n in set(sides[0]) & set(sides[1]) if families.get(n, "other") == kind):
            for name in sorted(set(sides[0][source]) & set(sides[1][source])):
                (before, size), (after, size_after) = sides[0][source][name], sides[1][source][name]
                if size == size_after and size > 0:
                    pairs.append((before, after, size))
        if len(pairs) > 1:
            before, after, sizes = zip(*pairs, strict=True)
            found[kind] = stats.paired_bootstrap((before, sizes), (after, sizes)).as_json()
    return found
