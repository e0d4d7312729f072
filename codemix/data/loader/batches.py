"""Batches of a stage, step by step, carried by Grain.

A Grain element is the whole batch that a host holds in one step, and an element's index is the step: the only
state of the loader is the step, which the checkpoint has anyway. Threads prefetch; there are no worker
processes, for the tokens are mapped files and copying them is cheaper than sending them.

A batch is a dict of arrays, B rows of T = `seq_len` places:

    inputs, targets  int32 [B, T]    targets are inputs one token later: two views of one array
    weights          float32 [B, T]  0 where `doc_mask: segment` and the target is a document's first token, else 1
    source           int32 [B]       index in the stage's sources
    segments         int32 [B, T]    with `doc_mask: segment`: 0, 1, ... by document inside the row
    positions        int32 [B, T]    with `reset_positions: true`: 0, 1, ... from where a document or row begins
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

from codemix.data.loader import fill_in_the_middle as fim
from codemix.data.loader.shards import Shards
from codemix.data.loader.step_source import Batch, Parcels, RowRanges, StepSource
from codemix.data.store.elsewhere import PartReader
from codemix.recipe.planning.plan import StagePlan


def batches(
    stage: StagePlan,
    shards: Mapping[str, Shards],
    *,
    start_step: int = 0,
    row_ranges: RowRanges = None,
    prefetch: int = 2,
    sentinels: fim.Sentinels | None = None,
    reader: PartReader | None = None,
) -> Generator[tuple[int, Batch], None, None]:
    """`(step, batch)` from `start_step` to the end of the stage.

    `row_ranges` are the rows of a batch that this host holds: half-open ranges or an index array, or a
    function from the batch size to either (needed when the batch size changes); None for all. What a row
    holds never depends on them. `prefetch` batches are made ahead in a thread, which hides slow storage; 0
    makes each when it is asked for, which for small batches in the page cache is faster. `sentinels` are the
    ids of fill-in-the-middle's prefix, suffix and middle tokens, wanted when the stage asks for it. `reader`
    reads the tokens where they are not on this disk (look_ahead.py); None where they are.

    Raises CodemixError (`shard-corrupt`, `shards-not-planned`, `fim-tokens`).
    """
    import grain

    source = StepSource(stage, shards, row_ranges, sentinels, reader)
    if not 0 <= start_step <= stage.steps:
        raise ValueError(f"step {start_step} is outside stage {stage.name} of {stage.steps} steps")
    if start_step == stage.steps:
        return
    carried = grain.MapDataset.source(Parcels(source)).to_iter_dataset(
        grain.ReadOptions(num_threads=min(prefetch, 1), prefetch_buffer_size=prefetch)
    )
    iterator = iter(carried)
    grain.experimental.set_next_index(iterator, start_step)
    try:
        for step in range(start_step, stage.steps):
            yield step, next(iterator).batch
    finally:
        iterator.close()
