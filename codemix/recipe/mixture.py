"""A stage's mixture, however nested, as exact shares of sources.

`{text: 50%, code: {share: 50%, of: {web: 80%, markup: 20%}}}` becomes web 2/5, markup 1/10 and so on. Every share is a
fraction; nothing is normalised unless the stage says `weights: relative`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from codemix.errors import Problem, did_you_mean
from codemix.recipe.quantities import show_share
from codemix.recipe.schema import Group, Ramp, Recipe, Stage

ONE = Fraction(1)


@dataclass(frozen=True)
class Leaf:
    """A source's share of a stage: `start` at its first row, `end` at its last (equal without a ramp)."""

    source: str
    start: Fraction
    end: Fraction
    groups: tuple[str, ...]  # enclosing groups, outermost first
    path: tuple  # where the recipe says so

    @property
    def mean(self) -> Fraction:
        return (self.start + self.end) / 2


@dataclass(frozen=True)
class Found:
    """A problem at a path of the recipe; recipe/rules.py turns the path into a place in the file."""

    path: tuple
    problem: Problem
    on_key: bool = False


def flatten(recipe: Recipe, index: int) -> tuple[list[Leaf], list[Found]]:
    """Leaves of stage `index` sorted by source name, one a source, and what is wrong with its mixture."""
    stage = recipe.stages[index]
    problems: list[Found] = []
    at = ("stages", index, "mixture")
    leaves = _leaves(recipe, stage.mixture, at, (), stage.weights == "relative", problems, ())
    for i, rule in enumerate(stage.replace):
        leaves = _replace(recipe, leaves, rule, ("stages", index, "replace", i), stage, problems)
    merged: dict[str, Leaf] = {}
    for leaf in leaves:
        old = merged.get(leaf.source)
        merged[leaf.source] = leaf if old is None else replace(old, start=old.start + leaf.start, end=old.end + leaf.end)
    return sorted((x for x in merged.values() if x.mean > 0), key=lambda x: x.source), problems


def _leaves(recipe: Recipe, mixture: dict[str, Any], at: tuple, groups: tuple, relative: bool, problems: list[Found], seen: tuple) -> list[Leaf]:
    shares = _shares(mixture, at, relative, problems)
    out = []
    for name, weight in mixture.items():
        start, end = shares.get(name, (Fraction(0), Fraction(0)))
        here = (*at, name)
        if isinstance(weight, Group):
            if name in recipe.sources:
                problems.append(
                    Found(
                        here,
                        Problem(
                            f"`{name}` is a source; it cannot also be a group here", hints=("give the group a name of its own",), rule="group-name"
                        ),
                        True,
                    )
                )
            inner, inner_at = weight.of, (*here, "of")
        elif name in recipe.groups:
            inner, inner_at = recipe.groups[name], ("groups", name)
        elif name in recipe.sources:
            out.append(Leaf(name, start, end, groups, here))
            continue
        else:
            problems.append(
                Found(
                    here,
                    Problem(
                        f"there is no source or group `{name}`", hints=did_you_mean(name, [*recipe.sources, *recipe.groups]), rule="unknown-source"
                    ),
                    True,
                )
            )
            continue
        if name in seen:
            problems.append(Found(here, Problem(f"the group `{name}` holds itself", hints=("remove one of the two",), rule="group-cycle"), True))
            continue
        for leaf in _leaves(recipe, inner, inner_at, (*groups, name), relative and isinstance(weight, Group), problems, (*seen, name)):
            # A ramp inside a ramp would be quadratic; the share of the product is kept exact at both ends only when one of them is constant.
            if start != end and leaf.start != leaf.end:
                problems.append(
                    Found(here, Problem(f"`{name}` ramps and so does `{leaf.source}` inside it", hints=("ramp one of the two",), rule="nested-ramp"))
                )
            out.append(replace(leaf, start=start * leaf.start, end=end * leaf.end))
    return out


