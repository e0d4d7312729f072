"""A stage's mixture, however nested, as exact shares of sources.

`{text: 50%, code: {share: 50%, of: {web: 80%, markup: 20%}}}` becomes web 2/5, markup 1/10 and so on. Every share is a
fraction; nothing is normalised unless the stage says `weights: relative`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from os.path import commonprefix
from typing import Any

from codemix.errors import did_you_mean
from codemix.recipe.language.finding import Finding, finding
from codemix.recipe.language.quantities import exact_share, show_share
from codemix.recipe.language.schema import Group, Ramp, Recipe

ONE = Fraction(1)


@dataclass(frozen=True)
class Leaf:
    """A source's share of a stage: `start` at its first row, `end` at its last (equal without a ramp)."""

    source: str
    start: Fraction
    end: Fraction
    groups: tuple[str, ...]  # enclosing groups, outermost first
    path: tuple  # where the recipe says so
    places: tuple[tuple[str, ...], ...] = ()  # the enclosing groups of each place where the stage reads it

    @property
    def mean(self) -> Fraction:
        return (self.start + self.end) / 2


def flatten(recipe: Recipe, index: int) -> tuple[list[Leaf], list[Finding]]:
    """Leaves of stage `index` sorted by source name, one a source, and what is wrong with its mixture."""
    stage = recipe.stages[index]
    problems: list[Finding] = []
    leaves = _leaves(
        recipe, stage.mixture, ("stages", index, "mixture"), (), stage.weights == "relative", problems, ()
    )
    for i, rule in enumerate(stage.replace):
        leaves = _replace(recipe, leaves, rule, ("stages", index, "replace", i), problems)
    merged: dict[str, Leaf] = {}
    for leaf in leaves:
        if not leaf.mean:
            continue
        leaf = replace(leaf, places=(leaf.groups,))
        if old := merged.get(
            leaf.source
        ):  # it is inside the groups that hold all of it, in whichever order they are written
            around = tuple(commonprefix([old.groups, leaf.groups]))
            leaf = replace(
                old,
                start=old.start + leaf.start,
                end=old.end + leaf.end,
                groups=around,
                places=old.places + leaf.places,
            )
        merged[leaf.source] = leaf
    return sorted(merged.values(), key=lambda x: x.source), problems


def unknown_source(recipe: Recipe, name: str, at: tuple, *, on_key: bool = False) -> Finding:
    """`name` is neither a source nor a group."""
    near = did_you_mean(name, [*recipe.sources, *recipe.groups])
    return finding(at, "unknown-source", f"there is no source or group `{name}`", *near, on_key=on_key)


def _leaves(
    recipe: Recipe,
    mixture: dict[str, Any],
    at: tuple,
    groups: tuple,
    relative: bool,
    problems: list[Finding],
    seen: tuple,
) -> list[Leaf]:
    shares = _shares(mixture, at, relative, problems)
    out = []
    for name, weight in mixture.items():
        start, end = shares.get(name, (Fraction(0), Fraction(0)))
        here = (*at, name)
        if isinstance(weight, Group):
            if name in recipe.sources:
                what = f"`{name}` is a source; it cannot also be a group here"
                problems.append(
                    finding(here, "group-name", what, "give the group a name of its own", on_key=True)
                )
            inner, inner_at = weight.of, (*here, "of")
        elif name in recipe.groups:
            inner, inner_at = recipe.groups[name], ("groups", name)
        elif name in recipe.sources:
            out.append(Leaf(name, start, end, groups, here))
            continue
        else:
            problems.append(unknown_source(recipe, name, here, on_key=True))
            continue
        if name in seen:
            problems.append(
                finding(
                    here,
                    "group-cycle",
                    f"the group `{name}` holds itself",
                    "remove one of the two",
                    on_key=True,
                )
            )
            continue
        for leaf in _leaves(
            recipe,
            inner,
            inner_at,
            (*groups, name),
            relative and isinstance(weight, Group),
            problems,
            (*seen, name),
        ):
            # A ramp inside a ramp would be quadratic; the share of the product is kept exact at both ends only when one of them is constant.
            if start != end and leaf.start != leaf.end:
                problems.append(
                    finding(
                        here,
                        "nested-ramp",
                        f"`{name}` ramps and so does `{leaf.source}` inside it",
                        "ramp one of the two",
                    )
                )
            out.append(replace(leaf, start=start * leaf.start, end=end * leaf.end))
    return out


Ends = tuple[Fraction, Fraction]  # a share at the start and at the end of the stage


