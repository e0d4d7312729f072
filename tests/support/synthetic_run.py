"""Runs that never ran: folders as training and evaluation leave them,
with numbers that are plausible and fixed.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from codemix.data.encoding.tokenizer import Tokenizer
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store, write_json
from codemix.recipe.language import schema
from codemix.recipe.planning.plan import Plan, Pool
from codemix.recipe.planning.planner import Planner

SOURCES = {"docs": "text", "prose": "text", "stdlib": "code", "web": "code"}
LEVEL = {"docs": 2.35, "prose": 2.2, "stdlib": 1.9, "web": 2.1}  # bits per byte that a source tends to
END = (("continue", {"text": "90%", "code": "10%"}, 160), ("cooldown", {"text": "80%", "code": "20%"}, 48))
MIXTURES = {
    "balanced": (("init", {"text": "50%", "code": "50%"}, 160), *END),
    "text-only": (("pretrain", {"text": "100%"}, 320), END[1]),
    "code-first": (("init", {"code": "100%"}, 160), *END),
}


class Unused(Tokenizer):
    """A tokenizer that nobody runs."""

    kind: Literal["unused"] = "unused"


def recipe(name: str, stages, seed: int = 0) -> schema.Recipe:
    rate = {"kind": "cosine", "peak": 3e-3, "floor": 3e-4, "warmup": "10 steps"}
    return schema.Recipe.model_validate(
        {
            "codemix": 1,
            "name": name,
            "seed": seed,
            "tokenizer": Unused(),
            "description": "Half code first, then mostly text, then a cooldown with some code: the paper's best shape in miniature."
            " <script> & friends stay text.",
            "sources": {
                n: {
                    "read": {"kind": "jsonl", "paths": f"{n}/*.jsonl"},
                    "tags": {"kind": k, "language": "python" if k == "code" else "en"},
                    "max_epochs": 4,
                }
                for n, k in SOURCES.items()
            },
            "groups": {"text": {"docs": "40%", "prose": "60%"}, "code": {"stdlib": "70%", "web": "30%"}},
            "model": {"d_model": 64, "n_layers": 4, "n_heads": 4, "d_ff": 176},
            "training": {"seq_len": 128, "batch_size": 16},
            "stages": [
                {
                    "name": n,
                    "steps": steps,
                    "mixture": mixture,
                    "learning_rate": {"kind": "linear", "floor": 1e-6} if n == "cooldown" else rate,
                }
                for n, mixture, steps in stages
            ],
        }
    )


def planned(name: str, stages=None, seed: int = 0) -> Plan:
    planner = Planner(
        recipe(name, stages or MIXTURES[name], seed),
        {n: Pool((400_000, 300_000), 900, True, "f" * 64) for n in SOURCES},
    )
    plan = planner.plan()
    assert not planner.problems, planner.problems
    return plan


def manifest(source: str) -> Manifest:
    dropped = (
        {"0-source_code/float_numbers": 3, "0-source_code/hexadecimal": 41, "1-length/too_short": 77}
        if SOURCES[source] == "code"
        else {"0-gopher_quality/short": 130}
    )
    read, unreadable = 1100 + 17 * len(source), 2 if source == "web" else 0
    kept = read - sum(dropped.values()) - unreadable
    totals = {
        "train": {"tokens": 700_000, "documents": kept - 60, "bytes": 2_500_000, "shards": []},
        "held_out": {"tokens": 40_000, "documents": 60, "bytes": 140_000, "shards": []},
    }
    return Manifest(
        source=source,
        fingerprint=f"{zlib.crc32(source.encode()):08x}" * 8,
        identity={},
        tokenizer={"sha256": "7" * 64, "vocab_size": 4096, "eos_id": 0},
        dtype="uint16",
        splits=totals,
        inputs=[{}],
        environment={"python": "3.11.2", "datatrove": "0.10.1"},
        tags={"kind": SOURCES[source]},
        funnel={"read": read, "kept": kept, "dropped": dropped, "unreadable": unreadable},
    )


def bits(seen: dict[str, int], source: str) -> float:
    """Bits per byte after reading `seen` tokens by source: own tokens help most, the rest a little."""
    own = seen.get(source, 0)
    kin = sum(n for s, n in seen.items() if s != source and SOURCES[s] == SOURCES[source])
    return LEVEL[source] + 1.9 * math.exp(-math.log1p((own + 0.5 * kin + 0.06 * sum(seen.values())) / 4e4))


def write_run(
    store: Store, plan: Plan, *, noise: int = 0, tasks: dict[str, Any] | None = None
) -> tuple[list[Path], list[Path]]:
    """Folders of a plan's stages and their evaluations."""
    rng = np.random.default_rng(zlib.crc32(plan.recipe.name.encode()) + noise)
    seen: dict[str, int] = {}
    folders, evals = [], []
    for stage in plan.stages:
        folder = store.path("stages", stage.name, stage.fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(
            folder / "lineage.json",
            {
                "stage": stage.name,
                "fingerprint": stage.fingerprint,
                "vocab_size": 4096,
                "recipe": plan.recipe.name,
                "sources": {source.source: {"key": source.key} for source in stage.sources},
            },
        )
        plan_tokens = stage.planned_tokens()
        write_json(
            folder / "ledger.json",
            {
                "stage": stage.name,
                "planned": plan_tokens,
                "consumed": plan_tokens,
                "steps": stage.steps,
                "tokens": stage.tokens,
            },
        )
        lines = []
        for step in range(4, stage.steps + 1, 4):
            share = step / stage.steps
            now = {s: seen.get(s, 0) + n * share for s, n in plan_tokens.items()} | {
                s: n for s, n in seen.items() if s not in plan_tokens
            }
            losses = {s: bits(now, s) * 2.1 + rng.normal(0, 0.05) for s, n in plan_tokens.items() if n}
            lines.append(
                {
                    "step": step,
                    "tokens": stage.run_tokens + round(stage.tokens * share),
                    "lr": stage.lr(step - 1),
                    "grad_norm": 0.5,
                    "tokens_per_s": 21_000 + rng.normal(0, 400),
                    "time": 100.0 + step,
                    "train/loss_nats_per_token": sum(v * plan_tokens[s] for s, v in losses.items())
                    / stage.tokens,
                    **{f"train/{s}/loss_nats_per_token": v for s, v in losses.items()},
                }
            )
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        seen = {s: seen.get(s, 0) + plan_tokens.get(s, 0) for s in {*seen, *plan_tokens}}
        folders.append(folder)
        evals.append(_evaluate(store, stage, seen, rng, (tasks or {}).get(stage.name, {})))
    return folders, evals


def _evaluate(store: Store, stage, seen: dict[str, int], rng, tasks: dict[str, Any]) -> Path:
    place = store.path("evals", stage.name, stage.fingerprint[::-1])
    place.mkdir(parents=True, exist_ok=True)
    records, summaries = [], {}
    for source in SOURCES:
        fixed = np.random.default_rng(zlib.crc32(source.encode()))  # the same documents for every run
        sizes, hardness = fixed.lognormal(7, 0.8, 60).astype(int) + 20, fixed.normal(0, 0.25, 60)
        for i, (size, hard) in enumerate(zip(sizes, hardness, strict=True)):
            value = float(size * (bits(seen, source) + hard + rng.normal(0, 0.03)))
            records.append(
                {
                    "source": source,
                    "id": f"{source}/{i}",
                    "bits": value,
                    "bytes": int(size),
                    "tokens": int(size) // 4,
                    "language": "",
                }
            )
        mine = [r for r in records if r["source"] == source]
        total = {k: sum(r[k] for r in mine) for k in ("bits", "bytes", "tokens")}
        summaries[source] = {
            **total,
            "documents": 60,
            "bits_per_byte": total["bits"] / total["bytes"],
            "subset": False,
        }
    (place / "documents.jsonl").write_text("".join(json.dumps(r, sort_keys=True) + "\n" for r in records))
    write_json(
        place / "results.json",
        {
            "format": 1,
            "stage": stage.name,
            "stage_fingerprint": stage.fingerprint,
            "fingerprint": "e" * 64,
            "bits_per_byte": summaries,
            "tasks": tasks,
            "aggregates": {},
            "environment": {"jax": "0.10.2", "device": "cpu"},
        },
    )
    return place
