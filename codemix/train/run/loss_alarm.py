"""When training has gone wrong: a loss that is no number, or one that jumps; and which text it was reading."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.loader.order import Order
from codemix.data.store.store import write_json
from codemix.errors import CodemixError, Problem

if TYPE_CHECKING:
    from codemix.data.loader.shards import Shards
    from codemix.recipe.planning.plan import StagePlan

SHOWN = 4  # rows in the message; the file has all


class Spike:
    """A loss [nats/token] above the mean of the last `window` steps by 1 nat and by 8 standard deviations.

    Both are ours, and far outside what a change of batch does; the first `least` steps of a stage are never a spike,
    since a new mixture may start anywhere.
    """

    def __init__(self, window: int = 128, least: int = 32):
        self._last: deque[float] = deque(maxlen=window)
        self._least = least

    def add(self, loss: float) -> float | None:
        """The mean before, when this loss is a spike. It enters the mean all the same: a loss that stays up is soon no news."""
        before = list(self._last)
        self._last.append(loss)
        if len(before) < self._least:
            return None
        mean = math.fsum(before) / len(before)
        deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in before) / len(before))
        return mean if loss > mean + max(1.0, 8 * deviation) else None


def what_is_wrong(
    rule: str,
    what: str,
    stage: StagePlan,
    step: int,
    shards: Mapping[str, Shards],
    folder: Path,
    saved: int | None,
    hints: tuple[str, ...] = (),
) -> CodemixError:
    """The error for a step whose loss is wrong, with the rows that it read; all of them go to `stopped.json`."""
    rows = rows_of(stage, step, shards)
    write_json(
        folder / "stopped.json",
        {"rule": rule, "what": what, "stage": stage.name, "step": step + 1, "rows": rows},
    )
    said = "; ".join(_say(row) for row in rows[:SHOWN]) + (
        f"; and {len(rows) - SHOWN} more rows" if len(rows) > SHOWN else ""
    )
    kept = (
        f"the checkpoint after step {saved:,} is kept"
        if saved
        else "the stage has no checkpoint yet, its parent is untouched"
    )
    return CodemixError(
        Problem(
            f"{what} at step {step + 1:,} of `{stage.name}`",
            rule=rule,
            hints=(
                f"it read {said}",
                f"every row is listed in {folder / 'stopped.json'}",
                f"{kept}; the same command goes on from there, over the same rows",
                "a lower learning rate, a longer warmup or a lower `clip` are the usual cures; look at the rows for text that should not be there",
                *hints,
            ),
        )
    )


def rows_of(stage: StagePlan, step: int, shards: Mapping[str, Shards]) -> list[dict[str, Any]]:
    """What each row of a step read: source, epoch, window and the ids of its documents, where the build wrote them."""
    rows = Order(stage).rows(step)
    found = []
    for i, (source, epoch, window) in enumerate(
        zip(rows.source.tolist(), rows.epoch.tolist(), rows.window.tolist(), strict=True)
    ):
        name = stage.sources[source].source
        documents = _documents(shards[name], window)
        found.append(
            {
                "row": stage.first_row(step) + i,
                "source": name,
                "epoch": epoch,
                "window": window,
                "documents": documents,
            }
        )
    return found


def _documents(shards: Shards, window: int) -> list[str]:
    shard, _ = shards.place(window)
    numbers = {span.document for span in shards.spans(window)}
    try:
        return [entry["id"] for _, entry in sorted(shards.metadata(shard, numbers).items())]
    except CodemixError:
        return []  # the documents' list is missing; the window still says where to look


def _say(row: Mapping[str, Any]) -> str:
    documents = row["documents"]
    named = f" ({', '.join(documents[:2])}{', ...' if len(documents) > 2 else ''})" if documents else ""
    return f"`{row['source']}` window {row['window']:,}{named}"
