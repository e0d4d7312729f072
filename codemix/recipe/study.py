"""A study: one base recipe and its variations, each of which becomes a complete recipe.

    codemix: 1
    study: code-proportion
    question: How much code helps?
    base: base.yaml
    sweep: {stage: pretrain, of: code, shares: [0%, 25%, 50%], kind: competitive}
    seeds: [0, 1]

Points are the product of `variations`, `grid`, `sweep` and `seeds`. The tree of their stages is in recipe/tree.py.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe import read, rules, schema, text
from codemix.recipe.component import Spec
from codemix.recipe.override import Layered, get, layered, override, put, remove, stage_index
from codemix.recipe.quantities import Share, exact_share, read_share, read_tokens, show_share
from codemix.recipe.schema import Name
from codemix.recipe.tree import tree

__all__ = ["Study", "StudySpec", "check", "expand", "load_study", "sources", "tree", "write_recipes"]

MAX_POINTS = 4096
Overrides = dict[str, Any]


class Variation(Spec):
    """One named change to the base recipe."""

    name: Name = Field(description="the point's name; the recipe becomes `<study>-<name>`")
    description: str = Field("", description="what this point is for")
    base: str | None = Field(None, description="another recipe to start from, relative to this file")
    without: tuple[str, ...] = Field((), description="what to take out of the base: `stages.cooldown`, `sources.synthetic`")
    set: Overrides = Field({}, description="values laid over the base; keys may be dotted paths, stages go by name")


class Sweep(Spec):
    """Points along the share of one group or source in one stage; the rest of the mixture keeps its proportions."""

    stage: Name = Field(description="the stage whose mixture varies")
    of: Name = Field(description="the group or source whose share varies")
    shares: tuple[Share, ...] = Field(min_length=1, max_length=256, description="its shares of the stage, one point each")
    kind: Literal["competitive", "additive"] = Field(
        "competitive",
        description="competitive: the stage's tokens stay, so more of one is less of the rest; additive: the tokens of the rest stay, so the total grows to rest / (1 - share)",
    )

    @model_validator(mode="after")
    def _finite(self):
        if self.kind == "additive" and Fraction(1) in self.shares:
            raise PydanticCustomError(
                "sweep", "an additive sweep cannot reach 100%: the rest keeps its tokens", {"hints": ["end below 100%, or use `kind: competitive`"]}
            )
        if len(set(self.shares)) != len(self.shares):
            raise PydanticCustomError("sweep", "a share stands twice in `shares`", {"hints": ["give each share once"]})
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
    grid: dict[Name, dict[Name, Overrides]] = Field({}, description="axis -> value name -> changes; points are the product of the axes")
    sweep: Sweep | None = Field(None, description="points along a share")
    seeds: tuple[int, ...] = Field((), description="each point once a seed; default the base recipe's seed")

    @model_validator(mode="after")
    def _points(self):
        names = [v.name for v in self.variations]
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise PydanticCustomError("study", f"two variations are called `{twice}`", {"hints": ["give each its own name"]})
        if len(set(self.seeds)) != len(self.seeds) or any(not 0 <= s < 2**63 for s in self.seeds):
            raise PydanticCustomError("study", "seeds are whole numbers from 0, each once", {"hints": ["for example `seeds: [0, 1]`"]})
        if empty := next((axis for axis, values in self.grid.items() if not values), None):
            raise PydanticCustomError("study", f"the axis `{empty}` has no values", {"hints": [f"write `{empty}: {{a: {{...}}, b: {{...}}}}`"]})
        n = max(1, len(self.variations)) * max(1, len(self.seeds)) * (len(self.sweep.shares) if self.sweep else 1)
        for values in self.grid.values():
            n *= len(values)
        if n > MAX_POINTS:
            raise PydanticCustomError("study", f"{n:,} points; a study holds at most {MAX_POINTS:,}", {"hints": ["split it into several studies"]})
        return self


@dataclass(frozen=True)
class Study:
    """A study and the text it came from."""

    spec: StudySpec
    document: text.Document

    @property
    def name(self) -> str:
        return self.spec.study

    @property
    def folder(self) -> Path:
        return Path(self.document.file).parent


def load_study(path: str | Path) -> Study:
    """The study in a file. Raises CodemixError with every syntax and schema problem."""
    document = text.parse(text.read_text(path), str(path))
    if isinstance(document.value, dict) and "stages" in document.value and "study" not in document.value:
        raise CodemixError(
            Problem(
                "this is a recipe, not a study",
                document.where(("stages",), key=True),
                ("a study has `study:`, `base:` and variations",),
                "recipe-not-study",
            )
        )
    return Study(read.validate(StudySpec, document), document)


def expand(study: Study) -> dict[str, schema.Recipe]:
    """Every point of the study as a complete recipe, by recipe name, in the order of the file."""
    return {name: source.recipe for name, source in sources(study).items()}


def sources(study: Study) -> dict[str, read.Source]:
    """Every point as a recipe with the places its values came from, so that later problems point into the right file.

    Raises CodemixError with the problems of all points; one that several points share is told once, and says which.
    """
    found: dict[Problem, list[str]] = {}
    out: dict[str, read.Source] = {}
    bases: dict[str, text.Document] = {}
    for point in _points(study, bases):
        try:
            recipe = read.validate(schema.Recipe, point.document)
            if recipe.name in out:
                raise CodemixError(
                    Problem(
                        f"two points become `{recipe.name}`",
                        study.document.where(("study",)),
                        ("give axes and variations names that differ",),
                        "study-name",
                    )
                )
            out[recipe.name] = read.Source(recipe, point.document)
        except CodemixError as error:
            for problem in error.problems:
                found.setdefault(problem, []).append(point.name)
    if found:
        raise CodemixError(*(replace(p, hints=(*p.hints, _in_points(names))) for p, names in found.items()))
    return out


def check(study: Study, pools: Any = None) -> tuple[dict[str, rules.Checked], tuple[Problem, ...]]:
    """Every point planned and judged, and the problems of all, each told once with the points that have it."""
    found: dict[Problem, list[str]] = {}
    checked = {}
    for name, source in sources(study).items():
        checked[name] = rules.check(source, pools)
        for problem in checked[name].problems:
            found.setdefault(problem, []).append(name.removeprefix(f"{study.name}-"))
    return checked, tuple(replace(p, hints=(*p.hints, _in_points(names))) for p, names in found.items())


def write_recipes(study: Study, folder: Path) -> list[Path]:
    """Write every point as a recipe of its own. `init_from` paths stay as seen from the study. Returns the files."""
    written = []
    header = f"# A point of the study `{study.name}`, complete; made by `codemix study expand`.\n"
    for name, source in sources(study).items():
        path = folder / f"{name}.yaml"
        value = dict(source.document.value)
        alone = read.Source(source.recipe, replace(text.parse(text.dump(value), str(study.folder / path.name)), file=str(study.folder / path.name)))
        unused = {p.where.path.split(".", 1)[1] for p in rules.check(alone).problems if p.rule == "silence-unused"}
        if unused:  # the study's points share their silences; a recipe of its own keeps those that it needs
            value["silence"] = {k: v for k, v in value["silence"].items() if k not in unused}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + text.dump({k: v for k, v in value.items() if v != {}}), encoding="utf-8")
        written.append(path)
    return written


@dataclass(frozen=True)
class _Point:
    name: str
    document: Layered


def _points(study: Study, bases: dict[str, text.Document]) -> Iterator[_Point]:
    spec = study.spec
    variations = list(enumerate(spec.variations)) or [(-1, None)]
    grids = list(itertools.product(*([(axis, value) for value in values] for axis, values in spec.grid.items())))
    shares = list(enumerate(spec.sweep.shares)) if spec.sweep else [(-1, None)]
    for (v, variation), choices, (s, share), seed in itertools.product(variations, grids, shares, spec.seeds or (None,)):
        parts = [variation.name] if variation else []
        parts += [value for _, value in choices]
        parts += [_share_name(share)] if share is not None else []
        parts += [f"seed{seed}"] if seed is not None and len(spec.seeds) > 1 else []
        point = _layer(study, bases, v, choices, s, seed)
        name = "-".join([spec.study, *parts])
        put(point, ("name",), name, study.document, ("study",))
        yield _Point("-".join(parts) or "base", point)


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


def _sweep(point: Layered, sweep: Sweep, share: Fraction, document: text.Document, at: tuple) -> None:
    """Give `of` its share of the stage; scale the rest, and under `additive` the stage's tokens."""
    here = ("stages", stage_index(point, sweep.stage, document, ("sweep", "stage")))
    stage = get(point.value, here)
    mixture = stage.get("mixture") if isinstance(stage.get("mixture"), dict) else {}
    known = {*mixture, *(point.value.get("groups") or {}), *(point.value.get("sources") or {})}
    if sweep.of not in known:
        raise CodemixError(
            Problem(f"there is no source or group `{sweep.of}`", document.where(("sweep", "of")), did_you_mean(sweep.of, known), "unknown-source")
        )
    rest = {name: weight for name, weight in mixture.items() if name != sweep.of}
    if not rest and share != 1:
        raise CodemixError(
            Problem(
                f"`{sweep.stage}` reads only `{sweep.of}`, so nothing can make up the rest",
                document.where(("sweep", "stage")),
                ("let the base recipe's mixture hold what stays",),
                "sweep-rest",
            )
        )
    whole = {name: _plain_share(point, (*here, "mixture", name), weight) for name, weight in rest.items()}
    left = sum(whole.values(), Fraction(0))
    new = {name: _scaled(weight, whole[name] / left * (1 - share)) for name, weight in rest.items() if share != 1}
    if share:
        new[sweep.of] = _scaled(mixture.get(sweep.of, "0%"), share)
    put(point, (*here, "mixture"), new, document, at)
    if sweep.kind == "additive":
        if "tokens" not in stage:
            raise CodemixError(
                Problem(
                    f"an additive sweep needs `tokens:` in `{sweep.stage}`",
                    document.where(("sweep", "kind")),
                    ("give the stage's budget in tokens instead of steps",),
                    "sweep-budget",
                )
            )
        total = Fraction(read_tokens(stage["tokens"])) * left / (1 - share)
        put(point, (*here, "tokens"), round(total), document, at)


