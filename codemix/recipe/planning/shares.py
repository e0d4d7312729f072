"""The shares in one mapping of a mixture: as written, checked to be whole, `rest` filled in. Nothing is
normalised unless the stage says `weights: relative`."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from codemix.recipe.language.finding import Findings
from codemix.recipe.language.quantities import exact_share, show_share
from codemix.recipe.language.schema import Group, Ramp


@dataclass(frozen=True)
class Span:
    """A share at the first and at the last row of the stage; equal without a ramp."""

    start: Fraction
    end: Fraction

    @property
    def mean(self) -> Fraction:
        return (self.start + self.end) / 2

    @property
    def ramps(self) -> bool:
        return self.start != self.end

    def __add__(self, other: Span) -> Span:
        start = self.start + other.start
        end = self.end + other.end
        return Span(start, end)

    def __mul__(self, other: Span) -> Span:
        start = self.start * other.start
        end = self.end * other.end
        return Span(start, end)

    def scaled(self, factor: Fraction) -> Span:
        start = self.start * factor
        end = self.end * factor
        return Span(start, end)


def constant(share: Fraction) -> Span:
    """The same share all over the stage."""
    return Span(share, share)


NOTHING, WHOLE = constant(Fraction(0)), constant(Fraction(1))


def total(spans: list[Span]) -> Span:
    """The sum of shares, at both ends."""
    return sum(spans, NOTHING)


@dataclass
class Shares:
    """The shares of one mapping by name, and what is wrong with them. A name whose weight is wrong has its
    share as well as it can be told, or none."""

    by_name: dict[str, Span] = field(default_factory=dict)
    problems: Findings = field(default_factory=Findings)


def read_shares(mixture: dict[str, Any], at: tuple, *, relative: bool) -> Shares:
    """The shares of one mapping, at path `at` of the recipe. They sum to one at both ends, or a problem says
    by how much they miss."""
    shares = Shares()
    rest: list[str] = []  # names that take what is left
    plain: list[str] = []  # names whose weight is a number without a unit
    for name, weight in mixture.items():
        value = weight.share if isinstance(weight, Group) else weight
        if value == "rest":
            rest.append(name)
        elif isinstance(value, Ramp):
            shares.by_name[name] = Span(value.from_, value.to)
        elif isinstance(value, Fraction):
            shares.by_name[name] = constant(value)
        else:
            plain.append(name)
            shares.by_name[name] = constant(Fraction(str(value)))
    if relative:
        _divide_by_sum(shares, mixture, plain, at)
    elif plain:  # their sum means nothing yet
        _refuse_plain(shares, plain, at)
    elif rest:
        _fill_rest(shares, rest, at)
    else:
        _check_sum(shares, at)
    return shares


def _divide_by_sum(shares: Shares, mixture: dict[str, Any], plain: list[str], at: tuple) -> None:
    spans = shares.by_name
    whole = total(list(spans.values())).start
    not_plain = [name for name in mixture if name not in plain]
    if not_plain:
        name = not_plain[0]
        what = f"under `weights: relative` `{name}` must be a plain number"
        shares.problems.report(
            (*at, name), "weight-unit", what, "write every weight as a number, or every share in %"
        )
    elif whole <= 0 or any(span.start < 0 for span in spans.values()):
        shares.problems.report_key(at, "weight-unit", "relative weights must be positive")
    else:
        factor = 1 / whole
        shares.by_name = {name: span.scaled(factor) for name, span in spans.items()}


def _refuse_plain(shares: Shares, plain: list[str], at: tuple) -> None:
    for name in plain:
        value = abs(shares.by_name[name].start)
        is_fraction = 0 < value < 1
        meant = value if is_fraction else value / 100
        what = f"the weight of `{name}` has no unit"
        hint = f"write `{exact_share(meant)}`"
        if at[0] == "stages":  # a group's weights are shares wherever it is used
            hint += ", or say `weights: relative` in the stage"
        shares.problems.report((*at, name), "weight-unit", what, hint)


def _fill_rest(shares: Shares, rest: list[str], at: tuple) -> None:
    """Give what the others leave to the one name whose weight is `rest`."""
    name = rest[0]
    taken = total(list(shares.by_name.values()))
    if len(rest) > 1:
        what = "`rest` is given twice in one mixture"
        shares.problems.report((*at, rest[1]), "weights-sum", what, "one name takes what is left")
    elif max(taken.start, taken.end) > 1:
        hint = "lower one of the others: `rest` is what they leave"
        shares.problems.report_key(at, "weights-sum", _not_whole(taken), hint)
    else:
        shares.by_name[name] = Span(1 - taken.start, 1 - taken.end)
        if taken == WHOLE:
            what = f"nothing is left for `{name}: rest`: the others take 100%"
            shares.problems.report(
                (*at, name), "weights-sum", what, f"lower another share, or delete `{name}`"
            )


def _check_sum(shares: Shares, at: tuple) -> None:
    taken = total(list(shares.by_name.values()))
    if taken == WHOLE:
        return
    hints = [hint for hint in (_move_one(shares, taken), _divide_all(shares, taken)) if hint]
    shares.problems.report_key(at, "weights-sum", _not_whole(taken), *hints)


def _not_whole(taken: Span) -> str:
    if not taken.ramps:
        return f"the shares sum to {show_share(taken.start)}, not 100%"
    if taken.start != 1:
        return f"the shares sum to {show_share(taken.start)} at the start of the stage, not 100%"
    return f"the shares sum to {show_share(taken.end)} at the end of the stage, not 100%"


def _move_one(shares: Shares, taken: Span) -> str:
    """Advice: the largest share that can give or take the difference."""
    missing = Span(1 - taken.start, 1 - taken.end)
    largest_first = sorted(shares.by_name, key=lambda name: -shares.by_name[name].start)
    for name in largest_first:
        share = shares.by_name[name]
        moved = share + missing
        if min(moved.start, moved.end) < 0 or max(moved.start, moved.end) > 1 or moved == NOTHING:
            continue
        if taken.ramps:
            return f"write `{name}: rest`"
        start = exact_share(moved.start)
        value = f"{{from: {start}, to: {exact_share(moved.end)}}}" if share.ramps else start
        return f"write `{name}: {value}`, or `{name}: rest`"
    return ""


def _divide_all(shares: Shares, taken: Span) -> str:
    """Advice: every share over their sum, where none ramps."""
    spans = shares.by_name
    any_ramps = any(span.ramps for span in spans.values())
    if any_ramps or taken.start <= 0:
        return ""
    quotients = {name: span.start / taken.start for name, span in spans.items()}
    exact = [f"{name} {exact_share(quotient)}" for name, quotient in quotients.items()]
    more = ", ..." if len(exact) > 6 else ""
    first_few = ", ".join(exact[:6])
    advice = "or divide by the sum yourself"
    return f"{advice}: {first_few}{more}"
