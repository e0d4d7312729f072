"""From a study's `mix:` and rows of evidence to the best recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from codemix.data.store.store import Store
from codemix.data.workspace import Workspace, open_workspace
from codemix.errors import CodemixError, Problem
from codemix.eval.evidence.fitness import caveats
from codemix.eval.evidence.rows import Row
from codemix.eval.evidence.table import Table
from codemix.eval.evidence.tabulation import Domains, table
from codemix.eval.mix.intervals import RESAMPLES, Interval, Proposal, proposal
from codemix.eval.mix.landscape import Landscape, effects, slices, trade_off
from codemix.eval.mix.measures import Measure, domain_families, measures
from codemix.eval.mix.mixmin import best_mixture, read_losses
from codemix.eval.mix.moved_shares import moved_shares
from codemix.eval.mix.prediction import Fitted
from codemix.eval.mix.proposal import Objective, Region
from codemix.eval.mix.quality import Quality, k_fold
from codemix.eval.mix.reach import Reach, reach, within_runs
from codemix.eval.mix.region import region, rounded
from codemix.recipe.language.quantities import exact_share
from codemix.recipe.language.recipe_file import RecipeFile
from codemix.recipe.studies.mix_space import MixSpace
from codemix.recipe.studies.study_spec import Mix
from codemix.tables import Table as Shown


@dataclass(frozen=True)
class Answer:
    """The proposed recipe, and what speaks for it."""

    space: MixSpace
    recipe: RecipeFile
    region: Region
    objective: Objective
    evidence: Table
    proposal: Proposal
    shares: Sequence[Mapping[str, Fraction]]  # by stage
    quality: Sequence[Quality]
    reach: Reach
    notes: Sequence[str]
    mixmin: np.ndarray | None = None  # [domains]: the second opinion, where losses of proxies were given

    @property
    def fitted(self) -> Fitted:
        return Fitted(self.evidence, self.proposal.laws, self.proposal.resampled)

    @cached_property
    def families(self) -> dict[str, str]:
        """Of the domains, by name."""
        names = self.region.names
        return domain_families(self.space, names)

    @cached_property
    def measures(self) -> list[Measure]:
        return measures(self.objective, self.space.base.recipe)

    @cached_property
    def landscape(self) -> Landscape:
        """What figures show of the laws around the prior."""
        prior = self.region.prior
        shares = moved_shares(self.evidence, self.families)
        fitted = self.fitted
        named = self.measures
        found = effects(fitted, prior, shares, named)
        whole = named[0]
        cuts = slices(fitted, prior, found, whole)
        curve = trade_off(fitted, self.objective, self.region, named)
        return Landscape(found, cuts, curve)

    def tables(self) -> list[Shown]:
        return [_shares_table(self), _gains_table(self)]

    def as_json(self) -> dict[str, Any]:
        stages = {}
        for stage, shares in zip(self.space.stages, self.shares, strict=True):
            written = {name: exact_share(share) for name, share in shares.items()}
            stages[stage.name] = written
        found = self.proposal
        gain = vars(found.gain)
        return {
            "stages": stages,
            "shares": _named(self.region.names, map(vars, found.shares)),
            "prior": _named(self.region.names, self.region.prior.tolist()),
            "gain": gain | {"can_tell": found.gain.excludes_zero},
            "gains": _named(self.evidence.metrics, map(vars, found.gains)),
            "at_prior": _named(self.evidence.metrics, found.at_prior.tolist()),
            "quality": [vars(quality) for quality in self.quality],
            "misfit": {"mean": float(found.misfit.mean[0, 0]), "spread": float(found.misfit.spread[0, 0])},
            "reach": vars(self.reach),
            "mixmin": None if self.mixmin is None else self.mixmin.tolist(),
            **self.landscape.as_json(),
            "runs": len(self.evidence.runs),
            "notes": list(self.notes),
        }


def _named(
    names: Iterable[str],
    values: Iterable[Any],
) -> dict[str, Any]:
    pairs = zip(names, values, strict=True)
    return dict(pairs)


def search(
    space: MixSpace,
    rows: Sequence[Row],
    store: Path,
    data_root: Path,
    name: str,
    *,
    resamples: int = RESAMPLES,
    proxies: Path | None = None,
) -> Answer:
    """The best mixture of a space by the rows, as a recipe called `name`, planned and judged.

    Raises CodemixError with what is wrong with the rows or the space, and where the rounded mixture breaks a
    rule of the recipe. `proxies` is a file of losses of one model for each domain, for MixMin.
    """
    second = _second_opinion(space, proxies)
    base = open_workspace(space.base, Store(store), data_root)
    weights = _weights(space, rows, base)
    evidence = table(rows, domains(space), tuple(space.mix.objective), weights)
    objective = objective_of(space.mix, evidence.metrics)
    allowed = within_runs(region(space, base.plan), evidence)
    found = proposal(evidence, objective, allowed, resamples=resamples)
    shares = rounded(space, found.mixture)
    recipe = space.with_shares(shares, name)
    judged = open_workspace(recipe, Store(store), data_root)
    judged.plan  # noqa: B018 - raises where a rule is broken
    how_far = reach(evidence, allowed, found.mixture)
    return Answer(
        space=space,
        recipe=recipe,
        region=allowed,
        objective=objective,
        evidence=evidence,
        proposal=found,
        shares=shares,
        quality=k_fold(evidence),
        reach=how_far,
        notes=[*how_far.notes(), *caveats(evidence, allowed.prior)],
        mixmin=second,
    )


def _second_opinion(space: MixSpace, proxies: Path | None) -> np.ndarray | None:
    """The mixture of MixMin, where a file of losses was given."""
    if proxies is None:
        return None
    if len(space.stages) > 1:
        what = "losses of proxies say nothing about several stages"
        hint = "leave out `--proxies`, or name one stage under `mix:`"
        raise CodemixError(Problem(what, hints=(hint,), rule="proxy-losses"))
    [stage] = space.stages
    names = [domain.name for domain in stage.domains]
    return best_mixture(read_losses(proxies, names))


def _weights(
    space: MixSpace,
    rows: Sequence[Row],
    base: Workspace,
) -> list[float] | None:
    """How much each row counts, where the data of some have changed; None where none have. Raises CodemixError
    for changed data without `stale_weight:`."""
    now = {}
    for name, state in base.found.items():
        if state.manifest is not None:
            now[name] = state.manifest.content
    weights = []
    changed: dict[str, int] = {}
    for row in rows:
        stale = [source for source, was in row.data.items() if now.get(source, was) != was]
        for source in stale:
            changed[source] = 1 + changed.get(source, 0)
        weights.append(space.mix.stale_weight or 1.0 if stale else 1.0)
    if not changed:
        return None
    if space.mix.stale_weight is None:
        raise CodemixError(*[_stale(source, n) for source, n in changed.items()])
    return weights


def _stale(source: str, n: int) -> Problem:
    what = f"{n} rows of evidence were made when `{source}` held other text than now"
    hint = "run them again, or let them count less: `stale_weight: 0.5` under `mix:`"
    return Problem(what, hints=(hint,), rule="evidence-stale")


def domains(space: MixSpace) -> dict[str, Domains]:
    """The domains of each stage, with the sources inside them."""
    return {
        stage.name: {domain.name: tuple(domain.inside) for domain in stage.domains} for stage in space.stages
    }


def objective_of(mix: Mix, metrics: Sequence[str]) -> Objective:
    """The objective over these metrics: each has the weight of the last pattern that it matches, and the
    weights sum to one."""
    weights = np.zeros(len(metrics))
    for pattern, weight in mix.objective.items():
        for place, metric in enumerate(metrics):
            if fnmatch(metric, pattern):
                weights[place] = weight
    no_worse = None
    if mix.no_worse_than is not None:
        no_worse = float(mix.no_worse_than)
    return Objective(
        metrics=tuple(metrics),
        weights=weights / weights.sum(),
        kl=mix.kl,
        no_worse_than=no_worse,
    )


def _shares_table(answer: Answer) -> Shown:
    columns = ["stage", "of", ">prior", ">proposed", ">interval (95 %)"]
    rows = []
    place = 0
    for stage, shares in zip(answer.space.stages, answer.shares, strict=True):
        for domain in stage.domains:
            interval = answer.proposal.shares[place]
            rows.append(
                [
                    stage.name,
                    domain.name,
                    f"{float(domain.prior):.2%}",
                    f"{float(shares[domain.name]):.2%}",
                    f"{interval.low:.2%} to {interval.high:.2%}",
                ]
            )
            place += 1
    if answer.mixmin is not None:
        columns.append(">MixMin")
        for row, share in zip(rows, answer.mixmin.tolist(), strict=True):
            row.append(f"{share:.2%}")
    return Shown("The proposed mixture", columns, rows, list(answer.notes))


def _gains_table(answer: Answer) -> Shown:
    columns = ["metric", ">at the prior", ">gain", ">interval (95 %)", "", ">ranking (Spearman)"]
    rows = [_gain_row("objective", None, answer.proposal.gain, None)]
    found = answer.proposal
    for metric, level, gain, quality in zip(
        answer.evidence.metrics, found.at_prior, found.gains, answer.quality, strict=True
    ):
        rows.append(_gain_row(metric, float(level), gain, quality.spearman))
    n_runs = len(answer.evidence.runs)
    misfit = float(found.misfit.mean[0, 0])
    notes = [
        f"predicted from {n_runs} runs; a gain is a fall of the loss from the base recipe's mixture",
        f"of the objective's gain the laws promise {found.gain.value - misfit:+.4f}; what they miss at like runs "
        f"adds {misfit:+.4f}",
        f"the nearest run differs in {answer.reach.nearest:.1%} of the tokens; runs from their nearest typically in "
        f"{answer.reach.typical:.1%}",
    ]
    return Shown("What it should gain", columns, rows, notes)


def _gain_row(name: str, level: float | None, gain: Interval, spearman: float | None) -> list[str]:
    return [
        name,
        "" if level is None else f"{level:.4f}",
        f"{gain.value:+.4f}",
        f"{gain.low:+.4f} to {gain.high:+.4f}",
        "" if gain.excludes_zero else "cannot tell from the prior",
        "" if spearman is None else f"{spearman:.3f}",
    ]
