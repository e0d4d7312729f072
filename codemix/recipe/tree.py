"""The stages of several plans as one tree: what is equal is trained once.

Stages are equal when their fingerprints are, so sharing follows from what the recipes mean, not from how they were
written, and holds across studies as well as within one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codemix.recipe import estimate
from codemix.recipe.plan import Plan, StagePlan
from codemix.tables import Table


@dataclass(frozen=True)
class Node:
    """One stage of the tree, the recipes that train it, and the stages that continue from it."""

    stage: StagePlan
    recipes: tuple[str, ...]
    children: tuple[Node, ...]

    @property
    def fingerprint(self) -> str:
        return self.stage.fingerprint


@dataclass(frozen=True)
class Saving:
    """What the tree trains against what the recipes would train one by one."""

    stages: int
    stages_apart: int
    tokens: int
    tokens_apart: int
    chip_hours: float
    chip_hours_apart: float


def tree(plans: Mapping[str, Plan]) -> tuple[Node, ...]:
    """The roots of the tree, in the order of the plans. Parents in other recipes (`init_from`) are part of it."""
    stages: dict[str, StagePlan] = {}
    recipes: dict[str, list[str]] = {}
    children: dict[str | None, list[str]] = {}
    for name, plan in plans.items():
        for stage in plan.stages:
            for step in lineage(stage):
                if step.fingerprint not in stages:
                    stages[step.fingerprint] = step
                    children.setdefault(step.parent.fingerprint if step.parent else None, []).append(step.fingerprint)
                trained = recipes.setdefault(step.fingerprint, [])
                if name not in trained:
                    trained.append(name)

    def node(fingerprint: str) -> Node:
        return Node(stages[fingerprint], tuple(recipes[fingerprint]), tuple(node(f) for f in children.get(fingerprint, ())))

    return tuple(node(f) for f in children.get(None, ()))


def lineage(stage: StagePlan) -> list[StagePlan]:
    """A stage and those before it, the first first."""
    out = [stage]
    while out[-1].parent is not None:
        out.append(out[-1].parent)
    return out[::-1]


def walk(nodes: tuple[Node, ...]) -> list[tuple[int, Node]]:
    """Every node with its depth, parents before children."""
    out: list[tuple[int, Node]] = []
    for node in nodes:
        out += [(0, node), *((depth + 1, inner) for depth, inner in walk(node.children))]
    return out


def saving(plans: Mapping[str, Plan], chip: str = "v5e", mfu: float = 0.4) -> Saving:
    """Tokens and estimated chip-hours with and without sharing."""
    named = estimate.chip_named(chip)
    vocab = max((estimate.vocabulary(p) for p in plans.values()), default=0)
    shared = [n for _, n in walk(tree(plans))]
    costs = [estimate.stage_cost(n.stage, vocab, named, mfu) for n in shared]
    times = [len(n.recipes) for n in shared]
    return Saving(
        len(shared), sum(times), sum(c.tokens for c in costs), sum(c.tokens * t for c, t in zip(costs, times, strict=True)),
        sum(c.chip_hours for c in costs), sum(c.chip_hours * t for c, t in zip(costs, times, strict=True)),
    )  # fmt: skip


def tree_table(plans: Mapping[str, Plan], chip: str = "v5e", mfu: float = 0.4) -> Table:
    """The tree as a table, one line a stage, and below it what sharing saves."""
    named = estimate.chip_named(chip)
    vocab = max((estimate.vocabulary(p) for p in plans.values()), default=0)
    table = Table("Stages to train", ["stage", ">tokens", ">steps", f">{chip} hours", ">recipes", "trained for"])
    for depth, node in walk(tree(plans)):
        cost = estimate.stage_cost(node.stage, vocab, named, mfu)
        names = list(node.recipes)
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        table.rows.append([("· " * depth) + node.stage.name, f"{node.stage.tokens:,}", f"{node.stage.steps:,}", f"{cost.chip_hours:,.4g}", str(len(names)), shown])
    s = saving(plans, chip, mfu)
    table.notes.append(f"{s.stages} stages train {len(plans)} recipes; one by one they would be {s.stages_apart}")
    table.notes.append(
        f"sharing saves {s.tokens_apart - s.tokens:,} of {s.tokens_apart:,} tokens, {s.chip_hours_apart - s.chip_hours:,.4g} of {s.chip_hours_apart:,.4g} {chip} hours (estimated at {mfu:.0%})"
    )
    return table


def as_json(plans: Mapping[str, Plan], chip: str = "v5e", mfu: float = 0.4) -> dict[str, Any]:
    """The tree for programs."""

    def show(node: Node) -> dict[str, Any]:
        stage = node.stage
        return {
            "stage": stage.name, "fingerprint": stage.fingerprint, "tokens": stage.tokens, "steps": stage.steps, "recipes": list(node.recipes),
            "children": [show(c) for c in node.children],
        }  # fmt: skip

    return {"stages": [show(n) for n in tree(plans)], "saving": saving(plans, chip, mfu).__dict__, "chip": chip, "mfu": mfu}
