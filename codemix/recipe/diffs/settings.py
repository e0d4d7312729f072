"""What is set rather than computed, and differs between two recipes: how sources are read and filtered, dedup, the model, the
optimizer, learning rates, seeds, caps."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any

from codemix.recipe.language.component import Component, identity
from codemix.recipe.language.schema import Recipe, SourceSpec, Stage
from codemix.recipe.planning.source_identity import documents_content

# What the tables of tokens, stages and sources tell already, or what is no effect.
_TOLD_ELSEWHERE = {
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


def settings(a: Recipe, b: Recipe) -> Iterator[Setting]:
    """Differing values, by path. Of a stage that only one recipe has, the learning rate is enough."""
    shared = {s.name for s in a.stages} & {s.name for s in b.stages}
    both = a.sources.keys() & b.sources.keys()
    left, right = ({**_shown(x, shared), "sources": _sources(x, y, both)} for x, y in ((a, b), (b, a)))
    yield from differing(left, right)


def differing(a: Any, b: Any) -> Iterator[Setting]:
    """The leaves of two nested values that differ, by path."""
    left, right = (dict(_leaves(value, "")) for value in (a, b))
    for path in sorted({*left, *right}):
        if left.get(path) != right.get(path):
            yield Setting(path, (left.get(path), right.get(path)))


def _sources(recipe: Recipe, other: Recipe, both: Set[str]) -> dict[str, Any]:
    """How the sources of both recipes are made, in this one."""
    return {name: _making(recipe.sources[name], other.sources[name]) for name in both}


def _making(source: SourceSpec, other: SourceSpec) -> dict[str, Any]:
    same_kind = source.read.kind == other.read.kind
    return {
        "read": identity(source.read) if same_kind else _in_one_line(source.read),
        "ops": ops_by_name(list(map(identity, source.ops)), list(map(identity, other.ops))),
        **{k: v for k, v in documents_content(source).items() if k not in ("read", "ops")},
        "held_out": identity(source.held_out),
    }


def ops_by_name(ops: list[dict[str, Any]], others: list[dict[str, Any]]) -> dict[str, Any]:
    """The fields of ops by kind, so that an op put in front moves no other; the second of a kind is `kind#2`.

    An op that `others` lacks is one line. `order` is there where the ops of both stand in another order.
    """
    mine, theirs = _named(ops), _named(others)
    shown: dict[str, Any] = {n: op if n in theirs else _one_line(op) for n, op in mine.items()}
    if [n for n in mine if n in theirs] != [n for n in theirs if n in mine]:
        shown["order"] = list(mine)
    return shown


def _named(ops: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    named: dict[str, dict[str, Any]] = {}
    for op in ops:
        nth = sum(other["kind"] == op["kind"] for other in named.values()) + 1
        named[op["kind"] if nth == 1 else f"{op['kind']}#{nth}"] = op
    return named


def _one_line(op: dict[str, Any]) -> str:
    """An op and its fields: `size max_bytes 100000 min_bytes 1`."""
    return " ".join([op["kind"], *(f"{k} {v}" for k, v in op.items() if k not in ("kind", "version"))])


def _shown(recipe: Recipe, shared: set[str]) -> dict[str, Any]:
    out = {
        k: identity(getattr(recipe, k))
        for k in ("model", "training", "seed", "evaluation", "tokenizer", "dedup")
    }
    out["model"].pop("preset", None)
    out["stages"] = {
        s.name: _stage(s) if s.name in shared else {"learning_rate": _in_one_line(s.learning_rate)}
        for s in recipe.stages
    }
    out["max_epochs"] = {n: identity(s.max_epochs) for n, s in recipe.sources.items()}
    return out


def _stage(stage: Stage) -> dict[str, Any]:
    told_nothing = set() if stage.fim else {"fim_spm"}
    return {
        k: identity(getattr(stage, k))
        for k in type(stage).model_fields
        if k not in _TOLD_ELSEWHERE | told_nothing
    }


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
