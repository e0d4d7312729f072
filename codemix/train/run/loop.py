"""One stage, trained step by step, from its parent or its own newest checkpoint to its last step.

The loop keeps one step in flight: while the devices work on step n, the numbers of step n - 1 are read and the batch of
n + 1 is made. At a checkpoint the step in flight is waited for, so what is saved is known to be sound.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from codemix.data.loader.batches import batches
from codemix.data.loader.fill_in_the_middle import sentinels_of
from codemix.data.loader.shards import Shards
from codemix.train.run import hosts, lineage, loss_alarm
from codemix.train.run.checkpoint import Checkpoints, restore_final
from codemix.train.run.ledger import Ledger
from codemix.train.run.metrics import MetricsFile, Sums, mfu
from codemix.train.run.options import StepMetrics
from codemix.train.run.trackers import open_trackers
from codemix.train.step.step import TrainState

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan
    from codemix.train.run.session import Session


class Stopped(Exception):
    """Training stops at a step's edge, with a checkpoint: `cause` is a signal, "preempted" or "until"."""

    def __init__(self, cause: signal.Signals | str, stage: str, step: int):
        super().__init__(f"stopped after step {step:,} of `{stage}`")
        self.cause = cause


class StageRun:
    """One stage in work. `folder` becomes the stage's folder in the store when `run` returns."""

    def __init__(self, session: Session, stage: StagePlan, folder: Path):
        self.session, self.stage, self.folder, self.options = session, stage, folder, session.options
        self.names = [s.source for s in stage.sources]
        self.shards = {n: Shards(session.manifests[n], "train", stage.seq_len) for n in self.names}
        self.belongs = lineage.belongs_to(stage, session.manifests, session.tokenizer)
        self.run_steps = stage.run_steps
        self.log_every = self.options.log_interval(stage.steps)
        self.pending: deque[tuple[int, float, dict[str, jax.Array]]] = deque()
        self.spike = loss_alarm.Spike()
        self.saved: int | None = None

    def run(self) -> dict[str, Any]:
        """Train to the end; the content of ledger.json. Raises Stopped, or CodemixError."""
        with (
            Checkpoints(
                self.folder / "checkpoints", keep=self.options.keep, keep_every=self.options.keep_every_steps
            ) as self.checkpoints,
            contextlib.ExitStack() as self.writers,
        ):
            done = self._start()
            self._open_writers(done)
            self.session.view.begin(
                self.stage.name, self.stage.index, self.session.stages, self.stage.steps, done
            )
            if done < self.stage.steps:
                self._steps(done)
            ledger = self.ledger.close()
            self.checkpoints.keep_only(self.stage.steps)
            return ledger

    def _start(self) -> int:
        """Set `state`, `ledger` and `sums`; the number of steps already done."""
        step = self.session.step
        self.saved = self.checkpoints.latest()
        if self.saved is not None:
            meta = self.checkpoints.meta(self.saved)
            lineage.refuse_other(self.checkpoints.folder / str(self.saved), meta["belongs_to"], self.belongs)
            self.state = TrainState(**self.checkpoints.restore(self.saved, step.shapes()))
            self.ledger, self.sums = Ledger(self.stage, meta["rows"], self.saved), Sums(**meta["sums"])
            return self.saved
        self.ledger, self.sums = Ledger(self.stage), Sums()
        if self.stage.parent is None:
            self.state = step.init(self.stage.init_seed)
            return 0
        folder = lineage.parent_dir(self.session.store, self.stage, self.session.tokenizer)
        if self.stage.load == "state":
            self.state = TrainState(**restore_final(folder, step.shapes()))
        else:
            self.state = step.fresh_optimizer(restore_final(folder, step.shapes(), parts=("model",))["model"])
        return 0

    def _open_writers(self, done: int) -> None:
        """metrics.jsonl cut back to `done`, and the trackers; only the first process writes."""
        self.metrics, self.trackers = None, []
        if not hosts.is_first():
            return
        (self.folder / "stopped.json").unlink(missing_ok=True)
        self.metrics = self.writers.enter_context(
            contextlib.closing(MetricsFile(self.folder / "metrics.jsonl", done))
        )
        config = {
            "recipe": self.session.plan.recipe.name,
            "stage": self.stage.name,
            "steps": self.stage.steps,
            "seq_len": self.stage.seq_len,
        }
        config |= self.stage.model.model_dump(mode="json")
        self.trackers = open_trackers(
            self.options.track,
            self.folder,
            self.stage.name,
            self.stage.fingerprint,
            config,
            self.metrics.kept,
        )
        for tracker in self.trackers:
            self.writers.callback(tracker.close)

    def _steps(self, start: int) -> None:
        step = self.session.step
        sentinels = sentinels_of(self.session.tokenizer) if any(self.stage.fim.values()) else None
        self.clock, self.clock_tokens, self.save_clock = None, 0, time.monotonic()
        self.first_clock, self.first_tokens = None, 0
        # Several CPU devices share few threads: two steps at once can wait for each other's collectives for ever.
        crowded = jax.default_backend() == "cpu" and jax.local_device_count() > 1
        ahead = max(1, self.options.prefetch)
        loader = batches(
            self.stage,
            self.shards,
            start_step=start,
            row_ranges=step.host_rows,
            prefetch=ahead,
            sentinels=sentinels,
        )
        with contextlib.closing(loader):
            for number, batch in loader:
                lr = self.stage.lr(number)
                self.state, metrics = step(
                    self.state,
                    step.put(batch, self.stage.batch_size(number)),
                    lr,
                    (self.stage.seed, self.run_steps + number),
                )
                self.pending.append((number, lr, metrics))
                if crowded:
                    jax.block_until_ready(self.state)
                while len(self.pending) > (0 if crowded else 1):
                    self._account()
                self._edge(number + 1)

    def _edge(self, done: int) -> None:
        """Between two steps: save when it is time, stop when someone asked."""
        last = done == self.stage.steps
        cause = self._asked(done)
        every = any(
            n and done % n == 0 for n in (self.options.save_every_steps, self.options.keep_every_steps)
        )
        if last or cause is not None or every or self._time_to_save(done):
            while self.pending:
                self._account()
            self._save(done)
        if cause is not None:
            self.checkpoints.wait()
            raise Stopped(cause, self.stage.name, done)

    def _asked(self, done: int) -> signal.Signals | str | None:
        """Why to stop after `done` steps; the same answer in every process."""
        if (
            self.options.until is not None
            and self.run_steps + done >= self.options.until
            and done < self.stage.steps
        ):
            return "until"
        asked = self.session.interrupts.asked
        if jax.process_count() == 1:
            return asked
        if self.checkpoints.reached_preemption(done):
            return "preempted"
        if done % self.log_every == 0 and hosts.any_of([asked is not None])[0]:
            return signal.SIGINT
        return None

    def _time_to_save(self, done: int) -> bool:
        if self.options.save_every_s is None:
            return False
        due = time.monotonic() - self.save_clock >= self.options.save_every_s
        if jax.process_count() == 1:
            return due
        return done % self.log_every == 0 and hosts.any_of([due])[0]

    def _save(self, done: int) -> None:
        if self.saved == done:
            return
        if self.metrics:
            self.metrics.sync()
        meta = {
            "step": done,
            "belongs_to": self.belongs,
            "rows": self.ledger.rows,
            "sums": self.sums.as_json(),
            **self.session.place,
        }
        self.checkpoints.save(done, self.state, meta)
        self.saved, self.save_clock = done, time.monotonic()

    def _account(self) -> None:
        """Take in the numbers of the oldest step in flight, waiting for it if need be."""
        number, lr, device = self.pending.popleft()
        values = jax.device_get(device)
        count = len(self.names)
        nats, tokens = values["nats"][:count].tolist(), values["tokens"][:count].tolist()
        total = math.fsum(tokens)
        if not bool(values["ok"]):
            raise self._wrong("loss-not-finite", "the loss or the gradient is not a number", number)
        loss = math.fsum(nats) / max(total, 1)
        before = self.spike.add(loss)
        if before is not None:
            what = f"the loss jumped from {before:.3f} to {loss:.3f} nats/token"
            if self.options.on_spike == "stop":
                raise self._wrong("loss-spike", what, number, "`--on-spike warn` goes on over it")
            self.session.view.note(f"warning: {what} at step {number + 1:,} of `{self.stage.name}`")
        self.ledger.add(values["rows"][:count].tolist())
        self.sums.add(
            nats,
            tokens,
            float(values["z"]) * self.session.plan.recipe.training.z_loss,
            float(values["grad_norm"]),
        )
        done = number + 1
        self.session.view.step(done)
        if self.options.on_step is not None:
            self.options.on_step(
                StepMetrics(
                    stage=self.stage.name,
                    step=done,
                    run_step=self.run_steps + done,
                    tokens=self.stage.run_tokens + self.ledger.tokens,
                    loss_nats_per_token=loss,
                    grad_norm=float(values["grad_norm"]),
                    lr=lr,
                )
            )
        if self.clock is None:  # the first step compiles; speed is measured from its end
            self.clock = self.first_clock = time.monotonic()
            self.first_tokens = self.ledger.tokens
        else:
            self.clock_tokens += self.stage.batch_size(number) * self.stage.seq_len
        if done % self.log_every == 0 or done == self.stage.steps:
            self._line(done, lr)

    def _line(self, done: int, lr: float) -> None:
        self.ledger.check()
        now = time.monotonic()
        line = {
            "step": done,
            "run_step": self.run_steps + done,
            "tokens": self.stage.run_tokens + self.ledger.tokens,
            "lr": lr,
        }
        line |= self.sums.ratios(self.names)
        left_s = None
        if self.clock_tokens:
            rate = self.clock_tokens / max(now - self.clock, 1e-9)
            line["tokens_per_s"] = rate
            share = mfu(
                rate,
                self.stage.model.flops_per_token(self.session.tokenizer["vocab_size"], self.stage.seq_len),
                jax.devices(),
            )
            line |= {} if share is None else {"mfu": share}
            # by the speed since the start: that of one interval would make the time left jump
            left_s = (
                (self.stage.tokens - self.ledger.tokens)
                * (now - self.first_clock)
                / (self.ledger.tokens - self.first_tokens)
            )
        self.clock, self.clock_tokens, self.sums = now, 0, Sums()
        line["time"] = time.time()
        if self.metrics:
            self.metrics.write(line)
            for tracker in self.trackers:
                tracker.write(line)
        self.session.view.line(line, left_s)

    def _wrong(self, rule: str, what: str, number: int, *hints: str) -> Exception:
        self.checkpoints.wait()
        return loss_alarm.what_is_wrong(
            rule, what, self.stage, number, self.shards, self.folder, self.checkpoints.latest(), hints
        )
