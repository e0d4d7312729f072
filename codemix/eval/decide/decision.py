"""What runs of several settings allow to decide: within each, and from the smaller to the largest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codemix.errors import CodemixError, Problem
from codemix.eval.decide.outcomes import Candidate, Outcomes, in_both, outcomes
from codemix.eval.decide.rankings import Agreement, agreement
from codemix.eval.decide.separation import Seeds, Separation, separation
from codemix.eval.evidence.rows import Row

Both = Sequence[tuple[Candidate, Candidate]]


@dataclass(frozen=True)
class SettingDecision:
    """What one setting tells apart."""

    name: str
    candidates: int
    runs: int
    metrics: tuple[Separation, ...]

    def as_json(self) -> dict[str, Any]:
        metrics = [metric.as_json() for metric in self.metrics]
        return {**asdict(self), "metrics": metrics}


@dataclass(frozen=True)
class Carrying:
    """How far the order of candidates by one metric is the same in two settings."""

    metric: str
    small: str
    large: str
    order: Agreement
    flips: int | None  # pairs that both settings tell apart, in opposite orders; None without seeds in both

    @property
    def verdict(self) -> str:
        if self.order.beats_chance:
            return "carries over"
        return "order changes" if self.order.high < 0.5 else "cannot tell from chance"

    def as_json(self) -> dict[str, Any]:
        content = asdict(self)
        content["accuracy"] = self.order.accuracy
        content["verdict"] = self.verdict
        return content


@dataclass(frozen=True)
class Decision:
    """Of all settings, the smallest first."""

    settings: tuple[SettingDecision, ...]
    carrying: tuple[Carrying, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "settings": [setting.as_json() for setting in self.settings],
            "carrying": [carrying.as_json() for carrying in self.carrying],
            "notes": list(self.notes),
        }


def decide(
    rows: Sequence[Row],
    metrics: Sequence[str] = ("*",),
) -> Decision:
    """What rows of evidence decide. Raises CodemixError where nothing is compared, or rows are faulty."""
    found = outcomes(rows, metrics)
    several = [of_setting for of_setting in found if len(of_setting.candidates) > 1]
    if not several:
        raise _nothing_compared(found)
    carrying: list[Carrying] = []
    notes = []
    for of_setting in found:
        if of_setting not in several:
            notes.append(f"Only one candidate was run at {of_setting.name}.")
    *smaller, largest = several
    for small in smaller:
        both = in_both(small, largest)
        missing = len(small.candidates) - len(both)
        if missing:
            n = f"{missing} of {len(small.candidates)}"
            notes.append(f"{n} candidates of {small.name} were not run at {largest.name}.")
        if len(both) > 1:
            carrying += _carried(small, largest, both)
    settings = [_of_setting(of_setting) for of_setting in several]
    return Decision(tuple(settings), tuple(carrying), tuple(notes))


def _nothing_compared(found: Sequence[Outcomes]) -> CodemixError:
    n = len(found)
    what = "no two candidates were run in the same setting"
    hint = (
        f"there are {n} settings of one candidate: give candidates the same model, tokens and learning rate"
    )
    if n == 1:
        [only] = found
        hint = f"all {only.n_runs} runs read the same mixture at {only.name}"
    return CodemixError(Problem(what, hints=(hint,), rule="evidence-few"))


def _of_setting(found: Outcomes) -> SettingDecision:
    separations = []
    for metric in found.metrics:
        values = {candidate.name: candidate.values(metric) for candidate in found.candidates}
        separations.append(separation(metric, values))
    return SettingDecision(found.name, len(found.candidates), found.n_runs, tuple(separations))


def _carried(small: Outcomes, large: Outcomes, both: Both) -> Iterator[Carrying]:
    """By each metric that both settings have."""
    for metric in small.metrics:
        if metric not in large.metrics:
            continue
        before = Seeds.of([a.values(metric) for a, _ in both])
        after = Seeds.of([b.values(metric) for _, b in both])
        yield Carrying(
            metric=metric,
            small=small.name,
            large=large.name,
            order=agreement(before.means, after.means),
            flips=_flips(before, after),
        )


def _flips(before: Seeds, after: Seeds) -> int | None:
    if before.sd is None or after.sd is None:
        return None
    turned = {(b, a) for a, b in after.pairs_apart()}
    flipped = turned.intersection(before.pairs_apart())
    return len(flipped)
