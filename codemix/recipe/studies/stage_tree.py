"""The stages of several plans as one tree: what is equal is trained once.

Stages are equal when their fingerprints are, so sharing follows from what the recipes mean, not from how they
were written, and holds across studies as well as within one.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codemix.recipe.language.quantities import show_tokens
from codemix.recipe.planning.chips import chip_named
from codemix.recipe.planning.cost_estimate import Cost, show_amount, stage_cost, vocabulary
from codemix.recipe.planning.plan import Plan, StagePlan, with_ancestors
from codemix.recipe.studies.outline import aligned, outline
from codemix.tables import Table

MAX_NAMES = 3  # of recipes, in a table's cell


@dataclass(frozen=True)
class Node:
    """One stage of the tree, the recipes that train it, and the stages that continue from it."""

    stage: StagePlan
    vocab_size: int  # 0 if unknown
    recipes: tuple[str, ...]
    children: tuple[Node, ...]

    @property
    def fingerprint(self) -> str:
        return self.stage.fingerprint

    @property
    def ending(self) -> list[str]:
        """The recipes whose last stage this is."""
        continued: set[str] = set()
        for child in self.children:
            continued.update(child.recipes)
        return [name for name in self.recipes if name not in continued]


@dataclass
class Saving:
    """What the tree trains against what the recipes would train one by one."""

    stages: int = 0
    stages_apart: int = 0
    tokens: int = 0
    tokens_apart: int = 0
    chip_hours: float = 0
    chip_hours_apart: float = 0

    def add(self, cost: Cost, n_recipes: int) -> None:
        """Count one stage that `n_recipes` train."""
        self.stages += 1
        self.stages_apart += n_recipes
        self.tokens += cost.tokens
        self.tokens_apart += cost.tokens * n_recipes
        self.chip_hours += cost.chip_hours
        self.chip_hours_apart += cost.chip_hours * n_recipes


@dataclass(frozen=True)
class Tree:
    """The roots, in the order of the plans, and the accelerator that the estimates assume."""

    roots: tuple[Node, ...]
    recipes: tuple[str, ...]
    chip: str
    mfu: float

    def walk(self) -> list[tuple[int, Node]]:
        """Every node with its depth, parents before children."""
        found: list[tuple[int, Node]] = []
        waiting = [(0, root) for root in reversed(self.roots)]
        while waiting:
            depth, node = waiting.pop()
            found.append((depth, node))
            for child in reversed(node.children):
                waiting.append((depth + 1, child))
        return found

    def cost(self, node: Node) -> Cost:
        """The estimate of one stage."""
        chip = chip_named(self.chip)
        return stage_cost(node.stage, node.vocab_size, chip, self.mfu)

    def saving(self) -> Saving:
        """Tokens and estimated chip-hours with and without sharing."""
        saving = Saving()
        for _, node in self.walk():
            saving.add(self.cost(node), len(node.recipes))
        return saving

    def notes(self) -> list[str]:
        """What sharing saves, in sentences."""
        s = self.saving()
        tokens = show_tokens(s.tokens_apart - s.tokens)
        all_tokens = show_tokens(s.tokens_apart)
        hours = show_amount(s.chip_hours_apart - s.chip_hours)
        all_hours = show_amount(s.chip_hours_apart)
        needs = f"{len(self.recipes)} recipes need {s.stages} stages"
        return [
            f"{needs}; one by one they would train {s.stages_apart}",
            f"sharing saves {tokens} of {all_tokens} tokens and {hours} of {all_hours} {self.chip} hours "
            f"(estimated at {self.mfu:.0%} of its peak)",
        ]

    def text(self, state: Callable[[StagePlan], str] | None = None) -> str:
        """The tree as text, with estimates and what sharing saves; or with what `state` says about each
        stage, and
        how often it says so."""
        rows = []
        prefix = _common_prefix(self.recipes)
        for branches, node in outline(self.roots):
            row = [
                branches + node.stage.name,
                f"{show_tokens(node.stage.tokens)} tokens",
                "" if state else f"{show_amount(self.cost(node).chip_hours)} {self.chip} hours",
                state(node.stage) if state else "",
                _show_recipes(node, prefix),
            ]
            rows.append(row)
        lines = aligned(rows, to_the_right=(1, 2))
        if state is None:
            return "\n".join([*lines, "", *self.notes()])
        counts = Counter(row[3] for row in rows).most_common()
        counted = ", ".join(f"{n} {what}" for what, n in counts)
        return "\n".join([*lines, "", f"{len(rows)} stages: {counted}"])

    def table(self) -> Table:
        """One row per stage, and below it what sharing saves."""
        columns = ["stage", ">tokens", ">steps", f">{self.chip} hours", ">recipes", "trained for"]
        table = Table("Stages to train", columns, notes=self.notes())
        for depth, node in self.walk():
            row = [
                "· " * depth + node.stage.name,
                f"{node.stage.tokens:,}",
                f"{node.stage.steps:,}",
                show_amount(self.cost(node).chip_hours),
                str(len(node.recipes)),
                _first_names(node.recipes),
            ]
            table.rows.append(row)
        return table

    def markdown(self) -> str:
        return self.table().markdown()

    def as_json(self) -> dict[str, Any]:
        """The tree for programs."""
        return {
            "recipes": list(self.recipes),
            "stages": [self._node_as_json(root) for root in self.roots],
            "saving": asdict(self.saving()),
            "chip": self.chip,
            "mfu": self.mfu,
        }

    def _node_as_json(self, node: Node) -> dict[str, Any]:
        return {
            "stage": node.stage.name,
            "fingerprint": node.fingerprint,
            "tokens": node.stage.tokens,
            "steps": node.stage.steps,
            "chip_hours": self.cost(node).chip_hours,
            "recipes": list(node.recipes),
            "children": [self._node_as_json(child) for child in node.children],
        }


def _common_prefix(names: Sequence[str]) -> str:
    """What all of several names begin with, in whole parts; the last part of a name is its own."""
    if len(names) < 2:
        return ""
    all_parts = [name.split("-")[:-1] for name in names]
    common = os.path.commonprefix(all_parts)
    return "".join(f"{part}-" for part in common)


def _show_recipes(node: Node, prefix: str) -> str:
    """The recipes that end with a stage, without the prefix that all have; or how many share it."""
    if node.ending:
        names = [name.removeprefix(prefix) for name in node.ending]
        return f"-> {', '.join(names)}"
    if len(node.recipes) > 1:
        return f"shared by {len(node.recipes)}"
    return ""


def _first_names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:MAX_NAMES])
    more = len(names) - MAX_NAMES
    if more > 0:
        shown += f" and {more} more"
    return shown


def tree(plans: Mapping[str, Plan], chip: str = "v5e", mfu: float = 0.4) -> Tree:
    """The tree of some plans by recipe name. Parents in other recipes (`init_from`) are part of it."""
    chip_named(chip)  # refuses an unknown one
    stages: dict[str, StagePlan] = {}
    recipes: dict[str, dict[str, None]] = defaultdict(dict)  # the names in order, each once
    children: dict[str | None, list[str]] = defaultdict(list)
    for name, plan in plans.items():
        for stage in with_ancestors(plan.stages):
            fingerprint = stage.fingerprint
            recipes[fingerprint][name] = None
            if fingerprint not in stages:
                stages[fingerprint] = stage
                parent = stage.parent
                before = parent.fingerprint if parent else None
                children[before].append(fingerprint)
    nodes: dict[str, Node] = {}
    for fingerprint, stage in reversed(stages.items()):  # children first
        names = tuple(recipes[fingerprint])
        vocab_size = vocabulary(plans[names[0]])
        after = [nodes[child] for child in children[fingerprint]]
        nodes[fingerprint] = Node(stage, vocab_size, names, tuple(after))
    roots = tuple(nodes[root] for root in children[None])
    recipe_names = tuple(plans)
    return Tree(roots, recipe_names, chip, mfu)
