"""`max_epochs` over a lineage: what a source may still give, who takes what it cannot give, and what mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from codemix.recipe.language import schema
from codemix.recipe.language.finding import Finding, finding
from codemix.recipe.language.quantities import (
    share_at_least,
    share_at_most,
    show_share,
    show_tokens,
    tokens_at_least,
    tokens_at_most,
)
from codemix.recipe.planning.mixture import Leaf
from codemix.recipe.planning.plan import Pool, StageSource


@dataclass
class Cursor:
    """How far a lineage has read one source."""

    pool: str  # fingerprint
    seq_len: int
    seeds: tuple[int, ...]  # of the data orders it was read in: one, or several where weights were averaged
    position: int
    epochs: Fraction
    furthest: (
        int | None
    )  # no window from here on was read in this order; None: a `restart` left windows read in other orders too

    def epochs_of(self, pool: Pool | None) -> Fraction:
        """Epochs read of a pool: none of it when the source was made anew in between."""
        return self.epochs if pool and self.pool == pool.fingerprint else Fraction(0)


@dataclass(frozen=True)
class Reading:
    """What a stage reads, as far as caps ask: its rows, the largest batch of them, and whether the batch grows."""

    spec: schema.Stage
    rows: int
    seq_len: int
    batch_size: int
    grows: bool
    takers: Callable[[str], bool]  # whether the other sources could take what a source cannot give


def windows_left(source: schema.SourceSpec, pool: Pool, cursor: Cursor | None, seq_len: int) -> int:
    """Windows that a lineage may still read of a source."""
    used = cursor.epochs_of(pool) if cursor else Fraction(0)
    return max(0, int((Fraction(str(source.max_epochs)) - used) * pool.windows(seq_len)))


def redistribute(leaves: list[Leaf], rows: int, left: Mapping[str, int]) -> tuple[list[Leaf], list[Finding]]:
    """Hand what a source of `left` cannot give to its siblings, in proportion, then to the groups around, exactly."""
    capped: set[str] = set()
    while over := next(
        (x for x in leaves if x.source not in capped and x.mean * rows > left.get(x.source, rows)), None
    ):
        capped.add(over.source)
        takers: list[Leaf] = []
        for depth in range(len(over.groups), -1, -1):
            takers = takers or [
                x for x in leaves if x.source not in capped and x.groups[:depth] == over.groups[:depth]
            ]
        if not takers:
            what = "every source of this mixture is at its `max_epochs`; nothing can take the rest"
            return leaves, [
                finding(over.path, "nothing-left", what, "raise a `max_epochs`, or shorten the stage")
            ]
        kept = Fraction(left[over.source], rows) / over.mean
        start, end = over.start * (1 - kept), over.end * (1 - kept)
        parts = {x.source: x.mean / sum(y.mean for y in takers) for x in takers} | {over.source: Fraction(0)}
        leaves = [
            replace(x, start=x.start * kept, end=x.end * kept)
            if x is over
            else replace(
                x, start=x.start + start * parts.get(x.source, 0), end=x.end + end * parts.get(x.source, 0)
            )
            for x in leaves
        ]
    return leaves, []


def check_source(
    leaf: Leaf, s: StageSource, source: schema.SourceSpec, pool: Pool | None, stage: Reading
) -> Iterator[Finding]:
    """What is wrong with how much a stage reads of one source."""
    if s.windows == 0 and leaf.mean:
        what = f"`{s.source}` is asked for {show_share(leaf.mean)} of {stage.rows:,} windows, which rounds to none"
        rows = -(-leaf.mean.denominator // leaf.mean.numerator)  # the fewest that give it one
        longer = (-(-rows // stage.batch_size) + stage.grows) * stage.batch_size * stage.seq_len
        hint = f"raise its share to {share_at_least(Fraction(1, stage.rows))}, lengthen the stage to {tokens_at_least(longer)} tokens, or remove it"
        yield finding(leaf.path, "zero-windows", what, hint)
    if pool is None:
        return
    if s.pool_windows == 0:
        longest = max(pool.shard_tokens, default=0)
        what = f"`{s.source}` has no window of {stage.seq_len} tokens: its largest shard has {longest:,}"
        hint = (
            "use a shorter seq_len, or more data"
            if longest > 8
            else "its inputs are empty, or its ops drop them: `codemix inspect` shows which"
        )
        yield finding(leaf.path, "source-too-short", what, hint)
    elif s.epochs_after > Fraction(str(source.max_epochs)):
        yield _over_cap(leaf, s, source, stage)
    elif stage.spec.cursor == "disjoint" and s.start + s.windows > s.pool_windows:
        fresh = max(0, s.pool_windows - s.start)
        what = f"`{s.source}` has {fresh:,} unread windows, and the `cursor: disjoint` stage `{stage.spec.name}` asks for {s.windows:,}"
        hint = (
            f"lower its share to {share_at_most(Fraction(fresh, stage.rows))}"
            if fresh
            else "remove it from this stage"
        )
        yield finding(
            leaf.path, "cursor-disjoint", what, f"{hint}, or say `cursor: continue` and let it repeat"
        )


def _over_cap(leaf: Leaf, s: StageSource, source: schema.SourceSpec, stage: Reading) -> Finding:
    cap, after, name = Fraction(str(source.max_epochs)), s.epochs_after, stage.spec.name
    left = max(0, int((cap - s.epochs_before) * s.pool_windows))
    earlier = f" after {float(s.epochs_before):.2f} epochs in earlier stages" if s.epochs_before else ""
    known = f"it has {show_tokens(s.pool_windows * stage.seq_len)} tokens and is asked for {show_tokens(s.windows * stage.seq_len)}{earlier}"
    taken = int((leaf.mean - s.share) * stage.rows) * stage.seq_len
    if taken:
        known += f"; {show_tokens(taken)} of that are handed over by sources at their caps"
    remove = "remove it from this stage"
    edits = [] if left else [remove]
    if left and not taken:
        edits.append(f"lower its share to {share_at_most(Fraction(left, stage.rows))} of stage `{name}`")
    if (rows := int(left / leaf.mean)) >= stage.batch_size:
        edits.append(
            f"{'shorten ' if taken else ''}the stage to {tokens_at_most(rows * stage.seq_len)} tokens"
        )
    raised = -(-after * 100 // 1)  # hundredths
    if raised <= schema.MAX_EPOCHS * 100:
        edits.append(f"raise {'its ' if not left else ''}`max_epochs` to {Decimal(raised) / 100:f}")
    edits = edits or [remove]
    hints = [known, ", or ".join([", ".join(edits[:-1]), edits[-1]]) if len(edits) > 1 else edits[0]]
    if source.on_cap == "error" and stage.takers(leaf.source):
        hints.append("or say `on_cap: redistribute` in the source, and its siblings take the rest")
    what = f"`{s.source}` would be read {float(after):.2f} times by the end of stage `{name}` (limit `max_epochs: {source.max_epochs:g}`)"
    return finding(leaf.path, "max-epochs", what, *hints)
