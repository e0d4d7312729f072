"""A planned stage as random-access sequences, for any trainer: by row, and by step.

    stage = codemix.open("recipe.yaml", store="store").stage("init")
    stage[0]         # what row 0 reads
    stage.steps[10]  # the batch of step 10

Both are a pure function of the plan, so a position in them is the whole state of a loader. They can be sent to
worker processes: no tokens are copied, and no file is open before the first read. NumPy only; no JAX.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy import ndarray

from codemix.data.loader.located_rows import LocatedRows
from codemix.data.loader.step_source import Batch, StepSource
from codemix.errors import CodemixError
from codemix.recipe.planning.plan import StagePlan

_BLOCK = 2048  # rows that are located at once where they are read in order
IGNORED_LABEL = -100  # what transformers leave out of the loss


class StageState(TypedDict):
    """How far a trainer has come, as JSON: the next row of this stage that it reads."""

    stage: str
    fingerprint: str
    row: int


class StageRows:
    """The rows of a stage, in the order in which training reads them.

    An integer gives one row, a slice or an array of integers several: the dict of arrays of
    codemix/data/loader/batches.py, without or with its first dimension.
    """

    def __init__(self, source: StepSource):
        self.plan: StagePlan = source.stage
        self._source = source
        self._block: _Block | None = None

    @property
    def steps(self) -> StageSteps:
        """The same rows as batches, step by step."""
        return StageSteps(self._source)

    @property
    def sources(self) -> list[str]:
        """The names that the numbers in `source` stand for."""
        return [planned.source for planned in self.plan.sources]

    def __len__(self) -> int:
        return self.plan.rows

    def __repr__(self) -> str:
        identity = _identity(self.plan)
        length = self.plan.seq_len
        return f"StageRows({identity}, {len(self):,} rows of {length:,} tokens)"

    def __getitem__(self, index: int | slice | ndarray) -> Batch:
        """Raises IndexError beyond the stage, CodemixError (`shard-corrupt`) where data is damaged."""
        if isinstance(index, slice):
            rows = np.arange(*index.indices(len(self)))
            return self._batch(rows)
        if isinstance(index, ndarray):
            return self._batch(index.astype(np.int64))
        return self._row(operator.index(index))

    def __iter__(self) -> Iterator[Batch]:
        for row in range(len(self)):
            yield self[row]

    def _batch(self, rows: ndarray) -> Batch:
        order = self._source.order
        return self._source.batch(order.at(rows))

    def _row(self, number: int) -> Batch:
        row = _from_start(number, len(self), "row", self.plan)
        located = self._located(row)
        batch = self._source.assemble(located)
        only_row = {}
        for name, array in batch.items():
            only_row[name] = array[0]
        return only_row

    def _located(self, row: int) -> LocatedRows:
        """Locating many rows costs little more than one, so reading forward locates a block at a time."""
        block = self._block  # read once: a thread sees a whole block, old or new
        reads_forward = block is not None and 0 <= row - block.first < 2 * _BLOCK
        if block is None or not block.holds(row):
            length = _BLOCK if reads_forward else 1
            stop = min(row + length, len(self))
            located = self._source.locate(self._source.order.between(row, stop))
            block = _Block(row, located)
            self._block = block
        at = row - block.first
        return block.located.between(at, at + 1)

    def state(self, row: int) -> StageState:
        """What a checkpoint keeps when `row` is the next one to read."""
        _require_inside(row, len(self), "row", self.plan)
        return _state(self.plan, row)

    def row_of(self, state: Mapping[str, object]) -> int:
        """The row at which a trainer continues. Raises CodemixError (`foreign-state`) for the state of a
        different stage, or of this stage under a different recipe."""
        return _row_of(self.plan, state)

    def for_transformers(self) -> LabelledRows:
        """The same rows as Hugging Face's `Trainer` takes them."""
        return LabelledRows(self)


