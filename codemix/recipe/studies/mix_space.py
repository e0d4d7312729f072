"""The mixtures that a study's `mix:` may choose from: the shares of what the mixtures of some stages name.

A group is one domain: its inside stays as it is, so a settled set of sources is a group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.language import schema
from codemix.recipe.language.layered_file import Layered, copied
from codemix.recipe.language.quantities import exact_share
from codemix.recipe.language.recipe_file import RecipeFile, validate
from codemix.recipe.planning.mixture import flatten
from codemix.recipe.planning.shares import read_shares
from codemix.recipe.studies.points import base_point
from codemix.recipe.studies.study_spec import Mix, Study

WHOLE = Fraction(1)


@dataclass(frozen=True)
class Domain:
    """A group or source whose share of a stage varies."""

    name: str
    prior: Fraction  # its share in the base recipe
    inside: Mapping[str, Fraction]  # share of each of its sources


@dataclass(frozen=True)
class VariedStage:
    """A stage whose mixture varies."""

    name: str
    index: int
    domains: tuple[Domain, ...]

    def prior_of(self, name: str) -> Fraction:
        """A domain's share in the base recipe."""
        priors = {domain.name: domain.prior for domain in self.domains}
        return priors[name]

    @property
    def sources(self) -> set[str]:
        """The sources of all its domains."""
        names: set[str] = set()
        for domain in self.domains:
            names.update(domain.inside)
        return names


@dataclass(frozen=True)
class MixSpace:
    """The stages whose mixtures vary, and the recipe that they belong to."""

    study: Study
    mix: Mix
    base: RecipeFile
    stages: tuple[VariedStage, ...]

    def with_shares(
        self,
        shares: Sequence[Mapping[str, Fraction]],
        name: str,
    ) -> RecipeFile:
        """The base recipe under another name, with these shares in the varied stages."""
        document = self.base.document
        value = copied(document.value)
        value["name"] = name
        for stage, of_stage in zip(self.stages, shares, strict=True):
            written = value["stages"][stage.index]
            written["mixture"] = with_shares(written["mixture"], of_stage)
        whole = Layered(document.file, document.text, value)
        recipe = validate(schema.Recipe, whole)
        return RecipeFile(recipe, whole)


def mix_space(study: Study) -> MixSpace:
    """Raises CodemixError where the study has no `mix:`, or its stages cannot be varied."""
    mix = study.spec.mix
    if mix is None:
        what = "this study searches for no mixture"
        where = study.document.where(("study",), key=True)
        hint = "add `mix: {stages: [...]}`, which says whose shares vary"
        problem = Problem(what, where, (hint,), "mix-missing")
        raise CodemixError(problem)
    document = base_point(study)
    recipe = validate(schema.Recipe, document)
    base = RecipeFile(recipe, document)
    problems: list[Problem] = []
    stages = []
    for i, name in enumerate(mix.stages):
        index = _index(base.recipe, name)
        if index is None:
            problems.append(_unknown_stage(study, base, i, name))
            continue
        faults = _Faults(base, index).all()
        problems += faults
        if not faults:
            stages.append(_varied(base.recipe, index))
    if problems:
        raise CodemixError(*problems)
    return MixSpace(study, mix, base, tuple(stages))


def _index(recipe: schema.Recipe, name: str) -> int | None:
    for index, stage in enumerate(recipe.stages):
        if stage.name == name:
            return index
    return None


def _unknown_stage(
    study: Study,
    base: RecipeFile,
    place: int,
    name: str,
) -> Problem:
    names = [stage.name for stage in base.recipe.stages]
    where = study.document.where(("mix", "stages", place))
    what = f"there is no stage `{name}`"
    hints = did_you_mean(name, names)
    return Problem(what, where, hints, "unknown-stage")


class _Faults:
    """Why the shares of a stage cannot be varied."""

    def __init__(self, base: RecipeFile, index: int):
        self.base = base
        self.stage = base.recipe.stages[index]
        self.at = ("stages", index)
        self.flat = flatten(base.recipe, index)
        self.found: list[Problem] = []

    def all(self) -> list[Problem]:
        name = self.stage.name
        if self.stage.weights != "percent":
            what = f"the shares of `{name}` are relative weights"
            self._add(what, "write its shares in %", "weights")
        if self.stage.by != "tokens":
            what = f"the shares of `{name}` count documents"
            self._add(what, "state its shares of tokens", "by")
        if self.stage.replace:
            what = f"`{name}` has a `replace:`"
            self._add(what, "write the mixture that `replace` makes", "replace")
        if len(self.stage.mixture) < 2:
            what = f"the mixture of `{name}` has nothing to vary"
            self._add(what, "name at least two groups or sources", "mixture")
        self._ramps()
        self._read_twice()
        for finding in self.flat.problems:
            problem = finding.located(self.base.document)
            self.found.append(problem)
        return self.found

    def _add(self, what: str, hint: str, *path: str) -> None:
        place = (*self.at, *path)
        where = self.base.document.where(place)
        problem = Problem(what, where, (hint,), "mix-stage")
        self.found.append(problem)

    def _ramps(self) -> None:
        for name, weight in self.stage.mixture.items():
            share = weight.share if isinstance(weight, schema.Group) else weight
            if isinstance(share, schema.Ramp):
                what = f"`{name}` changes its share over `{self.stage.name}`"
                self._add(what, "give it one share, or split the stage in two", "mixture", name)

    def _read_twice(self) -> None:
        """Domains that share a source: what it did could not be told apart."""
        for leaf in self.flat.leaves:
            holders = set()
            for groups in leaf.places:
                holders.add(groups[0] if groups else leaf.source)
            if len(holders) < 2:
                continue
            named = " and ".join(f"`{name}`" for name in sorted(holders))
            what = f"`{self.stage.name}` reads `{leaf.source}` in {named}, which so cannot be told apart"
            self._add(what, "let one of them hold it", "mixture")


def _varied(recipe: schema.Recipe, index: int) -> VariedStage:
    stage = recipe.stages[index]
    at = ("stages", index, "mixture")
    priors = read_shares(stage.mixture, at, relative=False)
    domains = []
    for name, weight in stage.mixture.items():
        inside = _inside(recipe, index, name, weight)
        prior = priors.by_name[name]
        domain = Domain(name, prior.mean, inside)
        domains.append(domain)
    return VariedStage(stage.name, index, tuple(domains))


def _inside(
    recipe: schema.Recipe,
    index: int,
    name: str,
    weight: Any,
) -> dict[str, Fraction]:
    """The share of each source in a stage that reads nothing but one group or source."""
    alone: Any = WHOLE
    if isinstance(weight, schema.Group):
        alone = schema.Group.model_construct(share=WHOLE, of=weight.of)
    only = recipe.stages[index].model_copy(update={"mixture": {name: alone}})
    stages = list(recipe.stages)
    stages[index] = only
    of_one = recipe.model_copy(update={"stages": tuple(stages)})
    leaves = flatten(of_one, index).leaves
    return {leaf.source: leaf.mean for leaf in leaves}


def with_shares(
    mixture: dict[str, Any],
    shares: Mapping[str, Fraction],
) -> dict[str, Any]:
    """A mixture as the YAML has it, with new shares; what gets none is left out."""
    changed: dict[str, Any] = {}
    for name, weight in mixture.items():
        share = shares[name]
        if not share:
            continue
        shown = exact_share(share)
        is_group = isinstance(weight, dict) and "of" in weight
        changed[name] = {**weight, "share": shown} if is_group else shown
    return changed
