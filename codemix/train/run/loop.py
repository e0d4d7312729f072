"""One stage, trained step by step, from its parent or its own newest checkpoint to its last step.

The loop keeps one step in flight: while the devices work on step n, the numbers of step n - 1 are read and
the batch of n + 1 is made. At a checkpoint the step in flight is waited for, so what is saved is known to be
sound.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from codemix.data.loader.batches import batches
from codemix.data.loader.stage_data import stage_sentinels, training_shards
from codemix.errors import CodemixError
from codemix.train.run import hosts, lineage, loss_alarm
from codemix.train.run.bucket_checkpoints import Uploads, uploading
from codemix.train.run.checkpoint import Checkpoints
from codemix.train.run.context import RunContext
from codemix.train.run.metrics import Sums, mfu
from codemix.train.run.options import StepMetrics
from codemix.train.run.progress_view import Beginning
from codemix.train.run.reading import Reading
from codemix.train.run.recorder import Recorder, open_recorder
from codemix.train.run.speed import Speed
from codemix.train.run.stage_state import StageState, start_state
from codemix.train.step.step import Metrics

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan


Cause = signal.Signals | str


class Stopped(Exception):
    """Training stops at a step's edge, with a checkpoint: `cause` is a signal, "preempted" or "until"."""

    def __init__(self, cause: Cause, stage: str, step: int):
        super().__init__(f"stopped after step {step:,} of `{stage}`")
        self.cause = cause


def run_stage(context: RunContext, stage: StagePlan, folder: Path) -> dict[str, Any]:
    """Train a stage to its end in `folder`; the content of ledger.json. Raises Stopped, or CodemixError."""
    options = context.options
    belongs_to = lineage.belongs_to(stage, context.manifests, context.tokenizer)
    with (
        uploading(context, stage, folder) as uploads,
        Checkpoints(
            folder / "checkpoints",
            keep=options.keep,
            keep_every=options.keep_every_steps,
            apart=context.is_apart,
        ) as checkpoints,
    ):
        state = start_state(context, stage, checkpoints, belongs_to)
        done = state.ledger.steps
        with open_recorder(context, stage, folder, done) as recorder:
            n_stages = len(context.plan.stages)
            context.view.begin(Beginning(stage.name, stage.index, n_stages, stage.steps, done))
            if done < stage.steps:
                StageRun(context, stage, folder, belongs_to, checkpoints, recorder, state, uploads).steps()
        ledger = state.ledger.close()
        checkpoints.keep_only(stage.steps)
        return ledger


@dataclass(frozen=True)
class InFlight:
    """A step that the devices work on."""

    number: int
    lr: float
    metrics: Metrics


class StepNumbers:
    """The numbers of a finished step, by source where they are lists; reading them waits for the step."""

    def __init__(self, metrics: Metrics, n_sources: int):
        values = jax.device_get(metrics)
        own = slice(n_sources)

        def by_source(name: str) -> list:
            return values[name][own].tolist()

        self.ok = bool(values["ok"])
        self.nats: list[float] = by_source("nats")
        self.tokens: list[float] = by_source("tokens")
        self.rows: list[int] = by_source("rows")
        self.z = float(values["z"])
        self.grad_norm = float(values["grad_norm"])

    @property
    def loss(self) -> float:
        """[nats/token]"""
        tokens = math.fsum(self.tokens)
        return math.fsum(self.nats) / max(tokens, 1)


