"""What is wrong with how much a stage reads of one source, and the edits that mend it, with their numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from codemix.recipe.planning.budget import StageBudget
from codemix.recipe.planning.epoch_caps import max_epochs
from codemix.recipe.planning.mixture import Leaf
from codemix.recipe.planning.plan import Pool, StageSource


@dataclass(frozen=True)
class SourceReading:
    """What a stage reads of one source, with all that decides whether it may."""

    leaf: Leaf  # its share after redistribution
    planned: StageSource
    source: schema.SourceSpec
    pool: Pool | None
    stage: schema.Stage
    seq_len: int
    budget: StageBudget
    others_can_take: Callable[[str], bool]  # whether the other sources could take what a source cannot give

    @property
    def name(self) -> str:
        return self.planned.source

    def tokens(self, windows: int) -> int:
        return windows * self.seq_len


def source_findings(reading: SourceReading) -> Iterator[Finding]:
    """What is wrong with how much a stage reads of one source."""
    planned = reading.planned
    if planned.windows == 0 and reading.leaf.mean:
        yield _rounds_to_none(reading)
    if reading.pool is None or planned.pool_windows is None:
        return
    if planned.pool_windows == 0:
        yield _no_window(reading, reading.pool)
        return
    epochs = planned.epochs_before + Fraction(planned.windows, planned.pool_windows)
    if epochs > max_epochs(reading.source):
        yield _over_cap(reading, planned.pool_windows, epochs)
    elif reading.stage.cursor == "disjoint" and planned.start + planned.windows > planned.pool_windows:
        yield _not_fresh(reading, planned.pool_windows)


def _rounds_to_none(reading: SourceReading) -> Finding:
    budget, share = reading.budget, reading.leaf.mean
    grows = len(budget.batches) > 1
    rows = math.ceil(1 / share)  # the fewest that give it one
    steps = math.ceil(Fraction(rows, budget.largest_batch)) + grows
    longer = tokens_at_least(reading.tokens(steps * budget.largest_batch))
    larger = share_at_least(Fraction(1, budget.rows))
    what = (
        f"`{reading.name}` is asked for {show_share(share)} of {budget.rows:,} windows, which rounds to none"
    )
    hint = f"raise its share to {larger}, lengthen the stage to {longer} tokens, or remove it"
    return finding(reading.leaf.path, "zero-windows", what, hint)


def _no_window(reading: SourceReading, pool: Pool) -> Finding:
    longest = max(pool.shard_tokens, default=0)
    size = f"its largest shard has {longest:,}"
    what = f"`{reading.name}` has no window of {reading.seq_len} tokens: {size}"
    hint = "its inputs are empty, or its ops drop them: `codemix inspect` shows which"
    if longest > 8:
        hint = "use a shorter seq_len, or more data"
    return finding(reading.leaf.path, "source-too-short", what, hint)


def _not_fresh(reading: SourceReading, pool_windows: int) -> Finding:
    planned = reading.planned
    fresh = max(0, pool_windows - planned.start)
    asked = f"the `cursor: disjoint` stage `{reading.stage.name}` asks for {planned.windows:,}"
    hint = "remove it from this stage"
    if fresh:
        hint = f"lower its share to {share_at_most(Fraction(fresh, reading.budget.rows))}"
    return finding(
        reading.leaf.path,
        "cursor-disjoint",
        f"`{reading.name}` has {fresh:,} unread windows, and {asked}",
        f"{hint}, or say `cursor: continue` and let it repeat",
    )


def _over_cap(reading: SourceReading, pool_windows: int, epochs: Fraction) -> Finding:
    planned, source = reading.planned, reading.source
    left = (max_epochs(source) - planned.epochs_before) * pool_windows
    handed_over = int((reading.leaf.mean - planned.share) * reading.budget.rows)
    edits = _edits(reading, max(0, int(left)), bool(handed_over), epochs)
    hints = [_facts(reading, pool_windows, handed_over), _alternatives(edits)]
    if source.on_cap == "error" and reading.others_can_take(reading.name):
        hints.append("or say `on_cap: redistribute` in the source, and its siblings take the rest")
    return finding(
        reading.leaf.path,
        "max-epochs",
        f"`{reading.name}` would be read {float(epochs):.2f} times by the end of stage"
        f" `{reading.stage.name}` (limit `max_epochs: {source.max_epochs:g}`)",
        *hints,
    )


def _facts(reading: SourceReading, pool_windows: int, handed_over: int) -> str:
    """What the source has, what it is asked for, and why it is so much."""
    planned = reading.planned
    has = show_tokens(reading.tokens(pool_windows))
    facts = f"it has {has} tokens and is asked for {show_tokens(reading.tokens(planned.windows))}"
    if planned.epochs_before:
        facts += f" after {float(planned.epochs_before):.2f} epochs in earlier stages"
    if handed_over:
        facts += (
            f"; {show_tokens(reading.tokens(handed_over))} of that are handed over by sources at their caps"
        )
    return facts


def _edits(reading: SourceReading, left: int, takes_excess: bool, epochs: Fraction) -> list[str]:
    """Edits each of which keeps the source under its cap; `left` are the windows that it may still give."""
    edits = []
    if not left:
        edits.append("remove it from this stage")
    elif not takes_excess:
        share = share_at_most(Fraction(left, reading.budget.rows))
        edits.append(f"lower its share to {share} of stage `{reading.stage.name}`")
    rows = int(left / reading.leaf.mean)
    if rows >= reading.budget.largest_batch:
        shorten = "shorten " if takes_excess else ""
        edits.append(f"{shorten}the stage to {tokens_at_most(reading.tokens(rows))} tokens")
    hundredths = math.ceil(epochs * 100)
    if hundredths <= schema.MAX_EPOCHS * 100:
        whose = "" if left else "its "
        edits.append(f"raise {whose}`max_epochs` to {Decimal(hundredths) / 100:f}")
    return edits or ["remove it from this stage"]


def _alternatives(edits: list[str]) -> str:
    """`a, b, or c`"""
    *others, last = edits
    if not others:
        return last
    listed = ", ".join(others)
    return f"{listed}, or {last}"
