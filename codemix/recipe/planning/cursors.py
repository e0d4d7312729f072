"""How far a lineage has read each source, and where its next stage starts to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from codemix.recipe.language.finding import Finding, finding
from codemix.recipe.planning.mixture import Leaf
from codemix.recipe.planning.plan import Pool, StageSource


@dataclass(frozen=True)
class DataOrder:
    """What decides the windows of a source and their order: one seed, or several where weights are
    averaged."""

    seq_len: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Cursor:
    """How far a lineage has read one source."""

    pool: str  # fingerprint
    order: DataOrder
    position: int
    epochs: Fraction
    # no window from here on was read in this order; None: a `restart` left windows read in other orders too
    furthest: int | None

    def epochs_of(self, pool: Pool | None) -> Fraction:
        """Epochs read of a pool: none of it where the source was rebuilt in between."""
        if pool is None or self.pool != pool.fingerprint:
            return Fraction(0)
        return self.epochs


@dataclass(frozen=True)
class Start:
    """The window of a source at which a stage starts to read."""

    window: int
    problems: tuple[Finding, ...] = ()


def start_of(leaf: Leaf, cursor: Cursor | None, order: DataOrder, mode: str) -> Start:
    """Where a stage with `cursor: mode` starts to read a source; `cursor` is None where nothing was read of
    it."""
    if cursor is None or mode == "restart":
        return Start(0)
    if cursor.order.seq_len != order.seq_len:
        problem = _order_changes(leaf, "seq_len", [cursor.order.seq_len], [order.seq_len])
        return Start(0, (problem,))
    if len({*cursor.order.seeds, *order.seeds}) > 1:
        problem = _order_changes(leaf, "seed", cursor.order.seeds, order.seeds)
        return Start(0, (problem,))
    if mode != "disjoint":
        return Start(cursor.position)
    if cursor.furthest is None:
        return Start(cursor.position, (_unread_unknown(leaf),))
    return Start(cursor.furthest)


def moved_on(before: Cursor | None, source: StageSource, order: DataOrder) -> Cursor:
    """The cursor of a source after a stage has read it; `before` is None where nothing was read of it."""
    end = source.start + source.windows
    epochs = source.epochs_after or source.epochs_before
    furthest: int | None = end
    if before is not None:
        was_known = before.furthest is not None
        is_known = was_known and before.order == order
        furthest_before = before.furthest or 0
        furthest = max(furthest_before, end) if is_known else None
    return Cursor(source.pool_fingerprint, order, end, epochs, furthest)


def _order_changes(leaf: Leaf, name: str, then: Sequence[int], now: Sequence[int]) -> Finding:
    before = ", ".join(map(str, then))
    after = ", ".join(map(str, now))
    what = f"`{leaf.source}` cannot continue: {name} changes from {before} to {after}"
    restart = "say `cursor: restart` in this stage; some text may then be read again, and `plan` counts it"
    return finding(
        leaf.path,
        "cursor-changes",
        f"{what}, which changes the order and the boundaries of its windows",
        restart,
        f"or keep {name} at {before}",
    )


def _unread_unknown(leaf: Leaf) -> Finding:
    what = f"`{leaf.source}` was read in a different order before it was restarted"
    return finding(
        leaf.path,
        "cursor-disjoint",
        f"{what}, so it is not known which of its windows are unread",
        "say `cursor: continue`, or restart no earlier stage under a different seq_len or seed",
    )
