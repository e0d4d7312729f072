"""The nodes of a cluster that share nothing with this machine but the bucket behind its store.

.building/<output>/.parts/<task>.json/    a part: what one task has made, a folder of pieces named like its mark
.building/<output>/given/<digest>/        what tasks read of the work and of local files, by its content
.building/jobs/<job>/                     tasks, what went wrong with them, logs
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from codemix.data.execution.task import WorkUnit
from codemix.data.remote import pieces
from codemix.data.remote.bucket import Entry
from codemix.data.remote.job_files import BucketFiles
from codemix.data.remote.places import BucketPlace
from codemix.data.remote.sent_task import Given, SentTask, packed
from codemix.data.store import digests
from codemix.data.store.copying import finished_digests
from codemix.data.store.store import BUILDING, Store, disk_problem
from codemix.errors import CodemixError
from codemix.files import digest, file_digest, move_into_place

COLLECTING = 8  # parts at a time
OF_A_PART = ("bucket-damaged", "bucket-lost")  # what can be wrong with one


@dataclass(frozen=True)
class Part:
    """What a task has made, in the bucket."""

    name: str
    there: Mapping[str, Entry]  # its objects


@dataclass(frozen=True)
class BucketNodes:
    """Sends tasks of a store to nodes, and brings what they have made."""

    place: BucketPlace
    store: Store  # the local copy

    @property
    def folder(self) -> Path:
        return self.store.jobs

    def files(self, job: str) -> BucketFiles:
        return BucketFiles(f"{self.place}/{BUILDING}/jobs/{job}")

    def sent(self, tasks: Sequence[WorkUnit]) -> list[bytes]:
        sender = Sender(self.place, self.store)
        sent = map(sender.sent, tasks)
        return [pickle.dumps(task) for task in sent]

    def collect(self, tasks: Sequence[WorkUnit]) -> None:
        """Have here what is made of these tasks, each one's mark last. A part that is damaged is deleted, and told: it
        is made again."""
        names: set[str] = set()
        for task in tasks:
            if not task.done.exists():
                mark = task.done.relative_to(self.store.root)
                names.add(mark.as_posix())
        with ThreadPoolExecutor(COLLECTING) as pool:
            for _ in pool.map(self._bring_or_delete, self._whole(names)):
                pass

    def _whole(self, names: set[str]) -> Iterator[Part]:
        """Those of the parts of these names that are in the bucket."""
        folders = {os.path.dirname(name) for name in names}
        found: dict[str, dict[str, Entry]] = {}
        for folder in sorted(folders):
            for entry in self.place.bucket.entries(folder):
                part, _, name = entry.key.rpartition("/")
                objects = found.setdefault(part, {})
                objects[name] = entry
        for part, there in found.items():
            is_whole = pieces.DONE in there
            if is_whole and part in names:
                yield Part(part, there)

    def _bring_or_delete(self, part: Part) -> None:
        try:
            self._bring(part)
        except CodemixError as error:
            [problem] = error.problems
            if problem.rule not in OF_A_PART:
                raise
            print(f"{self.place}: {part.name} is made again: {problem.what}", file=sys.stderr)
            self.place.clear(part.name)

    def _bring(self, part: Part) -> None:
        contents = pieces.read_contents(self.place.bucket, part.name)
        if contents is None:
            return
        pieces.refuse_lost(self.place.bucket, part.name, contents, part.there)
        _, kind, output, *_, mark = part.name.split("/")
        aside = self.store.root / BUILDING / kind / output / ".coming" / mark
        try:
            pieces.download(self.place.bucket, part.name, contents, aside)
            paths = [file.path for file in contents.files]
            for path in sorted(paths, key=lambda path: path == part.name):  # the mark last
                target = self.store.root / path
                target.parent.mkdir(parents=True, exist_ok=True)
                move_into_place(aside / path, target)
        except OSError as error:
            raise disk_problem(error, aside) from error
        shutil.rmtree(aside)


@dataclass
class Sender:
    """Makes tasks ready for nodes: what they read is in the bucket."""

    place: BucketPlace
    store: Store
    _there: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # outputs that the bucket has: their digests
    _given: set[str] = field(default_factory=set)  # other folders that it has
    _measured: dict[Path, str] = field(default_factory=dict)

    def sent(self, task: WorkUnit) -> SentTask:
        mark = task.done.relative_to(self.store.root)
        uploads = "/".join([*mark.parts[:3], "given"])
        read = _Read.of(task, self.store)
        given = list(self._finished(read.finished))
        if read.unfinished:
            of_the_work = self._upload(uploads, self.store.root, read.unfinished, "")
            given.append(of_the_work)
        for file, moved in read.moved.items():
            place = os.path.dirname(moved)
            from_elsewhere = self._upload(uploads, file.parent, [file], place)
            given.append(from_elsewhere)
        return SentTask(
            name=task.name,
            done=task.done,
            address=str(self.place),
            part=mark.as_posix(),
            given=tuple(given),
            content=packed(task, read.inside),
        )

    def _finished(self, files: Iterable[Path]) -> Iterator[Given]:
        """What is read of finished outputs, in the place that each has in the bucket."""
        by_output: dict[str, list[str]] = {}
        for file in files:
            kind, output, *inside = file.relative_to(self.store.root).parts
            name = f"{kind}/{output}"
            paths = by_output.setdefault(name, [])
            paths.append("/".join(inside))
        for name, paths in by_output.items():
            if name not in self._there:
                self._there[name] = self._ensured(name)
            known = self._there[name]
            wanted = {path: known[path] for path in paths}
            yield Given(name, name, wanted)

    def _ensured(self, output: str) -> dict[str, str]:
        """The digests of a finished output, which is in the bucket too. Raises CodemixError where that has another."""
        copy = self.store.root / output
        ours = finished_digests(copy)
        theirs = self.place.digests(output)
        if theirs is None:
            self.place.give(self.store, output, lambda n_bytes: None)
        elif theirs != ours:
            what = f"{self.place} has another {output} than the copy in {self.store.root}"
            hint = f"delete {copy} and run the same command again: it copies what the bucket has"
            raise CodemixError(what, hints=[hint], rule="bucket-conflict")
        return ours

    def _upload(self, uploads: str, root: Path, files: Iterable[Path], place: str) -> Given:
        """Put files below `root` where nodes find them, once for all tasks that read the same."""
        measured: dict[str, str] = {}
        for file in files:
            name = file.relative_to(root)
            measured[name.as_posix()] = self._digest(file)
        folder = f"{uploads}/{digest(measured)[:16]}"
        bucket = self.place.bucket
        if folder not in self._given and pieces.read_contents(bucket, folder) is None:
            pieces.upload(bucket, folder, root, measured)
        self._given.add(folder)
        return Given(folder, place, measured)

    def _digest(self, file: Path) -> str:
        if file not in self._measured:
            self._measured[file] = file_digest(file)
        return self._measured[file]


@dataclass
class _Read:
    """The files that a task reads."""

    root: Path  # of the store
    finished: list[Path] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)  # of the work
    moved: dict[Path, str] = field(
        default_factory=dict
    )  # from elsewhere, and their paths in the store of a node

    @classmethod
    def of(cls, task: WorkUnit, store: Store) -> _Read:
        read = cls(store.root)
        for file in _files(task.reads()):
            if not file.is_relative_to(store.root):
                read.moved[file] = f".elsewhere/{len(read.moved)}/{file.name}"
            elif file.is_relative_to(store.root / BUILDING):
                read.unfinished.append(file)
            else:
                read.finished.append(file)
        return read

    def inside(self, path: Path) -> str | None:
        """Where a path is in the store of a node; None for one that nobody opens there."""
        if path in self.moved:
            return self.moved[path]
        if path.is_relative_to(self.root):
            return path.relative_to(self.root).as_posix()
        return None


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (path / name for name in digests.files(path))
        elif path.exists():
            yield path
