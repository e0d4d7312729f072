"""What the runs of a comparison are: variants with their seeds, the tree of their stages, what each stage's role is.

Roles come from the structure (parents, mixtures, schedules), never from names: the proportion sweep is a set of first
stages that differ in their share of code, a cooldown is a last stage whose learning rate falls away from its parent's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.manifest import Manifest
from codemix.errors import CodemixError, did_you_mean
from codemix.eval.pages.facts import Documents, documents, pooled, run_facts
from codemix.eval.task_shapes.example_files import records
from codemix.files import digest
from codemix.recipe.language.component import identity
from codemix.recipe.planning.cooldown import cools_down

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan


@dataclass(frozen=True)
class RunInputs:
    """A trained run, as `compare` takes it: its plan and what its stages left in the store."""

    plan: Plan
    manifests: Mapping[str, Manifest]
    stage_dirs: Sequence[Path]
    eval_paths: Sequence[Path]


Examples = dict[
    str, dict[str, tuple[float, float, int]]
]  # task -> example id -> (credit in [0, 1], bits and bytes of the right answer)


@dataclass
class Run:
    """One run: its facts, and per-document records by stage name."""

    plan: Plan
    facts: dict[str, Any]
    documents: dict[str, Documents]
    examples: dict[str, Examples]  # by stage name

    @property
    def stages(self) -> list[dict[str, Any]]:
        return self.facts["stages"]

    def stage(self, name: str) -> dict[str, Any] | None:
        return next((s for s in self.stages if s["name"] == name), None)


@dataclass
class Variant:
    """Runs of one recipe that differ in nothing but the seed."""

    name: str
    runs: list[Run] = field(default_factory=list)

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def seeds(self) -> list[int]:
        return [run.facts["seed"] for run in self.runs]

    @property
    def last(self) -> str:
        """The name of the run's last stage that is scored."""
        return next(s["name"] for s in reversed(self.first.stages) if s["bits_per_byte"] or s["tasks"])

    @property
    def before_cooldown(self) -> str:
        """The last scored stage that is no cooldown."""
        return next(
            (
                s["name"]
                for s in reversed(self.first.stages)
                if (s["bits_per_byte"] or s["tasks"]) and not is_cooldown(s)
            ),
            self.last,
        )

    def bits(self, stage: str, sources: Iterable[str]) -> list[float]:
        """Bits per byte of several sources together, one value a seed that has them."""
        sources = list(sources)
        found = [pooled(run.stage(stage)["bits_per_byte"], sources) for run in self.runs if run.stage(stage)]
        return [v for v in found if v is not None]

    def aggregate(self, stage: str, name: str) -> list[float]:
        """One of the paper's averages [%], one value a seed that has it."""
        found = [run.stage(stage)["aggregates"].get(name) for run in self.runs if run.stage(stage)]
        return [a["value"] for a in found if a and a.get("value") is not None]


def is_cooldown(stage: Mapping[str, Any]) -> bool:
    """Whether a stage continues another while its rate cools down."""
    rates = stage["rates"]
    if not stage["parent"] or not rates:
        return False
    return cools_down(stage["learning_rate"]["kind"], rates[0], rates[2])


def code_share(stage: Mapping[str, Any], families: Mapping[str, str]) -> float:
    """The share of a stage's tokens that is code."""
    return sum(x["share"] for n, x in stage["sources"].items() if families[n] == "code")


def load(inputs: Iterable[RunInputs]) -> list[Variant]:
    """The variants, in the order given; runs of equal recipes but for the seed together."""
    groups: dict[str, list[Run]] = {}
    seen: set[str] = set()
    for run in inputs:
        key = digest(identity(run.plan.recipe))
        if key in seen:
            continue  # the same recipe twice is one run
        seen.add(key)
        content = {k: v for k, v in identity(run.plan.recipe).items() if k != "seed"}
        facts = run_facts(run.plan, run.manifests, run.stage_dirs, run.eval_paths)
        places = {_print(p): Path(p) if Path(p).is_dir() else Path(p).parent for p in run.eval_paths}
        here = {s["name"]: places[s["fingerprint"]] for s in facts["stages"] if s["fingerprint"] in places}
        groups.setdefault(digest(content), []).append(
            Run(
                run.plan,
                facts,
                {n: documents(p / "documents.jsonl") for n, p in here.items()},
                {n: examples(p / "examples") for n, p in here.items()},
            )
        )
    for runs in groups.values():
        runs.sort(key=lambda run: run.facts["seed"])
    variants = [
        Variant(name, runs) for name, runs in zip(short_names(groups.values()), groups.values(), strict=True)
    ]
    unscored = [v.name for v in variants if not any(s["bits_per_byte"] or s["tasks"] for s in v.first.stages)]
    if unscored:
        raise CodemixError(
            f"not scored yet: {', '.join(unscored)}",
            hints=["`codemix eval` scores a trained recipe"],
            rule="not-scored",
        )
    return variants


def _print(path: Path) -> str:
    path = Path(path)
    return json.loads((path if path.is_file() else path / "results.json").read_text(encoding="utf-8"))[
        "stage_fingerprint"
    ]


