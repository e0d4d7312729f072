"""Where and how fast a run trains.
Nothing here changes what is computed, except that a mesh decides the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codemix.errors import CodemixError


@dataclass(frozen=True)
class Hosts:
    """How the processes of one run find each other.
    All None: ask the environment, as on a TPU slice or under Slurm.
    """

    coordinator: str | None = None  # "address:port" of process 0
    count: int | None = None
    index: int | None = None

    @property
    def given(self) -> Hosts | None:
        """Itself; None where nothing is said, which means one process."""
        nothing = Hosts()
        return None if self == nothing else self


@dataclass(frozen=True)
class StepMetrics:
    """The numbers of one finished step, for `on_step`."""

    stage: str
    step: int  # steps of the stage that are done, this one included
    run_step: int  # steps of the run that are done
    tokens: int  # of the run, so far
    loss_nats_per_token: float
    grad_norm: float
    lr: float


@dataclass(frozen=True)
class TrainOptions:
    """Place, not meaning: two runs that differ only here train the same weights on the same tokens."""

    data_root: Path = Path(".")  # of models that a stage starts from
    save_every_steps: int | None = None  # checkpoint every N steps, beside the time below
    save_every_s: float | None = 600.0  # checkpoint every N seconds; None to switch off
    keep: int = 2  # newest checkpoints of an unfinished stage
    keep_every_steps: int | None = None  # checkpoint at multiples of this, to stay for good
    checkpoints: str | None = None  # also in a bucket: s3://BUCKET/PREFIX or gs://BUCKET/PREFIX
    log_every: int | None = None  # steps per line of metrics.jsonl; None: as `log_interval` says
    until: int | None = None  # stop, with a checkpoint, after N steps of the run
    track: tuple[str, ...] = ()  # extra writers: tensorboard, wandb, trackio
    on_spike: Literal["stop", "warn"] = "stop"  # a sudden rise of the loss; a non-finite loss always stops
    on_step: Callable[[StepMetrics], None] | None = (
        None  # called after each step; what it raises stops the run
    )
    live: bool | None = None  # None: a live view when stderr is a terminal
    prefetch: int = 2  # batches made ahead
    mesh: Mapping[str, int] | None = None  # axis -> size; None: every device, weights over up to 16 of them
    microbatches: int = 1  # parts in which a batch is computed, to hold fewer rows at once
    remat: str = "none"  # what the backward pass computes again: none, dots or full
    hosts: Hosts | None = None  # several processes; None: this one alone
    compile_cache: Path | None = None  # None: <store>/.jax-cache, unless the environment names one

    def __post_init__(self) -> None:
        at_least = {
            "save_every_steps": 1,
            "keep": 1,
            "keep_every_steps": 1,
            "log_every": 1,
            "until": 1,
            "prefetch": 0,
            "microbatches": 1,
        }
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise _invalid(f"`{name}` is {value}; it must be at least {least}", f"use {least} or more")
        if self.on_spike not in ("stop", "warn"):
            raise _invalid(f"`on_spike` is `{self.on_spike}`; it is `stop` or `warn`", "stop is the default")
        if self.save_every_s is not None and not self.save_every_s > 0:
            raise _invalid(
                f"`save_every_s` is {self.save_every_s}; it must be more than 0", "600 is the default"
            )

    def log_interval(self, steps: int) -> int:
        """Steps per line of metrics for a stage of this length:
        about a hundred lines, at most 10 steps each.
        """
        hundredth = max(1, steps // 100)
        return self.log_every or min(10, hundredth)

    def saves_at(self, step: int) -> bool:
        """Whether a checkpoint is due after this step of a stage, whatever the time."""
        intervals = [every for every in (self.save_every_steps, self.keep_every_steps) if every]
        due = [step % every == 0 for every in intervals]
        return any(due)


def _invalid(what: str, hint: str) -> CodemixError:
    return CodemixError(what, hints=[hint], rule="train-option")