def _shares(mixture: dict[str, Any], at: tuple, relative: bool, problems: list[Found]) -> dict[str, tuple[Fraction, Fraction]]:
    """Share at the start and end of the stage by name; they sum to one at both, or a problem says by how much they miss."""
    shares: dict[str, tuple[Fraction, Fraction]] = {}
    rest, plain = [], []
    for name, weight in mixture.items():
        value = weight.share if isinstance(weight, Group) else weight
        if value == "rest":
            rest.append(name)
        elif isinstance(value, Ramp):
            shares[name] = (value.from_, value.to)
        elif isinstance(value, Fraction):
            shares[name] = (value, value)
        else:
            plain.append(name)
            shares[name] = (Fraction(str(value)), Fraction(str(value)))
    if relative:
        if rest or len(plain) != len(mixture):
            odd = next(n for n in mixture if n not in plain)
            problems.append(
                Found(
                    (*at, odd),
                    Problem(
                        f"under `weights: relative` `{odd}` must be a plain number",
                        hints=("write every weight as a number, or every share in %",),
                        rule="weight-unit",
                    ),
                )
            )
            return shares
        total = sum(s for s, _ in shares.values())
        if total <= 0 or any(s < 0 for s, _ in shares.values()):
            problems.append(Found(at, Problem("relative weights must be positive", rule="weight-unit"), True))
            return shares
        return {n: (s / total, s / total) for n, (s, _) in shares.items()}
    for name in plain:
        value = shares[name][0]
        text = f"{float(value * 100):g}%" if 0 < value < 1 else f"{float(value):g}%"
        problems.append(
            Found(
                (*at, name),
                Problem(
                    f"the weight of `{name}` has no unit", hints=(f"write `{text}`, or say `weights: relative` in the stage",), rule="weight-unit"
                ),
            )
        )
    if plain:
        return shares
    ends = [sum(s[i] for s in shares.values()) for i in (0, 1)]
    if len(rest) > 1:
        problems.append(
            Found((*at, rest[1]), Problem("`rest` is given twice in one mixture", hints=("one name takes what is left",), rule="weights-sum"))
        )
    elif rest and all(e <= 1 for e in ends):
        shares[rest[0]] = (ONE - ends[0], ONE - ends[1])
        if ends == [1, 1]:
            problems.append(
                Found(
                    (*at, rest[0]),
                    Problem(
                        f"nothing is left for `{rest[0]}: rest`: the others take 100%",
                        hints=(f"lower another share, or delete `{rest[0]}`",),
                        rule="weights-sum",
                    ),
                )
            )
    elif ends != [1, 1]:
        off = ends[0] if ends[0] != 1 else ends[1]
        when = "" if ends[0] == ends[1] else " at the start of the stage" if ends[0] != 1 else " at the end of the stage"
        problems.append(
            Found(
                at, Problem(f"the shares sum to {show_share(off)}{when}, not 100%", hints=_sum_hints(mixture, shares, off), rule="weights-sum"), True
            )
        )
    return shares


def _sum_hints(mixture: dict, shares: dict, off: Fraction) -> tuple[str, ...]:
    hints = []
    largest = max(shares, key=lambda n: shares[n][0])
    fixed = shares[largest][0] + 1 - off
    if 0 < fixed <= 1:
        hints.append(f"write `{largest}: {show_share(fixed)}`, or `{largest}: rest`")
    if off > 0:
        exact = ", ".join(f"{n} {show_share(s / off)}" for n, (s, _) in list(shares.items())[:6]) + (", ..." if len(shares) > 6 else "")
        hints.append(f"or divide by the sum yourself: {exact}")
    return tuple(hints)


def _replace(recipe: Recipe, leaves: list[Leaf], rule: Any, at: tuple, stage: Stage, problems: list[Found]) -> list[Leaf]:
    """`share` of every leaf under `of` goes to `by`; the others keep their proportions."""
    inside = [x for x in leaves if x.source == rule.of or rule.of in x.groups]
    if not inside:
        known = {x.source for x in leaves} | {g for x in leaves for g in x.groups}
        problems.append(Found((*at, "of"), Problem(f"`{rule.of}` is not in this mixture", hints=did_you_mean(rule.of, known), rule="unknown-source")))
        return leaves
    if rule.by in recipe.groups:
        given = _leaves(recipe, recipe.groups[rule.by], ("groups", rule.by), (rule.by,), False, [], (rule.by,))
    elif rule.by in recipe.sources:
        given = [Leaf(rule.by, ONE, ONE, (), (*at, "by"))]
    else:
        problems.append(
            Found(
                (*at, "by"),
                Problem(
                    f"there is no source or group `{rule.by}`", hints=did_you_mean(rule.by, [*recipe.sources, *recipe.groups]), rule="unknown-source"
                ),
            )
        )
        return leaves
    moved = (sum(x.start for x in inside) * rule.share, sum(x.end for x in inside) * rule.share)
    kept = [replace(x, start=x.start * (1 - rule.share), end=x.end * (1 - rule.share)) if x in inside else x for x in leaves]
    outer = inside[0].groups[: inside[0].groups.index(rule.of) + 1] if rule.of in inside[0].groups else inside[0].groups
    return kept + [replace(x, start=x.start * moved[0], end=x.end * moved[1], groups=outer + x.groups, path=at) for x in given]
