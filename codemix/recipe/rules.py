"""Every rule a recipe must keep beyond its schema, and the warnings that the literature asks for.

`check` returns the plan and all problems at once, in file order, each at its place. Limits and caps are judged on the
final whole numbers, after all rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe import read, schema, uses
from codemix.recipe.fingerprint import fingerprint
from codemix.recipe.mixture import Found
from codemix.recipe.override import Layered
from codemix.recipe.plan import End, Plan, Planner, Pool, StagePlan, StageSource
from codemix.recipe.quantities import show_share, show_tokens

CODE_KINDS = ("code", "markup", "code-adjacent", "synthetic-code")  # values of the tag `kind` that the paper counts as code
WARNINGS = {  # rule -> where the literature says so
    "code-share-high": "arXiv 2408.10914 section 3.3: from 75% code on, language reasoning and world knowledge fall",
    "cooldown-without-code": "arXiv 2408.10914 section 3.5: a cooldown without code gives up most of what the cooldown brings",
    "many-epochs": "Muennighoff et al. 2023, arXiv 2305.16264: beyond 4 epochs repeated tokens are worth little",
    "warmup-longer-than-stage": "the peak is never reached; arXiv 2408.10914 section 2.3 warms up for 1325 of 47,684 steps",
    "nothing-held-out": "bits per byte is scored on held-out documents only",
}
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


def spec_fingerprint(recipe: schema.Recipe, name: str) -> str:
    """The identity of a source by its spec alone, for plans made before its inputs are at hand."""
    s = recipe.sources[name]
    dedup = [d for d in recipe.dedup if name in d.sources]
    origins = [[o.read, o.ops, o.on_bad, o.max_bad] for o in (recipe.sources[n] for n in uses.chain(recipe, name)[1:])]
    return "spec:" + fingerprint([name, s.read, s.ops, s.held_out, dedup, recipe.tokenizer, *origins])


def declared_pools(recipe: schema.Recipe) -> dict[str, Pool]:
    """Pools of the sources that declare their size, used until a source is built."""
    return {
        name: Pool((s.tokens,), s.documents, exact=False, fingerprint=spec_fingerprint(recipe, name))
        for name, s in recipe.sources.items() if s.tokens is not None
    }  # fmt: skip


def check(source: read.Source, pools: Mapping[str, Pool] | None = None, *, root: Path | None = None, _seen: tuple[Path, ...] = ()) -> Checked:
    """Plan the recipe and judge it.

    `pools` replace declared sizes where a source is built. Recipes named by `init_from` are read below `root` (default:
    the folder around the recipe's own).
    """
    recipe, document = source.recipe, source.document
    here = source.folder / Path(document.file).name
    root = (root or source.folder.parent).resolve()
    found: list[Found] = []

    def outside(index: int, spec: schema.InitFrom) -> End | None:
        at = ("stages", index, "init_from", "recipe")
        path = (source.folder / spec.recipe).resolve()
        if Path(spec.recipe).is_absolute() or not path.is_relative_to(root):
            found.append(
                _found(at, "outside-root", f"`{spec.recipe}` lies outside {root.name}/", "a recipe reads only recipes beside it, by a relative path")
            )
        elif path in (*_seen, here) or len(_seen) >= MAX_LINEAGE:
            found.append(_found(at, "lineage-cycle", "recipes start from each other in a circle", "one of them must start from scratch"))
        else:
            try:
                other = read.read_recipe(Path(document.file).parent / spec.recipe)
                same = {
                    n: p
                    for n, p in (pools or {}).items()
                    if n in other.recipe.sources and spec_fingerprint(other.recipe, n) == spec_fingerprint(recipe, n)
                }
                checked = check(other, same, root=root, _seen=(*_seen, here))
                checked.require()
            except CodemixError as error:
                found.append(
                    _found(at, "init-from", f"`{spec.recipe}` cannot be used: {error.problems[0].what}", f"`codemix validate {path.name}` says more")
                )
                return None
            if spec.stage in checked.ends:
                return checked.ends[spec.stage]
            found.append(
                _found((*at[:-1], "stage"), "unknown-stage", f"`{spec.recipe}` has no stage `{spec.stage}`", *did_you_mean(spec.stage, checked.ends))
            )
        return None

    planner = Planner(recipe, {**declared_pools(recipe), **(pools or {})}, outside)
    plan = planner.plan()
    found += planner.problems
    found += [*_names(recipe), *_components(recipe), *_held_out(recipe)]
    for stage in plan.stages:
        found += [*_limits(recipe, stage), *_schedule(stage), *_literature(recipe, stage)]
    found += _silenced(recipe, found, one_of_many=isinstance(document, Layered))
    problems = []
    for f in found:
        if f.problem.severity == "warning" and f.problem.rule in recipe.silence:
            continue
        problems.append(replace(f.problem, where=document.where(f.path, key=f.on_key)))
    unique = {(p.what, p.where.line, p.where.column): p for p in problems}
    return Checked(plan, planner.ends, tuple(sorted(unique.values(), key=lambda p: (p.where.line, p.where.column))))


def _found(path: tuple, rule: str, what: str, *hints: str, on_key: bool = False) -> Found:
    warning = rule in WARNINGS
    return Found(path, Problem(what, hints=tuple(hints), rule=rule, severity="warning" if warning else "error", cite=WARNINGS.get(rule, "")), on_key)


def _names(recipe: schema.Recipe) -> Iterator[Found]:
    """Names that stand twice or refer to nothing."""
    first: dict[str, int] = {}
    for i, stage in enumerate(recipe.stages):
        if stage.name in first:
            yield _found(("stages", i, "name"), "stage-twice", f"two stages are called `{stage.name}`", f"rename one, for example `{stage.name}-2`")
        first[stage.name] = i
    for name in sorted(set(recipe.groups) & set(recipe.sources)):
        yield _found(("groups", name), "group-name", f"`{name}` is both a group and a source", "rename the group", on_key=True)
    for i, dedup in enumerate(recipe.dedup):
        for j, name in enumerate(dedup.sources):
            if name not in recipe.sources:
                yield _found(("dedup", i, "sources", j), "unknown-source", f"there is no source `{name}`", *did_you_mean(name, recipe.sources))
    used = {name for stage in recipe.stages for name in uses.names_in(stage.mixture)} | {r.by for s in recipe.stages for r in s.replace}
    for group, mixture in recipe.groups.items():
        for name in uses.names_in(mixture):
            if group not in used and name not in recipe.sources and name not in recipe.groups:  # used groups are judged where they are used
                yield _found(
                    ("groups", group, name),
                    "unknown-source",
                    f"there is no source or group `{name}`",
                    *did_you_mean(name, [*recipe.sources, *recipe.groups]),
                    on_key=True,
                )


def _components(recipe: schema.Recipe) -> Iterator[Found]:
    """What components know about the recipe around them: a component may define `check(recipe, at)`."""
    placed = [(("tokenizer",), recipe.tokenizer)]
    for name, source in recipe.sources.items():
        placed.append((("sources", name, "read"), source.read))
        placed += [(("sources", name, "ops", i), op) for i, op in enumerate(source.ops)]
    placed += [(("evaluation", "tasks", i), task) for i, task in enumerate(recipe.evaluation.tasks)]
    for at, component in placed:
        for path, problem in getattr(component, "check", lambda recipe, at: ())(recipe, at):
            yield Found(path, problem)
    for name, source in recipe.sources.items():
        for i, op in enumerate(source.ops):
            if problem := op.refuses(source.tags):
                yield Found(("sources", name, "ops", i), problem)


def _held_out(recipe: schema.Recipe) -> Iterator[Found]:
    """Text held out by one source must not be trained on through another that reads the same."""
    by_read: dict[str, str] = {}
    for name in uses.tokenized(recipe):
        source = recipe.sources[name]
        key = fingerprint(recipe.sources[uses.chain(recipe, name)[-1]].read)
        other = by_read.setdefault(key, name)
        if other != name and recipe.sources[other].held_out != source.held_out:
            yield _found(
                ("sources", name), "held-out-overlap", f"`{name}` and `{other}` read the same documents but hold out different shares of them",
                f"give both `held_out: {show_share(max(source.held_out, recipe.sources[other].held_out))}`; documents are split by their hash, so equal shares agree", on_key=True,
            )  # fmt: skip
    if recipe.evaluation.bits_per_byte and all(s.held_out == 0 for s in recipe.sources.values()):
        yield _found(
            ("sources",),
            "nothing-held-out",
            "no source holds out documents, so bits per byte cannot be scored",
            "add `held_out: 1%` to the sources, or say `evaluation: {bits_per_byte: false}`",
            on_key=True,
        )


def matches(tags: Mapping[str, str], where: Mapping[str, str | list[str]]) -> bool:
    """Whether a source's tags satisfy `{axis: value or list of values}`."""
    return all(tags.get(axis) in ([value] if isinstance(value, str) else value) for axis, value in where.items())


def share_of(stage: StagePlan, where: Mapping[str, str | list[str]], of: Mapping[str, str | list[str]] | None = None) -> Fraction:
    """The exact share of a stage's windows whose source has these tags, of all windows or of those tagged `of`."""
    whole = sum(s.windows for s in stage.sources if of is None or matches(s.tags, of))
    part = sum(s.windows for s in stage.sources if matches(s.tags, where) and (of is None or matches(s.tags, of)))
    return Fraction(part, whole) if whole else Fraction(0)


def _limits(recipe: schema.Recipe, stage: StagePlan) -> Iterator[Found]:
    if not stage.sources:
        return
    own = [(("stages", stage.index, "limits", i), x) for i, x in enumerate(stage.spec.limits)]
    for at, limit in [(("limits", i), x) for i, x in enumerate(recipe.limits)] + own:
        axes = {axis for s in recipe.sources.values() for axis in s.tags}
        for axis in [*limit.where, *(limit.of or {})]:
            if axis not in axes:
                yield _found((*at, "where"), "unknown-tag", f"no source has a tag `{axis}`", *did_you_mean(axis, axes))
        share = share_of(stage, limit.where, limit.of)
        named = ", ".join(f"{k} {v if isinstance(v, str) else ' or '.join(v)}" for k, v in limit.where.items())
        inside = [s for s in stage.sources if matches(s.tags, limit.where)]
        largest: StageSource | None = max(inside, key=lambda s: s.windows, default=None)
        if limit.max is not None and share > limit.max:
            by = f"; `{largest.source}` is the largest with {show_share(Fraction(largest.windows, stage.rows))}" if largest else ""
            yield _found((*at, "max"), "limit", f"stage `{stage.name}` has {show_share(share)} {named}, more than the limit of {show_share(limit.max)}",
                         f"take {show_tokens(int((share - limit.max) * stage.tokens))} tokens from it{by}, or raise the limit to {show_share(share)}")  # fmt: skip
        if limit.min is not None and share < limit.min:
            yield _found((*at, "min"), "limit", f"stage `{stage.name}` has {show_share(share)} {named}, less than the limit of {show_share(limit.min)}",
                         f"give it {show_tokens(int((limit.min - share) * stage.tokens))} tokens more, or lower the limit to {show_share(share)}")  # fmt: skip


def _schedule(stage: StagePlan) -> Iterator[Found]:
    if not stage.steps:
        return
    schedule = stage.spec.learning_rate
    at = ("stages", stage.index, "learning_rate")
    try:
        position = schedule.at(stage, 0)
    except CodemixError:  # the parent's schedule has no rate; that is told at the parent
        return
    for problem in schedule.problems(position):
        if problem.rule == "schedule-longer-than-stage" and not hasattr(schedule, "decay"):
            yield _found(
                (*at, "warmup"),
                "warmup-longer-than-stage",
                f"the warm-up is longer than stage `{stage.name}` ({stage.steps:,} steps)",
                *problem.hints,
            )
        else:
            yield Found(at, problem, True)


def _literature(recipe: schema.Recipe, stage: StagePlan) -> Iterator[Found]:
    if not stage.sources:
        return
    at = ("stages", stage.index, "mixture")
    code = share_of(stage, {"kind": list(CODE_KINDS)})
    if code > Fraction(3, 4):
        yield _found(
            at,
            "code-share-high",
            f"stage `{stage.name}` is {show_share(code)} code",
            "25% to 50% code kept language ability in the paper's sweep",
            on_key=True,
        )
    lineage, ancestor = [], stage.parent
    while ancestor is not None:
        lineage.append(ancestor)
        ancestor = ancestor.parent
    if (
        lineage
        and code == 0
        and _is_cooldown(stage)
        and any(share_of(s, {"kind": list(CODE_KINDS)}) for s in lineage)
    ):
        yield _found(
            at,
            "cooldown-without-code",
            f"the cooldown `{stage.name}` has no code, and earlier stages had",
            "the paper's cooldown has 20% code",
            on_key=True,
        )
    for s in stage.sources:
        if s.epochs_after is not None and s.epochs_after > 4 >= s.epochs_before:
            yield _found(
                (*at, s.source),
                "many-epochs",
                f"`{s.source}` is read {float(s.epochs_after):.1f} times by the end of stage `{stage.name}`",
                f"at 4 epochs it gives {show_tokens(4 * s.pool_windows * stage.seq_len)} tokens",
                on_key=True,
            )


def _is_cooldown(stage: StagePlan) -> bool:
    """Whether the stage lets the learning rate fall from where it starts, by half or more."""
    try:
        return stage.spec.learning_rate.kind in ("linear", "exponential") and stage.lr(stage.steps - 1) < stage.lr(0) / 2
    except CodemixError:  # a schedule without a rate is a problem of its own
        return False


def _silenced(recipe: schema.Recipe, found: list[Found], one_of_many: bool) -> Iterator[Found]:
    """A silence that names no warning, gives no reason, or silences nothing is itself a mistake.

    The points of a study share their silences, so there it need not silence something in each.
    """
    for rule, reason in recipe.silence.items():
        at = ("silence", rule)
        if rule not in WARNINGS:
            yield _found(at, "unknown-warning", f"there is no warning `{rule}`", *did_you_mean(rule, WARNINGS), on_key=True)
        elif not reason.strip():
            yield _found(at, "silence-reason", f"`{rule}` is silenced without a reason", "write why, for the next reader")
        elif not one_of_many and not any(f.problem.rule == rule for f in found):
            yield _found(at, "silence-unused", f"`{rule}` does not occur in this recipe", "delete this line", on_key=True)
