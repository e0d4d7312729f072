"""The store: finished outputs named by their fingerprint, built in a folder apart and renamed when whole.

Standard library only.

    documents/<source>-<fp12>/   a source's documents after its ops
    dedup/<fp12>/                what deduplication removes
    tokenizers/<fp12>/           a tokenizer.json
    data/<source>-<fp12>/        the tokens of a source
    stages/<name>-<fp12>/        checkpoints, metrics, ledger
    evals/<name>-<fp12>/         scores of a checkpoint
    reports/<name>-<fp12>/       report.html, report.md, report.json
    .building/<same names>/      work in progress, locked

Each finished folder holds a SHA256SUMS of its files, written last.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from codemix.data.store import digests
from codemix.data.store.addresses import as_given, looks_like_address
from codemix.data.store.elsewhere import PartReader
from codemix.data.store.sharing import place_behind
from codemix.data.store.used_files import note_use
from codemix.errors import CodemixError
from codemix.files import replacing

BUILDING = ".building"  # a store's folder of unfinished work


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    text = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)
    write_text(path, f"{text}\n")


def write_text(path: Path, text: str) -> None:
    """Write a text to the store as UTF-8, whole or not at all. Raises CodemixError when that fails."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file to the store, whole or not at all. Raises CodemixError when that fails."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise disk_problem(error, path) from error


def read_bytes(path: Path) -> bytes:
    """The content of a file in the store. Raises CodemixError where it is missing, or is not what it was when
    its folder was finished."""
    note_use(path)
    try:
        content = path.read_bytes()
        digests.check(path, content)
    except (ValueError, OSError) as error:
        raise damaged(path, error) from error
    return content


def read_json(path: Path) -> Any:
    """The JSON of a file in the store. Raises CodemixError when the file is damaged or missing."""
    content = read_bytes(path)
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> CodemixError:
    """The problem of a file in the store that `error` says cannot be read."""
    what = "missing" if isinstance(error, FileNotFoundError) else f"damaged: {error}"
    return CodemixError(
        f"{path} is {what}",
        hints=[
            "delete its folder and run the same command again: `codemix verify` finds all that is damaged"
        ],
        rule="store-damaged",
    )


