"""What is set rather than computed, and differs between two recipes: how sources are read and filtered,
dedup, the
model, the optimizer, learning rates, seeds, caps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from codemix.recipe.language.component import Component, identity
from codemix.recipe.language.schema import Recipe, SourceSpec, Stage

Names = Mapping[str, str]  # of renamed sources, what both recipes call them here
OpFields = dict[str, Any]  # what `identity` makes of an op

# Fields of a stage that the tables of tokens, stages and sources show already, or that have no effect.
_SHOWN_ELSEWHERE = {
    "mixture",
    "weights",
    "by",
    "replace",
    "tokens",
    "steps",
    "init_from",
    "name",
    "notes",
    "description",
    "limits",
    "cursor",
}


@dataclass(frozen=True)
class Setting:
    """A value that differs, by its place in the recipe; None: not there."""

    path: str
    values: tuple[str | None, str | None]

    def reversed(self) -> Setting:
        """With its sides exchanged."""
        return replace(self, values=self.values[::-1])


def settings(
    a: Recipe, b: Recipe, my_names: Names | None = None, their_names: Names | None = None
) -> Iterator[Setting]:
    """Differing values, by path. Of a stage that only one recipe has, the learning rate is enough."""
    a = _renamed(a, my_names or {})
    b = _renamed(b, their_names or {})
    mine = _shown(a, b)
    theirs = _shown(b, a)
    mine["tokenizer"] = _by_names(mine["tokenizer"], my_names or {})
    theirs["tokenizer"] = _by_names(theirs["tokenizer"], their_names or {})
    return differing(mine, theirs)


def _renamed(recipe: Recipe, names: Names) -> Recipe:
    """A recipe whose sources, lists of dedup and rates of fill-in-the-middle say `names`."""
    if not names:
        return recipe
    sources = {}
    for name, source in recipe.sources.items():
        called = names.get(name, name)
        sources[called] = source
    dedup = []
    for entry in recipe.dedup:
        compared = [names.get(name, name) for name in entry.sources]
        renamed = entry.model_copy(update={"sources": tuple(compared)})
        dedup.append(renamed)
    stages = []
    for stage in recipe.stages:
        rates = _by_names(stage.fim, names)
        with_rates = stage.model_copy(update={"fim": rates})
        stages.append(with_rates)
    changed = {"sources": sources, "dedup": tuple(dedup), "stages": tuple(stages)}
    return recipe.model_copy(update=changed)


def _by_names(value: Any, names: Names) -> Any:
    """A nested value whose keys say `names`."""
    if not isinstance(value, dict):
        return value
    renamed = {}
    for key, inside in value.items():
        called = names.get(key, key)
        renamed[called] = _by_names(inside, names)
    return renamed


def differing(a: Any, b: Any) -> Iterator[Setting]:
    """The leaves of two nested values that differ, by path."""
    mine = dict(_leaves(a, ""))
    theirs = dict(_leaves(b, ""))
    for path in sorted(mine.keys() | theirs.keys()):
        before = mine.get(path)
        after = theirs.get(path)
        if before != after:
            yield Setting(path, (before, after))


def ops_by_name(ops: list[OpFields], others: list[OpFields]) -> dict[str, Any]:
    """The fields of ops by kind, so that an op put in front moves no other; the second of a kind is `kind#2`.

    An op that `others` lacks is one line. `order` is there where the ops of both come in a different order.
    """
    mine = _numbered(ops)
    theirs = _numbered(others)
    shown: dict[str, Any] = {}
    for name, op in mine.items():
        shown[name] = op if name in theirs else _op_in_one_line(op)
    order = [name for name in mine if name in theirs]
    other_order = [name for name in theirs if name in mine]
    if order != other_order:
        shown["order"] = list(mine)
    return shown


def _numbered(ops: list[OpFields]) -> dict[str, OpFields]:
    """Ops by kind, and from the second of a kind on by `kind#2`."""
    named: dict[str, OpFields] = {}
    seen: list[str] = []
    for op in ops:
        kind = op["kind"]
        seen.append(kind)
        nth = seen.count(kind)
        name = kind if nth == 1 else f"{kind}#{nth}"
        named[name] = op
    return named


def _op_in_one_line(op: OpFields) -> str:
    """An op and its fields: `size max_bytes 100000 min_bytes 1`."""
    words = [op["kind"]]
    for key, value in op.items():
        if key not in ("kind", "version"):
            words.append(f"{key} {value}")
    return " ".join(words)


def _shown(recipe: Recipe, other: Recipe) -> dict[str, Any]:
    """The settings of a recipe that are compared with those of another."""
    shown: dict[str, Any] = {}
    for name in ("model", "training", "seed", "evaluation", "tokenizer", "dedup"):
        shown[name] = identity(getattr(recipe, name))
    shown["model"].pop("preset", None)
    shown["stages"] = _stages(recipe, other)
    shown["max_epochs"] = _epoch_caps(recipe)
    shown["sources"] = _sources(recipe, other)
    return shown


def _epoch_caps(recipe: Recipe) -> dict[str, Any]:
    caps = {}
    for name, source in recipe.sources.items():
        caps[name] = identity(source.max_epochs)
    return caps


def _stages(recipe: Recipe, other: Recipe) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    other_stages = {stage.name for stage in other.stages}
    for stage in recipe.stages:
        if stage.name in other_stages:
            shown[stage.name] = _stage(stage)
        else:
            shown[stage.name] = {"learning_rate": _component_in_one_line(stage.learning_rate)}
    return shown


def _stage(stage: Stage) -> dict[str, Any]:
    hidden = set(_SHOWN_ELSEWHERE)
    if not stage.fim:
        hidden.add("fim_spm")
    shown = {}
    for name in type(stage).model_fields:
        if name not in hidden:
            shown[name] = identity(getattr(stage, name))
    return shown


def _sources(recipe: Recipe, other: Recipe) -> dict[str, Any]:
    """How the sources that both recipes have are made, in this one."""
    shown = {}
    for name, source in recipe.sources.items():
        if name in other.sources:
            shown[name] = _source(source, other.sources[name])
    return shown


def _source(source: SourceSpec, other: SourceSpec) -> dict[str, Any]:
    if source.read.kind == other.read.kind:
        read = identity(source.read)
    else:
        read = _component_in_one_line(source.read)
    ops = [identity(op) for op in source.ops]
    other_ops = [identity(op) for op in other.ops]
    return {
        "read": read,
        "ops": ops_by_name(ops, other_ops),
        "held_out": identity(source.held_out),
        "subsample": identity(source.subsample),
        "on_bad": identity(source.on_bad),
        "max_bad": identity(source.max_bad),
    }


def _component_in_one_line(component: Component) -> str:
    """The kind and what is not at its default."""
    words = [component.kind]
    for name, info in type(component).model_fields.items():
        value = getattr(component, name)
        if name != "kind" and value != info.default:
            words.append(f"{name} {identity(value)}")
    return " ".join(words)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The values inside a nested value that hold no others, by path; a list of plain values is one."""
    if isinstance(value, Component):
        value = identity(value)
    if isinstance(value, dict) and value:
        for key, inside in value.items():
            if key != "version":  # of a component: the same on both sides
                yield from _leaves(inside, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(map(_is_collection, value)):
        for i, inside in enumerate(value):
            yield from _leaves(inside, f"{path}[{i}]")
    elif value not in (None, {}, []):
        yield path, _show(value)


def _is_collection(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
