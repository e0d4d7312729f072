"""When training has gone wrong: a non-finite loss, or one that jumps; and which text it was reading."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.data.loader.order import Order
from codemix.data.store.store import write_json
from codemix.errors import CodemixError, Problem

if TYPE_CHECKING:
    from codemix.data.loader.shards import Shards
    from codemix.recipe.planning.plan import StagePlan

SHOWN = 4  # rows in the message; the file has all


class Spike:
    """A loss [nats/token] above the mean of the last `window` steps by 1 nat and by 8 standard deviations.

    Both are ours, and far outside what a change of batch does; the first `least` steps of a stage are never a
    spike, since a new mixture may start anywhere.
    """

    def __init__(self, window: int = 128, least: int = 32):
        self._last: deque[float] = deque(maxlen=window)
        self._least = least

    def add(self, loss: float) -> float | None:
        """The mean before, when this loss is a spike. It enters the mean all the same: a loss that stays up
        is soon no news.
        """
        before = list(self._last)
        self._last.append(loss)
        if len(before) < self._least:
            return None
        mean = math.fsum(before) / len(before)
        variance = math.fsum((x - mean) ** 2 for x in before) / len(before)
        threshold = mean + max(1.0, 8 * math.sqrt(variance))
        return mean if loss > threshold else None


@dataclass(frozen=True)
class Trouble:
    """A step whose loss is wrong."""

    rule: str
    what: str
    stage: StagePlan
    step: int
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowRead:
    """What one row of a step read; `documents` are their ids, where the build wrote them."""

    row: int
    source: str
    epoch: int
    window: int
    documents: list[str]

    def __str__(self) -> str:
        named = ", ".join(self.documents[:2])
        if len(self.documents) > 2:
            named += ", ..."
        documents = f" ({named})" if named else ""
        return f"`{self.source}` window {self.window:,}{documents}"


def stopped(trouble: Trouble, shards: Mapping[str, Shards], folder: Path, saved: int | None) -> CodemixError:
    """The error that names the rows which the step read; all of them go to `stopped.json`."""
    rows = rows_of(trouble.stage, trouble.step, shards)
    record = {
        "rule": trouble.rule,
        "what": trouble.what,
        "stage": trouble.stage.name,
        "step": trouble.step + 1,
        "rows": [asdict(row) for row in rows],
    }
    write_json(folder / "stopped.json", record)
    shown = "; ".join(str(row) for row in rows[:SHOWN])
    if len(rows) > SHOWN:
        shown += f"; and {len(rows) - SHOWN} more rows"
    kept = "the stage has no checkpoint yet, its parent is untouched"
    if saved:
        kept = f"the checkpoint after step {saved:,} is kept"
    hints = (
        f"it read {shown}",
        f"every row is listed in {folder / 'stopped.json'}",
        f"{kept}; the same command resumes from there, over the same rows",
        "a lower learning rate, a longer warmup or a lower `clip` are the usual cures; "
        "look at the rows for text that should not be there",
        *trouble.hints,
    )
    what = f"{trouble.what} at step {trouble.step + 1:,} of `{trouble.stage.name}`"
    return CodemixError(Problem(what, rule=trouble.rule, hints=hints))


def rows_of(stage: StagePlan, step: int, shards: Mapping[str, Shards]) -> list[RowRead]:
    """What each row of a step read."""
    rows = Order(stage).rows(step)
    sources = rows.source.tolist()
    epochs = rows.epoch.tolist()
    windows = rows.window.tolist()
    first = stage.first_row(step)
    found = []
    for i, source in enumerate(sources):
        name = stage.sources[source].source
        documents = _documents(shards[name], windows[i])
        row = RowRead(first + i, name, epochs[i], windows[i], documents)
        found.append(row)
    return found


def _documents(shards: Shards, window: int) -> list[str]:
    shard, _ = shards.place(window)
    numbers = {span.document for span in shards.spans(window)}
    try:
        return [entry["id"] for _, entry in sorted(shards.metadata(shard, numbers).items())]
    except CodemixError:
        return []  # the documents' list is missing; the window still says where to look
