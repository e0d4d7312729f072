"""Which sources of a recipe read each other, which a mixture names, and which of them become tokens."""

from __future__ import annotations

import functools
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
    tasks = recipe.evaluation.tasks
    for i, task in enumerate(tasks):
        yield ("evaluation", "tasks", i), task


def names_in(mixture: Mixture) -> Iterator[str]:
    """The groups and sources that a mixture names, also inside its groups."""
    for name, weight in mixture.items():
        yield name
        if isinstance(weight, Group):
            yield from names_in(weight.of)


class SourceGraph:
    """The sources of one recipe and how they depend on each other. Every answer is computed once."""

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self._chains: dict[str, tuple[str, ...]] = {}
        self._ancestors: dict[str, frozenset[str]] = {}

    @functools.cached_property
    def mixed(self) -> frozenset[str]:
        """The sources that some stage reads, named there or in a group that is."""
        todo: list[str] = []
        for stage in self.recipe.stages:
            todo += names_in(stage.mixture)
            todo += (rule.by for rule in stage.replace)
        named: set[str] = set()
        while todo:
            name = todo.pop()
            if name not in named:
                named.add(name)
                todo += names_in(self.recipe.groups.get(name, {}))
        return frozenset(named & self.recipe.sources.keys())

    @functools.cached_property
    def readers(self) -> dict[str, list[str]]:
        """For each source whose documents others need, those that do: they read them, or train a model on
        them."""
        readers: dict[str, list[str]] = {}
        for name in self.recipe.sources:
            for parent in self.parents(name):
                readers.setdefault(parent, []).append(name)
        return readers

    def parents(self, name: str) -> tuple[str, ...]:
        """The sources whose documents come first: the one that this one reads, those that train its ops."""
        source = self.recipe.sources[name]
        parents: dict[str, None] = {}
        if source.read.origin is not None:
            parents[source.read.origin] = None
        for op in source.ops:
            parents |= dict.fromkeys(op.trained_on())
        return tuple(parents)

    def ancestors(self, name: str) -> frozenset[str]:
        """The known sources among a source's parents, their parents, ...; itself only in a circle."""
        if name not in self._ancestors:
            found: set[str] = set()
            todo = list(self.parents(name))
            while todo:
                parent = todo.pop()
                if parent in self.recipe.sources and parent not in found:
                    found.add(parent)
                    todo += self.parents(parent)
            self._ancestors[name] = frozenset(found)
        return self._ancestors[name]

    @functools.cached_property
    def in_order(self) -> tuple[str, ...]:
        """The sources, parents first; those that wait for an unknown source or in a circle are left out."""
        ordered: dict[str, None] = {}
        size = -1
        while size != len(ordered):
            size = len(ordered)
            for name in self.recipe.sources:
                if ordered.keys() >= set(self.parents(name)):
                    ordered[name] = None
        return tuple(ordered)

    @functools.cached_property
    def tokenized(self) -> tuple[str, ...]:
        """The sources that become tokens: all but those that other sources need and no mixture names."""
        only_read = self.readers.keys() - self.mixed
        names = self.recipe.sources
        kept = [name for name in names if name not in only_read]
        return tuple(kept)

    @property
    def tokenizer_shares(self) -> dict[str, Fraction]:
        """What the tokenizer is trained on, by share; empty for one that is ready. Raises CodemixError as it
        does."""
        tokenizer = self.recipe.tokenizer
        return tokenizer.trains_on(self.tokenized)

    @functools.cached_property
    def held_out_shares(self) -> dict[str, Fraction]:
        """For each source the largest share that it, or a source of the same documents, holds out.

        Which documents those are depends on their hash alone.
        """
        sources = self.recipe.sources
        roots = {name: self.root(name) for name in sources}
        nothing = Fraction(0)
        largest: dict[str, Fraction] = {}
        for name, root in roots.items():
            before = largest.get(root, nothing)
            share = sources[name].held_out
            largest[root] = max(before, share)
        return {name: largest[root] for name, root in roots.items()}

    def chain(self, name: str) -> tuple[str, ...]:
        """`name`, the source whose documents it reads, the one that this reads, ... down to the one that
        reads inputs.

        It ends early where a name is unknown or appears again; `codemix validate` reports both."""
        if name not in self._chains:
            self._chains[name] = self._chain(name)
        return self._chains[name]

    def root(self, name: str) -> str:
        """The last of a source's chain: the one that reads inputs."""
        return self.chain(name)[-1]

    def built_with(self, names: Collection[str]) -> set[str]:
        """The sources whose documents the tokens of `names` depend on: those that train the tokenizer, those
        that dedup compares, and those that these need."""
        known = self.recipe.sources.keys()
        needed = {*names, *self.tokenizer_shares} & known
        for entry in reversed(self.recipe.dedup):
            if not needed.isdisjoint(entry.sources):
                needed |= known & set(entry.sources)
        built: set[str] = set()
        for name in needed:
            built |= {name} | self.ancestors(name)
        return built

    def _chain(self, name: str) -> tuple[str, ...]:
        names = {name: None}
        origin = self.recipe.sources[name].read.origin
        while origin in self.recipe.sources and origin not in names:
            names[origin] = None
            origin = self.recipe.sources[origin].read.origin
        return tuple(names)
