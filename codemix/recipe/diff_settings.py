"""What is set rather than computed, and differs between two recipes: the model, the optimizer, learning rates, seeds, caps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from codemix.recipe.component import Component, identity
from codemix.recipe.schema import Recipe, Stage

# What the tables of tokens, stages and sources tell already, or what is no effect.
_TOLD_ELSEWHERE = {"mixture", "weights", "by", "replace", "tokens", "steps", "init_from", "name", "notes", "description", "limits", "cursor"}


@dataclass(frozen=True)
class Setting:
    """A value that differs, by its place in the recipe; None: not there."""

    path: str
    values: tuple[str | None, str | None]


def settings(a: Recipe, b: Recipe) -> Iterator[Setting]:
    """Differing values, by path. Of a stage that only one recipe has, the learning rate is enough."""
    shared = {s.name for s in a.stages} & {s.name for s in b.stages}
    left, right = (dict(_leaves(_shown(recipe, shared), "")) for recipe in (a, b))
    for path in sorted({*left, *right}):
        if left.get(path) != right.get(path):
            yield Setting(path, (left.get(path), right.get(path)))


def _shown(recipe: Recipe, shared: set[str]) -> dict[str, Any]:
    out = {k: identity(getattr(recipe, k)) for k in ("model", "training", "seed", "evaluation", "tokenizer")}
    out["model"].pop("preset", None)
    out["stages"] = {s.name: _stage(s) if s.name in shared else {"learning_rate": _in_one_line(s.learning_rate)} for s in recipe.stages}
    out["max_epochs"] = {n: identity(s.max_epochs) for n, s in recipe.sources.items()}
    return out


def _stage(stage: Stage) -> dict[str, Any]:
    told_nothing = set() if stage.fim else {"fim_spm"}
    return {k: identity(getattr(stage, k)) for k in type(stage).model_fields if k not in _TOLD_ELSEWHERE | told_nothing}


def _in_one_line(component: Component) -> str:
    """The kind and what is not at its default."""
    fields = type(component).model_fields
    given = {k: v for k in fields if k != "kind" and (v := getattr(component, k)) != fields[k].default}
    return " ".join([component.kind, *(f"{k} {identity(v)}" for k, v in given.items())])


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Component):
        value = identity(value)
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            if key != "version":  # of a component: the same on both sides
                yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{i}]")
    elif value not in (None, {}, []):
        yield path, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
