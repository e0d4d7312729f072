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
        return [pickle.dumps(sender.sent(task)) for task in tasks]

    def collect(self, tasks: Sequence[WorkUnit]) -> None:
        """Have here what is made of these tasks, each one's mark last. A part that is damaged is deleted, and told: it
        is made again."""
        missing = [task.done for task in tasks if not task.done.exists()]
        parts = {path.relative_to(self.store.root).as_posix() for path in missing}
        with ThreadPoolExecutor(COLLECTING) as pool:
            for _ in pool.map(self._bring_or_delete, self._whole(parts)):
                pass

    def _whole(self, names: set[str]) -> Iterator[Part]:
        """Those of the parts of these names that are in the bucket."""
        for folder in sorted(set(map(os.path.dirname, names))):
            found: dict[str, dict[str, Entry]] = {}
            for entry in self.place.bucket.entries(folder):
                part, _, name = entry.key.rpartition("/")
                found.setdefault(part, {})[name] = entry
            for part, there in found.items():
                if part in names and pieces.DONE in there:
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
        part = self._inside(task.done)
        assert part is not None, "a task's mark is in its store"
        _, kind, output, *_ = part.split("/")
        read = list(_files(task.reads()))
        within = [file for file in read if file.is_relative_to(self.store.root)]
        unfinished = [file for file in within if file.is_relative_to(self.store.root / BUILDING)]
        finished = [file for file in within if file not in unfinished]
        given = list(self._finished(finished))
        if unfinished:
            given.append(self._upload(f"{kind}/{output}", self.store.root, unfinished, ""))
        moved: dict[Path, str] = {}  # files from elsewhere
        for file in read:
            if file not in within:
                place = f".elsewhere/{len(moved)}"
                moved[file] = f"{place}/{file.name}"
                given.append(self._upload(f"{kind}/{output}", file.parent, [file], place))
        content = packed(task, lambda path: moved.get(path) or self._inside(path))
        return SentTask(task.name, task.done, str(self.place), part, tuple(given), content)

    def _inside(self, path: Path) -> str | None:
        if not path.is_relative_to(self.store.root):
            return None
        return path.relative_to(self.store.root).as_posix()

    def _finished(self, files: Iterable[Path]) -> Iterator[Given]:
        """What is read of finished outputs, in the place that each has in the bucket."""
        by_output: dict[str, list[str]] = {}
        for file in files:
            kind, output, *rest = file.relative_to(self.store.root).parts
            by_output.setdefault(f"{kind}/{output}", []).append("/".join(rest))
        for name, paths in by_output.items():
            if name not in self._there:
                self._there[name] = self._ensured(name)
            known = self._there[name]
            yield Given(name, name, {path: known[path] for path in paths})

    def _ensured(self, output: str) -> dict[str, str]:
        """The digests of a finished output, which is in the bucket too. Raises CodemixError where that has another."""
        ours = finished_digests(self.store.root / output)
        theirs = self.place.digests(output)
        if theirs is None:
            self.place.give(self.store, output, lambda n_bytes: None)
        elif theirs != ours:
            what = f"{self.place} has another {output} than the copy in {self.store.root}"
            hint = f"delete {self.store.root / output} and run the same command again: it copies what the bucket has"
            raise CodemixError(what, hints=[hint], rule="bucket-conflict")
        return ours

    def _upload(self, output: str, root: Path, files: Iterable[Path], place: str) -> Given:
        """Put files below `root` where nodes find them, once for all tasks that read the same."""
        measured = {file.relative_to(root).as_posix(): self._digest(file) for file in files}
        folder = f"{BUILDING}/{output}/given/{digest(measured)[:16]}"
        if folder not in self._given and pieces.read_contents(self.place.bucket, folder) is None:
            pieces.upload(self.place.bucket, folder, root, measured)
        self._given.add(folder)
        return Given(folder, place, measured)

    def _digest(self, file: Path) -> str:
        if file not in self._measured:
            self._measured[file] = file_digest(file)
        return self._measured[file]


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (path / name for name in digests.files(path))
        elif path.exists():
            yield path
