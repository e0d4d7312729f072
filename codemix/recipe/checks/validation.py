"""Every rule a recipe must keep beyond its schema, and the warnings that the literature asks for.

`check` returns the plan and all problems at once, in file order, each at its place. The rules themselves: recipe/checks/recipe_rules.py
(what the recipe says), recipe/checks/stage_rules.py (what a planned stage comes to), recipe/planning/mixture.py and recipe/planning/epoch_caps.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.checks import recipe_rules, stage_rules
from codemix.recipe.language import recipe_file, schema, yaml_text
from codemix.recipe.language.finding import WARNINGS, Finding, finding
from codemix.recipe.language.overrides import Layered
from codemix.recipe.planning.plan import Plan, Pool
from codemix.recipe.planning.planner import End, Planner
from codemix.recipe.planning.source_identity import spec_fingerprints

MAX_LINEAGE = 16  # recipes that start from each other


@dataclass(frozen=True)
class Checked:
    """What `check` found: the plan (of what could be planned), the ends of its stages, the problems in file order."""

    plan: Plan
    ends: Mapping[str, End]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if p.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if p.severity == "warning")

    def require(self) -> Plan:
        """The plan. Raises CodemixError when there is any error."""
        if self.errors:
            raise CodemixError(*self.errors)
        return self.plan


@dataclass(frozen=True)
class _First:
    """The recipe that is asked about: pools and specs of its sources, and the recipes it starts from, however far off, each read once."""

    pools: Mapping[str, Pool]
    specs: Mapping[str, str]
    others: dict[Path, Checked | CodemixError]


def declared_pools(recipe: schema.Recipe, specs: Mapping[str, str]) -> dict[str, Pool]:
    """Pools of the sources that declare their size, used until a source is built."""
    return {
        name: Pool((s.tokens,), s.documents, exact=False, fingerprint=specs[name])
        for name, s in recipe.sources.items()
        if s.tokens is not None
    }


def check(
    source: recipe_file.RecipeFile,
    pools: Mapping[str, Pool] | None = None,
    *,
    root: Path | None = None,
    _seen: tuple[Path, ...] = (),
    _first: _First | None = None,
) -> Checked:
    """Plan the recipe and judge it.

    `pools` replace declared sizes where a source is built. Recipes named by `init_from` are read below `root` (default:
    the folder around the recipe's own).
    """
    recipe, document = source.recipe, source.document
    here = source.folder / Path(document.file).name
    root = (root or source.folder.parent).resolve()
    found: list[Finding] = []
    specs = spec_fingerprints(recipe)
    first = _first or _First(pools or {}, specs, {})

    def read_other(name: str) -> Checked:
        other = recipe_file.read_recipe(Path(document.file).parent / name)
        theirs = spec_fingerprints(other.recipe)
        same = {n: p for n, p in first.pools.items() if first.specs.get(n) == theirs.get(n)}
        checked = check(other, same, root=root, _seen=(*_seen, here), _first=first)
        checked.require()
        return checked

    def outside(index: int, spec: schema.InitFrom) -> End | None:
        at = ("stages", index, "init_from", "recipe")
        path = (source.folder / spec.recipe).resolve()
        if Path(spec.recipe).is_absolute() or not path.is_relative_to(root):
            hint = "a recipe reads only recipes beside it, by a relative path"
            found.append(finding(at, "outside-root", f"`{spec.recipe}` lies outside {root.name}/", hint))
        elif path in (*_seen, here) or len(_seen) >= MAX_LINEAGE:
            found.append(
                finding(
                    at,
                    "lineage-cycle",
                    "recipes start from each other in a circle",
                    "one of them must start from scratch",
                )
            )
        else:
            if path not in first.others:
                try:
                    first.others[path] = read_other(spec.recipe)
                except CodemixError as error:
                    first.others[path] = error
            checked = first.others[path]
            if isinstance(checked, CodemixError):
                what = f"`{spec.recipe}` cannot be used: {checked.problems[0].what}"
                hint = f"`codemix validate {os.path.normpath(Path(document.file).parent / spec.recipe)}` says more"
                found.append(finding(at, "init-from", what, hint))
                return None
            if spec.stage in checked.ends:
                return checked.ends[spec.stage]
            what = f"`{spec.recipe}` has no stage `{spec.stage}`"
            found.append(
                finding((*at[:-1], "stage"), "unknown-stage", what, *did_you_mean(spec.stage, checked.ends))
            )
        return None

    planner = Planner(recipe, {**declared_pools(recipe, specs), **(pools or {})}, outside)
    plan = planner.plan()
    found += planner.problems
    found += recipe_rules.findings(recipe)
    found += stage_rules.findings(recipe, plan.stages)
    found += _silenced(recipe, found, one_of_many=isinstance(document, Layered))
    problems = []
    for f in found:
        if f.problem.severity == "warning" and f.problem.rule in recipe.silence:
            continue
        problems.append(f.located(document))
    unique = {(p.what, p.where.line, p.where.column): p for p in problems}
    return Checked(
        plan, planner.ends, tuple(sorted(unique.values(), key=lambda p: (p.where.line, p.where.column)))
    )


def check_document(document: yaml_text.YamlFile) -> Checked:
    """`check` of a recipe that may not even be one. Raises CodemixError for that, with every problem at once: where keys are misspelt,
    what the recipe probably means is judged as well."""
    try:
        source = recipe_file.of_document(document)
    except CodemixError as error:
        meant = recipe_file.as_meant(document)
        more = _not_implied(check(meant.source).problems, meant.without) if meant else ()
        raise CodemixError(
            *sorted((*error.problems, *more), key=lambda p: (p.where.line, p.where.column))
        ) from None
    return check(source)


def _not_implied(problems: Iterable[Problem], without: frozenset[tuple]) -> list[Problem]:
    """The problems but for those of a mapping itself of which a key was left out: its absence may be the cause."""
    places = {yaml_text.show_path(path) for path in without if path}
    return [p for p in problems if p.where.path not in places]


def _silenced(recipe: schema.Recipe, found: list[Finding], one_of_many: bool) -> Iterator[Finding]:
    """A silence that names no warning, gives no reason, or silences nothing is itself a mistake.

    The points of a study share their silences, so there it need not silence something in each.
    """
    for rule, reason in recipe.silence.items():
        at = ("silence", rule)
        if rule not in WARNINGS:
            yield finding(
                at,
                "unknown-warning",
                f"there is no warning `{rule}`",
                *did_you_mean(rule, WARNINGS),
                on_key=True,
            )
        elif not reason.strip():
            yield finding(
                at,
                "silence-reason",
                f"`{rule}` is silenced without a reason",
                "write why, for the next reader",
            )
        elif not one_of_many and not any(f.problem.rule == rule for f in found):
            yield finding(
                at,
                "silence-unused",
                f"`{rule}` does not occur in this recipe",
                "delete this line",
                on_key=True,
            )
