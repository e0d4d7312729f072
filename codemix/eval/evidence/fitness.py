"""Whether a law can be fitted to a table of evidence: what forbids it, and what to be careful with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from codemix.errors import CodemixError, Problem
from codemix.eval.evidence.table import NO_SHARE, Table

_EQUAL = 1e-9  # relative difference of losses that says nothing


RARE = 0.9  # a domain that is without a share in more of the runs than this is hardly measured


FAR = 3.0  # times its prior that a domain should have reached in some run


def require_fit(evidence: Table) -> None:
    """Raises CodemixError with every reason why the law `c + exp(t.w)` has no one answer on a table."""
    problems = list(_faults(evidence))
    if problems:
        raise CodemixError(*problems)


def _faults(evidence: Table) -> Iterator[Problem]:
    n_runs, n_domains = evidence.shares.shape
    needed = evidence.n_free + 2
    if n_runs < needed:
        what = f"{n_runs} runs are too few for {n_domains} domains: at least {needed} are needed"
        good = max(3 * n_domains, n_domains + 20)
        hint = f"a swarm of {good} is a good size, see docs/mixing.md"
        yield Problem(what, hints=(hint,), rule="evidence-few")
        return
    yield from _undetermined(evidence)
    for place, metric in enumerate(evidence.metrics):
        values = evidence.losses[:, place]
        what = _wrong_with(metric, values, evidence.runs)
        if what:
            hint = "leave the metric or the run out"
            yield Problem(what, hints=(hint,), rule="evidence-metric")


def _undetermined(evidence: Table) -> Iterator[Problem]:
    """What the shares leave open."""
    ranges = np.ptp(evidence.shares, axis=0)
    first_run = evidence.shares[0]
    constant = np.flatnonzero(ranges < NO_SHARE)
    for place in constant:
        name = evidence.domains[place]
        share = first_run[place]
        what = f"`{name}` has a share of {share:.2%} in every run: it was never varied"
        hint = "group it with a domain that varies, or add runs in which it does"
        yield Problem(what, hints=(hint,), rule="evidence-rank")
    needed = evidence.n_free
    if not len(constant) and evidence.rank < needed:
        what = f"the shares have rank {evidence.rank} where {needed} is needed"
        hint = "some domains only vary together: add runs with one domain up or out, or group them"
        yield Problem(what, hints=(hint,), rule="evidence-rank")


def _wrong_with(
    metric: str,
    values: np.ndarray,
    runs: Sequence[str],
) -> str:
    """Why a metric cannot be fitted; nothing where it can."""
    finite = np.isfinite(values)
    if not finite.all():
        run = runs[int(finite.argmin())]
        return f"`{metric}` of run `{run}` is not finite"
    least = values.min()
    if least <= 0:
        run = runs[int(values.argmin())]
        return f"`{metric}` of run `{run}` is {least:g}; a loss is above 0"
    difference = np.ptp(values)
    if difference <= _EQUAL * least:
        return f"`{metric}` is {least:g} in every run: it says nothing"
    return ""


def caveats(
    evidence: Table,
    prior: np.ndarray | None = None,
) -> list[str]:
    """What the evidence hardly says: domains that few runs read, or none read much of."""
    notes = []
    absent = evidence.shares == 0
    without = absent.mean(0)
    most = evidence.shares.max(0)
    for place, domain in enumerate(evidence.domains):
        if without[place] > RARE:
            notes.append(f"`{domain}` is without a share in {without[place]:.0%} of the runs")
        if prior is None:
            continue
        far = FAR * prior[place]
        if most[place] < far < 1:
            notes.append(f"`{domain}` never had more than {most[place]:.2%}, under {FAR:g} times its prior")
    return notes
