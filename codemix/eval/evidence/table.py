"""Rows of evidence as numbers: shares of domains by stage, and the metrics to learn from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.eval.evidence.rows import Row, StageRead

_NO_SHARE = 1e-6  # a share that rounding explains
_EQUAL = 1e-9  # relative difference of losses that says nothing
_SHOWN = 4  # problems or names of many
RARE = 0.9  # a domain that is without a share in more of the runs than this is hardly measured
FAR = 3.0  # times its prior that a domain should have reached in some run
Domains = Mapping[str, Sequence[str]]  # name of a domain -> the sources that it stands for


@dataclass(frozen=True)
class Table:
    """What a fit learns from: runs, domains (stage after stage) and metrics."""

    runs: tuple[str, ...]
    stage_names: tuple[str, ...]
    domains: tuple[str, ...]  # with the stage in front where there are several
    stages: np.ndarray  # [domains]: the number of the stage of each
    metrics: tuple[str, ...]
    shares: np.ndarray  # [runs, domains]
    losses: np.ndarray  # [runs, metrics]
    weights: np.ndarray  # [runs]: how much each row counts

    @property
    def n_free(self) -> int:
        """The directions in which mixtures can differ, and one for the level: the rank of full evidence."""
        dependent = len(self.stage_names) - 1
        return len(self.domains) - dependent

    @property
    def rank(self) -> int:
        """Of the shares."""
        smallest = _NO_SHARE * math.sqrt(len(self.runs))
        rank = np.linalg.matrix_rank(self.shares, tol=smallest)
        return int(rank)


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


def require_comparable(
    rows: Sequence[Row],
    *,
    any_data: bool = False,
) -> None:
    """Raises CodemixError unless all rows are of one model, tokenizer and measurement, and, without
    `any_data`, one training text."""
    problems = []
    for what, of in _SAME.items():
        problem = _different(rows, what, of)
        if problem is not None:
            problems.append(problem)
    for source, fingerprints in _data_by_source(rows).items():
        if len(fingerprints) > 1 and not any_data:
            changed = f"`{source}` held different text in different rows"
            hint = "score the older runs again on the new text, or leave their rows out"
            problems.append(Problem(changed, hints=(hint,), rule="evidence-stale"))
    if problems:
        raise CodemixError(*problems)


def _course(row: Row) -> tuple:
    sizes = {}
    for stage in row.stages:
        sizes[stage.name] = stage.tokens
    return tuple(sizes.items())


def _rates(row: Row) -> tuple:
    return tuple(stage.learning_rate for stage in row.stages)


_SAME: Mapping[str, Callable[[Row], Hashable]] = {
    "tokenizer": lambda row: row.tokenizer,
    "model": lambda row: row.model,
    "size": lambda row: row.parameters,
    "measurement": lambda row: row.scored_on,
    "course of stages": _course,
    "learning rate": _rates,
}


def _different(
    rows: Sequence[Row],
    what: str,
    of: Callable[[Row], Hashable],
) -> Problem | None:
    """The rows that differ from most in one respect."""
    counts = Counter(map(of, rows))
    if len(counts) < 2:
        return None
    [(common, n)] = counts.most_common(1)
    others = [row.run for row in rows if of(row) != common]
    problem = f"{len(others)} of {len(rows)} rows are of another {what} than the other {n}: {_list(others)}"
    hint = "fit rows of one kind at a time: leave those rows out"
    return Problem(problem, hints=(hint,), rule="evidence-mixed")


def _list(names: Sequence[str]) -> str:
    """The first few names."""
    quoted = [f"`{name}`" for name in names[:_SHOWN]]
    if len(names) > len(quoted):
        quoted.append("...")
    return ", ".join(quoted)


def _data_by_source(rows: Sequence[Row]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        for source, fingerprint in row.data.items():
            of_source = found.setdefault(source, set())
            of_source.add(fingerprint)
    return found


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
        if abs(total - 1) < _NO_SHARE:
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
    shown = list(problems[:_SHOWN])
    n_more = len(problems) - len(shown)
    if n_more:
        what = f"{n_more} more problems like these"
        shown.append(Problem(what, rule="evidence"))
    return shown


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
    constant = np.flatnonzero(ranges < _NO_SHARE)
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