def short_names(groups: Iterable[Sequence[Run]]) -> list[str]:
    """Recipe names without `-seed3` and without what all of them begin with; whole where that would leave two alike."""
    groups = list(groups)
    whole = [
        re.sub(r"[-_.]seed[-_]?\d+\Z", "", g[0].facts["recipe"]) if len(g) > 1 else g[0].facts["recipe"]
        for g in groups
    ]
    common = re.sub(r"[^-_.]*\Z", "", os.path.commonprefix(whole)) if len(whole) > 1 else ""
    names = [n[len(common) :] for n in whole]
    if len(set(names)) < len(names) or not all(names):
        names = whole
    if len(set(names)) < len(names):
        names = [g[0].facts["recipe"] for g in groups]
    return [n if names.count(n) == 1 else f"{n} ({i + 1})" for i, n in enumerate(names)]


def find_baseline(variants: Sequence[Variant], name: str | None) -> Variant:
    """The variant that `name` (short, whole, or of one seed) stands for; the first when no name is given."""
    if name is None:
        return variants[0]
    for variant in variants:
        if name == variant.name or name in (run.facts["recipe"] for run in variant.runs):
            return variant
    known = [v.name for v in variants]
    raise CodemixError(
        f"there is no run `{name}` to be the baseline", hints=did_you_mean(name, known), rule="baseline"
    )


def equally_long(variants: Sequence[Variant], base: Variant, when: str) -> list[Variant]:
    """The other variants whose runs are as long as the baseline's (to 1%) `when` they are compared; all, when none is."""

    def tokens(v: Variant) -> int:
        stage = v.first.stage(getattr(v, when))
        return stage["run_tokens_before"] + stage["tokens"]

    others = [v for v in variants if v is not base]
    return [v for v in others if abs(tokens(v) - tokens(base)) <= 0.01 * tokens(base)] or others


def examples(folder: Path) -> Examples:
    """What every example of every task gave."""
    found: Examples = {}
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else ():
        found[path.stem] = {
            str(r["id"]): (float(r["correct"]), float(r["gold_bits"]), int(r["gold_bytes"]))
            for r in records(path)
        }
    return found


def sweeps(variants: Sequence[Variant]) -> list[tuple[int, list[tuple[float, Variant, str]]]]:
    """(tokens, points by share of code): scored first stages of equal length with at least three shares of code.

    Where stages differ in what their code is made of, only the commonest kind is on the curve.
    """
    roots: dict[int, dict[str, tuple[float, Variant, str]]] = {}
    for variant in variants:
        for stage in variant.first.stages:
            if stage["parent"] is None and stage["bits_per_byte"]:
                point = (round(code_share(stage, variant.first.facts["families"]), 6), variant, stage["name"])
                roots.setdefault(stage["tokens"], {}).setdefault(stage["fingerprint"], point)
    found = []
    for tokens, every in sorted(roots.items()):
        kinds = [
            made_of(v.first.stage(stage), v.first.facts["families"])
            for share, v, stage in every.values()
            if share
        ]
        usual = max(sorted(set(kinds)), key=kinds.count, default="")
        points = {
            k: p
            for k, p in every.items()
            if not p[0] or made_of(p[1].first.stage(p[2]), p[1].first.facts["families"]) == usual
        }
        if len({share for share, _, _ in points.values()}) >= 3:
            found.append((tokens, sorted(points.values(), key=lambda p: (p[0], p[1].name))))
    return found


def qualities(variants: Sequence[Variant]) -> list[tuple[int, float, list[tuple[str, Variant, str]]]]:
    """(tokens, share of code, what the code is): scored first stages alike in both, but whose code is not the same."""
    groups: dict[tuple[int, float], dict[str, tuple[str, Variant, str]]] = {}
    for variant in variants:
        families = variant.first.facts["families"]
        for stage in variant.first.stages:
            share = round(code_share(stage, families), 3)
            if stage["parent"] is None and stage["bits_per_byte"] and share > 0:
                groups.setdefault((stage["tokens"], share), {}).setdefault(
                    made_of(stage, families), (made_of(stage, families), variant, stage["name"])
                )
    return [
        (tokens, share, list(points.values()))
        for (tokens, share), points in sorted(groups.items())
        if len(points) >= 2
    ]


def made_of(stage: Mapping[str, Any], families: Mapping[str, str]) -> str:
    """What the code of a stage is: `stdlib 70, web 30` [% of the code]."""
    code = {n: x["share"] for n, x in stage["sources"].items() if families[n] == "code" and x["share"]}
    return ", ".join(
        f"{n} {x / sum(code.values()) * 100:.0f}"
        for n, x in sorted(code.items(), key=lambda item: (-round(item[1], 4), item[0]))
    )


def cooldowns(variants: Sequence[Variant]) -> list[tuple[Variant, str, list[tuple[str, Variant, str]]]]:
    """(variant, stage cooled down from, arms): every scored stage that has a cooldown, with all of its cooldowns."""
    parents: dict[str, tuple[Variant, str, dict[str, tuple[str, Variant, str]]]] = {}
    for variant in variants:
        for stage in variant.first.stages:
            origin = next(
                (
                    s
                    for s in variant.first.stages
                    if stage["parent"] and s["fingerprint"] == stage["parent"]["fingerprint"]
                ),
                None,
            )
            if (
                origin is None
                or not is_cooldown(stage)
                or not stage["bits_per_byte"]
                or not origin["bits_per_byte"]
            ):
                continue
            share = code_share(stage, variant.first.facts["families"])
            label = "without code" if share < 0.0005 else f"with {share * 100:.0f}% code"
            parents.setdefault(origin["fingerprint"], (variant, origin["name"], {}))[2].setdefault(
                stage["fingerprint"], (label, variant, stage["name"])
            )
    return [
        (variant, stage, sorted(arms.values(), key=lambda arm: arm[0], reverse=True))
        for variant, stage, arms in parents.values()
    ]
