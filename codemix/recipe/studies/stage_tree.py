"""The stages of several plans as one tree: what is equal is trained once.

Stages are equal when their fingerprints are, so sharing follows from what the recipes mean, not from how they were
written, and holds across studies as well as within one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from codemix.recipe.language.quantities import show_tokens
from codemix.recipe.planning import cost_estimate
from codemix.recipe.planning.chips import chip_named
from codemix.recipe.planning.plan import Plan, StagePlan, with_ancestors
from codemix.tables import Table


@dataclass(frozen=True)
class Node:
    """One stage of the tree, the recipes that train it (with a vocabulary, 0 if unknown), and the stages that continue from it."""

    stage: StagePlan
    vocab_size: int
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


@dataclass(frozen=True)
class Tree:
    """The roots, in the order of the plans, and the accelerator that the estimates assume."""

    roots: tuple[Node, ...]
    recipes: tuple[str, ...]
    chip: str
    mfu: float

    def walk(self) -> list[tuple[int, Node]]:
        """Every node with its depth, parents before children."""
        found, waiting = [], [(0, root) for root in reversed(self.roots)]
        while waiting:
            depth, node = waiting.pop()
            found.append((depth, node))
            waiting += [(depth + 1, child) for child in reversed(node.children)]
        return found

    def cost(self, node: Node) -> cost_estimate.Cost:
        return cost_estimate.stage_cost(node.stage, node.vocab_size, chip_named(self.chip), self.mfu)

    def saving(self) -> Saving:
        """Tokens and estimated chip-hours with and without sharing."""
        nodes = [n for _, n in self.walk()]
        costs, times = [self.cost(n) for n in nodes], [len(n.recipes) for n in nodes]
        return Saving(
            len(nodes),
            sum(times),
            sum(c.tokens for c in costs),
            sum(c.tokens * t for c, t in zip(costs, times, strict=True)),
            sum(c.chip_hours for c in costs),
            sum(c.chip_hours * t for c, t in zip(costs, times, strict=True)),
        )

    def notes(self) -> list[str]:
        """What sharing saves, in sentences."""
        s = self.saving()
        return [
            f"{len(self.recipes)} recipes need {s.stages} stages; one by one they would train {s.stages_apart}",
            f"sharing saves {show_tokens(s.tokens_apart - s.tokens)} of {show_tokens(s.tokens_apart)} tokens and "
            f"{cost_estimate.show_amount(s.chip_hours_apart - s.chip_hours)} of {cost_estimate.show_amount(s.chip_hours_apart)} {self.chip} hours (estimated at {self.mfu:.0%} of its peak)",
        ]

    def text(self, state: Callable[[StagePlan], str] | None = None) -> str:
        """The tree as text, with estimates and what sharing saves; or with what `state` says about each stage, and how often it says so."""
        lines: list[tuple[str, ...]] = []
        shared = (
            os.path.commonprefix([n.split("-")[:-1] for n in self.recipes]) if len(self.recipes) > 1 else []
        )
        short = len("".join(f"{part}-" for part in shared))

        waiting = [(root, "", "") for root in reversed(self.roots)]
        while waiting:
            node, before, branch = waiting.pop()
            names = node.recipes
            ends = [n for n in names if all(n not in c.recipes for c in node.children)]
            told = (
                f"-> {', '.join(n[short:] for n in ends)}"
                if ends
                else f"shared by {len(names)}"
                if len(names) > 1
                else ""
            )
            hours = (
                "" if state else f"{cost_estimate.show_amount(self.cost(node).chip_hours)} {self.chip} hours"
            )
            lines.append(
                (
                    before + branch + node.stage.name,
                    f"{show_tokens(node.stage.tokens)} tokens",
                    hours,
                    state(node.stage) if state else "",
                    told,
                )
            )
            inner = before + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
            branches = ["├─ "] * (len(node.children) - 1) + ["└─ "]
            waiting += reversed(
                [(child, inner, b) for child, b in zip(node.children, branches, strict=False)]
            )
        widths = [max((len(line[i]) for line in lines), default=0) for i in range(5)]
        drawn = [
            "  ".join(
                cell.ljust(w) if i not in (1, 2) else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
                if w
            ).rstrip()
            for line in lines
        ]
        if state is None:
            return "\n".join([*drawn, "", *self.notes()])
        counts = Counter(line[3] for line in lines)
        return "\n".join(
            [
                *drawn,
                "",
                f"{len(lines)} stages: " + ", ".join(f"{n} {what}" for what, n in counts.most_common()),
            ]
        )

    def table(self) -> Table:
        """One line a stage, and below it what sharing saves."""
        table = Table(
            "Stages to train",
            ["stage", ">tokens", ">steps", f">{self.chip} hours", ">recipes", "trained for"],
            notes=self.notes(),
        )
        for depth, node in self.walk():
            shown = ", ".join(node.recipes[:3]) + (
                f" and {len(node.recipes) - 3} more" if len(node.recipes) > 3 else ""
            )
            row = [
                "· " * depth + node.stage.name,
                f"{node.stage.tokens:,}",
                f"{node.stage.steps:,}",
                cost_estimate.show_amount(self.cost(node).chip_hours),
                str(len(node.recipes)),
                shown,
            ]
            table.rows.append(row)
        return table

    def markdown(self) -> str:
        return self.table().markdown()

    def as_json(self) -> dict[str, Any]:
        """The tree for programs."""

        def show(node: Node) -> dict[str, Any]:
            cost = self.cost(node)
            return {
                "stage": node.stage.name,
                "fingerprint": node.fingerprint,
                "tokens": node.stage.tokens,
                "steps": node.stage.steps,
                "chip_hours": cost.chip_hours,
                "recipes": list(node.recipes),
                "children": [show(c) for c in node.children],
            }

        return {
            "recipes": list(self.recipes),
            "stages": [show(n) for n in self.roots],
            "saving": asdict(self.saving()),
            "chip": self.chip,
            "mfu": self.mfu,
        }


def tree(plans: Mapping[str, Plan], chip: str = "v5e", mfu: float = 0.4) -> Tree:
    """The tree of some plans by recipe name. Parents in other recipes (`init_from`) are part of it."""
    chip_named(chip)
    stages: dict[str, StagePlan] = {}
    recipes: dict[str, list[str]] = {}
    children: dict[str | None, list[str]] = {}
    for name, plan in plans.items():
        for stage in with_ancestors(plan.stages):
            if stage.fingerprint not in stages:
                stages[stage.fingerprint] = stage
                before = stage.parent.fingerprint if stage.parent else None
                children.setdefault(before, []).append(stage.fingerprint)
            trained = recipes.setdefault(stage.fingerprint, [])
            if name not in trained:
                trained.append(name)
    nodes: dict[str, Node] = {}
    for fingerprint, stage in reversed(stages.items()):  # children first
        names = tuple(recipes[fingerprint])
        after = tuple(nodes[f] for f in children.get(fingerprint, ()))
        nodes[fingerprint] = Node(stage, cost_estimate.vocabulary(plans[names[0]]), names, after)
    return Tree(tuple(nodes[f] for f in children.get(None, ())), tuple(plans), chip, mfu)
