"""Checkpoints of a stage: weights, optimizer state and a JSON of what they belong to.
The only owner of orbax.

    checkpoints/<step>/{model,opt_state,meta}      a step is there whole, or not at all

`<step>` counts finished steps of the stage. Saves are asynchronous: values are copied before `save` returns,
files are written behind, and the folder gets its name when everything is in it. A checkpoint can be restored
onto any mesh.

`meta` holds a checksum of every array, made on the devices from its bits before they were written. Whoever
restores makes it again, so weights that a disk changed are found out before they are used; it costs one pass
over the arrays.
"""

from __future__ import annotations

import functools
import json
import logging
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import jax
import orbax.checkpoint as ocp

from codemix.data.store.store import read_json
from codemix.errors import CodemixError, Problem
from codemix.files import digest
from codemix.train.run import hosts
from codemix.train.run.leaves import abstract, checksums, differences, gathered, leaves, refuse_changed

if TYPE_CHECKING:
    from codemix.recipe.language import schema
    from codemix.train.model.decoder import Decoder

_PARTS = ("model", "opt_state")


class Checkpoints:
    """The checkpoints in one folder. All processes of a run make the same calls in the same order."""

    def __init__(
        self, folder: Path, *, keep: int | None = None, keep_every: int | None = None, apart: bool = False
    ):
        """`keep`: newest steps that stay (None: all); multiples of `keep_every` stay besides.
        Left-overs of a crash are removed.

        `apart`: the processes share no folder. The first one writes, arrays whole; which steps there are is for it
        to say, and each process reads them in its own `folder`, where somebody has put them.
        """
        _keep_orbax_quiet()
        self.folder = Path(folder).absolute()
        self.keep_every = keep_every
        self._apart = apart
        self._writes = hosts.is_first() or not apart
        options = ocp.CheckpointManagerOptions(
            create=not apart,
            max_to_keep=keep if self._writes else None,
            keep_period=keep_every if self._writes else None,
            cleanup_tmp_directories=keep is not None and self._writes,
            multiprocessing_options=_this_process() if apart else ocp.options.MultiprocessingOptions(),
        )
        if apart:
            self.folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, step: int, state: Any, meta: Mapping[str, Any]) -> None:
        """Begin to save `state` (anything with `model` and `opt_state`) as `step`;
        it may be donated, and `meta` changed, as soon as this returns.
        """
        content = {**meta, "leaves": {}, "checksums": {}}
        saves = {}
        for part in _PARTS:
            tree = getattr(state, part)
            content["leaves"][part] = leaves(tree)
            content["checksums"][part] = checksums(tree)
            if self._apart:
                tree = gathered(tree)
            saves[part] = ocp.args.StandardSave(tree)
        if not self._writes:
            return
        content = json.loads(json.dumps(content))  # a copy, and what will be read back
        content["digest"] = digest(content)
        saves["meta"] = ocp.args.JsonSave(content)
        whole = ocp.args.Composite(**saves)
        with _disk_errors(self.folder):
            self._manager.save(step, args=whole, force=True)

    def steps(self) -> list[int]:
        """Steps that are there whole, ascending."""
        return sorted(self._manager.all_steps())

    def latest(self) -> int | None:
        """The newest whole step."""
        newest = max(self.steps(), default=None)
        if self._apart:
            newest = json.loads(hosts.of_first(json.dumps(newest)))
        return newest

    def meta(self, step: int) -> dict[str, Any]:
        """What was saved as `meta` with a step."""
        with self._damage(step):
            wanted = ocp.args.Composite(meta=ocp.args.JsonRestore())
            meta = dict(self._manager.restore(step, args=wanted).meta)
            written = meta.pop("digest", None)
            if written is not None and written != digest(meta):
                raise ValueError("its `meta` was changed: the digest in it differs")
            return meta

    def restore(self, step: int, like: Any, *, parts: tuple[str, ...] = _PARTS) -> dict[str, Any]:
        """The parts of a step, each shaped, typed and sharded as `like.<part>` (arrays,
        or `ShapeDtypeStruct` with shardings).

        Raises CodemixError (`checkpoint-mismatch`) that names every leaf that differs, (`checkpoint-damaged`)
        when files are.
        """
        meta = self.meta(step)
        place = self.folder / str(step)
        problems: list[Problem] = []
        wanted = {}
        for part in parts:
            tree = getattr(like, part)
            problems += differences(f"{place}: {part}", meta["leaves"][part], leaves(tree))
            shapes = jax.tree.map(abstract, tree)
            wanted[part] = ocp.args.StandardRestore(shapes)
        if problems:
            raise CodemixError(*problems)
        written = meta.get("checksums", {})  # none in what was saved before there were any
        with self._damage(step):
            restored = self._manager.restore(step, args=ocp.args.Composite(**wanted))
            for part in parts if written else ():
                refuse_changed(part, written[part], restored[part])
        return {part: restored[part] for part in parts}

    def reached_preemption(self, step: int) -> bool:
        """Whether the machine's owner asked for it back;
        all processes get the same answer for the same step.
        """
        return self._manager.reached_preemption(step)

    def wait(self) -> None:
        """Return when every save is on disk, whole."""
        with _disk_errors(self.folder):
            self._manager.wait_until_finished()

    def keep_only(self, final: int) -> None:
        """Remove what a finished stage needs no more: all but `final` and the multiples of `keep_every`."""
        if not self._writes:
            return
        self.wait()
        for step in self.steps():
            if step != final and not (self.keep_every and step % self.keep_every == 0):
                self._manager.delete(step)

    def close(self) -> None:
        with _disk_errors(self.folder):
            self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _damage(self, step: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            stage_dir = self.folder.parent
            hint = (
                "delete that folder; training resumes from the checkpoint before it, "
                "or from the start of the stage"
            )
            if (stage_dir / "done.json").exists():
                hint = _again(stage_dir)
            text = str(error) or type(error).__name__
            raise CodemixError(
                f"the checkpoint {self.folder / str(step)} cannot be read: {text.splitlines()[0]}",
                hints=[hint],
                rule="checkpoint-damaged",
            ) from error


def _this_process() -> ocp.options.MultiprocessingOptions:
    """Orbax's, for one that waits for no other."""
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process-{me}"
    )


