"""A point of a sweep or a microanneal: one group or source gets its share of a stage, and the rest keeps its
proportions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic_core import PydanticCustomError

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.language.overrides import Layered, get, put, stage_index
from codemix.recipe.language.quantities import exact_share, read_share, read_tokens
from codemix.recipe.language.yaml_text import YamlFile
from codemix.recipe.studies.study_spec import Anneal, Sweep

Weights = dict[str, Any]  # name -> weight, as the YAML has it


@dataclass(frozen=True)
class NewShare:
    """The share of a stage that a group or source gets in one point, and where the study says so."""

    stage: str
    of: str
    share: Fraction
    kind: str  # of a sweep
    key: str  # of the study
    of_at: tuple
    at: tuple

    @classmethod
    def of_sweep(cls, sweep: Sweep, index: int) -> NewShare:
        return cls(
            stage=sweep.stage,
            of=sweep.of,
            share=sweep.shares[index],
            kind=sweep.kind,
            key="sweep",
            of_at=("sweep", "of"),
            at=("sweep", "shares", index),
        )

    @classmethod
    def of_candidate(cls, anneal: Anneal, index: int) -> NewShare:
        place = ("anneal", "candidates", index)
        return cls(
            stage=anneal.stage,
            of=anneal.candidates[index],
            share=anneal.share,
            kind="competitive",
            key="anneal",
            of_at=place,
            at=place,
        )


def require_trunk(point: Layered, anneal: Anneal, document: YamlFile) -> None:
    """Raises CodemixError unless the stage is the last and continues another."""
    at = ("anneal", "stage")
    index = stage_index(point, anneal.stage, document, at)
    stages = point.value["stages"]
    if index + 1 < len(stages):
        what = f"`{anneal.stage}` is not the last stage, so what comes after it would be judged"
        hint = "take the later ones out, for example `without: [stages.cooldown]`"
        raise _refusal(what, hint, document, at, "anneal-last")
    starts_anew = not index and "init_from" not in stages[index]
    if starts_anew:
        what = f"`{anneal.stage}` is the first stage: there is no trunk that it continues"
        hint = "add a stage before it, or give it an `init_from`"
        raise _refusal(what, hint, document, at, "anneal-trunk")


def apply_share(
    point: Layered,
    sweep: NewShare,
    document: YamlFile,
) -> None:
    """Give `of` its share of the stage; scale the rest, and under `additive` the stage's tokens.

    `document` is the study.
    """
    share = sweep.share
    at = sweep.at
    stage_at = ("stages", stage_index(point, sweep.stage, document, (sweep.key, "stage")))
    mixture_at = (*stage_at, "mixture")
    stage = get(point.value, stage_at)
    mixture = _mapping(stage, "mixture")
    _refuse_unknown(point, sweep, mixture, document)
    _refuse_hidden(point, sweep, mixture, document)
    if mixture.keys() <= {sweep.of} and share != 1:
        what = f"`{sweep.stage}` reads only `{sweep.of}`, so nothing can make up the rest"
        hint = "let the base recipe's mixture hold what stays"
        raise _refusal(what, hint, document, (sweep.key, "stage"), "sweep-rest")
    shares = _shares_of_rest(point, mixture_at, mixture, sweep.of)
    left = sum(shares.values(), Fraction(0))
    if shares and not left:
        what = f"`{sweep.stage}` gives nothing but `{sweep.of}` a share to scale"
        raise _refusal(what, "give the rest their shares", point, mixture_at, "sweep-rest")
    swept: Weights = {}
    if share != 1:
        for name, old_share in shares.items():
            swept[name] = _with_share(mixture[name], old_share / left * (1 - share))
    if share:
        swept[sweep.of] = _with_share(mixture.get(sweep.of), share)
    put(point, mixture_at, swept, document, at)
    if sweep.kind == "additive":
        tokens = _stage_tokens(stage, sweep, document)
        grown = round(tokens * left / (1 - share))
        put(point, (*stage_at, "tokens"), grown, document, at)


def _refuse_unknown(point: Layered, sweep: NewShare, mixture: Weights, document: YamlFile) -> None:
    groups = _mapping(point.value, "groups")
    sources = _mapping(point.value, "sources")
    known = {*mixture, *groups, *sources}
    if sweep.of not in known:
        what = f"there is no source or group `{sweep.of}`"
        where = document.where(sweep.of_at)
        hints = did_you_mean(sweep.of, known)
        raise CodemixError(Problem(what, where, hints, "unknown-source"))


def _refuse_hidden(point: Layered, sweep: NewShare, mixture: Weights, document: YamlFile) -> None:
    """The swept name must not be read inside a group too."""
    groups = _mapping(point.value, "groups")
    for name, weight in mixture.items():
        if name == sweep.of or not _holds(groups, name, weight, sweep.of):
            continue
        what = (
            f"`{sweep.stage}` reads `{sweep.of}` inside `{name}` too, "
            "so its share of the stage would not be the one that is set"
        )
        hint = f"let the base recipe's mixture name `{sweep.of}` once, beside its groups, or vary `{name}`"
        raise _refusal(what, hint, document, sweep.of_at, "sweep-inside")


def _holds(
    groups: Weights,
    name: str,
    weight: Any,
    wanted: str,
    around: Collection[str] = (),
) -> bool:
    """Whether what a mixture names, a group, has `wanted` somewhere inside; `around` are the groups it is
    in.
    """
    if name in around:
        return False
    inside = _mapping(weight, "of") or _mapping(groups, name)
    if wanted in inside:
        return True
    now_around = (*around, name)
    return any(_holds(groups, n, w, wanted, now_around) for n, w in inside.items())


def _mapping(value: Any, key: str) -> Weights:
    """A mapping inside another, empty when there is none: what is wrong with it is reported by validation."""
    if not isinstance(value, dict):
        return {}
    inside = value.get(key)
    return inside if isinstance(inside, dict) else {}


def _shares_of_rest(
    point: Layered,
    mixture_at: tuple,
    mixture: Weights,
    of: str,
) -> dict[str, Fraction]:
    """The shares of all but `of`; the one that says `rest` has what the others leave."""
    values = {name: _share_in(weight) for name, weight in mixture.items()}
    says_rest = [name for name, value in values.items() if value == "rest"]
    shares: dict[str, Fraction] = {}
    for name, value in values.items():
        if name not in says_rest and (name != of or says_rest):
            shares[name] = _plain_share(point, (*mixture_at, name), value)
    if says_rest:
        remainder = 1 - sum(shares.values(), Fraction(0))
        shares[says_rest[0]] = max(Fraction(0), remainder)
    in_order = {}
    for name in mixture:
        if name == of:
            continue
        if name not in shares:  # a second `rest`
            raise _not_plain(point, (*mixture_at, name))
        in_order[name] = shares[name]
    return in_order


def _share_in(weight: Any) -> Any:
    return weight.get("share") if isinstance(weight, dict) else weight


def _plain_share(point: Layered, path: tuple, value: Any) -> Fraction:
    try:
        return read_share(value)
    except PydanticCustomError:
        raise _not_plain(point, path) from None


def _not_plain(point: Layered, path: tuple) -> CodemixError:
    what = f"a sweep needs a plain share of `{path[-1]}` in the base mixture"
    return _refusal(what, "write it in %, for example `50%`", point, path, "sweep-share")


def _with_share(weight: Any, share: Fraction) -> Any:
    """A weight as the YAML has it, with a new share."""
    shown = exact_share(share)
    if isinstance(weight, dict):
        return {**weight, "share": shown}
    return shown


def _stage_tokens(stage: dict[str, Any], sweep: NewShare, document: YamlFile) -> int:
    try:
        return read_tokens(stage.get("tokens"))
    except PydanticCustomError:
        what = f"an additive sweep needs `tokens:` in `{sweep.stage}`"
        hint = "give the stage's budget in tokens instead of steps"
    raise _refusal(what, hint, document, ("sweep", "kind"), "sweep-budget")


def _refusal(
    what: str,
    hint: str,
    document: YamlFile,
    at: tuple,
    rule: str,
) -> CodemixError:
    problem = Problem(what, document.where(at), (hint,), rule)
    return CodemixError(problem)