def _shares(mixture: dict[str, Any], at: tuple, relative: bool, problems: list[Finding]) -> dict[str, Ends]:
    """The shares in one mapping by name; they sum to one at both ends, or a problem says by how much they miss."""
    shares: dict[str, Ends] = {}
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
        return _relative(mixture, shares, plain, at, problems)
    for name in plain:
        value = abs(shares[name][0])
        share = exact_share(value if 0 < value < 1 else value / 100)
        what = f"the weight of `{name}` has no unit"
        problems.append(
            finding(
                (*at, name), "weight-unit", what, f"write `{share}`, or say `weights: relative` in the stage"
            )
        )
    ends = (
        sum((start for start, _ in shares.values()), Fraction(0)),
        sum((end for _, end in shares.values()), Fraction(0)),
    )
    if plain:
        pass  # their sum means nothing yet
    elif len(rest) > 1:
        problems.append(
            finding(
                (*at, rest[1]),
                "weights-sum",
                "`rest` is given twice in one mixture",
                "one name takes what is left",
            )
        )
    elif rest and max(ends) <= 1:
        shares[rest[0]] = (1 - ends[0], 1 - ends[1])
        if ends == (1, 1):
            what = f"nothing is left for `{rest[0]}: rest`: the others take 100%"
            problems.append(
                finding((*at, rest[0]), "weights-sum", what, f"lower another share, or delete `{rest[0]}`")
            )
    elif ends != (1, 1):
        problems.append(_not_whole(shares, ends, bool(rest), at))
    return shares


def _relative(
    mixture: dict[str, Any], shares: dict[str, Ends], plain: list[str], at: tuple, problems: list[Finding]
) -> dict[str, Ends]:
    """Plain numbers over their sum."""
    total = sum(s for s, _ in shares.values())
    if odd := next((name for name in mixture if name not in plain), None):
        what = f"under `weights: relative` `{odd}` must be a plain number"
        problems.append(
            finding((*at, odd), "weight-unit", what, "write every weight as a number, or every share in %")
        )
    elif total <= 0 or any(s < 0 for s, _ in shares.values()):
        problems.append(finding(at, "weight-unit", "relative weights must be positive", on_key=True))
    else:
        return {n: (s / total, s / total) for n, (s, _) in shares.items()}
    return shares


def _not_whole(shares: dict[str, Ends], ends: Ends, has_rest: bool, at: tuple) -> Finding:
    """The shares miss 100%, and what to write instead."""
    off = ends[0] if ends[0] != 1 else ends[1]
    when = (
        ""
        if ends[0] == ends[1]
        else " at the start of the stage"
        if ends[0] != 1
        else " at the end of the stage"
    )
    hints = []
    for name in sorted(
        shares, key=lambda n: -shares[n][0]
    ):  # the largest that can give or take the difference
        fixed = [share + 1 - end for share, end in zip(shares[name], ends, strict=True)]
        if all(0 <= f <= 1 for f in fixed) and any(fixed) and not has_rest:
            hints.append(
                f"write `{name}: rest`"
                if ends[0] != ends[1]
                else f"write `{name}: {_moved(shares[name], fixed)}`, or `{name}: rest`"
            )
            break
    if ends[0] == ends[1] > 0 and not has_rest:
        exact = [f"{n} {exact_share(s / off)}" for n, (s, e) in shares.items() if s == e]
        if len(exact) == len(shares):
            hints.append(
                f"or divide by the sum yourself: {', '.join(exact[:6])}{', ...' if len(exact) > 6 else ''}"
            )
    if has_rest:
        hints.append("lower one of the others: `rest` is what they leave")
    return finding(
        at, "weights-sum", f"the shares sum to {show_share(off)}{when}, not 100%", *hints, on_key=True
    )


def _moved(share: Ends, fixed: list[Fraction]) -> str:
    return (
        exact_share(fixed[0])
        if share[0] == share[1]
        else f"{{from: {exact_share(fixed[0])}, to: {exact_share(fixed[1])}}}"
    )


def _replace(recipe: Recipe, leaves: list[Leaf], rule: Any, at: tuple, problems: list[Finding]) -> list[Leaf]:
    """`share` of every leaf under `of` goes to `by`; the others keep their proportions."""
    inside = [x for x in leaves if x.source == rule.of or rule.of in x.groups]
    if not inside:
        known = {x.source for x in leaves} | {g for x in leaves for g in x.groups}
        problems.append(
            finding(
                (*at, "of"),
                "unknown-source",
                f"`{rule.of}` is not in this mixture",
                *did_you_mean(rule.of, known),
            )
        )
        return leaves
    if rule.by in recipe.groups:
        given = _leaves(
            recipe, recipe.groups[rule.by], ("groups", rule.by), (rule.by,), False, problems, (rule.by,)
        )
    elif rule.by in recipe.sources:
        given = [Leaf(rule.by, ONE, ONE, (), (*at, "by"))]
    else:
        problems.append(unknown_source(recipe, rule.by, (*at, "by")))
        return leaves
    moved = (sum(x.start for x in inside) * rule.share, sum(x.end for x in inside) * rule.share)
    if moved[0] != moved[1] and (ramp := next((x.source for x in given if x.start != x.end), None)):
        what = f"what `{rule.of}` gives way to ramps with it, and so does `{ramp}` inside `{rule.by}`"
        problems.append(finding(at, "nested-ramp", what, "ramp one of the two"))
    kept = [
        replace(x, start=x.start * (1 - rule.share), end=x.end * (1 - rule.share)) if x in inside else x
        for x in leaves
    ]
    outer = (
        inside[0].groups[: inside[0].groups.index(rule.of) + 1]
        if rule.of in inside[0].groups
        else inside[0].groups
    )
    return kept + [
        replace(x, start=x.start * moved[0], end=x.end * moved[1], groups=outer + x.groups, path=at)
        for x in given
    ]
