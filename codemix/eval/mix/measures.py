"""Which metrics and which domains are of code, and which of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codemix.eval.measure.paper_averages import SUITE
from codemix.eval.mix.proposal import Objective
from codemix.recipe.language import schema
from codemix.recipe.language.tags import family
from codemix.recipe.studies.mix_space import Domain, MixSpace


@dataclass(frozen=True)
class Measure:
    """A weighted sum of metrics, of which figures draw one line."""

    name: str
    weights: np.ndarray  # [metrics]


def measures(objective: Objective, recipe: schema.Recipe) -> list[Measure]:
    """The objective, and its code and its text metrics, as their weighted means, where it has both."""
    found = [Measure("objective", objective.weights)]
    families = np.array([_metric_family(metric, recipe) for metric in objective.metrics])
    parts = []
    for name in ("code", "text"):
        weights = np.where(families == name, objective.weights, 0)
        total = weights.sum()
        if total > 0:
            parts.append(Measure(name, weights / total))
    if len(parts) == 2:
        found += parts
    return found


def even_measure(losses: np.ndarray) -> Measure:
    """The mean of metrics [runs, metrics] in their standard deviations, whatever their units."""
    spread = losses.std(0)
    weights = 1 / (spread * len(spread))
    return Measure("all metrics", weights)


def _metric_family(metric: str, recipe: schema.Recipe) -> str:
    """Of the source or task that a metric such as `bits_per_byte/web` names."""
    name = metric.rpartition("/")[2]
    if name in recipe.sources:
        return family(recipe.sources[name].tags)
    if name in SUITE["code"]:
        return "code"
    is_task = any(name in tasks for tasks in SUITE.values())
    return "text" if is_task else "other"


def domain_families(space: MixSpace, names: Sequence[str]) -> dict[str, str]:
    """The family of each domain, by the names that a table gives them."""
    domains: list[Domain] = []
    for stage in space.stages:
        domains += stage.domains
    families = {}
    for name, domain in zip(names, domains, strict=True):
        families[name] = _domain_family(domain, space.base.recipe)
    return families


def _domain_family(domain: Domain, recipe: schema.Recipe) -> str:
    """The family of most of a domain."""
    totals: dict[str, float] = {}
    for name, share in domain.inside.items():
        source = recipe.sources[name]
        of_source = family(source.tags)
        before = totals.get(of_source, 0.0)
        totals[of_source] = before + float(share)
    return max(totals, key=totals.__getitem__)
