"""Rows of evidence by setting and candidate.

A setting is everything that is the same for all that is compared: model, tokens, learning rates, tokenizer. A
candidate is what is compared: which shares the stages of a run read. Runs of one candidate in one setting
differ in their seeds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from codemix.errors import CodemixError, Problem
from codemix.eval.evidence.rows import Row, read_rows, row_text
from codemix.eval.evidence.tabulation import chosen_metrics, missing_metrics
from codemix.recipe.language.quantities import show_tokens

SAME_SHARE = 0.01  # by which shares may differ between sizes, whose windows round them differently
_SEED_AND_STAGE = re.compile(r"(-seed\d+)?\.[^.]+\.[0-9a-f]{8}$")
_UNKNOWN_LAST = math.inf
Place = tuple[str, str]  # a stage and a source


@dataclass(frozen=True)
class Setting:
    """What all runs that may be compared have in common; None where a row does not say."""

    parameters: int | None
    tokens: int | None
    rates: tuple[float | None, ...]  # of each stage
    model: str = ""
    tokenizer: str = ""

    @classmethod
    def of(cls, row: Row) -> Setting:
        sizes = [stage.tokens for stage in row.stages]
        known = [size for size in sizes if size is not None]
        return cls(
            parameters=row.parameters,
            tokens=sum(known) if len(known) == len(sizes) else None,
            rates=tuple(stage.learning_rate for stage in row.stages),
            model=row.model,
            tokenizer=row.tokenizer,
        )

    @property
    def size(self) -> tuple[float, float]:
        """What settings are ordered by: parameters times tokens, and the rate."""
        parameters = self.parameters or _UNKNOWN_LAST
        tokens = self.tokens or 1
        highest = max(self.known_rates, default=0.0)
        return parameters * tokens, highest

    @property
    def known_rates(self) -> list[float]:
        return [rate for rate in self.rates if rate is not None]

    @property
    def name(self) -> str:
        parts = []
        if self.parameters is not None:
            parts.append(f"{show_tokens(self.parameters)} parameters")
        if self.tokens is not None:
            parts.append(f"{show_tokens(self.tokens)} tokens")
        if self.known_rates:
            rates = [f"{rate:g}" for rate in self.known_rates]
            parts.append(f"rate {'/'.join(rates)}")
        return ", ".join(parts) or "unknown size"


@dataclass
class Candidate:
    """The runs of one candidate in one setting."""

    name: str
    mixture: Mapping[Place, float]  # shares of all tokens of the run
    rows: list[Row] = field(default_factory=list)

    def values(self, metric: str) -> list[float]:
        """Of each run."""
        values = []
        for row in self.rows:
            values.append(row.metrics[metric])
        return values


@dataclass(frozen=True)
class Outcomes:
    """What the candidates of one setting came to."""

    setting: Setting
    name: str
    candidates: tuple[Candidate, ...]
    metrics: tuple[str, ...]

    @property
    def n_runs(self) -> int:
        return sum(len(candidate.rows) for candidate in self.candidates)


def read_each(paths: Iterable[Path]) -> list[Row]:
    """The rows of some files, an equal row once. Names of runs are of one file: tables of other tools number
    their runs."""
    rows: dict[str, Row] = {}
    for path in paths:
        for row in read_rows([path]):
            rows[row_text(row)] = row
    return list(rows.values())


def outcomes(
    rows: Sequence[Row],
    metrics: Sequence[str] = ("*",),
) -> list[Outcomes]:
    """The outcomes of every setting, the smallest first. `metrics` are names or patterns.

    Raises CodemixError for rows that cannot be compared, lack a metric, or are the same run twice.
    """
    require_one_measurement(rows)
    chosen_metrics(rows, metrics)  # each pattern must match somewhere
    by_setting: dict[Setting, list[Row]] = {}
    for row in rows:
        by_setting.setdefault(Setting.of(row), []).append(row)
    in_order = sorted(by_setting, key=lambda setting: setting.size)
    names = _names(in_order)
    found = []
    problems: list[Problem] = []
    for setting in in_order:
        of_setting = by_setting[setting]
        known = {name for row in of_setting for name in row.metrics}
        chosen = [name for name in chosen_metrics(rows, metrics) if name in known]
        problems += _faults(of_setting, chosen)
        candidates = tuple(_candidates(of_setting))
        for candidate in candidates:
            problems += _same_run_twice(candidate)
        found.append(Outcomes(setting, names[setting], candidates, tuple(chosen)))
    if problems:
        raise CodemixError(*problems)
    return found


def _names(settings: Sequence[Setting]) -> dict[Setting, str]:
    """A name of each that no other has."""
    plain = [setting.name for setting in settings]
    names = {}
    for setting in settings:
        name = setting.name
        if plain.count(name) > 1:
            name += f", model {setting.model[:6]}, tokenizer {setting.tokenizer[:6]}"
        names[setting] = name
    return names


def _candidates(rows: Sequence[Row]) -> Iterable[Candidate]:
    found: dict[frozenset, Candidate] = {}
    for row in rows:
        read = mixture(row)
        key = frozenset(read.items())
        if key not in found:
            names = [candidate.name for candidate in found.values()]
            name = _free_name(row.run, names)
            found[key] = Candidate(name, read)
        found[key].rows.append(row)
    return found.values()


def _free_name(run: str, taken: Sequence[str]) -> str:
    """The name of a run without its seed, stage and fingerprint; with a number where another mixture has it."""
    plain = _SEED_AND_STAGE.sub("", run)
    name = plain
    number = 1
    while name in taken:
        number += 1
        name = f"{plain} ({number})"
    return name


def mixture(row: Row) -> dict[Place, float]:
    """What a run read, as parts of all it read; a stage of unknown size counts like any other."""
    sizes = [stage.tokens or 1 for stage in row.stages]
    total = sum(sizes)
    parts = {}
    for stage, size in zip(row.stages, sizes, strict=True):
        of_all = size / total
        for source, share in stage.shares.items():
            if share:
                parts[stage.name, source] = round(share * of_all, 9)
    return parts


def is_same(a: Mapping[Place, float], b: Mapping[Place, float]) -> bool:
    """Whether two mixtures differ by no more than windows of different sizes round them."""
    for place in {*a, *b}:
        difference = a.get(place, 0.0) - b.get(place, 0.0)
        if abs(difference) > SAME_SHARE:
            return False
    return True


def in_both(small: Outcomes, large: Outcomes) -> list[tuple[Candidate, Candidate]]:
    """The candidates that two settings share: each other's nearest, with nearly equal shares."""
    distances = _distances(small.candidates, large.candidates)
    nearest_large = distances.argmin(1)
    nearest_small = distances.argmin(0)
    pairs = []
    for place, candidate in enumerate(small.candidates):
        other = nearest_large[place]
        is_mutual = nearest_small[other] == place
        if is_mutual and distances[place, other] <= SAME_SHARE:
            pairs.append((candidate, large.candidates[other]))
    return pairs