class StageRun:
    """The loop over a stage's steps."""

    def __init__(
        self,
        context: RunContext,
        stage: StagePlan,
        folder: Path,
        belongs_to: dict[str, Any],
        checkpoints: Checkpoints,
        recorder: Recorder,
        state: StageState,
        uploads: Uploads | None = None,
    ):
        self.context = context
        self.stage = stage
        self.folder = folder
        self.belongs_to = belongs_to
        self.checkpoints = checkpoints
        self.recorder = recorder
        self.state = state
        self.uploads = uploads
        self.options = context.options
        self.names = [source.source for source in stage.sources]
        self.shards = training_shards(stage, context.manifests)
        self.log_every = self.options.log_interval(stage.steps)
        self.in_flight: deque[InFlight] = deque()
        self.spike = loss_alarm.Spike()
        self.speed = Speed(stage.tokens)
        self.reading = Reading(context.store.reader, state.ledger.steps)
        self.saved = checkpoints.latest()
        self.saved_at_s = time.monotonic()

    def steps(self) -> None:
        """Train from where the state is to the last step."""
        step = self.context.step(self.stage)
        # Several CPU devices share few threads: two steps at once can deadlock on each other's collectives.
        crowded = jax.default_backend() == "cpu" and jax.local_device_count() > 1
        most_in_flight = 0 if crowded else 1
        loader = batches(
            self.stage,
            self.shards,
            start_step=self.state.ledger.steps,
            row_ranges=step.host_rows,
            prefetch=max(1, self.options.prefetch),
            sentinels=stage_sentinels(self.stage, self.context.tokenizer),
            reader=self.context.store.reader,
        )
        with contextlib.closing(loader):
            for number, batch in self.reading.timed(loader):
                rows = step.put(batch, self.stage.batch_size(number))
                lr = self.stage.lr(number)
                draw = (self.stage.seed, self.stage.run_steps + number)
                self.state.arrays, metrics = step(self.state.arrays, rows, lr, draw)
                self.in_flight.append(InFlight(number, lr, metrics))
                if crowded:
                    jax.block_until_ready(self.state.arrays)
                while len(self.in_flight) > most_in_flight:
                    self._account()
                self._edge(number + 1)

    def _edge(self, done: int) -> None:
        """Between two steps: save when it is time, stop when someone asked."""
        cause = self._asked(done)
        is_last = done == self.stage.steps
        if is_last or cause is not None or self.options.saves_at(done) or self._time_to_save(done):
            while self.in_flight:
                self._account()
            self._save(done)
        if cause is not None:
            self.checkpoints.wait()
            raise Stopped(cause, self.stage.name, done)

    def _asked(self, done: int) -> Cause | None:
        """Why to stop after `done` steps; the same answer in every process."""
        until = self.options.until
        if until is not None and self.stage.run_steps + done >= until and done < self.stage.steps:
            return "until"
        asked = self.context.interrupts.asked
        if jax.process_count() == 1:
            return asked
        if self.checkpoints.reached_preemption(done):
            return "preempted"
        if done % self.log_every == 0 and hosts.any_of(asked is not None):
            return signal.SIGINT
        return None

    def _time_to_save(self, done: int) -> bool:
        every_s = self.options.save_every_s
        if every_s is None:
            return False
        due = time.monotonic() - self.saved_at_s >= every_s
        if jax.process_count() == 1:
            return due
        return done % self.log_every == 0 and hosts.any_of(due)

    def _save(self, done: int) -> None:
        if self.saved == done:
            return
        self.recorder.sync()
        meta = self.state.meta() | {"belongs_to": self.belongs_to} | self.context.place()
        self.checkpoints.save(done, self.state.arrays, meta)
        if self.uploads is not None:
            self.uploads.begin(done)
        self.saved = done
        self.saved_at_s = time.monotonic()

    def _account(self) -> None:
        """Take in the numbers of the oldest step in flight, waiting for it if need be."""
        oldest = self.in_flight.popleft()
        numbers = StepNumbers(oldest.metrics, len(self.names))
        self._check_loss(numbers, oldest.number)
        state = self.state
        state.ledger.add(numbers.rows)
        z_nats = numbers.z * self.context.plan.recipe.training.z_loss
        state.sums.add(numbers.nats, numbers.tokens, z_nats, numbers.grad_norm)
        done = oldest.number + 1
        self.context.view.step(done)
        if self.options.on_step is not None:
            self.options.on_step(self._step_metrics(done, oldest.lr, numbers))
        self.speed.step(state.ledger.tokens)
        if done % self.log_every == 0 or done == self.stage.steps:
            self._line(done, oldest.lr)

    def _check_loss(self, numbers: StepNumbers, number: int) -> None:
        if not numbers.ok:
            raise self._wrong("loss-not-finite", "the loss or the gradient is not a number", number)
        before = self.spike.add(numbers.loss)
        if before is None:
            return
        what = f"the loss jumped from {before:.3f} to {numbers.loss:.3f} nats/token"
        if self.options.on_spike == "stop":
            raise self._wrong("loss-spike", what, number, "`--on-spike warn` continues over it")
        self.context.view.note(f"warning: {what} at step {number + 1:,} of `{self.stage.name}`")

    def _tokens_of_run(self) -> int:
        return self.stage.run_tokens + self.state.ledger.tokens

    def _step_metrics(self, done: int, lr: float, numbers: StepNumbers) -> StepMetrics:
        return StepMetrics(
            stage=self.stage.name,
            step=done,
            run_step=self.stage.run_steps + done,
            tokens=self._tokens_of_run(),
            loss_nats_per_token=numbers.loss,
            grad_norm=numbers.grad_norm,
            lr=lr,
        )

    def _line(self, done: int, lr: float) -> None:
        """One line of metrics over the steps since the line before."""
        self.state.ledger.check()
        line: dict[str, Any] = {
            "step": done,
            "run_step": self.stage.run_steps + done,
            "tokens": self._tokens_of_run(),
            "lr": lr,
            **self.state.sums.ratios(self.names),
        }
        rate = self.speed.line()
        if rate is not None:
            line["tokens_per_s"] = rate.tokens_per_s
            utilisation = self._mfu(rate.tokens_per_s)
            if utilisation is not None:
                line["mfu"] = utilisation
        line |= self.reading.line(done)
        line["time"] = time.time()
        self.state.sums = Sums()
        self.recorder.write(line)
        self.context.view.line(line, None if rate is None else rate.left_s)

    def _mfu(self, tokens_per_s: float) -> float | None:
        vocab_size = self.context.vocab_size
        flops_per_token = self.stage.model.flops_per_token(vocab_size, self.stage.seq_len)
        return mfu(tokens_per_s, flops_per_token, jax.devices())

    def _wrong(self, rule: str, what: str, number: int, *hints: str) -> CodemixError:
        checkpoints = self.checkpoints
        checkpoints.wait()
        saved = checkpoints.latest()
        trouble = loss_alarm.Trouble(rule, what, self.stage, number, hints)
        return loss_alarm.stopped(trouble, self.shards, self.folder, saved)
