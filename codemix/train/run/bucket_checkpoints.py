"""Checkpoints of a stage in a bucket, beside those in its folder.

    <address>/checkpoints/<stage>-<fp12>/<step>/      files in pieces, done.json last (data/remote/pieces.py)

Orbax saves to the stage's folder as ever, and takes no address; each step that is whole there is uploaded behind
training. A run on a machine without it, or with an older one, begins with the newest step that is whole in the
bucket. Only the first process writes there: the store is a folder that all processes of a run see or, where they
share none, its checkpoints hold whole arrays; then the others read the step that the run begins with from the bucket.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.data.remote import pieces
from codemix.data.remote.bucket import Bucket
from codemix.data.store.store import disk_problem
from codemix.errors import CodemixError
from codemix.files import file_digest, one_at_a_time
from codemix.train.run import hosts, lineage
from codemix.train.run.context import RunContext

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan

METRICS = "metrics.jsonl"
_FETCHED, _SENT = "from-bucket", "to-bucket"  # in the stage's folder, while it is made
_NONE = -1  # before every step
POLL_S = 0.2  # for Orbax to name a step whole


@dataclass(frozen=True)
class StageInBucket:
    """The checkpoints of one stage."""

    bucket: Bucket
    folder: str  # in the bucket

    def claim(self, work: Path) -> None:
        """Say in the bucket what the checkpoints are of. Raises CodemixError where it cannot be written to."""
        name = "lineage.json"
        path = work / name
        content = path.read_bytes()
        self.bucket.put_new(f"{self.folder}/{name}", content)

    def steps(self) -> list[int]:
        """Steps that are there, whole or not, ascending."""
        names = self.bucket.folders(self.folder)
        return _steps_named(names)

    def newest(self) -> int | None:
        """The newest step that is there whole."""
        for step in reversed(self.steps()):
            if pieces.read_contents(self.bucket, self._step(step)) is not None:
                return step
        return None

    def upload(self, step: int, folder: Path) -> None:
        """Put a step's files there. What is there already is not sent again: a step is the same however it was
        reached."""
        target = self._step(step)
        if pieces.read_contents(self.bucket, target) is not None:
            return
        digests = {}
        for path in folder.rglob("*"):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                digests[name] = file_digest(path)
        pieces.upload(self.bucket, target, folder, digests)

    def download(self, step: int, folder: Path) -> None:
        """Write a step's files into a folder, each piece checked by its SHA-256."""
        source = self._step(step)
        contents = pieces.read_contents(self.bucket, source)
        if contents is None:
            what = f"{self.bucket.address}/{source} is gone"
            hints = ["something deleted it; run the same command again"]
            raise CodemixError(what, hints=hints, rule="bucket-lost")
        pieces.download(self.bucket, source, contents, folder)

    def remove(self, step: int) -> None:
        """Delete a step: from the first request on it is not there."""
        folder = self._step(step)
        self.bucket.delete([f"{folder}/{pieces.DONE}"])
        entries = self.bucket.entries(folder)
        self.bucket.delete([entry.key for entry in entries])

    def _step(self, step: int) -> str:
        return f"{self.folder}/{step}"


@contextlib.contextmanager
def uploading(context: RunContext, stage: StagePlan, work: Path) -> Iterator[Uploads | None]:
    """What uploads the steps saved inside, in the first process of a run that asks for it. Begins with the newer
    of what the bucket and the stage's folder have.

    Returns when the newest step is in the bucket. Raises CodemixError where it cannot be put there.
    """
    options = context.options
    if options.checkpoints is None:
        yield None
        return
    name = lineage.stage_dir(context.store, stage).name
    there = StageInBucket(Bucket(options.checkpoints), f"checkpoints/{name}")
    uploads = None
    if hosts.is_first():
        there.claim(work)
        uploads = Uploads(there, work, options.keep, options.keep_every_steps, context.view.note)
        uploads.begin_with_newest(at_once=context.is_apart)
    hosts.barrier(f"checkpoints of {stage.fingerprint}")
    if context.is_apart:
        _have_newest_of_first(there, work)
    try:
        yield uploads
    except Exception:
        if uploads is not None:
            uploads.wait()
        raise
    if uploads is not None:
        uploads.finish()


