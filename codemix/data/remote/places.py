"""Places of finished outputs besides the local store: another folder, or a bucket.

An output is named by its folder's path inside a store: `data/code-1f2e3d4c5b6a`. What is in a place and what rests
on what is known from its catalog: a store that has at least the JSON files of every output.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from codemix import environment
from codemix.data.remote import leases, pieces
from codemix.data.remote.bucket import CONCURRENT, Bucket
from codemix.data.store import digests
from codemix.data.store.addresses import is_address
from codemix.data.store.copying import copy, finished_digests
from codemix.data.store.finished import KINDS, finished
from codemix.data.store.store import BUILDING, Store, disk_problem, write_text
from codemix.errors import CodemixError
from codemix.files import one_at_a_time, text_digest

Advance = Callable[[int], None]  # called with bytes
UPLOADS_TAKE = timedelta(days=1)  # at most: what is younger and unfinished may be on its way


class FolderPlace:
    """Another store, in a folder."""

    def __init__(self, store: Store):
        self._store = store

    def __str__(self) -> str:
        return str(self._store.root)

    def catalog(self) -> Store:
        return self._store

    def size(self, output: str) -> int:
        """Of an output [bytes]."""
        return folder_size(self._store.root / output)

    def digests(self, output: str) -> dict[str, str] | None:
        """The SHA-256 of each of an output's files, by path; None where it is not here."""
        folder = self._store.root / output
        if not folder.is_dir():
            return None
        return finished_digests(folder)

    def give(self, store: Store, output: str, advance: Advance) -> None:
        """Put a local store's output here, whole."""
        source = store.root / output
        here = self._store
        final = here.root / output
        copy(source, here, final, advance)

    def take(self, store: Store, output: str, advance: Advance) -> None:
        """Put an output from here into a local store, whole."""
        source = self._store.root / output
        there = store.root
        final = there / output
        copy(source, store, final, advance)

    def requests(self, output: str) -> int:
        """How many reads bring an output: none."""
        return 0

    def unfinished(self) -> list[str]:
        """Nothing: what is unfinished has no place among what is finished."""
        return []

    def refuse_in_use(self) -> None:
        """Raises CodemixError while a process makes something here: it may rest on what nobody else needs."""
        self._store.refuse_in_use()

    def remove(self, output: str) -> None:
        """Delete an output. Until it is gone, it is whole."""
        final = self._store.root / output
        work = self._store.work(final)
        gone = work.with_name(f"{work.name}.deleted")
        with self._store.lock(work):
            try:
                if gone.exists():
                    shutil.rmtree(gone)
                final.rename(gone)  # at once: what is half deleted would look damaged
                shutil.rmtree(gone)
            except OSError as error:
                raise disk_problem(error, final) from error


