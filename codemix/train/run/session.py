"""A plan's stages, trained in order: each is looked up in the store first, and is in the store when it is done.

A stage in work lives under `.building/`, with its checkpoints, and gets its place when it is whole. The same command
therefore does nothing for what is done, goes on with what was begun, and starts what is not.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import jax

import codemix
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store, in_the_way, write_json, write_text
from codemix.recipe.language.yaml_text import dump
from codemix.train.model import mesh
from codemix.train.run import checkpoint, hosts, lineage, memory, soup
from codemix.train.run.interrupt import Interrupts
from codemix.train.run.loop import StageRun, Stopped
from codemix.train.run.options import TrainOptions
from codemix.train.run.progress_view import View, open_view
from codemix.train.run.trackers import check_trackers
from codemix.train.step.step import Step, step_for_training

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan, StagePlan


def train(
    plan: Plan, store: Store, manifests: Mapping[str, Manifest], *, options: TrainOptions | None = None
) -> list[Path]:
    """The folders of the plan's finished stages; all of them, unless `options.until` stops before the end.

    Raises KeyboardInterrupt (after Ctrl-C) and SystemExit(0) (after SIGTERM or a preemption), both after a checkpoint;
    CodemixError when something is wrong with the data, the store or the loss.
    """
    with _session(plan, store, manifests, options or TrainOptions()) as session:
        return [folder for stage in plan.stages if (folder := session.stage(stage)) is not None]


def train_stage(
    plan: Plan,
    index: int,
    store: Store,
    manifests: Mapping[str, Manifest],
    *,
    options: TrainOptions | None = None,
) -> Path | None:
    """The folder of one finished stage, whose parent is in the store; None when `options.until` stopped it before its end."""
    with _session(plan, store, manifests, options or TrainOptions()) as session:
        return session.stage(plan.stages[index])


class Session:
    """What the stages of a run share: the mesh, the compiled step, the view, the signals."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        manifests: Mapping[str, Manifest],
        options: TrainOptions,
        view: View,
        interrupts: Interrupts,
    ):
        self.plan, self.store, self.manifests, self.options, self.view, self.interrupts = (
            plan,
            store,
            manifests,
            options,
            view,
            interrupts,
        )
        self.stages = len(plan.stages)
        self.paused = False
        self._step = None
        check_trackers(options.track)
        self.tokenizer = lineage.tokenizer_of(plan, manifests)

    @property
    def step(self) -> Step:
        """The compiled step, one for all stages; made when the first stage needs it."""
        if self._step is None:
            vocab_size = self.tokenizer["vocab_size"]
            shape = mesh.shape_for_plan(self.plan, self.options.mesh, vocab_size, self.options.microbatches)
            self._step = shared_step(
                self.plan.recipe.training,
                self.plan.recipe.model,
                vocab_size,
                max(len(s.sources) for s in self.plan.stages),
                mesh.make_mesh(**shape),
                microbatches=self.options.microbatches,
                remat=self.options.remat,
            )
            self.place = {
                "mesh": shape,
                "processes": jax.process_count(),
                "device": jax.devices()[0].device_kind,
                "versions": versions(),
            }
        return self._step

    def stage(self, stage: StagePlan) -> Path | None:
        """The folder of one finished stage, trained now if need be; None once the run is paused."""
        final = lineage.stage_dir(self.store, stage)
        if self.paused:
            return None
        if hosts.any_of([hosts.is_first() and lineage.is_done(final)])[0]:
            self.view.note(f"train {stage.name}: in the store already ({final.name})")
            return final
        if stage.spec.average_seeds:
            return soup.soup(self, stage)
        if self.options.until is not None and stage.run_steps >= self.options.until:
            self.paused = True
            self.view.note(
                f"stopped before `{stage.name}`, as asked; the same command without `--until` goes on from there"
            )
            return None
        if self.interrupts.asked is not None:
            raise Stopped(self.interrupts.asked, stage.name, 0)
        began = time.time()
        try:
            with self.building(stage) as work:
                if work is not None:
                    ledger = StageRun(self, stage, work).run()
                    self.finish(stage, work, ledger, {"seconds": round(time.time() - began, 1), **self.place})
        except Stopped as stop:
            if stop.cause != "until":
                raise
            self.paused = True
            self.view.note(f"{stop}, as asked; the same command without `--until` goes on from there")
            return None
        return final

    @contextlib.contextmanager
    def building(self, stage: StagePlan) -> Iterator[Path | None]:
        """The folder in which a stage is made, its place in the store when this ends well; None when another process was faster."""
        final = lineage.stage_dir(self.store, stage)
        work = self.store.work(final)
        with self.store.lock(work) if hosts.is_first() else contextlib.nullcontext():
            if hosts.is_first() and lineage.is_done(final):
                yield None
                return
            if hosts.is_first():
                if final.exists():  # now, not when the last step is done
                    raise in_the_way(final, ["done.json"])
                if not work.exists():
                    self._note_stopped(stage, work)
                work.mkdir(parents=True, exist_ok=True)
                write_json(
                    work / "lineage.json", lineage.lineage(self.plan, stage, self.manifests, self.tokenizer)
                )
                write_text(
                    work / "recipe.yaml", dump(self.plan.recipe.model_dump(mode="json", by_alias=True))
                )
            hosts.barrier(f"begin {stage.fingerprint}")
            yield work
            hosts.barrier(f"end {stage.fingerprint}")
            if hosts.is_first():
                self.store.publish(final)
            hosts.barrier(f"done {stage.fingerprint}")

    def _note_stopped(self, stage: StagePlan, work: Path) -> None:
        """Say which stopped stages of this name are not the one that begins: a changed recipe goes on from none of them."""
        for other in sorted(work.parent.glob(f"{stage.name}-*/checkpoints")):
            steps = [int(path.name) for path in other.iterdir() if path.name.isdigit()]
            if steps and len(other.parent.name) == len(
                work.name
            ):  # not a stage whose name begins like this one's
                print(
                    f"note: `{stage.name}` begins at step 0: {other.parent} stopped after step {max(steps):,} and is another stage, "
                    f"the recipe has changed since\nhint: `codemix diff {other.parent}/recipe.yaml RECIPE` says in what; "
                    "undo that to go on from there, or delete that folder",
                    file=sys.stderr,
                    flush=True,  # also under --quiet: it costs a run
                )

    def finish(self, stage: StagePlan, work: Path, ledger: dict, more: dict) -> None:
        """Write what says that a stage is whole; done.json last."""
        if hosts.is_first():
            write_json(work / "ledger.json", ledger)
            done = {
                "stage": stage.name,
                "fingerprint": stage.fingerprint,
                "steps": stage.steps,
                "tokens": stage.tokens,
            }
            write_json(work / "done.json", done | {"finished": round(time.time(), 1), **more})


