"""What a recipe may say about its mixtures: shares, ramps, groups, replacements and limits."""

from fractions import Fraction
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from codemix.recipe.language.component import Spec
from codemix.recipe.language.quantities import Share, exact_share, read_share

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.+-]{0,63}$")]


class Ramp(Spec):
    """A share that changes linearly over the stage; its tokens are the exact integral, the mean of both
    ends."""

    from_: Share = Field(alias="from", description="share at the first step of the stage")
    to: Share = Field(description="share at the last step of the stage")

    @property
    def mean(self) -> Fraction:
        return (self.from_ + self.to) / 2


class Group(Spec):
    """A group inside a mixture: its share of the whole and how it divides inside."""

    share: "Weight" = Field(description="share of the enclosing mixture")
    of: "Mixture" = Field(description="shares inside this group; they sum to 100%")

    @model_validator(mode="after")
    def _plain_share(self):
        if isinstance(self.share, Group):
            raise PydanticCustomError(
                "weight",
                "the share of a group cannot itself be a group",
                {"hints": ["write `share:` as a share, `rest` or a ramp"]},
            )
        return self


def _weight(value: Any) -> Any:
    """A share, `rest`, a ramp, a nested group, or (under `weights: relative`) a plain number."""
    if isinstance(value, (Fraction, Ramp, Group)) or value == "rest":
        return value
    if isinstance(value, dict):
        return _group_or_ramp(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value  # without a unit: refused unless the stage says `weights: relative`
    return read_share(value)


def _group_or_ramp(value: dict[str, Any]) -> Group | Ramp:
    if {"share", "of"} & value.keys():
        return Group.model_validate(value)
    if value.keys() == {"ramp"}:
        return Ramp.model_validate(value["ramp"])
    return Ramp.model_validate(value)


def _show_weight(value: Any) -> Any:
    return exact_share(value) if isinstance(value, Fraction) else value


Weight = Annotated[
    Any,
    BeforeValidator(_weight),
    PlainSerializer(_show_weight),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "description": "a share, e.g. 90%, or `rest`"},
                {"type": "number", "description": "only under `weights: relative`"},
                {"type": "object", "description": "a ramp {from, to} or a group {share, of}"},
            ]
        }
    ),
]
Mixture = dict[Name, Weight]


class Replace(Spec):
    """Replace a share of a group (or source) by something else; the rest keeps its proportions."""

    share: Share = Field(description="how much of `of` is replaced, as a share of `of`")
    of: Name = Field(description="the group or source that gives way")
    by: Name = Field(description="the group or source that takes its place")


class Limit(Spec):
    """A bound on a marginal of the mixture, in tokens, checked on the final whole numbers."""

    where: dict[str, str | list[str]] = Field(
        description="tags that a source must carry to count, e.g. {kind: code}"
    )
    of: dict[str, str | list[str]] | None = Field(
        None, description="the whole that shares refer to; default every source"
    )
    max: Share | None = Field(None, description="at most this share")
    min: Share | None = Field(None, description="at least this share")

    @model_validator(mode="after")
    def _one_bound(self):
        if self.max is None and self.min is None:
            raise PydanticCustomError(
                "limit", "a limit needs `max:` or `min:`", {"hints": ["for example `max: 25%`"]}
            )
        return self


Group.model_rebuild()