class StageSteps:
    """The batches of a stage: item `step` is what that step reads, or one host's part of it."""

    def __init__(self, source: StepSource, host: int = 0, hosts: int = 1):
        self.plan: StagePlan = source.stage
        self.host = host
        self.hosts = hosts
        self._whole = source
        self._source = source
        if hosts > 1:
            self._source = source.with_rows(_HostPart(host, hosts))

    def __len__(self) -> int:
        return self.plan.steps

    def __repr__(self) -> str:
        identity = _identity(self.plan)
        whole = f"{identity}, {len(self):,} steps"
        if self.hosts == 1:
            return f"StageSteps({whole})"
        return f"StageSteps({whole}, host {self.host} of {self.hosts})"

    def __getitem__(self, step: int) -> Batch:
        """Raises IndexError beyond the stage, CodemixError (`shard-corrupt`) where data is damaged."""
        number = operator.index(step)
        in_stage = _from_start(number, len(self), "step", self.plan)
        return self._source[in_stage]

    def __iter__(self) -> Iterator[Batch]:
        for step in range(len(self)):
            yield self[step]

    def of_host(self, host: int, hosts: int) -> StageSteps:
        """The part of each batch that one of `hosts` reads; together they read every row once.

        `hosts` counts whatever divides a batch: data-parallel ranks, times the micro-batches of each.
        Raises CodemixError (`uneven-hosts`) where a batch has no equal parts.
        """
        if not 0 <= host < hosts:
            raise IndexError(f"host {host} is not one of {hosts}, which are numbered from 0")
        for stretch in self.plan.batches:
            if stretch.size % hosts:
                raise CodemixError(
                    f"stage `{self.plan.name}`: a batch of {stretch.size} rows has no {hosts} equal parts",
                    hints=["use a number of hosts that divides every `batch_size` of the stage"],
                    rule="uneven-hosts",
                )
        return StageSteps(self._whole, host, hosts)

    def state(self, step: int) -> StageState:
        """What a checkpoint keeps after `step` steps; the same on every host, and for any number of them."""
        _require_inside(step, len(self), "step", self.plan)
        next_row = self.plan.first_row(step)
        return _state(self.plan, next_row)

    def step_of(self, state: Mapping[str, object]) -> int:
        """The step at which a trainer continues: `range(stage.steps.step_of(state), len(stage.steps))` are
        those left. Raises CodemixError (`foreign-state`) for the state of a different stage, or of this stage
        under a different recipe, and for a row inside a batch."""
        row = _row_of(self.plan, state)
        if row == self.plan.rows:
            return len(self)
        step = self.plan.step_of_row(row)
        if self.plan.first_row(step) != row:
            raise CodemixError(
                f"row {row:,} is inside step {step:,} of stage `{self.plan.name}`",
                hints=[
                    f"step {step:,} begins at row {self.plan.first_row(step):,}; continue by rows instead"
                ],
                rule="foreign-state",
            )
        return step


class LabelledRows:
    """Rows as Hugging Face's models for causal language modelling take them.

    `input_ids` and `labels` are int64 [T + 1]: the model shifts the labels itself, so T of them count. A label
    is -100 where the recipe gives a weight of 0. With `reset_positions: true` there are `position_ids`.
    """

    def __init__(self, rows: StageRows):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"LabelledRows({self.rows!r})"

    def __getitem__(self, row: int) -> Batch:
        read = self.rows[row]
        first_input = read["inputs"][:1]
        window = np.concatenate([first_input, read["targets"]])
        tokens = window.astype(np.int64)
        labels = tokens.copy()
        labels[1:][read["weights"] == 0] = IGNORED_LABEL
        labelled = {"input_ids": tokens, "labels": labels}
        if "positions" in read:
            positions = read["positions"].astype(np.int64)
            after_last = positions[-1:] + 1  # of the token that is a target only
            labelled["position_ids"] = np.concatenate([positions, after_last])
        return labelled


@dataclass(frozen=True)
class _Block:
    """Consecutive rows that are located."""

    first: int
    located: LocatedRows

    def holds(self, row: int) -> bool:
        stop = self.first + len(self.located)
        return self.first <= row < stop


@dataclass(frozen=True)
class _HostPart:
    """The rows of a batch that one host reads. A value, so that it can be sent to a worker process."""

    host: int
    hosts: int

    def __call__(self, batch_size: int) -> list[tuple[int, int]]:
        part = batch_size // self.hosts
        first = self.host * part
        stop = first + part
        return [(first, stop)]


def _from_start(number: int, length: int, unit: str, plan: StagePlan) -> int:
    """An index as Python's sequences take it, counted from the start."""
    from_start = number
    if number < 0:
        from_start += length
    _require_inside(from_start, length - 1, unit, plan)
    return from_start


def _require_inside(number: int, last: int, unit: str, plan: StagePlan) -> None:
    if 0 <= number <= last:
        return
    place = f"{unit} {number:,}"
    size = f"{plan.rows:,} rows in {plan.steps:,} steps"
    raise IndexError(f"{place} is beyond stage {plan.name} of {size}")


def _state(plan: StagePlan, row: int) -> StageState:
    return StageState(stage=plan.name, fingerprint=plan.fingerprint, row=row)


def _identity(plan: StagePlan) -> str:
    return f"{plan.name}-{plan.fingerprint[:12]}"


def _row_of(plan: StagePlan, state: Mapping[str, object]) -> int:
    row = state.get("row")
    if not isinstance(row, int) or isinstance(row, bool) or "fingerprint" not in state:
        raise CodemixError(
            f"this is not the state of a stage: {dict(state)!r}"[:300],
            hints=["a state is what `state()` returned: `stage`, `fingerprint` and `row`"],
            rule="foreign-state",
        )
    if state["fingerprint"] != plan.fingerprint:
        raise CodemixError(
            f"the state is of stage `{state.get('stage')}` ({str(state['fingerprint'])[:12]}), "
            f"this is `{plan.name}` ({plan.fingerprint[:12]})",
            hints=[
                "open the recipe and the data that the state was saved with: another order would repeat "
                "and skip text"
            ],
            rule="foreign-state",
        )
    if not 0 <= row <= plan.rows:
        raise CodemixError(
            f"row {row:,} is beyond stage `{plan.name}` of {plan.rows:,} rows",
            hints=["a state is what `state()` returned"],
            rule="foreign-state",
        )
    return row
