"""How far a lineage has read each source, and where its next stage starts to read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from codemix.recipe.language.finding import Finding, finding
from codemix.recipe.planning.mixture import Leaf
from codemix.recipe.planning.plan import StageSource, copy_key


@dataclass(frozen=True)
class DataOrder:
    """What decides the windows of a source and their order: one seed, or several where weights are
    averaged."""

    seq_len: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Cursor:
    """How far a lineage has read one source."""

    source: str  # its name when it was read last
    copy: int  # which one of the lineage's sources of its content
    order: DataOrder
    position: int
    epochs: Fraction
    # no window from here on was read in this order; None: a `restart` left windows read in other orders too
    furthest: int | None


Cursors = Mapping[str, Cursor]  # of a lineage, by the key of the source


def copies(leaves: Sequence[Leaf], identities: Mapping[str, str], cursors: Cursors) -> dict[str, int]:
    """Which copy of its content each source of a stage is: 0 for all where no two hold the same.

    A source is the copy that the lineage read under its name. Else it is one that the lineage read under a
    name that does not stand for this content any more, so a renamed source goes on where it was. Else it is
    a new one; of several, that with the largest share comes first.
    """
    largest_first = sorted(leaves, key=lambda leaf: (-leaf.mean, leaf.source))
    of_content: dict[str, list[str]] = {}
    for leaf in largest_first:
        content = identities[leaf.source]
        of_content.setdefault(content, []).append(leaf.source)
    found: dict[str, int] = {}
    for content, names in of_content.items():
        own: dict[str, int] = {}  # under a name that still stands for this content
        free: list[int] = []
        read = list(_read_copies(content, cursors))
        for cursor in read:
            if identities.get(cursor.source) == content:
                own[cursor.source] = cursor.copy
            else:
                free.append(cursor.copy)
        unread = itertools.count(len(read))
        for_new_names = itertools.chain(free, unread)
        for name in names:
            found[name] = own[name] if name in own else next(for_new_names)
    return found


def _read_copies(content: str, cursors: Cursors) -> Iterator[Cursor]:
    copy = 0
    while (key := copy_key(content, copy)) in cursors:
        yield cursors[key]
        copy += 1


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
    return Cursor(source.source, source.copy, order, end, epochs, furthest)


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