def _have_newest_of_first(there: StageInBucket, work: Path) -> None:
    """Bring the newest step of the first process, which is in the bucket, to the processes of other folders."""
    steps = _steps_in(work / "checkpoints")
    newest = int(hosts.of_first(str(max(steps, default=_NONE))))
    if newest == _NONE or hosts.is_first():
        return
    with one_at_a_time(work / ".fetching"):
        if newest not in _steps_in(work / "checkpoints"):
            fetch(there, newest, work)


def fetch(stage: StageInBucket, newest: int, work: Path) -> None:
    """Bring a step of the bucket into a stage's folder."""
    checkpoints = work / "checkpoints"
    begun = work / _FETCHED / str(newest)
    try:
        begun.mkdir(parents=True, exist_ok=True)
        stage.download(newest, begun)
        if (begun / METRICS).exists():
            os.replace(begun / METRICS, work / METRICS)
        checkpoints.mkdir(exist_ok=True)
        os.replace(begun, checkpoints / str(newest))
    except OSError as error:
        raise disk_problem(error, Path(error.filename or begun)) from error


def _steps_in(checkpoints: Path) -> list[int]:
    if not checkpoints.is_dir():
        return []
    names = [path.name for path in checkpoints.iterdir()]
    return _steps_named(names)


def _steps_named(names: list[str]) -> list[int]:
    """The steps among names, ascending."""
    steps = [int(name) for name in names if name.isdecimal()]
    return sorted(steps)


@dataclass
class Uploads:
    """Uploads of a stage's steps, one at a time behind training; of steps that wait only the newest is sent."""

    stage: StageInBucket
    work: Path
    keep: int  # newest steps that stay in the bucket
    keep_every: int | None  # multiples that stay besides
    note: Callable[[str], None]
    _wanted: int | None = None
    _failure: CodemixError | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _ends: bool = False
    _thread: threading.Thread | None = None

    def begin(self, step: int) -> None:
        """Upload a step as soon as it is whole in the stage's folder."""
        with self._changed:
            self._wanted = step
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="checkpoint uploads", daemon=True)
            self._thread.start()

    def begin_with_newest(self, *, at_once: bool = False) -> None:
        """Fetch the bucket's newest step where the stage's folder has none as new; upload the folder's newest
        where the bucket does not have it, behind training or `at_once`."""
        stage = self.stage
        folder = self.work / "checkpoints"
        here = max(_steps_in(folder), default=_NONE)
        newest = stage.newest()
        there = _NONE if newest is None else newest
        if there > here:
            self.note(f"step {there:,} comes from {stage.bucket.address}/{stage.folder}")
            fetch(stage, there, self.work)
        elif here > there and at_once:
            self._send(here)
        elif here > there:
            self.begin(here)
        shutil.rmtree(self.work / _FETCHED, ignore_errors=True)

    def finish(self) -> None:
        """Return when the newest step is in the bucket. Raises CodemixError where it could not be put there."""
        self.wait()
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Return when nothing is on its way any more. Every save must have ended."""
        with self._changed:
            self._ends = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ends or self._wanted is not None)
                step = self._wanted
                self._wanted = None
            if step is None:
                return
            try:
                self._send(step)
                self._failure = None
            except CodemixError as error:
                self._failure = error
                self.note(
                    f"warning: the checkpoint of step {step:,} is not in the bucket: {error.problems[0].what}"
                )
            except OSError as error:
                self._failure = disk_problem(error, Path(error.filename or self.work))

    def _send(self, step: int) -> None:
        whole = self.work / "checkpoints" / str(step)
        while not whole.exists():
            with self._changed:
                overtaken = self._changed.wait_for(lambda: self._wanted is not None or self._ends, POLL_S)
            if overtaken and not whole.exists():
                return
        held = self.work / _SENT / str(step)
        _hold(whole, held)
        try:
            _copy_if_there(self.work / METRICS, held / METRICS)
            self.stage.upload(step, held)
        finally:
            shutil.rmtree(held.parent, ignore_errors=True)
        self._remove_old(step)

    def _remove_old(self, newest: int) -> None:
        steps = [step for step in self.stage.steps() if step <= newest]
        older = steps[: -self.keep]
        for step in older:
            stays = self.keep_every and step % self.keep_every == 0
            if not stays:
                self.stage.remove(step)


def _hold(whole: Path, held: Path) -> None:
    """The files of a step under a second name, so that Orbax may delete it while it is sent."""
    shutil.rmtree(held, ignore_errors=True)
    shutil.copytree(whole, held, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _copy_if_there(source: Path, target: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(source, target)
