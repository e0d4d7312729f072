"""The table of some rows of evidence: each stage's shares by domain, and the metrics that all rows have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.eval.evidence.comparable import SHOWN, require_comparable
from codemix.eval.evidence.fitness import require_fit
from codemix.eval.evidence.rows import Row, StageRead
from codemix.eval.evidence.table import NO_SHARE, Table

Domains = Mapping[str, Sequence[str]]  # name of a domain -> the sources that it stands for


def table(
    rows: Sequence[Row],
    domains: Mapping[str, Domains],
    metrics: Sequence[str] = ("*",),
    weights: Sequence[float] | None = None,
) -> Table:
    """The table of some rows. `domains` says for each stage which domains it has; `metrics` are names or
    patterns such as `bits_per_byte/*`; `weights` how much each row counts, where some are of other data.

    Raises CodemixError with everything because of which no law could be fitted, with the numbers.
    """
    require_comparable(rows, any_data=weights is not None)
    chosen = chosen_metrics(rows, metrics)
    problems: list[Problem] = []
    shares = []
    for row in rows:
        problems += missing_metrics(row, chosen)
        values: list[float] = []
        for stage, inside in domains.items():
            reading = _Reading(row, stage, inside)
            problems += reading.problems()
            values += reading.shares()
        shares.append(values)
    if problems:
        raise CodemixError(*_few(problems))
    labels = []
    stages = []
    for place, (stage, inside) in enumerate(domains.items()):
        prefix = f"{stage}." if len(domains) > 1 else ""
        for name in inside:
            labels.append(prefix + name)
            stages.append(place)
    losses = []
    for row in rows:
        of_run = [row.metrics[name] for name in chosen]
        losses.append(of_run)
    whole = Table(
        runs=tuple(row.run for row in rows),
        stage_names=tuple(domains),
        domains=tuple(labels),
        stages=np.array(stages),
        metrics=tuple(chosen),
        shares=np.array(shares),
        losses=np.array(losses),
        weights=np.array(weights or [1.0] * len(rows)),
    )
    require_fit(whole)
    return whole


def varied(rows: Sequence[Row]) -> dict[str, Domains]:
    """The stages whose mixture differs between rows, each with its sources as domains; a source that no row
    reads is none."""
    domains: dict[str, Domains] = {}
    by_stage: dict[str, list[dict[str, float]]] = {}
    for row in rows:
        for read in row.stages:
            of_stage = by_stage.setdefault(read.name, [])
            of_stage.append(read.shares)
    for stage, shares in by_stage.items():
        first = shares[0]
        if all(other == first for other in shares):
            continue
        sources = _sources(shares)
        domains[stage] = {source: (source,) for source in sources}
    return domains


def _sources(shares: Sequence[Mapping[str, float]]) -> list[str]:
    """The sources that have a share in some run."""
    found = set()
    for of_run in shares:
        for source, share in of_run.items():
            if share:
                found.add(source)
    return sorted(found)


@dataclass(frozen=True)
class _Reading:
    """What a run read in one stage, as shares of domains."""

    row: Row
    stage: str
    domains: Domains

    @property
    def read(self) -> StageRead | None:
        for read in self.row.stages:
            if read.name == self.stage:
                return read
        return None

    def shares(self) -> list[float]:
        """Of the domains; they sum to one."""
        shares = self._as_counted()
        total = math.fsum(shares) or 1.0
        return [share / total for share in shares]

    def _as_counted(self) -> list[float]:
        read = self.read
        if read is None:
            return []
        shares = []
        for name, sources in self.domains.items():
            names = sources
            if name in read.shares:  # as tables of other tools have it
                names = (name,)
            parts = [read.shares.get(source, 0.0) for source in names]
            shares.append(math.fsum(parts))
        return shares

    def problems(self) -> Iterator[Problem]:
        read = self.read
        if read is None:
            what = f"the run `{self.row.run}` has no stage `{self.stage}`"
            names = [other.name for other in self.row.stages]
            hints = did_you_mean(self.stage, names)
            yield Problem(what, hints=hints, rule="evidence")
            return
        total = math.fsum(self._as_counted())
        if abs(total - 1) < NO_SHARE:
            return
        what = f"in the run `{self.row.run}`, `{self.stage}` reads {total:.2%} of these domains, not 100%"
        others = self._others(read)
        hint = "its shares do not sum to 1"
        if others:
            hint = f"it also reads {', '.join(others)}"
        yield Problem(what, hints=(hint,), rule="evidence-sum")

    def _others(self, read: StageRead) -> list[str]:
        """The sources that the stage reads and no domain has."""
        inside = set(self.domains)
        for sources in self.domains.values():
            inside.update(sources)
        names = _sources([read.shares])
        return [name for name in names if name not in inside]


def chosen_metrics(
    rows: Sequence[Row],
    patterns: Sequence[str],
) -> list[str]:
    """The metrics that some names or patterns mean. Raises CodemixError for one that no row has."""
    known: dict[str, None] = {}
    for row in rows:
        known.update(dict.fromkeys(row.metrics))
    chosen: dict[str, None] = {}
    problems = []
    for pattern in patterns:
        matching = [name for name in known if fnmatch(name, pattern)]
        chosen.update(dict.fromkeys(matching))
        if not matching:
            what = f"no row has a metric `{pattern}`"
            hints = did_you_mean(pattern, known)
            problems.append(Problem(what, hints=hints, rule="evidence"))
    if problems:
        raise CodemixError(*problems)
    return [name for name in known if name in chosen]


def missing_metrics(
    row: Row,
    names: Sequence[str],
) -> Iterator[Problem]:
    """That a row lacks some of the metrics that are needed."""
    missing = [name for name in names if name not in row.metrics]
    if not missing:
        return
    n = f"{len(missing)} of {len(names)}"
    what = f"the run `{row.run}` lacks {n} metrics, such as `{missing[0]}`"
    hint = "score it, leave its row out, or choose the metrics that every row has"
    yield Problem(what, hints=(hint,), rule="evidence")


def _few(problems: Sequence[Problem]) -> list[Problem]:
    """The first of many problems, and how many there are."""
    shown = list(problems[:SHOWN])
    n_more = len(problems) - len(shown)
    if n_more:
        what = f"{n_more} more problems like these"
        shown.append(Problem(what, rule="evidence"))
    return shown
