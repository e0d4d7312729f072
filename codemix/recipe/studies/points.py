"""The points of a study: for each, the base recipe with its overrides laid over it, before validation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from codemix.recipe.language.overrides import Layered, layered, override, put, remove
from codemix.recipe.language.quantities import show_share
from codemix.recipe.language.yaml_text import YamlFile
from codemix.recipe.studies.base_recipe import BaseRecipes
from codemix.recipe.studies.study_spec import BASELINE, Study, StudySpec, Variation
from codemix.recipe.studies.sweep import NewShare, apply_share, require_trunk

_Place = TypeVar("_Place")


@dataclass(frozen=True)
class Point:
    """A point's name within its study, and its recipe with the places its values came from."""

    name: str
    document: Layered


@dataclass(frozen=True)
class _Choice:
    """What distinguishes one point: a place on each axis of the study; None where the study has no such
    axis.
    """

    variation: tuple[int, Variation] | None
    values: tuple[tuple[str, str], ...]  # (axis, value) of the grid
    share: tuple[int, Fraction] | None
    candidate: int | None  # -1 for the baseline
    seed: int | None

    def name_parts(self, spec: StudySpec) -> Iterator[str]:
        """The parts of the point's name; a single seed goes unnamed."""
        if self.variation is not None:
            yield self.variation[1].name
        for _, value in self.values:
            yield value
        if self.share is not None:
            yield _share_name(self.share[1])
        if self.candidate is not None and spec.anneal is not None:
            yield BASELINE if self.candidate < 0 else spec.anneal.candidates[self.candidate]
        if self.seed is not None and len(spec.seeds) > 1:
            yield f"seed{self.seed}"


def points(study: Study) -> Iterator[Point]:
    """Every point, in the order of the file. Raises CodemixError for an override that leads nowhere."""
    bases = BaseRecipes(study)
    for choice in _choices(study.spec):
        document = _lay_over(study, bases, choice)
        parts = list(choice.name_parts(study.spec))
        name = "-".join([study.name, *parts])
        put(document, ("name",), name, study.document, ("study",))
        yield Point("-".join(parts) or "base", document)


def base_point(study: Study) -> Layered:
    """The base recipe with what the study changes for every point."""
    nothing = _Choice(None, (), None, None, None)
    return _lay_over(study, BaseRecipes(study), nothing)


def _choices(spec: StudySpec) -> Iterator[_Choice]:
    """The product of the axes, the last the fastest."""
    axes: list[list[tuple[str, str]]] = []
    for axis, changes in spec.grid.items():
        places = [(axis, value) for value in changes]
        axes.append(places)
    grid = itertools.product(*axes)
    variations = enumerate(spec.variations)
    shares = enumerate(spec.sweep.shares if spec.sweep else ())
    n_candidates = len(spec.anneal.candidates) if spec.anneal else -1
    candidates = range(-1, n_candidates)
    product = itertools.product(
        _or_none(variations),
        grid,
        _or_none(shares),
        _or_none(candidates),
        _or_none(spec.seeds),
    )
    for variation, values, share, candidate, seed in product:
        yield _Choice(variation, values, share, candidate, seed)


def _or_none(
    places: Iterable[_Place],
) -> Sequence[_Place | None]:
    """The places on an axis; None alone where the study has no such axis."""
    return list(places) or [None]


def _lay_over(study: Study, bases: BaseRecipes, choice: _Choice) -> Layered:
    """The base recipe with the study's changes, then those of the point."""
    spec = study.spec
    document = study.document
    base = _base(study, bases, choice)
    point = layered(base, document.file)
    for i, name in enumerate(spec.without):
        remove(point, name, document, ("without", i))
    override(point, spec.set, document, ("set",))
    if choice.variation is not None:
        index, variation = choice.variation
        _vary(point, variation, study, ("variations", index))
    for axis, value in choice.values:
        override(point, spec.grid[axis][value], document, ("grid", axis, value))
    if choice.share is not None and spec.sweep is not None:
        new_share = NewShare.of_sweep(spec.sweep, choice.share[0])
        apply_share(point, new_share, document)
    if choice.candidate is not None and spec.anneal is not None:
        require_trunk(point, spec.anneal, document)
        if choice.candidate >= 0:
            new_share = NewShare.of_candidate(spec.anneal, choice.candidate)
            apply_share(point, new_share, document)
    if choice.seed is not None:
        put(point, ("seed",), choice.seed, document, ("seeds",))
    return point


def _base(study: Study, bases: BaseRecipes, choice: _Choice) -> YamlFile:
    if choice.variation is not None:
        index, variation = choice.variation
        if variation.base is not None:
            return bases.document(variation.base, ("variations", index, "base"))
    return bases.document(study.spec.base, ("base",))


def _vary(
    point: Layered,
    variation: Variation,
    study: Study,
    at: tuple,
) -> None:
    document = study.document
    for i, name in enumerate(variation.without):
        remove(point, name, document, (*at, "without", i))
    override(point, variation.set, document, (*at, "set"))
    if variation.description:
        put(point, ("description",), variation.description, document, (*at, "description"))


def _share_name(share: Fraction) -> str:
    shown = show_share(share).lstrip("~").rstrip("%")
    if "." not in shown:
        shown = shown.rjust(2, "0")
    return f"{shown}pct"
