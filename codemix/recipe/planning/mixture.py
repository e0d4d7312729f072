"""A stage's mixture, however nested, as exact shares of sources.

`{text: 50%, code: {share: 50%, of: {web: 80%, markup: 20%}}}` becomes web 2/5, markup 1/10 and so on. Every
share is a fraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from os.path import commonprefix
from typing import Any

from codemix.errors import did_you_mean
from codemix.recipe.language import schema
from codemix.recipe.language.finding import Finding, Findings, finding
from codemix.recipe.planning.shares import NOTHING, WHOLE, Span, constant, read_shares, total

Names = tuple[str, ...]


@dataclass(frozen=True)
class Leaf:
    """A source's share of a stage."""

    source: str
    span: Span
    groups: Names  # enclosing groups, outermost first
    path: tuple  # where the recipe says so
    places: tuple[Names, ...] = ()  # the enclosing groups of each place where the stage reads it

    @property
    def names(self) -> Names:
        """The source, and the groups around it."""
        return (self.source, *self.groups)

    @property
    def start(self) -> Fraction:
        return self.span.start

    @property
    def end(self) -> Fraction:
        return self.span.end

    @property
    def mean(self) -> Fraction:
        return self.span.mean

    def within(self, outer: Span) -> Leaf:
        """The same source, its share now a share of `outer`."""
        return replace(self, span=self.span * outer)


@dataclass(frozen=True)
class FlatMixture:
    """The sources that a stage reads, each once and sorted by name, and what is wrong with its mixture."""

    leaves: tuple[Leaf, ...]
    problems: tuple[Finding, ...]


def flatten(recipe: schema.Recipe, index: int) -> FlatMixture:
    """The mixture of stage `index`, its groups opened and its replacements made."""
    stage = recipe.stages[index]
    flattener = _Flattener(recipe)
    at = ("stages", index)
    is_relative = stage.weights == "relative"
    leaves = flattener.leaves(stage.mixture, (*at, "mixture"), (), is_relative)
    for i, rule in enumerate(stage.replace):
        leaves = flattener.replaced(leaves, rule, (*at, "replace", i))
    return FlatMixture(_merged(leaves), tuple(flattener.problems))


def unknown_source(recipe: schema.Recipe, name: str, at: tuple, *, on_key: bool = False) -> Finding:
    """`name` is neither a source nor a group."""
    sources = recipe.sources
    groups = recipe.groups
    near = did_you_mean(name, [*sources, *groups])
    what = f"there is no source or group `{name}`"
    return finding(at, "unknown-source", what, *near, on_key=on_key)


def _merged(leaves: Sequence[Leaf]) -> tuple[Leaf, ...]:
    """One leaf per source, sorted by name; what has no share is left out."""
    by_source: dict[str, Leaf] = {}
    for leaf in leaves:
        if not leaf.mean:
            continue
        first = by_source.get(leaf.source)
        if first is None:
            by_source[leaf.source] = replace(leaf, places=(leaf.groups,))
        else:
            by_source[leaf.source] = _joined(first, leaf)
    return tuple(by_source[name] for name in sorted(by_source))


def _joined(first: Leaf, again: Leaf) -> Leaf:
    """A source that a mixture reads in two places. It is inside the groups that hold all of it, in either
    order."""
    span = first.span + again.span
    around = commonprefix([first.groups, again.groups])
    groups = tuple(around)
    places = (*first.places, again.groups)
    return replace(first, span=span, groups=groups, places=places)


@dataclass(frozen=True)
class _OpenGroup:
    """A group's own mixture, and where the recipe gives it."""

    mixture: dict[str, Any]
    path: tuple
    written_here: bool