@contextlib.contextmanager
def _warm() -> Iterator[None]:
    """Orbax is started while the step compiles. Waited for at the end: a thread cut off by the end of the process is noisy."""
    thread = threading.Thread(target=checkpoint.warm_up, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def versions() -> dict[str, str]:
    """The packages that decide the last bits of a run."""
    names = ("jax", "jaxlib", "equinox", "optax", "orbax-checkpoint", "numpy")
    return {"codemix": codemix.__version__} | {name: importlib.metadata.version(name) for name in names}


# Kept between calls, so that stages trained one call at a time still compile once.
shared_step = functools.lru_cache(maxsize=2)(step_for_training)


@contextlib.contextmanager
def _session(
    plan: Plan, store: Store, manifests: Mapping[str, Manifest], options: TrainOptions
) -> Iterator[Session]:
    hosts.enough_threads()
    memory.keep_freed_pages()  # before JAX starts its threads
    hosts.join(options.hosts)
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
            with _warm() if alone and work_to_do else contextlib.nullcontext():
                yield Session(plan, store, manifests, options, view, interrupts)
            if interrupts.asked is not None:
                raise Stopped(interrupts.asked, plan.stages[-1].name, plan.stages[-1].steps)
    except Stopped as stop:
        if hosts.is_first():
            print(
                f"{stop}, with a checkpoint; the same command goes on from there", file=sys.stderr, flush=True
            )
        if stop.cause == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(0) from None
