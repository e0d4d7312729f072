"""What a change does to the recipes of a repository: the changed ones and those that start from them, as
they are checked out, against the last commit shared with a base."""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codemix.errors import Problem
from codemix.recipe.ci.costs import Costs
from codemix.recipe.ci.effects import EXIT_CODES, Effect, effects_of, in_order, of_new
from codemix.recipe.ci.recipes import Planned, Recipes, checked_out, committed
from codemix.recipe.diffs.diff import Diff, diff
from codemix.recipe.diffs.repository import FileChange, Repository, repository
from codemix.recipe.planning.chips import chip_named
from codemix.recipe.planning.plan import Plan


@dataclass(frozen=True)
class Point:
    """One recipe on both sides; None: not there, or it cannot be planned. A study has several."""

    name: str
    before: Plan | None
    after: Plan | None
    changes: Diff | None  # where both sides are there
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Reviewed:
    """A file with a recipe or a study that the change concerns. Paths are relative to the repository."""

    path: str
    why: str
    other: str  # the file that `why` speaks of, if any
    before_cause: str  # why it cannot be compared, if it could not be planned at the merge base
    points: tuple[Point, ...]
    problems: tuple[Problem, ...]  # as it is checked out

    @property
    def failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)

    @property
    def effects(self) -> list[Effect]:
        """Those of all points, each once, the gravest first."""
        found: list[Effect] = []
        for point in self.points:
            found += point.effects
        return in_order(found)

    @property
    def gravity(self) -> int:
        """0 for what cannot be planned, then by the gravest effect."""
        if self.failed or not self.effects:
            return 0
        return EXIT_CODES[self.effects[0].category]


@dataclass(frozen=True)
class Review:
    """The concerned files, the gravest first, and the costs before and after."""

    top: Path  # of the repository
    base: str
    merge_base: str
    n_changed_files: int
    files: tuple[Reviewed, ...]
    before: Costs
    after: Costs
    max_usd: float | None  # what `--fail-on cost` allows

    @property
    def to_make(self) -> Costs:
        """What the change asks to train and to build."""
        return self.after.without(self.before)

    @property
    def effects(self) -> list[Effect]:
        found = [effect for file in self.files for effect in file.effects]
        dollars = self.to_make.training.dollars
        if self.max_usd is not None and dollars > self.max_usd:
            what = f"to train what is new or changed costs {dollars:,.2f} USD, above {self.max_usd:,.2f}"
            found.append(Effect("cost", what))
        return in_order(found)

    @property
    def failed(self) -> bool:
        return any(file.failed for file in self.files)

    def exit_code(self, fail_on: Iterable[str]) -> int:
        """1 when a recipe has an error; else the code of the gravest category that is in `fail_on`; else
        0."""
        if self.failed:
            return 1
        refused = [effect.category for effect in self.effects if effect.category in set(fail_on)]
        return EXIT_CODES[refused[0]] if refused else 0


@dataclass(frozen=True)
class _Concern:
    """A file to review: where it was, where it is, and why it is looked at."""

    before: str | None
    after: str | None
    why: str
    other: str = ""

    @property
    def path(self) -> str:
        return self.after or self.before or ""


def review(
    folder: Path,
    base: str,
    *,
    below: Sequence[Path] = (),
    chip: str = "v5e",
    mfu: float = 0.4,
    max_usd: float | None = None,
) -> Review:
    """The review of what is checked out around `folder`, of the files `below` these (default: all).

    Raises CodemixError for an unknown chip, and when git cannot say what changed."""
    chip_named(chip)
    repo = repository(folder)
    merge_base = repo.merge_base(base)
    changes = repo.changes_since(merge_base)
    scope = [posixpath.normpath(_relative(path, repo)) for path in below]
    with tempfile.TemporaryDirectory(prefix="codemix-ci-") as temporary:
        then = committed(repo, merge_base, Path(temporary) / repo.top.name)
        now = checked_out(repo)
        files = []
        for concern in _concerns(changes, then, now):
            if _is_below(concern.path, scope):
                files.append(_reviewed(concern, then, now))
    files.sort(key=lambda file: (file.gravity, file.path))
    costs_before, costs_after = Costs(chip, mfu), Costs(chip, mfu)
    for file in files:
        costs_before.add(point.before for point in file.points if point.before)
        costs_after.add(point.after for point in file.points if point.after)
    return Review(repo.top, base, merge_base, len(changes), tuple(files), costs_before, costs_after, max_usd)


def _relative(path: Path, repo: Repository) -> str:
    file = path.resolve()
    top = repo.top.resolve()
    return os.path.relpath(file, top)


def _is_below(path: str, scope: Sequence[str]) -> bool:
    if not scope or "." in scope:
        return True
    return any(path == place or path.startswith(f"{place}/") for place in scope)


def _concerns(changes: Sequence[FileChange], then: Recipes, now: Recipes) -> list[_Concern]:
    """The changed recipes, and on either side those that start from one."""
    concerns: dict[str, _Concern] = {}
    changed_then = []
    changed_now = []
    for change in changes:
        concern = _of_change(change, then, now)
        if concern is not None:
            concerns[concern.path] = concern
        if change.before:
            changed_then.append(change.before)
        if change.after:
            changed_now.append(change.after)
    followers = then.starting_from(changed_then)
    followers.update(now.starting_from(changed_now))
    for path, start in followers.items():
        if path not in concerns and path in now.documents:
            before = path if path in then.documents else None
            concerns[path] = _Concern(before, path, "starts from", start)
    return list(concerns.values())


def _of_change(change: FileChange, then: Recipes, now: Recipes) -> _Concern | None:
    """A changed file as a concern; None where it holds no recipe on either side."""
    before = change.before if change.before in then.documents else None
    after = change.after
    if before is not None and after is not None and (now.folder / after).is_file():
        now.take(after)  # it was a recipe, so it has to be one still
    if after not in now.documents:
        return None if before is None else _Concern(before, None, "deleted")
    if before is None:
        return _Concern(None, after, "new")
    if before != after:
        return _Concern(before, after, "renamed from", before)
    return _Concern(before, after, "changed")


def _reviewed(concern: _Concern, then: Recipes, now: Recipes) -> Reviewed:
    before = _planned(then, concern.before)
    after = _planned(now, concern.after)
    cause = before.errors[0].what if before.errors else ""
    points: list[Point] = []
    if not after.errors:
        comparable = {} if before.errors else before.plans
        points = _points(comparable, after.plans)
    return Reviewed(
        path=concern.path,
        why=concern.why,
        other=concern.other,
        before_cause=cause,
        points=tuple(points),
        problems=after.problems,
    )


def _planned(recipes: Recipes, path: str | None) -> Planned:
    if path is None:
        return Planned({})
    return recipes.planned(path)


def _points(before: Mapping[str, Plan], after: Mapping[str, Plan]) -> list[Point]:
    """The recipes of a file side by side; a file with one recipe on both sides holds it under any name."""
    names = [*after, *before]
    one_recipe = len(before) == len(after) == 1
    if one_recipe:
        now, then = names
        return [_point(now, before[then], after[now])]
    points = []
    for name in dict.fromkeys(names):
        was = before.get(name)
        now_is = after.get(name)
        point = _point(name, was, now_is)
        points.append(point)
    return points


def _point(name: str, before: Plan | None, after: Plan | None) -> Point:
    changes = None
    if after is None:
        effects = [Effect("removed", f"`{name}` is no longer there")]
    elif before is None:
        effects = of_new(after)
    else:
        changes = diff(before, after)
        effects = effects_of(before, after, changes)
    return Point(name, before, after, changes, tuple(effects))
