"""A plan's stages, trained in order: each is looked up in the store first,
and is in the store when it is done.

A stage in work lives under `.building/`, with its checkpoints, and gets its place when it is whole. The same
command therefore does nothing for what is done, resumes what was begun, and starts what is not.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import jax

from codemix.data.store.manifest import Manifest
from codemix.data.store.stages import renamed_since
from codemix.data.store.store import Store
from codemix.train.run import checkpoint, hosts, lineage, memory, soup
from codemix.train.run.context import RunContext
from codemix.train.run.interrupt import Interrupts
from codemix.train.run.loop import Stopped, run_stage
from codemix.train.run.options import TrainOptions
from codemix.train.run.progress_view import View, open_view
from codemix.train.run.stage_folder import as_begun, building, finish
from codemix.train.run.trackers import check_trackers

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan, StagePlan


def train(
    plan: Plan, store: Store, manifests: Mapping[str, Manifest], *, options: TrainOptions | None = None
) -> list[Path]:
    """The folders of the plan's finished stages; all of them, unless `options.until` stops before the end.

    Raises KeyboardInterrupt (after Ctrl-C) and SystemExit(0) (after SIGTERM or a preemption), both after a
    checkpoint; CodemixError when something is wrong with the data, the store or the loss.
    """
    options = options or TrainOptions()
    with _session(plan, store, manifests, options) as session:
        folders = [session.stage(stage) for stage in plan.stages]
    return [folder for folder in folders if folder is not None]


def train_stage(
    plan: Plan,
    index: int,
    store: Store,
    manifests: Mapping[str, Manifest],
    *,
    options: TrainOptions | None = None,
) -> Path | None:
    """The folder of one finished stage, whose parent is in the store; None when `options.until` stopped it
    before its end.
    """
    with _session(plan, store, manifests, options or TrainOptions()) as session:
        return session.stage(plan.stages[index])


class Session:
    """Trains stage after stage, until one of them is paused."""

    def __init__(self, context: RunContext):
        self.context = context
        self.paused = False

    def stage(self, stage: StagePlan) -> Path | None:
        """The folder of one finished stage, trained now if need be; None once the run is paused."""
        if self.paused:
            return None
        context = self.context
        final = lineage.stage_dir(context.store, stage)
        if hosts.any_of(hosts.is_first() and lineage.is_done(final)):
            note = f"train {stage.name}: in the store already ({final.name})"
            renamed = renamed_since(final, stage)
            context.view.note(f"{note}; {renamed}" if renamed else note)
            return final
        if stage.spec.average_seeds:
            return self._average(stage)
        if context.options.until is not None and stage.run_steps >= context.options.until:
            self._pause(f"stopped before `{stage.name}`")
            return None
        if context.interrupts.asked is not None:
            raise Stopped(context.interrupts.asked, stage.name, 0)
        try:
            self._train(stage)
        except Stopped as stop:
            if stop.cause != "until":
                raise
            self._pause(str(stop))
            return None
        return final

    def _train(self, stage: StagePlan) -> None:
        began = time.time()
        with building(self.context, stage) as work:
            if work is not None:
                begun = as_begun(self.context, stage, work)
                ledger = run_stage(begun.context, begun.stage, work)
                seconds = round(time.time() - began, 1)
                finish(stage, work, ledger, {"seconds": seconds, **self.context.place()})

    def _average(self, stage: StagePlan) -> Path | None:
        """The average of the stage's members; None when the run was paused before all of them were done."""
        folders = []
        for member in soup.members(stage):
            folder = self.stage(member)
            if folder is None:
                return None
            folders.append(folder)
        return soup.average(self.context, stage, folders)

    def _pause(self, what: str) -> None:
        self.paused = True
        self.context.view.note(f"{what}, as asked; the same command without `--until` resumes from there")


@contextlib.contextmanager
def _session(
    plan: Plan, store: Store, manifests: Mapping[str, Manifest], options: TrainOptions
) -> Iterator[Session]:
    hosts.prepare(options.hosts)
    hosts.use_compile_cache(options.compile_cache, store.root / ".jax-cache")
    view = open_view(options.live) if hosts.is_first() else View()
    alone = jax.process_count() == 1
    try:
        with (
            contextlib.closing(view),
            memory.explain_out_of_memory(),
            hosts.explain_lost_host(),
            Interrupts(view.note, take_sigterm=alone) as interrupts,
        ):
            work_to_do = any(not lineage.is_done(lineage.stage_dir(store, s)) for s in plan.stages)
            with _warm_orbax() if alone and work_to_do else contextlib.nullcontext():
                check_trackers(options.track)
                tokenizer = lineage.tokenizer_of(plan, manifests)
                yield Session(RunContext(plan, store, manifests, tokenizer, options, view, interrupts))
            if interrupts.asked is not None:
                raise Stopped(interrupts.asked, plan.stages[-1].name, plan.stages[-1].steps)
    except Stopped as stop:
        if hosts.is_first():
            message = f"{stop}, with a checkpoint; the same command resumes from there"
            print(message, file=sys.stderr, flush=True)
        if stop.cause == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(0) from None


@contextlib.contextmanager
def _warm_orbax() -> Iterator[None]:
    """Orbax is started while the step compiles. Waited for at the end: a thread cut off by the end of the
    process is noisy.
    """
    thread = threading.Thread(target=checkpoint.warm_up, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
