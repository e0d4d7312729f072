"""What a study file may say; docs/recipe.md is generated from the descriptions here.

recipe/studies/points.py expands it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from codemix.recipe.language import yaml_text
from codemix.recipe.language.component import Spec
from codemix.recipe.language.quantities import Share
from codemix.recipe.language.schema import Name

MAX_POINTS = 4096
BASELINE = "baseline"  # the point of `anneal:` that has no candidate
Overrides = dict[str, Any]


class Variation(Spec):
    """One named change to the base recipe."""

    name: Name = Field(description="the point's name; the recipe becomes `<study>-<name>`")
    description: str = Field("", description="what this point is for")
    base: str | None = Field(None, description="another recipe to start from, relative to this file")
    without: tuple[str, ...] = Field(
        (), description="what to take out of the base: `stages.cooldown`, `sources.synthetic`"
    )
    set: Overrides = Field(
        {}, description="values laid over the base; keys may be dotted paths, stages go by name"
    )


class Sweep(Spec):
    """Points along the share of one group or source in one stage; the rest of the mixture keeps its
    proportions.
    """

    stage: Name = Field(description="the stage whose mixture varies")
    of: Name = Field(description="the group or source whose share varies")
    shares: tuple[Share, ...] = Field(
        min_length=1, max_length=256, description="its shares of the stage, one point each"
    )
    kind: Literal["competitive", "additive"] = Field(
        "competitive",
        description="competitive: the stage's tokens stay, so more of one is less of the rest; "
        "additive: the tokens of the rest stay, so the total grows to rest / (1 - share)",
    )

    @model_validator(mode="after")
    def _finite(self):
        if self.kind == "additive" and Fraction(1) in self.shares:
            raise PydanticCustomError(
                "sweep",
                "an additive sweep cannot reach 100%: the rest keeps its tokens",
                {"hints": ["end below 100%, or use `kind: competitive`"]},
            )
        if len(set(self.shares)) != len(self.shares):
            raise PydanticCustomError(
                "sweep", "a share appears twice in `shares`", {"hints": ["give each share once"]}
            )
        return self


class Anneal(Spec):
    """Candidates for the last stage, judged from one trunk (a microanneal, arXiv 2512.13961): each point gives
    one of them its share of the stage, the rest keeping its proportions, and the point `baseline` keeps the
    base recipe's mixture.
    """

    stage: Name = Field(description="the last stage; those before it are the trunk, trained once")
    candidates: tuple[Name, ...] = Field(
        min_length=1, max_length=256, description="groups or sources, one point each"
    )
    share: Share = Field(Fraction(1, 2), description="of the stage, the same for each candidate")

    @model_validator(mode="after")
    def _comparable(self):
        if len(set(self.candidates)) != len(self.candidates):
            raise _refusal("a candidate appears twice in `candidates`", "give each once")
        if BASELINE in self.candidates:
            what = f"`{BASELINE}` is the point without a candidate"
            raise _refusal(what, "give the candidate another name")
        if not self.share:
            raise _refusal("a candidate without a share is no candidate", "for example `share: 50%`")
        return self


class Mix(Spec):
    """A search for the best mixture: the shares of one or more stages vary, and `codemix mix` proposes the
    best from what runs with other shares came to.
    """

    stages: tuple[Name, ...] = Field(
        min_length=1, description="the stages whose shares vary: those of what their `mixture:` names"
    )
    points: int | None = Field(
        None,
        ge=1,
        le=MAX_POINTS,
        description="runs of the swarm; default the larger of three times the domains and 20 more than they",
    )
    prior_seeds: int = Field(
        3, ge=1, le=100, description="runs of the base recipe's own mixture, each with a seed of its own"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="decides the random mixtures")
    objective: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {"bits_per_byte/*": 1.0},
        min_length=1,
        description="what the best mixture has the least of: metrics, or patterns, with their weights",
    )
    no_worse_than: Share | None = Field(
        None, description="of any of these metrics over the base recipe's mixture, as a share of it"
    )
    kl: float = Field(
        0.05, ge=0, le=100, description="weight of the divergence from the base recipe's mixture; ours"
    )

    stale_weight: float | None = Field(
        None,
        gt=0,
        le=1,
        description="how much a row of evidence counts whose data have changed; default: it is refused",
    )

    @model_validator(mode="after")
    def _each_once(self):
        if len(set(self.stages)) != len(self.stages):
            raise _refusal("a stage appears twice in `stages`", "give each stage once")
        return self


class StudySpec(Spec):
    """A question, a base recipe, and the variations that answer it."""

    codemix: Literal[1] = Field(description="version of this format")
    study: Name = Field(description="the study's name, first part of its recipes' names")
    question: str = Field("", description="what the comparison should answer; the report opens with it")
    notes: str = ""
    base: str = Field(description="the recipe that every point starts from, relative to this file")
    without: tuple[str, ...] = Field((), description="taken out of the base for every point")
    set: Overrides = Field({}, description="laid over the base for every point, before its own changes")
    variations: tuple[Variation, ...] = Field((), description="named points")
    grid: dict[Name, dict[Name, Overrides]] = Field(
        {}, description="axis -> value name -> changes; points are the product of the axes"
    )
    sweep: Sweep | None = Field(None, description="points along a share")
    anneal: Anneal | None = Field(None, description="candidates for the last stage, from one trunk")
    seeds: tuple[int, ...] = Field((), description="each point once per seed; default the base recipe's seed")
    mix: Mix | None = Field(None, description="a search for the best mixture")

    @field_validator("mix")
    @classmethod
    def _alone(cls, mix: Mix | None, info: ValidationInfo) -> Mix | None:
        axes = ["variations", "grid", "sweep", "anneal", "seeds"]
        others = [f"`{axis}:`" for axis in axes if info.data.get(axis)]
        if mix is not None and others:
            named = " and ".join(others)
            what = f"a study with `mix:` has its own points, and so cannot have {named}"
            raise _refusal(
                what, f"move {named} to another study; for other values in every run there is `set:`"
            )
        return mix

    @model_validator(mode="after")
    def _points(self):
        if self.sweep is not None and self.anneal is not None:
            what = "a study has either `sweep:` or `anneal:`"
            raise _refusal(what, "make two studies")
        names = Counter(variation.name for variation in self.variations)
        for name, count in names.items():
            if count > 1:
                raise _refusal(f"two variations are called `{name}`", "give each its own name")
        in_range = all(0 <= seed < 2**63 for seed in self.seeds)
        if not in_range or len(set(self.seeds)) < len(self.seeds):
            raise _refusal("seeds are whole numbers from 0, each once", "for example `seeds: [0, 1]`")
        for axis, values in self.grid.items():
            if not values:
                example = f"write `{axis}: {{a: {{...}}, b: {{...}}}}`"
                raise _refusal(f"the axis `{axis}` has no values", example)
        n = self._n_points()
        if n > MAX_POINTS:
            what = f"{n:,} points; a study holds at most {MAX_POINTS:,}"
            raise _refusal(what, "split it into several studies")
        return self

    def _n_points(self) -> int:
        axes = [len(self.variations), len(self.seeds)]
        axes += [len(values) for values in self.grid.values()]
        if self.sweep:
            axes.append(len(self.sweep.shares))
        if self.anneal:
            axes.append(1 + len(self.anneal.candidates))
        return math.prod(max(1, places) for places in axes)


def _refusal(what: str, hint: str) -> PydanticCustomError:
    return PydanticCustomError("study", what, {"hints": [hint]})


@dataclass(frozen=True)
class Study:
    """A study and the text it came from."""

    spec: StudySpec
    document: yaml_text.YamlFile

    @property
    def name(self) -> str:
        return self.spec.study

    @property
    def folder(self) -> Path:
        return Path(self.document.file).parent