class BucketPlace:
    """A store in a bucket: a folder of pieces for each output (see pieces.py), under the same names."""

    def __init__(self, bucket: Bucket):
        self._bucket = bucket
        self._read: dict[str, pieces.Contents | None] = {}  # once in a command, but for what is then used
        self._unreadable: dict[str, CodemixError] = {}
        name = text_digest(bucket.address)
        self.cache = environment.cache() / name[:16]

    def __str__(self) -> str:
        return self._bucket.address

    def catalog(self) -> Store:
        """Asks the bucket for its folders, one request per kind of output, and reads what is new.

        What cannot be read (it is damaged, or of a newer format) is told and left out: `unreadable` of the store.
        """
        store = Store(self.cache / "catalog")
        listed = self._folders()
        for folder in finished(store.root):
            if _name(store, folder) not in listed:
                shutil.rmtree(folder, ignore_errors=True)
        new = [output for output in listed if not (store.root / output).exists()]
        with ThreadPoolExecutor(CONCURRENT) as pool:
            for output, contents in zip(new, pool.map(self._contents_or_none, new), strict=True):
                if contents is not None:
                    _write_into_catalog(store, output, contents)
        store.unreadable = self._unreadable
        return store

    def _contents_or_none(self, output: str) -> pieces.Contents | None:
        try:
            return self._contents(output)
        except pieces.UnreadableError as error:
            if output not in self._unreadable:
                print(f"{self}: {output} is left out: {error.problems[0].what}", file=sys.stderr)
            self._unreadable[output] = error
            return None

    def _folders(self) -> list[str]:
        names: list[str] = []
        with ThreadPoolExecutor(len(KINDS)) as pool:
            for kind, folders in zip(KINDS, pool.map(self._bucket.folders, KINDS), strict=True):
                names += [f"{kind}/{folder}" for folder in folders]
        return names

    def _contents(self, output: str) -> pieces.Contents | None:
        contents = pieces.read_contents(self._bucket, output)
        self._read[output] = contents
        return contents

    def _known_contents(self, output: str) -> pieces.Contents | None:
        if output not in self._read:
            self._contents(output)
        return self._read[output]

    def size(self, output: str) -> int:
        contents = self._known_contents(output)
        return contents.total_bytes if contents else 0

    def digests(self, output: str) -> dict[str, str] | None:
        contents = self._contents(output)
        if contents is None:
            return None
        return {file.path: file.sha256 for file in contents.files}

    @property
    def bucket(self) -> Bucket:
        return self._bucket

    def contents(self, output: str) -> pieces.Contents:
        """What an output consists of here. Raises CodemixError where it is gone."""
        contents = self._contents(output)
        if contents is None:
            what = f"{self._bucket.address}/{output} is gone"
            raise CodemixError(
                what, hints=["something deleted it; run the same command again"], rule="bucket-lost"
            )
        return contents

    def requests(self, output: str) -> int:
        """How many reads bring an output: one for each piece, one for their list."""
        contents = self._known_contents(output)
        return len(contents.pieces) + 1 if contents else 0

    def give(self, store: Store, output: str, advance: Advance) -> None:
        """Put a local store's output here, whole."""
        folder = store.root / output
        known = finished_digests(folder)
        notes: dict[str, str] = {}
        for path in folder.glob("*.json"):
            notes[path.name] = path.read_text(encoding="utf-8")
        pieces.upload(self._bucket, output, folder, known, notes=notes, advance=advance)

    def take(self, store: Store, output: str, advance: Advance) -> None:
        """Put an output from here into a local store, whole."""
        final = store.root / output
        with store.begin_here(final) as work:
            if work is not None:
                self.fetch(store, output, advance)

    def fetch(self, store: Store, output: str, advance: Advance) -> None:
        """The same, where the lock of the work on it is held."""
        contents = self.contents(output)
        final = store.root / output
        work = store.work(final)
        known = {file.path: file.sha256 for file in contents.files}
        try:
            pieces.download(self._bucket, output, contents, work, advance=advance)
        except OSError as error:
            raise disk_problem(error, work) from error
        for name in digests.files(work):
            if name not in known:
                (work / name).unlink()
        store.publish_here(final, known)

    @contextlib.contextmanager
    def copying(self) -> Iterator[None]:
        """In this block no other process copies from here into the same cache: what one has brought, the next one
        finds."""

        def say() -> None:
            print(f"{self}: waiting for another process that copies to {self.cache}", file=sys.stderr)

        with contextlib.ExitStack() as held:
            try:
                held.enter_context(one_at_a_time(self.cache / ".copying", say))
            except OSError as error:
                raise disk_problem(error, self.cache) from error
            yield

    def refuse_in_use(self) -> None:
        """Nothing: who works over a bucket works in copies."""

    def remove(self, output: str) -> None:
        """Delete an output. Until it is gone, it is whole or not there."""
        self.clear(output)
        self._bucket.delete([output])  # a lease is an object itself

    def clear(self, folder: str) -> None:
        """Delete all below a folder. Until it is gone, each folder in it is whole or not there."""
        keys = [entry.key for entry in self._bucket.entries(folder)]
        done = [key for key in keys if key.endswith(f"/{pieces.DONE}")]
        others = [key for key in keys if key not in done]
        with ThreadPoolExecutor(CONCURRENT) as pool:
            for turn in (done, others):  # what has no done.json is not there
                for _ in pool.map(self._bucket.delete, [[key] for key in turn]):
                    pass

    def unfinished(self) -> list[str]:
        """What interrupted uploads and work left, and nobody works on any more."""
        catalog = self.catalog()
        before = datetime.now(UTC) - UPLOADS_TAKE
        names = []
        for lease in self._bucket.entries(leases.FOLDER):
            if lease.modified < before:  # a living owner renews its own
                names.append(lease.key)
        for output in self._folders():
            if output not in catalog.unreadable and not (catalog.root / output).exists():
                newest = max(entry.modified for entry in self._bucket.entries(output))
                names += [output] if newest < before else []
        return names + self._left_by_nodes(before)

    def _left_by_nodes(self, before: datetime) -> list[str]:
        """Folders of the work on an output, or of a job, to which nothing was added since."""
        folders: set[str] = set()
        living: set[str] = set()
        for entry in self._bucket.entries(BUILDING):
            names = entry.key.split("/")
            folder = "/".join(names[:3])
            folders.add(folder)
            if entry.modified >= before:
                living.add(folder)
        return sorted(folders - living)


Place = FolderPlace | BucketPlace


def place_named(text: str) -> Place:
    """The place of an address or a folder. Raises CodemixError for what is neither."""
    if is_address(text):
        return BucketPlace(Bucket(text))
    return FolderPlace(Store(text))


def _write_into_catalog(store: Store, output: str, contents: pieces.Contents) -> None:
    """Two processes may write the same at the same time."""
    final = store.root / output
    final.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".", dir=store.root))
    for name, text in contents.notes.items():
        write_text(work / name, text)
    try:
        work.rename(final)
    except OSError as error:
        shutil.rmtree(work)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise disk_problem(error, final) from error


def _name(store: Store, folder: Path) -> str:
    return folder.relative_to(store.root).as_posix()


def folder_size(folder: Path) -> int:
    """Of all files of a finished folder but their list [bytes]."""
    sizes = [(folder / name).stat().st_size for name in digests.files(folder)]
    return sum(sizes)