def _plain_share(point: Layered, path: tuple, weight: Any) -> Fraction:
    value = weight.get("share") if isinstance(weight, dict) else weight
    try:
        if value != "rest":
            return read_share(value)
    except PydanticCustomError:
        pass
    raise CodemixError(
        Problem(
            f"a sweep needs a plain share of `{path[-1]}` in the base mixture",
            point.where(path),
            ("write it in %, for example `50%`",),
            "sweep-share",
        )
    )


def _scaled(weight: Any, share: Fraction) -> Any:
    return weight | {"share": exact_share(share)} if isinstance(weight, dict) else exact_share(share)


def _share_name(share: Fraction) -> str:
    shown = show_share(share).lstrip("~").rstrip("%")
    return f"{shown:0>2}pct" if "." not in shown else f"{shown}pct"


def _base(study: Study, name: str, at: tuple, bases: dict[str, text.Document]) -> text.Document:
    """The base recipe's document, read once a study; its `init_from` paths are made relative to the study."""
    if name in bases:
        return bases[name]
    inner = PurePosixPath(name)
    if inner.is_absolute() or inner.suffix not in (".yaml", ".yml"):
        raise CodemixError(
            Problem(f"`{name}` is not a recipe beside this study", study.document.where(at), ("give a relative path to a .yaml file",), "study-base")
        )
    path = study.folder / name
    try:
        document = text.parse(text.read_text(path), str(path))
    except CodemixError as error:
        if error.problems[0].where is None:
            raise CodemixError(*(replace(p, where=study.document.where(at)) for p in error.problems)) from None
        raise
    if isinstance(document.value, dict) and "study" in document.value:
        raise CodemixError(Problem("the base of a study is a recipe, and this is a study", study.document.where(at), (), "study-base"))
    if not isinstance(document.value, dict):
        raise CodemixError(Problem("the base of a study is a recipe", study.document.where(at), (), "study-base"))
    for stage in document.value.get("stages") or ():
        origin = stage.get("init_from") if isinstance(stage, dict) else None
        if isinstance(origin, dict) and isinstance(origin.get("recipe"), str):
            origin["recipe"] = posixpath.normpath(posixpath.join(inner.parent.as_posix(), origin["recipe"]))
    bases[name] = document
    return document


def _in_points(names: list[str]) -> str:
    shown = ", ".join(f"`{n}`" for n in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"in {'the point' if len(names) == 1 else 'the points'} {shown}"
