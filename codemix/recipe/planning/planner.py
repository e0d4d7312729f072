"""Makes the plan of a recipe: stage after stage, with a cursor in each source that the lineage has read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from codemix.recipe.language import schema
from codemix.recipe.language.finding import Findings
from codemix.recipe.language.quantities import tokens_at_least
from codemix.recipe.planning.budget import StageBudget, stage_budget
from codemix.recipe.planning.cursors import Cursors
from codemix.recipe.planning.fim_rates import fim_rates
from codemix.recipe.planning.plan import Plan, Pool, StagePlan
from codemix.recipe.planning.source_identity import spec_fingerprints
from codemix.recipe.planning.stage_identity import by_name, stage_fingerprint
from codemix.recipe.planning.stage_reading import StageInputs, read_sources

_OVERRIDES = ("seq_len", "batch_size", "doc_mask", "reset_positions")  # of `training:`, by a stage


@dataclass(frozen=True)
class End:
    """A planned stage, and how far its lineage has read each source."""

    stage: StagePlan
    cursors: Cursors


# finds the stage of another recipe that stage i starts from
Outside = Callable[[int, schema.InitFrom], End | None]


@dataclass(frozen=True)
class _Start:
    """What a stage starts from."""

    parent: StagePlan | None = None
    cursors: Cursors = field(default_factory=dict)
    load: Literal["state", "weights"] | None = None


class Planner:
    """Plans a recipe against `pools`; problems are collected, never raised."""

    def __init__(
        self,
        recipe: schema.Recipe,
        pools: Mapping[str, Pool],
        outside: Outside | None = None,
        specs: Mapping[str, str] | None = None,  # `spec_fingerprints` of the recipe, where they are known
    ):
        self.recipe = recipe
        self.pools = pools
        self.outside = outside
        self.problems = Findings()
        self.ends: dict[str, End] = {}
        built = {name: pool.fingerprint for name, pool in pools.items()}
        self.identities = {**(specs or spec_fingerprints(recipe)), **built}

    def plan(self) -> Plan:
        n_stages = len(self.recipe.stages)
        drafts = [self._draft(index) for index in range(n_stages)]
        run_totals = _run_totals(drafts)
        finished: dict[int, StagePlan] = {}  # by the id of the draft; parent and fingerprint are final
        for draft, run_total in zip(drafts, run_totals, strict=True):
            parent = draft.parent
            parent = finished.get(id(parent), parent)
            stage = dataclasses.replace(draft, run_total=run_total, parent=parent)
            fingerprint = stage_fingerprint(stage)
            finished[id(draft)] = dataclasses.replace(stage, fingerprint=fingerprint)
        for name, end in self.ends.items():
            stage = finished[id(end.stage)]
            self.ends[name] = End(stage, end.cursors)
        return Plan(self.recipe, tuple(finished.values()))

    def _draft(self, index: int) -> StagePlan:
        """A stage without what later stages decide: the total of its run, and so its fingerprint."""
        spec = self.recipe.stages[index]
        training = _training(self.recipe, spec)
        seed = self.recipe.seed if spec.seed is None else spec.seed
        start = self._start(index)
        budget = stage_budget(spec, training)
        if budget.rows == 0:
            self._too_short(index, budget, training.seq_len)
        reading = read_sources(
            StageInputs(
                recipe=self.recipe,
                index=index,
                budget=budget,
                seq_len=training.seq_len,
                seed=seed,
                pools=self.pools,
                identities=self.identities,
                cursors=start.cursors,
            )
        )
        fim = fim_rates(spec, index, reading.leaves)
        self.problems += [*reading.problems, *fim.problems]
        stage = StagePlan(
            name=spec.name,
            index=index,
            spec=spec,
            model=_model(self.recipe, spec, start.parent),
            training=training,
            seq_len=training.seq_len,
            batches=budget.batches,
            steps=budget.steps,
            rows=budget.rows,
            asked_tokens=budget.asked_tokens,
            seed=seed,
            init_seed=self.recipe.seed,
            sources=reading.sources,
            segments=reading.segments,
            fim=fim.by_source,
            parent=start.parent,
            load=start.load,
            run_tokens=_tokens_through(start.parent),
            run_total=0,
            redistributed=reading.redistributed,
        )
        stage = by_name(stage)
        self.ends[spec.name] = End(stage, reading.cursors)
        return stage

    def _too_short(self, index: int, budget: StageBudget, seq_len: int) -> None:
        place = ("stages", index, "tokens")
        needed = budget.batches[0].size * seq_len
        what = f"the stage is shorter than one step ({needed:,} tokens)"
        hint = f"give it at least {tokens_at_least(needed)} tokens, or a smaller batch_size"
        self.problems.report(place, "stage-too-short", what, hint)

    def _start(self, index: int) -> _Start:
        spec = self.recipe.stages[index]
        end = self._end_before(index)
        if end is None:
            pretrained = isinstance(self.recipe.stages[index].init_from, schema.Pretrained)
            return _Start(load="weights" if pretrained else None)
        origin = spec.init_from
        if isinstance(origin, schema.InitFrom) and origin.recipe is not None:
            self._hold_model(index, end.stage)
        asks_for_weights = isinstance(origin, schema.InitFrom) and origin.load == "weights"
        only_weights = asks_for_weights or spec.optimizer_state == "reset"
        return _Start(end.stage, end.cursors, "weights" if only_weights else "state")

    def _hold_model(self, index: int, parent: StagePlan) -> None:
        """A stage of another recipe has this recipe's model; the stage may say another base of the angles."""
        model = self.recipe.model
        base = {"rope_theta": parent.model.rope_theta}
        says_base = self.recipe.stages[index].rope_theta is not None
        held = model.model_copy(update=base) if says_base else model
        if parent.model == held:
            return
        what = f"stage `{parent.name}` has a different model from this recipe"
        hints = ["give both recipes the same `model:`"]
        if parent.model == model.model_copy(update=base):
            hints = [f"it ends with `rope_theta: {parent.model.rope_theta:.15g}`: write that in `model:`"]
            hints.append("or give this stage a `rope_theta:` of its own, if another is meant")
        self.problems.report(("stages", index, "init_from"), "model-changes", what, *hints)

    def _end_before(self, index: int) -> End | None:
        """The end that a stage starts from; None for a stage that starts a lineage, and where it is not
        found."""
        origin = self.recipe.stages[index].init_from
        if isinstance(origin, schema.Pretrained) or origin == "scratch":
            return None
        if origin is None and index == 0:
            return None
        if origin is None:
            before = self.recipe.stages[index - 1]
            return self.ends[before.name]
        if origin.recipe is not None:
            return self.outside(index, origin) if self.outside else None
        if origin.stage not in self.ends:
            earlier = f"earlier stages: {', '.join(self.ends) or 'none'}"
            what = f"there is no earlier stage `{origin.stage}`"
            self.problems.report(("stages", index, "init_from", "stage"), "unknown-stage", what, earlier)
        return self.ends.get(origin.stage)


