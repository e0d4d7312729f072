"""Which sources of a recipe read each other, which a mixture names, and which of them become tokens."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from codemix.recipe.language.schema import Group

if TYPE_CHECKING:
    from codemix.recipe.language.component import Component
    from codemix.recipe.language.schema import Mixture, Recipe


def components(recipe: Recipe) -> Iterator[tuple[tuple, Component]]:
    """Every component that a recipe's data and evaluation use, with its path."""
    yield ("tokenizer",), recipe.tokenizer
    for name, source in recipe.sources.items():
        yield ("sources", name, "read"), source.read
        for i, op in enumerate(source.ops):
            yield ("sources", name, "ops", i), op
    for i, task in enumerate(recipe.evaluation.tasks):
        yield ("evaluation", "tasks", i), task


def names_in(mixture: Mixture) -> Iterator[str]:
    """The groups and sources that a mixture names, also inside its groups."""
    for name, weight in mixture.items():
        yield name
        if isinstance(weight, Group):
            yield from names_in(weight.of)


def mixed(recipe: Recipe) -> set[str]:
    """The sources that some stage reads, named there or in a group that is."""
    todo = [
        *(n for stage in recipe.stages for n in names_in(stage.mixture)),
        *(r.by for stage in recipe.stages for r in stage.replace),
    ]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += names_in(recipe.groups.get(name, {}))
    return found & set(recipe.sources)


def chain(recipe: Recipe, name: str) -> list[str]:
    """`name`, the source whose documents it reads, the one that this reads, ... down to the one that reads inputs.

    It ends early where a name is unknown or comes again; `codemix validate` reports both.
    """
    names = {name: None}
    last = name
    while (origin := recipe.sources[last].read.origin) in recipe.sources and origin not in names:
        names[origin] = None
        last = origin
    return list(names)


def readers(recipe: Recipe) -> dict[str, list[str]]:
    """For each source that others read, those that read its documents."""
    found: dict[str, list[str]] = {}
    for name, source in recipe.sources.items():
        if source.read.origin is not None:
            found.setdefault(source.read.origin, []).append(name)
    return found


def tokenized(recipe: Recipe) -> tuple[str, ...]:
    """The sources that become tokens: all but those that other sources read and no mixture names."""
    named, is_read = mixed(recipe), readers(recipe)
    return tuple(n for n in recipe.sources if n in named or n not in is_read)


def built_with(recipe: Recipe, names: Collection[str]) -> set[str]:
    """The sources whose documents the tokens of `names` rest on: what trains the tokenizer, dedup's, and what those read."""
    needed = {*names, *recipe.tokenizer.trains_on(tokenized(recipe))} & set(recipe.sources)
    for entry in reversed(recipe.dedup):
        if needed & set(entry.sources):
            needed |= set(entry.sources) & set(recipe.sources)
    return {name for reader in needed for name in chain(recipe, reader)}


def held_out_shares(recipe: Recipe) -> dict[str, Fraction]:
    """For each source the largest share that it, or a source of the same documents, holds out: which documents those are
    depends on their hash alone."""
    roots = {name: chain(recipe, name)[-1] for name in recipe.sources}
    largest: dict[str, Fraction] = {}
    for name, root in roots.items():
        largest[root] = max(largest.get(root, Fraction(0)), recipe.sources[name].held_out)
    return {name: largest[root] for name, root in roots.items()}
