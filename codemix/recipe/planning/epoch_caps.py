"""`max_epochs` over a lineage: what a source may still give, and who takes what it cannot give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from codemix.recipe.language import schema
from codemix.recipe.planning.cursors import Cursor
from codemix.recipe.planning.mixture import Leaf
from codemix.recipe.planning.plan import Pool


def max_epochs(source: schema.SourceSpec) -> Fraction:
    """The cap as it is written: 0.1 is a tenth."""
    return Fraction(str(source.max_epochs))


def windows_left(source: schema.SourceSpec, pool: Pool, cursor: Cursor | None, seq_len: int) -> int:
    """Windows that a lineage may still read of a source."""
    used = cursor.epochs if cursor else Fraction(0)
    epochs = max_epochs(source) - used
    windows_per_epoch = pool.windows(seq_len)
    windows = int(epochs * windows_per_epoch)
    return max(0, windows)


@dataclass(frozen=True)
class Redistribution:
    """Leaves after excess was handed over. `stuck` is a leaf whose excess nothing can take."""

    leaves: tuple[Leaf, ...]
    stuck: Leaf | None = None


def redistribute(leaves: Sequence[Leaf], rows: int, left: Mapping[str, int]) -> Redistribution:
    """Hand what a source of `left` cannot give to its siblings, in proportion, then to the groups around,
    exactly."""
    leaves = tuple(leaves)
    capped: set[str] = set()
    while (over := _first_over(leaves, rows, left, capped)) is not None:
        capped.add(over.source)
        takers = _takers(leaves, over, capped)
        if not takers:
            return Redistribution(leaves, over)
        kept = Fraction(left[over.source], rows) / over.mean
        leaves = _handed_over(leaves, over, kept, takers)
    return Redistribution(leaves)


def _first_over(
    leaves: Sequence[Leaf],
    rows: int,
    left: Mapping[str, int],
    capped: set[str],
) -> Leaf | None:
    """The first leaf that asks for more windows than are left of its source."""
    for leaf in leaves:
        available = left.get(leaf.source, rows)
        if leaf.source not in capped and leaf.mean * rows > available:
            return leaf
    return None


def _takers(leaves: Sequence[Leaf], over: Leaf, capped: set[str]) -> list[Leaf]:
    """The nearest relatives of a leaf that may still grow: those of its innermost group that has any."""
    free = [leaf for leaf in leaves if leaf.source not in capped]
    for depth in range(len(over.groups), -1, -1):
        group = over.groups[:depth]
        takers = [leaf for leaf in free if leaf.groups[:depth] == group]
        if takers:
            return takers
    return []


def _handed_over(
    leaves: Sequence[Leaf],
    over: Leaf,
    kept: Fraction,
    takers: Sequence[Leaf],
) -> tuple[Leaf, ...]:
    """The leaves after `over` keeps a share `kept` of what it has, and the takers divide the rest."""
    excess = over.span.scaled(1 - kept)
    whole = sum(taker.mean for taker in takers)
    new = {over.source: over.span.scaled(kept)}
    for taker in takers:
        part = excess.scaled(taker.mean / whole)
        new[taker.source] = taker.span + part
    return tuple(replace(leaf, span=new.get(leaf.source, leaf.span)) for leaf in leaves)
