"""What a change of a recipe brings about, in categories that a reviewer, or a gate, can act on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from codemix.recipe.ci.markdown import code
from codemix.recipe.diffs.diff import Diff
from codemix.recipe.language.quantities import show_count, show_tokens
from codemix.recipe.language.schema import Limit, Recipe
from codemix.recipe.planning.plan import Plan, StagePlan, with_ancestors

EXIT_CODES = {  # category -> what `--fail-on` exits with; the gravest first
    "data": 10,
    "rebuild": 11,
    "retrain": 12,
    "future": 13,
    "settings": 14,
    "removed": 15,
    "notes": 16,
    "epochs": 20,
    "limits": 21,
    "cost": 22,
}
MEANINGS = {
    "data": "changes data already trained on",
    "rebuild": "rebuilds the data of a source",
    "retrain": "trains a stage again that was there",
    "future": "future stages only: nothing that exists is made again",
    "settings": "measured again, or bound differently; nothing is built or trained again",
    "removed": "a recipe that is no longer there",
    "notes": "notes only: nothing that would be built, trained or measured differs",
    "epochs": "a source is repeated more often than before",
    "limits": "a limit, a cap on epochs or a warning is loosened",
    "cost": "what is to be trained costs more than `--max-usd`",
}
_DATA = {"mixture", "data", "budget", "fill-in-the-middle"}  # parts of a stage that decide what it reads


@dataclass(frozen=True)
class Effect:
    """One consequence: its category, and a phrase that says what is concerned."""

    category: str
    what: str


def in_order(effects: Sequence[Effect]) -> list[Effect]:
    """Each effect once, the gravest first."""
    order = list(EXIT_CODES)
    unique = dict.fromkeys(effects)
    return sorted(unique, key=lambda effect: order.index(effect.category))


def effects_of(before: Plan, after: Plan, changes: Diff) -> list[Effect]:
    """What leads from one plan to another, the gravest first; at least one effect."""
    found = [
        *_of_sources(before, after, changes),
        *_of_stages(before, after, changes),
        *_more_epochs(before, after),
        *_loosened(before.recipe, after.recipe),
    ]
    graver = {effect.category for effect in found} & {"data", "rebuild", "retrain", "future"}
    paths = _settings(changes)
    if paths and not graver:
        found.append(Effect("settings", f"measured or bound differently: {listed(paths)}"))
    if not found:
        found.append(Effect("notes", "notes only"))
    return in_order(found)


def _settings(changes: Diff) -> list[str]:
    """The settings that differ, but for those of a stage that only has another name."""
    renamed = _renamed(changes)
    paths = []
    for setting in changes.settings:
        stage = setting.path.removeprefix("stages.").removesuffix(".learning_rate")
        if stage not in renamed:
            paths.append(setting.path)
    return paths


def _renamed(changes: Diff) -> set[str]:
    """Stages that are there under another name, by both names."""
    names: set[str] = set()
    for pair in changes.shared:
        if len(set(pair)) > 1:
            names.update(pair)
    return names


def of_new(plan: Plan) -> list[Effect]:
    """The effects of a recipe that was not there."""
    amount = _amount(plan.stages)
    effect = Effect("future", f"a new recipe: {amount}")
    return [effect]


def source_tokens(plan: Plan, name: str) -> int:
    """What a source holds, or where that is unknown, what is read of it [tokens]."""
    declared = plan.recipe.sources[name].tokens
    if declared is not None:
        return declared
    stages = [stage.planned_tokens().get(name, 0) for stage in plan.stages]
    return sum(stages)


def _of_sources(before: Plan, after: Plan, changes: Diff) -> Iterator[Effect]:
    rebuilt: list[str] = []
    built: list[str] = []
    for change in changes.sources:
        existed, exists = change.exists
        if exists:
            names = rebuilt if existed else built
            names.append(change.source)
    if rebuilt:
        yield Effect("rebuild", f"rebuilds {_sources(after, rebuilt)}")
    if built:
        yield Effect("future", f"builds new data: {_sources(after, built)}")


def _sources(plan: Plan, names: Sequence[str]) -> str:
    """How much sources hold together, and which they are."""
    tokens = 0
    for name in names:
        tokens += source_tokens(plan, name)
    return f"{show_tokens(tokens)} tokens: {listed(names)}"


def listed(names: Sequence[str]) -> str:
    """Names in a row, each as code."""
    codes = [code(name) for name in names]
    return ", ".join(codes)


def _of_stages(before: Plan, after: Plan, changes: Diff) -> Iterator[Effect]:
    trained_before = {stage.fingerprint for stage in with_ancestors(before.stages)}
    known = _stages(after)
    renamed = _renamed(changes)
    rereading = []
    retrained = []
    new = []
    gone = []
    for change in changes.stages:
        existed, exists = change.exists
        if change.stage in renamed:
            continue
        if not exists:
            gone.append(change.stage)
            continue
        now = known[change.stage]
        if now.fingerprint in trained_before:
            continue
        if not existed:
            new.append(now)
            continue
        retrained.append(now)
        if _DATA.intersection(change.parts):
            rereading.append(change.stage)
    if rereading:
        yield Effect("data", f"changes data already trained on: {listed(rereading)}")
    if retrained:
        first = retrained[0].name
        yield Effect("retrain", f"retrains from `{first}` on: {_amount(retrained)}")
    if new:
        names = listed([stage.name for stage in new])
        yield Effect("future", f"trains new stages: {names} ({_amount(new)})")
    if gone:
        yield Effect("settings", f"no longer trained: {listed(gone)}")


def _stages(plan: Plan) -> dict[str, StagePlan]:
    """The stages of a plan by name, and those of other recipes before them."""
    stages = {}
    for stage in [*with_ancestors(plan.stages), *plan.stages]:
        stages[stage.name] = stage
    return stages


def _amount(stages: Sequence[StagePlan]) -> str:
    n = len(stages)
    tokens = sum(stage.tokens for stage in stages)
    return f"{show_count(n, 'stage')}, {show_tokens(tokens)} tokens"


def _more_epochs(before: Plan, after: Plan) -> Iterator[Effect]:
    then = _epochs(before)
    now = _epochs(after)
    for name in sorted(now):
        epochs = float(now[name])
        was = float(then.get(name, 0))
        if epochs > 1 and epochs > was:
            what = f"`{name}` is read {epochs:.2f} times"
            yield Effect("epochs", f"{what}, before {was:.2f}")


def _epochs(plan: Plan) -> dict[str, Fraction]:
    """How often each source of known size is read at the most, over every lineage."""
    most: dict[str, Fraction] = {}
    for stage in plan.stages:
        for source in stage.sources:
            epochs = source.epochs_after or Fraction(0)
            most[source.source] = max(most.get(source.source, epochs), epochs)
    return most


def _loosened(before: Recipe, after: Recipe) -> Iterator[Effect]:
    yield from _lost_limits("every stage", before.limits, after.limits)
    now = {stage.name: stage for stage in after.stages}
    for stage in before.stages:
        if stage.name in now:
            limits = now[stage.name].limits
            yield from _lost_limits(f"`{stage.name}`", stage.limits, limits)
    for name, source in after.sources.items():
        then = before.sources.get(name, source)
        cap = source.max_epochs
        before_cap = then.max_epochs
        if cap > before_cap:
            caps = f"{cap:g} times, before {before_cap:g}"
            yield Effect("limits", f"`{name}` may be read {caps}")
    silenced = after.silence.keys() - before.silence.keys()
    for rule in sorted(silenced):
        what = f"the warning `{rule}` is silenced"
        yield Effect("limits", what)


def _lost_limits(where: str, before: Sequence[Limit], after: Sequence[Limit]) -> Iterator[Effect]:
    for limit in before:
        kept = [other for other in after if _as_tight(other, limit)]
        if not kept:
            axes = listed(list(limit.where))
            what = f"a limit by {axes} in {where}"
            yield Effect("limits", f"{what} is loosened or gone")


def _as_tight(limit: Limit, other: Limit) -> bool:
    """Whether whatever keeps `limit` keeps `other`."""
    if limit.where != other.where:
        return False
    if limit.of != other.of:
        return False
    keeps_max = _at_most(limit.max, other.max, Fraction(1))
    keeps_min = _at_most(other.min, limit.min, Fraction(0))
    return keeps_max and keeps_min


def _at_most(share: Fraction | None, bound: Fraction | None, nothing: Fraction) -> bool:
    """Whether a share is within a bound; `nothing` is the bound that forbids nothing."""
    if share is None:
        share = nothing
    if bound is None:
        bound = nothing
    return share <= bound
