"""A task on a machine that shares nothing with the one that waits for it but a bucket.

It is sent with the paths in its store written relative to that, and with a list of the files that it reads. Where it
runs, those are brought into an empty folder, and it runs there as it would anywhere. What it has made is put into the
bucket as one folder of pieces (pieces.py), its part: there when all of it is, so a kill leaves nothing that looks
whole, and a part that is there is never made again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import pickle
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix import environment
from codemix.data.execution.task import WorkUnit
from codemix.data.remote import pieces
from codemix.data.remote.bucket import Bucket
from codemix.data.remote.parts import FilesInPieces
from codemix.data.store import digests
from codemix.errors import CodemixError
from codemix.files import one_at_a_time

READING = 8  # files at a time


@dataclass(frozen=True)
class Given:
    """Files of a folder in the bucket that a task reads."""

    folder: str
    place: str  # of that folder in the store
    digests: Mapping[str, str]  # SHA-256 of each file, by its path in the folder


@dataclass(frozen=True)
class SentTask:
    """A task as a node gets it."""

    name: str
    done: Path  # of the machine that waits
    address: str
    part: str  # the folder in the bucket for what it makes, named like its mark
    given: tuple[Given, ...]
    content: bytes  # the task

    def run(self) -> None:
        """Bring what it reads, run it, put what it has made. Raises CodemixError where one of these fails."""
        bucket = Bucket(self.address)
        if self._is_made(bucket):
            return
        try:
            with scratch() as root:
                self._run(bucket, root)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            what = f"the disk of {socket.gethostname()} is full, at {environment.cache()}"
            hint = f"let {environment.CACHE} name a larger one there: a task needs room for what it reads and makes"
            raise CodemixError(what, hints=[hint], rule="disk-full") from error

    def _is_made(self, bucket: Bucket) -> bool:
        done = f"{self.part}/{pieces.DONE}"
        return bucket.get(done) is not None

    def _run(self, bucket: Bucket, root: Path) -> None:
        for given in self.given:
            bring(bucket, given, root)
        brought = set(digests.files(root))
        (root / self.part).parent.mkdir(parents=True, exist_ok=True)
        unpacked(self.content, root).run()
        made = [name for name in digests.files(root) if name not in brought]
        try:
            pieces.upload(bucket, self.part, root, digests.measure(root, made))
        except CodemixError:
            if not self._is_made(bucket):  # by another try, meanwhile
                raise


Inside = Callable[[Path], str | None]  # where a path is in the store; None where it is not


def packed(task: WorkUnit, inside: Inside) -> bytes:
    """A task without the place of its store."""
    buffer = io.BytesIO()
    _Packer(buffer, inside).dump(task)
    return buffer.getvalue()


def unpacked(content: bytes, root: Path) -> Any:
    """The task, its store at `root`."""
    buffer = io.BytesIO(content)
    return _Unpacker(buffer, root).load()


class _Packer(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, inside: Inside):
        super().__init__(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self._inside = inside

    def persistent_id(self, value: Any) -> str | None:
        if not isinstance(value, Path):
            return None
        return self._inside(value)


class _Unpacker(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, root: Path):
        super().__init__(buffer)
        self._root = root

    def persistent_load(self, inside: str) -> Path:
        return self._root / inside


def bring(bucket: Bucket, given: Given, root: Path) -> None:
    """Write given files below `root`, each checked by its SHA-256.

    Raises CodemixError for one that is gone, or is not what was sent.
    """
    contents = pieces.read_contents(bucket, given.folder)
    files = {} if contents is None else {file.path: file for file in contents.files}
    for name, digest in given.digests.items():
        if name not in files or files[name].sha256 != digest:
            raise _other(bucket, f"{given.folder}/{name}")
    assert contents is not None
    target = root / given.place
    if len(given.digests) == len(files):
        pieces.download(bucket, given.folder, contents, target)
        return
    places = FilesInPieces(contents)

    def bring_file(name: str) -> None:
        digest = hashlib.sha256()
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as written:
            for part in places.parts(name, 0, files[name].bytes):
                for chunk in bucket.stream(f"{given.folder}/{part.piece}", part.start, part.end):
                    digest.update(chunk)
                    written.write(chunk)
        if digest.hexdigest() != given.digests[name]:
            raise _other(bucket, f"{given.folder}/{name}")

    with ThreadPoolExecutor(READING) as pool:
        for _ in pool.map(bring_file, given.digests):
            pass


def _other(bucket: Bucket, place: str) -> CodemixError:
    return CodemixError(
        f"{bucket.address}/{place} is gone, or is not what was sent",
        hints=["delete its folder from the bucket, and run the same command again"],
        rule="bucket-damaged",
    )


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder for one task. Those of tasks that were killed on this machine are removed."""
    above = environment.cache() / "tasks"
    with one_at_a_time(above / ".lock"):
        for left in above.glob("*/"):
            if _is_free(left / "lock"):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=above))
        mine = open(folder / "lock", "w")  # noqa: SIM115 - held until the folder is gone
        fcntl.flock(mine, fcntl.LOCK_EX)
    with mine:
        try:
            root = folder / "store"
            root.mkdir()
            yield root
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _is_free(lock: Path) -> bool:
    """Whether nobody holds a lock that is there."""
    try:
        with open(lock) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
