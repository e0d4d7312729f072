"""Every rule a recipe must keep beyond its schema, and the warnings that the literature asks for.

`check` returns the plan and all problems at once, in file order, each at its place. The rules themselves:
recipe/checks/recipe_rules.py (what the recipe says), recipe/checks/stage_rules.py (what a planned stage comes
to), recipe/planning/mixture.py and recipe/planning/epoch_caps.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.checks import recipe_rules, stage_rules
from codemix.recipe.language import schema, yaml_text
from codemix.recipe.language.finding import WARNINGS, Finding, finding
from codemix.recipe.language.overrides import Layered
from codemix.recipe.language.recipe_file import RecipeFile, as_meant, of_document, read_recipe
from codemix.recipe.language.source_graph import SourceGraph
from codemix.recipe.language.subsample import trained_share
from codemix.recipe.planning.plan import Plan, Pool
from codemix.recipe.planning.planner import End, Planner
from codemix.recipe.planning.source_identity import spec_fingerprints

MAX_LINEAGE = 16  # recipes that start from each other


@dataclass(frozen=True)
class Checked:
    """What `check` returns: the plan (of what could be planned), the ends of its stages, problems in file
    order.
    """

    plan: Plan
    ends: Mapping[str, End]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return of_severity("error", self.problems)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return of_severity("warning", self.problems)

    def require(self) -> Plan:
        """The plan. Raises CodemixError when there is any error."""
        if self.errors:
            raise CodemixError(*self.errors)
        return self.plan


@dataclass(frozen=True)
class LineageReader:
    """The recipes that a recipe starts from, however far off, each read once.

    They are read below `root`. `pools` are of the sources of the recipe that is asked about, `specs` their
    identities: another recipe's source of the same name and identity has the same pool.
    """

    root: Path
    pools: Mapping[str, Pool]
    specs: Mapping[str, str]
    checked: dict[Path, Checked | CodemixError] = field(default_factory=dict)

    def read(self, path: Path, shown: Path, chain: tuple[Path, ...]) -> Checked | CodemixError:
        """The recipe in `path`, checked, or why it cannot be used; `chain` are the recipes that led to it."""
        if path not in self.checked:
            try:
                self.checked[path] = self._check(shown, chain)
            except CodemixError as error:
                self.checked[path] = error
        return self.checked[path]

    def _check(self, shown: Path, chain: tuple[Path, ...]) -> Checked:
        other = read_recipe(shown)
        its_specs = spec_fingerprints(other.recipe)
        pools: dict[str, Pool] = {}
        for name, pool in self.pools.items():
            if self.specs.get(name) == its_specs.get(name):
                pools[name] = pool
        judge = _RecipeCheck(other, self, chain)
        checked = judge.check(pools, its_specs)
        checked.require()
        return checked


class _RecipeCheck:
    """The judgement of one recipe; `chain` are the recipes that start from it, the one asked about first."""

    def __init__(
        self,
        recipe_file: RecipeFile,
        lineage: LineageReader,
        chain: tuple[Path, ...] = (),
    ):
        self.recipe_file = recipe_file
        self.lineage = lineage
        self.file = Path(recipe_file.document.file)
        self.chain = (*chain, recipe_file.folder / self.file.name)
        self.findings: list[Finding] = []

    def check(self, pools: Mapping[str, Pool], specs: Mapping[str, str]) -> Checked:
        """Plan and judge. `pools` replace declared sizes; `specs` are the identities of the sources."""
        recipe = self.recipe_file.recipe
        sizes = declared_pools(recipe, specs)
        sizes.update(pools)
        planner = Planner(recipe, sizes, self.other_end, specs)
        plan = planner.plan()
        self.findings += planner.problems
        self.findings += recipe_rules.findings(recipe)
        self.findings += stage_rules.findings(recipe, plan.stages)
        one_of_many = isinstance(self.recipe_file.document, Layered)
        self.findings += _misplaced_silences(recipe, self.findings, one_of_many)
        return Checked(plan, planner.ends, self._problems())

    def _problems(self) -> tuple[Problem, ...]:
        """The findings at their places, without silenced warnings, each once, in file order."""
        silenced = self.recipe_file.recipe.silence
        unique: dict[tuple, Problem] = {}
        for found in self.findings:
            is_warning = found.problem.severity == "warning"
            if is_warning and found.problem.rule in silenced:
                continue
            problem = found.located(self.recipe_file.document)
            unique[problem.what, _place(problem)] = problem
        in_file_order = sorted(unique.values(), key=_place)
        return tuple(in_file_order)

    def other_end(self, index: int, start: schema.InitFrom) -> End | None:
        """The end of the other recipe's stage that stage `index` starts from; None after noting why there is
        none.
        """
        end = self._other_end(("stages", index, "init_from"), start)
        if isinstance(end, Finding):
            self.findings.append(end)
            return None
        return end

    def _other_end(self, at: tuple, start: schema.InitFrom) -> End | Finding:
        assert start.recipe is not None, "the planner knows the stages of its own recipe"
        recipe_at = (*at, "recipe")
        root = self.lineage.root
        path = (self.recipe_file.folder / start.recipe).resolve()
        inside = path.is_relative_to(root)
        if Path(start.recipe).is_absolute() or not inside:
            what = f"`{start.recipe}` lies outside {root.name}/"
            hint = "a recipe reads only recipes beside it, by a relative path"
            return finding(recipe_at, "outside-root", what, hint)
        if path in self.chain or len(self.chain) > MAX_LINEAGE:
            what = "recipes start from each other in a circle"
            return finding(recipe_at, "lineage-cycle", what, "one of them must start from scratch")
        shown = self.file.parent / start.recipe
        other = self.lineage.read(path, shown, self.chain)
        if isinstance(other, CodemixError):
            cause = other.problems[0].what
            what = f"`{start.recipe}` cannot be used: {cause}"
            hint = f"`codemix validate {os.path.normpath(shown)}` says more"
            return finding(recipe_at, "init-from", what, hint)
        if start.stage not in other.ends:
            what = f"`{start.recipe}` has no stage `{start.stage}`"
            hints = did_you_mean(start.stage, other.ends)
            return finding((*at, "stage"), "unknown-stage", what, *hints)
        return other.ends[start.stage]


def declared_pools(recipe: schema.Recipe, specs: Mapping[str, str]) -> dict[str, Pool]:
    """Pools of the sources that declare their size, used until a source is built."""
    pools = {}
    graph = SourceGraph(recipe)
    for name, source in recipe.sources.items():
        if source.tokens is None:
            continue
        share = trained_share(graph, name)
        documents = source.documents
        pools[name] = Pool(
            (int(source.tokens * share),),
            None if documents is None else documents * share,
            exact=False,
            fingerprint=specs[name],
        )
    return pools


def check(
    recipe_file: RecipeFile, pools: Mapping[str, Pool] | None = None, *, root: Path | None = None
) -> Checked:
    """Plan the recipe and judge it.

    `pools` replace declared sizes where a source is built. Recipes named by `init_from` are read below `root`
    (default: the folder around the recipe's own).
    """
    pools = pools or {}
    root = (root or recipe_file.folder.parent).resolve()
    specs = spec_fingerprints(recipe_file.recipe)
    return _RecipeCheck(recipe_file, LineageReader(root, pools, specs)).check(pools, specs)


def check_document(document: yaml_text.YamlFile) -> Checked:
    """`check` of a YAML file that may not be a valid recipe.

    Raises CodemixError for that, with every problem at once: where keys are misspelt, what the recipe
    probably means is judged as well.
    """
    try:
        recipe_file = of_document(document)
    except CodemixError as error:
        problems = list(error.problems)
    else:
        return check(recipe_file)
    meant = as_meant(document)
    if meant:
        problems += _not_implied(check(meant.source).problems, meant.without)
    raise CodemixError(*sorted(problems, key=_place))


def of_severity(
    severity: str,
    problems: Iterable[Problem],
) -> tuple[Problem, ...]:
    """The errors, or the warnings, among problems."""
    return tuple(p for p in problems if p.severity == severity)


def _place(problem: Problem) -> tuple[int, int]:
    where = problem.where
    return (where.line, where.column) if where else (0, 0)


def _not_implied(problems: Iterable[Problem], without: frozenset[tuple]) -> list[Problem]:
    """The problems but for those of a mapping of which a key was left out: its absence may be the cause."""
    incomplete = {yaml_text.show_path(path) for path in without if path}
    kept = []
    for problem in problems:
        if problem.where is None or problem.where.path not in incomplete:
            kept.append(problem)
    return kept


def _misplaced_silences(
    recipe: schema.Recipe, findings: list[Finding], one_of_many: bool
) -> Iterator[Finding]:
    """A silence that names no warning, gives no reason, or silences nothing is itself a mistake.

    The points of a study share their silences, so there it need not silence something in each.
    """
    occurring = {f.problem.rule for f in findings}
    for rule, reason in recipe.silence.items():
        at = ("silence", rule)
        if rule not in WARNINGS:
            what = f"there is no warning `{rule}`"
            yield finding(at, "unknown-warning", what, *did_you_mean(rule, WARNINGS), on_key=True)
        elif not reason.strip():
            what = f"`{rule}` is silenced without a reason"
            yield finding(at, "silence-reason", what, "write why, for the next reader")
        elif rule not in occurring and not one_of_many:
            what = f"`{rule}` does not occur in this recipe"
            yield finding(at, "silence-unused", what, "delete this line", on_key=True)