def _distances(some: Sequence[Candidate], others: Sequence[Candidate]) -> np.ndarray:
    """The largest difference of a share between each of `some` and each of `others`."""
    read: dict[Place, None] = {}
    for candidate in (*some, *others):
        read.update(dict.fromkeys(candidate.mixture))
    places = {place: column for column, place in enumerate(read)}
    a = _shares(some, places)
    b = _shares(others, places)
    differences = []
    for of_one in a:
        differences.append(abs(b - of_one).max(1))
    return np.array(differences)


def _shares(
    candidates: Sequence[Candidate],
    places: Mapping[Place, int],
) -> np.ndarray:
    """The share of each stage's source in each candidate [candidates, places]."""
    shares = np.zeros((len(candidates), len(places)))
    for row, candidate in enumerate(candidates):
        for place, share in candidate.mixture.items():
            column = places[place]
            shares[row, column] = share
    return shares


def require_one_measurement(rows: Sequence[Row]) -> None:
    """Raises CodemixError for metrics of different text or tasks."""
    measured_on: dict[str, Row] = {}
    for row in rows:
        if row.scored_on:
            measured_on.setdefault(row.scored_on, row)
    if len(measured_on) < 2:
        return
    first, second, *_ = measured_on.values()
    what = f"`{first.run}` and `{second.run}` were measured on different text or tasks"
    hint = "score both on the same, or decide from rows of one measurement"
    raise CodemixError(Problem(what, hints=(hint,), rule="evidence-mixed"))


def _faults(rows: Sequence[Row], metrics: Sequence[str]) -> Iterable[Problem]:
    """Of the rows of one setting."""
    for row in rows:
        yield from missing_metrics(row, metrics)


def _same_run_twice(candidate: Candidate) -> Iterable[Problem]:
    """Runs of one candidate that no seed tells apart, or that read other text under the same names."""
    by_seed: dict[int, Row] = {}
    first = candidate.rows[0]
    for row in candidate.rows:
        if row.data != first.data:
            what = f"`{first.run}` and `{row.run}` read the same shares of different text"
            hint = "give the sources names of their own, so that they are two candidates, or leave one out"
            yield Problem(what, hints=(hint,), rule="evidence-stale")
        if row.seed is None:
            continue
        other = by_seed.setdefault(row.seed, row)
        if other is not row:
            what = f"`{other.run}` and `{row.run}` have the same shares, size, learning rate and seed"
            hint = "they differ in something that evidence does not hold: decide from one of them"
            yield Problem(what, hints=(hint,), rule="evidence-twice")