class _Flattener:
    """Opens the groups of one stage's mixture; problems are collected."""

    def __init__(self, recipe: schema.Recipe):
        self.recipe = recipe
        self.problems = Findings()

    def leaves(self, mixture: dict[str, Any], at: tuple, groups: tuple, relative: bool) -> list[Leaf]:
        """The sources of a mapping at path `at` inside `groups`, with their shares of this mapping."""
        shares = read_shares(mixture, at, relative=relative)
        self.problems += shares.problems
        leaves: list[Leaf] = []
        for name, weight in mixture.items():
            here = (*at, name)
            span = shares.by_name.get(name, NOTHING)
            group = self._group(name, weight, here)
            if group is not None:
                leaves += self._opened(group, name, span, here, groups, relative)
            elif name in self.recipe.sources:
                leaves.append(Leaf(name, span, groups, here))
            else:
                self.problems.append(unknown_source(self.recipe, name, here, on_key=True))
        return leaves

    def _group(self, name: str, weight: Any, here: tuple) -> _OpenGroup | None:
        """The group that a name stands for, if it is one."""
        if isinstance(weight, schema.Group):
            if name in self.recipe.sources:
                what = f"`{name}` is a source; it cannot also be a group here"
                self.problems.report_key(here, "group-name", what, "give the group a name of its own")
            return _OpenGroup(weight.of, (*here, "of"), True)
        if name in self.recipe.groups:
            return _OpenGroup(self.recipe.groups[name], ("groups", name), False)
        return None

    def _opened(
        self,
        group: _OpenGroup,
        name: str,
        span: Span,
        here: tuple,
        groups: tuple,
        relative: bool,
    ) -> list[Leaf]:
        """The sources of a group, with their shares of the mapping around it."""
        if name in groups:
            what = f"the group `{name}` holds itself"
            self.problems.report_key(here, "group-cycle", what, "remove one of the two")
            return []
        relative_inside = relative and group.written_here
        inside = self.leaves(group.mixture, group.path, (*groups, name), relative_inside)
        for leaf in inside:
            # The product of two ramps would be quadratic; it is exact at both ends only where one of them is
            # constant.
            if span.ramps and leaf.span.ramps:
                what = f"`{name}` ramps and so does `{leaf.source}` inside it"
                self.problems.report(here, "nested-ramp", what, "ramp one of the two")
        return [leaf.within(span) for leaf in inside]

    def replaced(self, leaves: list[Leaf], rule: schema.Replace, at: tuple) -> list[Leaf]:
        """The leaves after `rule.share` of all under `rule.of` goes to `rule.by`; the others keep their
        proportions."""
        inside = [leaf for leaf in leaves if rule.of in leaf.names]
        if not inside:
            known = set().union(*[leaf.names for leaf in leaves])
            near = did_you_mean(rule.of, known)
            what = f"`{rule.of}` is not in this mixture"
            self.problems.report((*at, "of"), "unknown-source", what, *near)
            return leaves
        newcomers = self._newcomers(rule, at)
        if newcomers is None:
            return leaves
        spans = [leaf.span for leaf in inside]
        given_up = total(spans).scaled(rule.share)
        self._check_ramps(rule, given_up, newcomers, at)
        kept = constant(1 - rule.share)
        stay = [leaf.within(kept) if leaf in inside else leaf for leaf in leaves]
        around = _groups_down_to(inside[0], rule.of)
        come = []
        for leaf in newcomers:
            given = leaf.within(given_up)
            come.append(replace(given, groups=around + leaf.groups, path=at))
        return stay + come

    def _newcomers(self, rule: schema.Replace, at: tuple) -> list[Leaf] | None:
        """The sources of `rule.by`; None where it is neither a source nor a group."""
        name = rule.by
        group = self.recipe.groups.get(name)
        if group is not None:
            return self.leaves(group, ("groups", name), (name,), False)
        place = (*at, "by")
        if name in self.recipe.sources:
            return [Leaf(name, WHOLE, (), place)]
        problem = unknown_source(self.recipe, name, place)
        self.problems.append(problem)
        return None

    def _check_ramps(self, rule: schema.Replace, given_up: Span, newcomers: list[Leaf], at: tuple) -> None:
        if not given_up.ramps:
            return
        ramps = [leaf.source for leaf in newcomers if leaf.span.ramps]
        if not ramps:
            return
        outer = f"what `{rule.of}` gives way to ramps with it"
        inner = f"so does `{ramps[0]}` inside `{rule.by}`"
        self.problems.report(at, "nested-ramp", f"{outer}, and {inner}", "ramp one of the two")


def _groups_down_to(leaf: Leaf, name: str) -> tuple[str, ...]:
    """The groups around a leaf, down to the group `name`; all of them where `name` is the source itself."""
    if name not in leaf.groups:
        return leaf.groups
    depth = leaf.groups.index(name) + 1
    return leaf.groups[:depth]