def disk_problem(error: OSError, path: Path) -> CodemixError:
    """The user's words for an operating-system error while writing to the store."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CodemixError(
            f"the disk is full while writing {path}",
            hints=[
                "free some space, or choose another folder: `--store`, or CODEMIX_CACHE for copies of buckets; "
                "finished work is kept, and the same command resumes from there"
            ],
            rule="disk-full",
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return CodemixError(
            f"too many files are open while writing {path}",
            hints=["allow more (`ulimit -n 4096`) and run the same command again: finished work is kept"],
            rule="open-files",
        )
    return CodemixError(
        f"cannot write {path}: {error.strerror}",
        hints=["check that the folder exists and is writable"],
        rule="store-write",
    )


def in_the_way(final: Path, missing: list[str]) -> CodemixError:
    """The problem of a folder that has the place of a finished one and is not whole."""
    more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
    hint = (
        f"delete {final} and run the same command again; it may be what an interrupted copy or deletion left"
    )
    return CodemixError(
        f"{final} is in the way: it is not whole, it has no {', '.join(missing[:3])}{more}",
        hints=[hint],
        rule="store-damaged",
    )


def _lock_file(work: Path) -> Path:
    return work.with_name(f"{work.name}.lock")


def _require_text(root: Path) -> None:
    """The libraries that write checkpoints and tokenizers take paths as UTF-8, and find that out at the end."""
    try:
        str(root.absolute()).encode()
    except UnicodeEncodeError:
        raise CodemixError(
            f"the path of the store is not UTF-8: {str(root.absolute())!r}",
            hints=["name another folder with `--store`, or rename this one"],
            rule="store-path",
        ) from None


class Store:
    """A folder of finished, fingerprinted outputs. Two processes may share it; neither builds what the other
    is building."""

    reader: PartReader | None = None  # of tokens that are not on this disk

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.built = self  # the store in which data is looked up
        self.unreadable: Mapping[str, CodemixError] = {}  # outputs of the place that this is a catalog of
        if looks_like_address(str(root)):
            raise CodemixError(
                f"the store `{as_given(self.root)}` is not a folder, and here it has to be one",
                hints=[
                    "`codemix pull RECIPE --from s3://BUCKET/PREFIX` brings what a recipe needs into a folder"
                ],
                rule="store-not-local",
            )
        _require_text(self.root)

    @staticmethod
    def of(place: str | Path | Store) -> Store:
        """The store in a folder, or the one that is given."""
        if isinstance(place, Store):
            return place
        return Store(place)

    def path(self, kind: str, name: str, fingerprint: str = "") -> Path:
        """Where the output of `kind` with this name and fingerprint is (or would be)."""
        folder = self.root / kind
        if not fingerprint:
            return folder / name
        return folder / f"{name}-{fingerprint[:12]}"

    def work(self, final: Path) -> Path:
        """The work-in-progress folder that becomes `final`."""
        inside = final.relative_to(self.root)
        return self.root / BUILDING / inside

    def is_finished(self, final: Path) -> bool:
        """Whether an output is here. Raises CodemixError (`store-damaged`) where it is not whole."""
        if missing := digests.lacking(final):
            raise in_the_way(final, missing)
        return final.exists()

    def make(self, final: Path, fill: Callable[[Path], object], *, keep: bool = True) -> None:
        """Make an output that the store lacks: `fill` is called with a locked folder apart, which is renamed into
        place, whole.

        `keep`: leave partial work for the next try (resume) when something fails. Raises CodemixError
        (`store-busy`) when another live process is making the same thing, and `store-damaged` where it is here
        and not whole.
        """
        if self.is_finished(final):
            return
        with self.begin(final) as work:
            if work is None:
                return
            try:
                fill(work)
                self.publish(final)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                    raise disk_problem(error, Path(error.filename or work)) from error
                raise
            finally:
                if not keep and work.exists():
                    shutil.rmtree(work, ignore_errors=True)

    @property
    def jobs(self) -> Path:
        """The folder in which clusters find the tasks of work in progress."""
        return self.root / BUILDING / "jobs"

    @contextlib.contextmanager
    def begin(self, final: Path) -> Iterator[Path | None]:
        """The locked folder in which an output is made; None where another process, or another machine that shares
        the store, has finished it before we had the lock. For work that `make` cannot express: the caller
        publishes it."""
        with self.begin_here(final) as work:
            behind = place_behind(self.root)
            if work is None or behind is None:
                yield work
                return
            output = final.relative_to(self.root)
            with behind.hold(output.as_posix(), _lock_file(work)):
                yield None if self.is_finished(final) else work

    @contextlib.contextmanager
    def begin_here(self, final: Path) -> Iterator[Path | None]:
        """The same for what comes from where other machines find it: their lease is not asked for."""
        work = self.work(final)
        with self.lock(work):
            if self.is_finished(final):
                yield None
                return
            try:
                work.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise disk_problem(error, work) from error
            yield work

    def publish(self, final: Path, known: Mapping[str, str] | None = None) -> None:
        """Publish finished work here, and where other machines find it, if they share the store."""
        self.publish_here(final, known)
        behind = place_behind(self.root)
        if behind is not None:
            output = final.relative_to(self.root)
            behind.give(output.as_posix())

    @property
    def is_shared(self) -> bool:
        """Whether this folder is one machine's copy of a store that others work in too."""
        return place_behind(self.root) is not None

    def bring(self, final: Path) -> None:
        """Have finished work here that another machine has finished, if they share the store."""
        behind = place_behind(self.root)
        if behind is not None and not final.exists():
            output = final.relative_to(self.root)
            behind.bring(output.as_posix())

    def publish_here(self, final: Path, known: Mapping[str, str] | None = None) -> None:
        """Write the digests of finished work and rename it into place, whole. The caller holds its lock.

        Folders with a dot before their name (parts, states) are of the work, and go. `known`: the digests of
        files that were made while these were written.
        """
        work = self.work(final)
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            for of_the_work in work.glob(".*/"):
                shutil.rmtree(of_the_work)
            for temporary in work.rglob(".*.tmp"):  # of a process that was killed before it renamed it
                temporary.unlink()
            write_text(work / digests.NAME, digests.listing(work, known or {}))
        except OSError as error:
            raise disk_problem(error, work) from error
        try:
            os.replace(work, final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise disk_problem(error, final) from error
            if missing := [name for name in digests.files(work) if not (final / name).exists()]:
                raise in_the_way(final, missing) from None
            shutil.rmtree(work)  # another process finished it before we had the lock: the same, by its name

    def discard(self, final: Path) -> None:
        """Delete unfinished work, and what other machines have made for it."""
        shutil.rmtree(self.work(final))
        behind = place_behind(self.root)
        if behind is not None:
            output = final.relative_to(self.root)
            behind.discard(output.as_posix())

    def refuse_in_use(self) -> None:
        """Raises CodemixError (`store-busy`) while a living process makes something here."""
        for path in sorted((self.root / BUILDING).glob("*/*.lock")):
            work = path.with_name(path.name.removesuffix(".lock"))
            with self.lock(work):
                pass

    @contextlib.contextmanager
    def lock(self, work: Path) -> Iterator[None]:
        """Hold the lock of a piece of work; the kernel drops it when the process dies, however it dies."""
        lock = _lock_file(work)
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            handle = open(lock, "a+")  # noqa: SIM115 - held until the lock is given back
        except OSError as error:
            raise disk_problem(error, lock) from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().strip() or "(unknown)"
                raise CodemixError(
                    f"the store {self.root} is in use: process {holder} is building {work.name}",
                    hints=["wait until it ends, or use another folder with `--store`"],
                    rule="store-busy",
                ) from None
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            try:
                yield
            finally:
                handle.truncate(0)  # so that nobody who reads it still takes us for the holder
