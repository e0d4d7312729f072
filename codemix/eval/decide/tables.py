"""A decision as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codemix.eval.decide.decision import Carrying, Decision, SettingDecision
from codemix.eval.decide.gains import Gain
from codemix.eval.decide.ladder import LadderReport, Prediction
from codemix.eval.decide.separation import Separation
from codemix.tables import Table

SIGNAL_COLUMNS = (
    "metric",
    ">signal",
    ">noise",
    ">SNR",
    ">told apart",
    ">seeds needed",
    "verdict",
)
SEEDS_NOTE = (
    "Signal: the largest difference between two candidates; noise: the standard deviation over seeds; both of "
    "the mean. SNR: their ratio. Told apart: pairs that differ by more than 95% of what seeds do. Cannot "
    "decide: equal candidates differ as much in more than 5 of 100 cases (F test). Seeds needed: of each of "
    "the first two, so that half of such studies tell them apart if they differ as seen; twice as many do so "
    "in four of five."
)
ORDER_NOTE = (
    "The interval holds whatever shares of pairs explain what was seen (Mallows' model, exact); flips: pairs "
    "that seeds tell apart in both, in opposite orders."
)


def decision_tables(decision: Decision) -> list[Table]:
    """One table per setting, and one of how orders carry over."""
    tables = [_setting_table(setting) for setting in decision.settings]
    last = tables[-1]
    last.notes.append(SEEDS_NOTE)
    if decision.carrying:
        carrying = _carrying_table(decision.carrying)
        tables.append(carrying)
    tables[-1].notes += decision.notes
    return tables


def _setting_table(setting: SettingDecision) -> Table:
    title = f"{setting.name}: {setting.candidates} candidates, {setting.runs} runs"
    return separation_table(title, setting.metrics)


def separation_table(title: str, separations: Sequence[Separation]) -> Table:
    """One row per metric."""
    rows = []
    for found in separations:
        rows.append([found.metric, *_numbers(found), found.verdict])
    return Table(title, list(SIGNAL_COLUMNS), rows)


def _numbers(found: Separation) -> Iterator[str]:
    yield f"{found.signal:.2%}"
    yield _or_dash(found.noise, "{:.2%}")
    yield _or_dash(found.signal_to_noise, "{:.1f}")
    yield _or_dash(found.told_apart, f"{{}} of {found.pairs}")
    yield _or_dash(found.seeds_needed, "{:,}")


def _or_dash(value: float | None, shape: str) -> str:
    if value is None:
        return "–"
    return shape.format(value)


def _carrying_table(carried: Sequence[Carrying]) -> Table:
    columns = ["metric", "from", ">candidates", ">same order", ">95% interval", ">flips", "verdict"]
    rows = []
    for one in carried:
        order = one.order
        rows.append(
            [
                one.metric,
                one.small,
                str(order.candidates),
                f"{order.accuracy:.1%}",
                f"{order.low:.0%} to {order.high:.0%}",
                _or_dash(one.flips, "{}"),
                one.verdict,
            ]
        )
    return Table(f"Pairs in the order they have at {carried[0].large}", columns, rows, [ORDER_NOTE])


LADDER_NOTE = (
    "Interval: of the value that such a run would have, stretched by what the law missed. Misfit: mean error of "
    "the runs that it was fitted to. Missed: error for the largest models when fitted without them."
)
GAIN_NOTE = (
    "How much more compute the baseline needs for the loss of the candidate's largest run, parameters and "
    "tokens growing alike; – where its law never reaches it."
)


def ladder_tables(found: LadderReport) -> list[Table]:
    """One table per candidate, and one of gains in compute."""
    tables = []
    for candidate, predictions in found.predictions.items():
        tables.append(_prediction_table(f"{candidate} at {found.target.name}", predictions))
    tables[-1].notes.append(LADDER_NOTE)
    if found.gains:
        tables.append(_gain_table(found))
    tables[-1].notes += found.notes
    return tables


def _prediction_table(title: str, predictions: Sequence[Prediction]) -> Table:
    columns = ["metric", ">predicted", ">95% interval", ">misfit", ">missed", ">stretched"]
    rows = []
    for one in predictions:
        rows.append(
            [
                one.metric,
                f"{one.value:.3f}",
                f"{one.low:.3f} to {one.high:.3f}",
                f"{one.misfit:.1%}",
                _or_dash(one.miss, "{:.1%}"),
                f"{one.stretch:.1f} times",
            ]
        )
    return Table(title, columns, rows)


def _gain_table(found: LadderReport) -> Table:
    columns = ["candidate", "metric", ">largest run", ">compute-equivalent gain", ">95% interval"]
    rows = []
    for gain in found.gains:
        rows.append([gain.candidate, gain.metric, gain.size.name, *_gain_cells(gain)])
    return Table(f"Against {found.baseline}", columns, rows, [GAIN_NOTE])


def _gain_cells(gain: Gain) -> Iterator[str]:
    yield _or_dash(gain.gain, "{:.2f}")
    if gain.low is None:
        yield "–"
    elif gain.high is None:
        yield f"above {gain.low:.2f}"
    else:
        yield f"{gain.low:.2f} to {gain.high:.2f}"
