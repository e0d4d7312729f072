"""The points of a study: for each, the base recipe with its overrides laid over it, before validation."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

from pydantic_core import PydanticCustomError

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.language import yaml_text
from codemix.recipe.language.overrides import Layered, get, layered, override, put, remove, stage_index
from codemix.recipe.language.quantities import exact_share, read_share, read_tokens, show_share
from codemix.recipe.studies.study_spec import Study, Sweep


@dataclass(frozen=True)
class Point:
    name: str
    document: Layered


def points(study: Study) -> Iterator[Point]:
    """Every point, in the order of the file. Raises CodemixError for an override that leads nowhere."""
    spec, bases = study.spec, {}
    variations = list(enumerate(spec.variations)) or [(-1, None)]
    grids = list(
        itertools.product(*([(axis, value) for value in values] for axis, values in spec.grid.items()))
    )
    shares = list(enumerate(spec.sweep.shares)) if spec.sweep else [(-1, None)]
    for (v, variation), choices, (s, share), seed in itertools.product(
        variations, grids, shares, spec.seeds or (None,)
    ):
        parts = [variation.name] if variation else []
        parts += [value for _, value in choices]
        parts += [_share_name(share)] if share is not None else []
        parts += [f"seed{seed}"] if seed is not None and len(spec.seeds) > 1 else []
        point = _layer(study, bases, v, choices, s, seed)
        name = "-".join([spec.study, *parts])
        put(point, ("name",), name, study.document, ("study",))
        yield Point("-".join(parts) or "base", point)


def _layer(study: Study, bases: dict, v: int, choices: tuple, s: int, seed: int | None) -> Layered:
    spec, document = study.spec, study.document
    variation = spec.variations[v] if v >= 0 else None
    at = ("variations", v)
    if variation is not None and variation.base is not None:
        base = _base(study, variation.base, (*at, "base"), bases)
    else:
        base = _base(study, spec.base, ("base",), bases)
    point = layered(base, document.file)
    for i, name in enumerate(spec.without):
        remove(point, name, document, ("without", i))
    override(point, spec.set, document, ("set",))
    if variation is not None:
        for i, name in enumerate(variation.without):
            remove(point, name, document, (*at, "without", i))
        override(point, variation.set, document, (*at, "set"))
        if variation.description:
            put(point, ("description",), variation.description, document, (*at, "description"))
    for axis, value in choices:
        override(point, spec.grid[axis][value], document, ("grid", axis, value))
    if s >= 0:
        _sweep(point, spec.sweep, spec.sweep.shares[s], document, ("sweep", "shares", s))
    if seed is not None:
        put(point, ("seed",), seed, document, ("seeds",))
    return point


def _sweep(point: Layered, sweep: Sweep, share: Fraction, document: yaml_text.YamlFile, at: tuple) -> None:
    """Give `of` its share of the stage; scale the rest, and under `additive` the stage's tokens."""
    here = ("stages", stage_index(point, sweep.stage, document, ("sweep", "stage")))
    stage = get(point.value, here)
    mixture = _mapping(stage, "mixture")
    groups = _mapping(point.value, "groups")
    known = {*mixture, *groups, *_mapping(point.value, "sources")}
    if sweep.of not in known:
        raise CodemixError(
            Problem(
                f"there is no source or group `{sweep.of}`",
                document.where(("sweep", "of")),
                did_you_mean(sweep.of, known),
                "unknown-source",
            )
        )
    rest = {name: weight for name, weight in mixture.items() if name != sweep.of}
    if holder := next(
        (name for name, weight in rest.items() if _holds(groups, name, weight, sweep.of)), None
    ):
        what = f"`{sweep.stage}` reads `{sweep.of}` inside `{holder}` too, so its share of the stage would not be the one that is swept"
        hint = f"let the base recipe's mixture name `{sweep.of}` once, beside its groups, or sweep `{holder}`"
        raise CodemixError(Problem(what, document.where(("sweep", "of")), (hint,), "sweep-inside"))
    if not rest and share != 1:
        raise CodemixError(
            Problem(
                f"`{sweep.stage}` reads only `{sweep.of}`, so nothing can make up the rest",
                document.where(("sweep", "stage")),
                ("let the base recipe's mixture hold what stays",),
                "sweep-rest",
            )
        )
    whole = _plain_shares(point, (*here, "mixture"), mixture, sweep.of)
    left = sum(whole.values(), Fraction(0))
    if rest and not left:
        where = point.where((*here, "mixture"))
        raise CodemixError(
            Problem(
                f"`{sweep.stage}` gives nothing but `{sweep.of}` a share to scale",
                where,
                ("give the rest their shares",),
                "sweep-rest",
            )
        )
    new = {
        name: _scaled(weight, whole[name] / left * (1 - share)) for name, weight in rest.items() if share != 1
    }
    if share:
        new[sweep.of] = _scaled(mixture.get(sweep.of, "0%"), share)
    put(point, (*here, "mixture"), new, document, at)
    if sweep.kind == "additive":
        try:
            tokens = Fraction(read_tokens(stage.get("tokens")))
        except PydanticCustomError:
            what, hint = (
                f"an additive sweep needs `tokens:` in `{sweep.stage}`",
                "give the stage's budget in tokens instead of steps",
            )
            raise CodemixError(
                Problem(what, document.where(("sweep", "kind")), (hint,), "sweep-budget")
            ) from None
        put(point, (*here, "tokens"), round(tokens * left / (1 - share)), document, at)