def _model(recipe: schema.Recipe, spec: schema.Stage, parent: StagePlan | None) -> schema.Model:
    """The recipe's model, with the base of its angles that the stage says, or the last before it that did."""
    base = spec.rope_theta
    if base is None:
        before = parent.model if parent else recipe.model
        base = before.rope_theta
    return recipe.model.model_copy(update={"rope_theta": base})


def _training(recipe: schema.Recipe, spec: schema.Stage) -> schema.Training:
    """The recipe's training with the overrides of a stage."""
    overrides = {}
    for name in _OVERRIDES:
        value = getattr(spec, name)
        if value is not None:
            overrides[name] = value
    return recipe.training.model_copy(update=overrides)


def _tokens_through(stage: StagePlan | None) -> int:
    """Tokens of a lineage up to the end of a stage."""
    if stage is None:
        return 0
    return stage.run_tokens + stage.tokens


def _run_totals(drafts: list[StagePlan]) -> list[int]:
    """For each stage the tokens at the end of the last stage that descends from it in this recipe."""
    totals = {id(draft): _tokens_through(draft) for draft in drafts}
    for draft in reversed(drafts):  # children before their parents
        parent = id(draft.parent)
        if parent in totals:
            totals[parent] = max(totals[parent], totals[id(draft)])
    return list(totals.values())
