"""Fill-in-the-middle rates of a stage by source; a recipe gives them by group or source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from codemix.recipe.language import schema
from codemix.recipe.language.finding import Finding, finding
from codemix.recipe.language.quantities import exact_share
from codemix.recipe.planning.mixture import Leaf


@dataclass
class FimRates:
    """The rate of each source, and what is wrong with how they are given."""

    by_source: dict[str, Fraction] = field(default_factory=dict)
    problems: list[Finding] = field(default_factory=list)


def fim_rates(spec: schema.Stage, index: int, leaves: Sequence[Leaf]) -> FimRates:
    """The rates that stage `index` gives to the sources it reads, sorted by source."""
    rates = FimRates()
    for name, rate in spec.fim.items():
        at = ("stages", index, "fim", name)
        covered = [leaf for leaf in leaves if _covers(name, leaf)]
        if leaves and not covered:
            rates.problems.append(_unknown(name, leaves, at))
        for leaf in covered:
            rates.problems += _set_rate(rates.by_source, spec, leaf, name, rate, at)
    rates.by_source = dict(sorted(rates.by_source.items()))
    return rates


def _covers(name: str, leaf: Leaf) -> bool:
    """Whether `name` is a source, or a group inside which the stage reads it in at least one place."""
    if leaf.source == name:
        return True
    inside = [name in groups for groups in leaf.places]
    return any(inside)


def _set_rate(
    by_source: dict[str, Fraction],
    spec: schema.Stage,
    leaf: Leaf,
    name: str,
    rate: Fraction,
    at: tuple,
) -> Iterator[Finding]:
    """Give the rate of `name` to one source that it covers; what is wrong with that."""
    source = leaf.source
    is_whole = source == name or all(name in groups for groups in leaf.places)
    if not is_whole:
        if source not in spec.fim:
            yield _covers_a_part(name, source, rate, at)
    elif by_source.setdefault(source, rate) != rate:
        what = f"`{source}` is given two fill-in-the-middle rates"
        yield finding(at, "fim-twice", what, "name it once", on_key=True)


def _covers_a_part(name: str, source: str, rate: Fraction, at: tuple) -> Finding:
    what = f"`{name}` holds only a part of `{source}` in this stage"
    return finding(
        at,
        "fim-part",
        f"{what}, and a source has one fill-in-the-middle rate",
        f"give `{source}` its own rate beside it, `{source}: {exact_share(rate)}`",
        on_key=True,
    )


def _unknown(name: str, leaves: Sequence[Leaf], at: tuple) -> Finding:
    sources = sorted({leaf.source for leaf in leaves})
    listed = ", ".join(sources)
    what = f"`{name}` is not in this stage's mixture"
    known = f"known here: {listed}"
    return finding(at, "unknown-source", what, known, on_key=True)