def _holds(groups: dict, name: str, weight: Any, of: str, around: tuple = ()) -> bool:
    """Whether what a mixture names, a group, has `of` somewhere inside."""
    inner = _mapping(weight, "of") or _mapping(groups, name)
    return name not in around and any(
        n == of or _holds(groups, n, w, of, (*around, name)) for n, w in inner.items()
    )


def _mapping(value: Any, key: str) -> dict:
    """A mapping inside another, empty when there is none: what is wrong with it is told when the recipe is validated."""
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _plain_shares(point: Layered, path: tuple, mixture: dict, of: str) -> dict[str, Fraction]:
    """The shares of all but `of`; the one that says `rest` has what the others leave."""
    values = {
        name: weight.get("share") if isinstance(weight, dict) else weight for name, weight in mixture.items()
    }
    rest = [name for name, value in values.items() if value == "rest"]
    shares = {
        name: _plain_share(point, (*path, name), value)
        for name, value in values.items()
        if name not in rest and (name != of or rest)
    }
    for name in rest[:1]:
        shares[name] = max(Fraction(0), 1 - sum(shares.values()))
    return {
        name: shares[name] if name in shares else _plain_share(point, (*path, name), "rest")
        for name in mixture
        if name != of
    }


def _plain_share(point: Layered, path: tuple, value: Any) -> Fraction:
    try:
        if value != "rest":
            return read_share(value)
    except PydanticCustomError:
        pass
    what = f"a sweep needs a plain share of `{path[-1]}` in the base mixture"
    raise CodemixError(Problem(what, point.where(path), ("write it in %, for example `50%`",), "sweep-share"))


def _scaled(weight: Any, share: Fraction) -> Any:
    return weight | {"share": exact_share(share)} if isinstance(weight, dict) else exact_share(share)


def _share_name(share: Fraction) -> str:
    shown = show_share(share).lstrip("~").rstrip("%")
    return f"{shown:0>2}pct" if "." not in shown else f"{shown}pct"


def _base(study: Study, name: str, at: tuple, bases: dict[str, yaml_text.YamlFile]) -> yaml_text.YamlFile:
    """The base recipe's document, read once a study; its `init_from` paths are made relative to the study."""
    if name in bases:
        return bases[name]
    inner = PurePosixPath(name)
    if inner.is_absolute() or inner.suffix not in (".yaml", ".yml"):
        raise CodemixError(
            Problem(
                f"`{name}` is not a recipe beside this study",
                study.document.where(at),
                ("give a relative path to a .yaml file",),
                "study-base",
            )
        )
    path = study.folder / name
    try:
        document = yaml_text.parse(yaml_text.read_text(path), str(path))
    except CodemixError as error:
        if error.problems[0].where is None:
            raise CodemixError(
                *(replace(p, where=study.document.where(at)) for p in error.problems)
            ) from None
        raise
    if isinstance(document.value, dict) and "study" in document.value:
        raise CodemixError(
            Problem(
                "the base of a study is a recipe, and this is a study",
                study.document.where(at),
                (),
                "study-base",
            )
        )
    if not isinstance(document.value, dict):
        raise CodemixError(
            Problem("the base of a study is a recipe", study.document.where(at), (), "study-base")
        )
    for stage in document.value["stages"] if isinstance(document.value.get("stages"), list) else ():
        origin = stage.get("init_from") if isinstance(stage, dict) else None
        if isinstance(origin, dict) and isinstance(origin.get("recipe"), str):
            origin["recipe"] = posixpath.normpath(posixpath.join(inner.parent.as_posix(), origin["recipe"]))
    bases[name] = document
    return document
