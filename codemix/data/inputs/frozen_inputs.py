"""Input files, frozen by content hash before anything reads them. Standard library only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.data.inputs.locations import (
    REMOTE,
    SELF_NAMED,
    check_uri,
    escaped_name,
    locate,
    redacted,
    remote_filesystem,
    scheme_of,
)
from codemix.data.store.store import Store, read_json, write_json
from codemix.errors import CodemixError, Problem
from codemix.files import file_digest

Paths = Iterable[str]
# a file changed this recently may change again within its time stamp's resolution, so its hash is not cached
_RACY_S = 2.0
_LONG = 2**28  # bytes: less is hashed in under a second


@dataclass(frozen=True)
class Input:
    """One frozen input: `path` as the source names it, its size [bytes] and the hash of its content.

    For a remote object `sha256` holds what the server vouches for, as `etag:...`; nothing is downloaded to
    plan. An input that names its own content (`git:<repository>@<commit>~<bytes>`) is its own hash, as
    `name:...`.
    """

    path: str
    bytes: int
    sha256: str

    def as_json(self) -> dict:
        return {"path": self.path, "bytes": self.bytes, "sha256": self.sha256}


Inputs = list[Input]


@dataclass(frozen=True)
class Part:
    """A stretch of one input that can be read on its own: [start, stop) in the source's own unit (bytes of a plain
    file or of what a compressed one holds, row groups).

    `first_row` is the number of the first row in it, so that ids do not depend on how an input is divided; in a
    compressed file it is found by reading.
    """

    input: Input
    start: int = 0
    stop: int | None = None
    first_row: int = 0
    bytes: int | None = None

    @property
    def is_whole(self) -> bool:
        return self.start == 0 and self.stop is None

    @property
    def size(self) -> int:
        """Bytes of the input that this part reads, for sharing work by size [bytes]."""
        return self.input.bytes if self.bytes is None else self.bytes


def changed(path: str) -> Problem:
    """The problem of an input that is no longer what was frozen."""
    hints = ("let the program that writes it finish, then run the same command again",)
    return Problem(f"{redacted(path)} changed while it was in use", hints=hints, rule="input-changed")


class Hashes:
    """Content hashes of local files, remembered in `<store>/.inputs.json` by real path, size, modification
    time and inode.

    Read once and written when the block ends (and after much hashing), however many sources ask. Where there is no
    store yet, only what took long to hash makes one.
    """

    def __init__(self, store: Store):
        self.path = store.root / ".inputs.json"
        self.changed = False
        self.unsaved_bytes = 0
        self.known: dict[str, list[Any]] = {}  # escaped name -> [size, modification time, inode, hash]

    def __enter__(self) -> Hashes:
        with suppress(OSError, CodemixError):
            known = read_json(self.path)
            self.known = known if isinstance(known, dict) else {}
        return self

    def __exit__(self, *_: object) -> None:
        self.save()

    def get(self, real: Path, key: list[int]) -> str | None:
        """The hash of a file that has not changed since."""
        name = escaped_name(str(real))
        known = self.known.get(name)
        if not isinstance(known, list) or known[:3] != key:
            return None
        return known[3]

    def put(self, real: Path, key: list[int], digest: str) -> None:
        size, modified_ns, _ = key
        if time.time() - modified_ns / 1e9 > _RACY_S:
            name = escaped_name(str(real))
            self.known[name] = [*key, digest]
        self.changed = True
        self.unsaved_bytes += size
        if self.unsaved_bytes > 4 * _LONG:
            self.save()

    def save(self) -> None:
        took_long = self.unsaved_bytes > _LONG
        if self.changed and (took_long or self.path.parent.exists()):
            with suppress(CodemixError, OSError):  # a cache that cannot be written costs time, nothing else
                write_json(self.path, self.known)
            self.changed = False
            self.unsaved_bytes = 0


def freeze(paths: Paths, store: Store, data_root: Path, *, again: bool = False) -> Inputs:
    """`frozen` for one list of inputs."""
    with Hashes(store) as hashes:
        return frozen(paths, hashes, data_root, again=again)


def frozen(paths: Paths, hashes: Hashes, data_root: Path, *, again: bool = False) -> Inputs:
    """Size and content hash of each input, in the order given; only new or touched files are read. `again`
    asks the servers of remote ones again.

    Raises CodemixError when an input is missing or cannot be read.
    """
    named: list[tuple[str, Path | None]] = [
        (path, None if scheme_of(path) in (*REMOTE, *SELF_NAMED) else locate(path, data_root))
        for path in paths
    ]
    todo, results = [], {}
    for path, real in named:
        if real is None:
            if scheme_of(path) in REMOTE:
                results[path] = freeze_remote(path, again=again)
            else:
                results[path] = Input(path, int(path.rsplit("~", 1)[-1]), f"name:{path}")
            continue
        try:
            stat = real.stat()
        except OSError as error:
            raise CodemixError(f"cannot read {path}: {error.strerror}", rule="input-unreadable") from error
        if not real.is_file():
            raise CodemixError(f"{path} is not a plain file", rule="input-unreadable")
        key = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        if (known := hashes.get(real, key)) is not None:
            results[path] = Input(path, stat.st_size, known)
        else:
            todo.append((path, real, key))
    if todo:
        _hash_all(todo, lambda path, key, digest: results.__setitem__(path, Input(path, key[0], digest)))
        for path, real, key in todo:
            hashes.put(real, key, results[path].sha256)
    return [results[path] for path, _ in named]


def _hash_all(todo: list[tuple[str, Path, list[int]]], done: Callable[[str, list[int], str], None]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from codemix.progress import progress

    def one(item: tuple[str, Path, list[int]]) -> str:
        try:
            return file_digest(item[1])
        except OSError as error:
            raise CodemixError(
                f"cannot read {item[0]}: {error.strerror}",
                hints=["check its permissions"],
                rule="input-unreadable",
            ) from error

    total = sum(key[0] for _, _, key in todo)
    if total < _LONG:  # threads and a bar would cost more than they give
        for item in todo:
            done(item[0], item[2], one(item))
        return
    with (
        progress("freezing inputs", total, "bytes") as advance,
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
    ):
        for item, digest in zip(todo, pool.map(one, todo), strict=True):
            done(item[0], item[2], digest)
            advance(item[2][0])


def freeze_remote(uri: str, *, again: bool = False) -> Input:
    """A remote object as its server tells of it; `again` takes no answer from before. Raises CodemixError."""
    check_uri(uri)
    filesystem, path = remote_filesystem(uri)
    try:
        if again:
            filesystem.invalidate_cache(path)
        info = filesystem.info(path)
    except FileNotFoundError:
        raise CodemixError(f"there is no object {redacted(uri)}", rule="input-missing") from None
    except (
        Exception
    ) as error:  # each filesystem has its own exceptions, and some of them repeat the credentials
        hint = "check the address and your credentials"
        raise CodemixError(
            f"cannot look up {redacted(uri)}: {type(error).__name__}", hints=[hint], rule="input-unreadable"
        ) from error
    if info.get("type") == "directory":
        raise CodemixError(
            f"{redacted(uri)} is a folder, and a file is wanted",
            hints=["end the pattern in `/**`"],
            rule="input-is-folder",
        )
    for key in ("ETag", "etag", "md5Hash", "blob_id", "crc32c", "sha256", "checksum"):
        if info.get(key):
            return Input(uri, int(info.get("size") or 0), f"etag:{str(info[key]).strip(chr(34))}")
    hint = "download it, and give its local path"
    raise CodemixError(
        f"{redacted(uri)} has no checksum that could tell when it changes", hints=[hint], rule="no-checksum"
    )