def restore_final(stage_dir: Path, like: Any, *, parts: tuple[str, ...] = _PARTS) -> dict[str, Any]:
    """The parts of a finished stage's last step, as `Checkpoints.restore`;
    an earlier step, kept on purpose, never takes its place.
    """
    stage_dir = Path(stage_dir)
    step = read_json(stage_dir / "done.json")["steps"]
    folder = stage_dir / "checkpoints"
    place = folder / str(step)
    if not place.is_dir():
        hint = _again(stage_dir)
        raise CodemixError(f"there is no checkpoint {place}", hints=[hint], rule="no-checkpoint")
    with Checkpoints(folder) as checkpoints:
        return checkpoints.restore(step, like, parts=parts)


def load_model(stage_dir: Path, spec: schema.Model, vocab_size: int, *, sharding: Any = None) -> Decoder:
    """The final weights of a finished stage: on `sharding` (a tree of shardings, or one),
    else on the first device.
    """
    from codemix.train.model.decoder import init_decoder

    class Like:
        model = jax.eval_shape(lambda: init_decoder(spec, vocab_size, jax.random.key(0)))

    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    if isinstance(sharding, jax.sharding.Sharding):
        sharding = jax.tree.map(lambda _: sharding, Like.model)
    Like.model = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), Like.model, sharding
    )
    return restore_final(stage_dir, Like, parts=("model",))["model"]


@functools.cache
def _keep_orbax_quiet() -> None:
    """From now on orbax says once what went wrong, by raising it.

    Else each of its threads logs it with a traceback, and each read under way that the first failure
    overtakes prints one when it ends: its coroutine is dropped, or finds its event loop closed.
    """
    for noisy in ("asyncio", "absl"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    say_exception, say_unraisable = sys.excepthook, sys.unraisablehook

    def loop_was_closed(trace: TracebackType | None) -> bool:
        return [f.name for f in traceback.extract_tb(trace, 1)] == [
            "call_soon_threadsafe"
        ]  # called by a thread of C++

    def exception(kind: type, error: BaseException, trace: TracebackType | None) -> None:
        if not loop_was_closed(trace):
            say_exception(kind, error, trace)

    def unraisable(what: Any) -> None:
        dropped = any("/orbax/" in frame.filename for frame in traceback.extract_tb(what.exc_traceback))
        if not (dropped or loop_was_closed(what.exc_traceback)):
            say_unraisable(what)

    sys.excepthook, sys.unraisablehook = exception, unraisable


@functools.cache
def warm_up() -> None:
    """Start orbax's threads and event loop with a throw-away save,
    so that the first real one does not hold training up.
    """
    folder = Path(tempfile.mkdtemp(prefix="codemix-"))
    try:
        with ocp.CheckpointManager(folder / "warm") as manager:
            manager.save(0, args=ocp.args.StandardSave({"x": jax.numpy.zeros(1)}))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _again(stage_dir: Path) -> str:
    return f"delete {stage_dir} and train that stage again"


_DISK_SIGNS = (  # in the text of an error -> what it means, rule
    ("No space left", "the disk is full", "disk-full"),
    ("quota exceeded", "the disk quota is used up", "disk-full"),
    ("Permission denied", "the folder is not writable", "store-write"),
    ("Read-only file", "the disk is read-only", "store-write"),
)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """The user's words for a disk that is full or not writable;
    orbax and tensorstore report it in several types.
    """
    try:
        yield
    except Exception as error:
        text = str(error)
        for sign, what, rule in _DISK_SIGNS:
            if sign.lower() in text.lower():
                raise CodemixError(
                    f"{what} while saving a checkpoint in {folder}",
                    hints=[
                        "earlier checkpoints are kept; "
                        "after making room the same command resumes from the newest"
                    ],
                    rule=rule,
                ) from error
        raise
