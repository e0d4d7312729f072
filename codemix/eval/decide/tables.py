"""A decision as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codemix.eval.decide.decision import Carrying, Decision, SettingDecision
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
