"""Input files: found, kept inside the data root, and frozen by content hash before anything reads them. Standard library only."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import sysconfig
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from codemix.errors import CodemixError, Problem, did_you_mean

if TYPE_CHECKING:
    from codemix.data.store import Store

REMOTE = ("s3", "gs", "hf")  # read through fsspec
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_SECRET = re.compile(r"(?i)token|secret|passw|signature|credential|api[-_]?key|access[-_]?key|\bsig\b|\bauth")
_RACY_S = 2.0  # a file changed this recently may change again within its time stamp's resolution, so its hash is not cached


@dataclass(frozen=True)
class Input:
    """One frozen input: `path` as the source names it, its size [bytes] and the hash of its content.

    For a remote object `sha256` holds what the server vouches for, as `etag:...`; nothing is downloaded to plan.
    """

    path: str
    bytes: int
    sha256: str

    def as_json(self) -> dict:
        return {"path": self.path, "bytes": self.bytes, "sha256": self.sha256}


@dataclass(frozen=True)
class Part:
    """A stretch of one input that can be read on its own: [start, stop) in the source's own unit (bytes, row groups).

    `first_row` is the number of the first row in it, so that ids do not depend on how an input is divided.
    """

    input: Input
    start: int = 0
    stop: int | None = None
    first_row: int = 0
    bytes: int | None = None

    @property
    def size(self) -> int:
        """Bytes of the input that this part reads, for sharing work by size [bytes]."""
        return self.input.bytes if self.bytes is None else self.bytes


def interpreter_root(scheme: str) -> Path | None:
    """The folder behind `stdlib:` (this interpreter's standard library) and `installed:` (its packages); None for others."""
    if scheme in ("stdlib", "installed"):
        return Path(sysconfig.get_path("stdlib" if scheme == "stdlib" else "purelib"))
    return None


def scheme_of(path: str) -> str:
    """`s3` of `s3://bucket/x`, `stdlib` of `stdlib:abc.py`, empty for a plain path."""
    match = _SCHEME.match(path)
    return match[1].lower() if match and (match[2] or interpreter_root(match[1])) else ""


def redacted(uri: str) -> str:
    """A URI without user, password and query, safe to show."""
    return re.sub(r"(://)[^/@]*@", r"\1***@", uri.split("?")[0])


def check_uri(uri: str) -> None:
    """Raises CodemixError for a scheme that is not read, or for credentials inside the URI, which are never repeated."""
    parts = urlsplit(uri)
    in_query = any(_SECRET.search(key) for key, _ in parse_qsl(parts.query, keep_blank_values=True))
    # `hf://datasets/owner/name@revision/...` is the one place where an @ stands for something else
    in_host = "@" in parts.netloc
    if in_host or in_query:
        raise CodemixError(
            f"the address {redacted(uri)} carries credentials",
            hints=["take them out of the recipe, and revoke them if the recipe was shared", "give them through the environment (AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN)"],
            rule="credentials-in-url",
        )  # fmt: skip
    if parts.scheme.lower() not in REMOTE:
        raise CodemixError(
            f"`{parts.scheme}://` addresses are not read: {redacted(uri)}",
            hints=[f"read here: local paths, {', '.join(f'{s}://' for s in REMOTE)}", "download the data first, and give its local path"],
            rule="unknown-scheme",
        )  # fmt: skip


def locate(path: str, root: Path) -> Path:
    """The real file of an input that is not remote. Raises CodemixError when it is missing or lies outside its root."""
    scheme = scheme_of(path)
    inside = interpreter_root(scheme)
    name = path[len(scheme) + 1 :] if inside else path
    base = (inside or root).resolve()
    if "\0" in name:
        raise CodemixError(f"the path {path!r} contains a zero byte", rule="bad-path")
    try:
        real = (base / name).resolve(strict=True)
    except FileNotFoundError:
        raise CodemixError(f"there is no file {path}" + (f" under {root}" if not inside else ""), hints=_nearby(name, base), rule="input-missing") from None
    except (OSError, RuntimeError) as error:
        raise CodemixError(f"cannot open {path}: {getattr(error, 'strerror', None) or error}", rule="input-unreadable") from error
    if not real.is_relative_to(base):
        how = "leads" if not (base / name).is_symlink() else "is a symbolic link that leads"
        raise CodemixError(
            f"{path} {how} outside the data root",
            hints=["move or copy the data under the data root", "or choose a data root that holds both, with `--data-root`"],
            rule="outside-data-root",
        )  # fmt: skip
    return real


def _nearby(name: str, base: Path) -> tuple[str, ...]:
    """Hints about what is there, for a path or pattern that is not."""
    parent = base
    for piece in Path(name).parts[:-1]:
        if any(c in piece for c in "*?[") or not (parent / piece).is_dir():
            break
        parent = parent / piece
    try:
        names = sorted(p.name for p in parent.iterdir() if not p.name.startswith("."))[:10_000]
    except OSError:
        return ("check `--data-root`: the folder cannot be read",)
    shown = parent.relative_to(base).as_posix() if parent != base else "the data root"
    wanted = Path(name).parts[len(parent.relative_to(base).parts) :][:1]
    close = did_you_mean(wanted[0], names) if wanted and len(names) > 20 else ()
    return (f"{shown} holds: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else f"{shown} is empty", *close)


def expand(patterns: str | Iterable[str], root: Path, suffixes: tuple[str, ...] = ()) -> list[str]:
    """Files that paths and glob patterns (`**` allowed) name, sorted, each once, as paths relative to the data root or URIs.

    Raises CodemixError for a pattern without a match, a path outside the root, a suffix that is not one of `suffixes`.
    """
    found, problems = set(), []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        try:
            found.update(_expand_remote(pattern) if scheme_of(pattern) else _expand_local(pattern, root))
        except CodemixError as error:
            problems += error.problems
    for name in sorted(found) if suffixes else ():
        if not name.lower().endswith(suffixes):
            problems.append(Problem(
                f"cannot tell how to read {redacted(name)}: its suffix is not one of {', '.join(suffixes)}",
                hints=("rename the file to what it holds, or narrow the pattern",), rule="unknown-suffix",
            ))  # fmt: skip
    if problems:
        raise CodemixError(*problems[:20])
    return sorted(found)


def _expand_local(pattern: str, root: Path) -> list[str]:
    base = root.resolve()
    name = pattern
    if os.path.isabs(pattern):
        for start in (root, base):
            if Path(pattern).is_relative_to(start):
                name = Path(pattern).relative_to(start).as_posix()
                break
        else:
            raise CodemixError(
                f"{pattern} lies outside the data root {root}",
                hints=["give paths relative to the data root", "or choose another data root with `--data-root`"], rule="outside-data-root",
            )  # fmt: skip
    if not base.is_dir():
        raise CodemixError(f"the data root {root} is not a folder", hints=["choose it with `--data-root`"], rule="input-missing")
    if not any(c in name for c in "*?["):
        if locate(name, root).is_dir():
            raise CodemixError(f"{pattern} is a folder, and a file is wanted", hints=[f"write `{name.rstrip('/')}/**/*` with the files' suffix"], rule="input-is-folder")
        return [os.path.normpath(name)]
    matches = [os.path.normpath(m) for m in glob.glob(name, root_dir=base, recursive=True)]
    files = [m for m in matches if not locate(m, root).is_dir()]
    if not files:
        raise CodemixError(f"no file matches {pattern} under {root}", hints=_nearby(name, base), rule="glob-no-match")
    return files


def _expand_remote(pattern: str) -> list[str]:
    check_uri(pattern)
    if not any(c in pattern for c in "*?["):
        return [pattern]
    from codemix.data.opening import remote_filesystem

    found = remote_filesystem(pattern)[0].glob(pattern)
    if not found:
        raise CodemixError(f"no object matches {redacted(pattern)}", hints=["list the folder with your cloud's own tool to see its names"], rule="glob-no-match")
    return [f"{scheme_of(pattern)}://{name}" for name in found]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def freeze(paths: Iterable[str], store: Store, data_root: Path) -> list[Input]:
    """Size and content hash of each input, in the order given.

    Hashes are remembered in `<store>/.inputs.json` by real path, size, modification time and inode, so that only
    new or touched files are read again. Raises CodemixError when an input is missing or cannot be read.
    """
    from codemix.data.store import read_json, write_json

    cache_path = store.root / ".inputs.json"
    cache: dict[str, list] = {}
    with suppress(OSError, CodemixError):
        cache = read_json(cache_path)
    named: list[tuple[str, Path | None]] = [(path, None if scheme_of(path) in REMOTE else locate(path, data_root)) for path in paths]
    todo, results = [], {}
    for path, real in named:
        if real is None:
            results[path] = _freeze_remote(path)
            continue
        try:
            stat = real.stat()
        except OSError as error:
            raise CodemixError(f"cannot read {path}: {error.strerror}", rule="input-unreadable") from error
        if not real.is_file():
            raise CodemixError(f"{path} is not a plain file", rule="input-unreadable")
        key = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = cache.get(str(real))
        if isinstance(known, list) and known[:3] == key:
            results[path] = Input(path, stat.st_size, known[3])
        else:
            todo.append((path, real, key))
    if todo:
        _hash_all(todo, lambda path, key, digest: results.__setitem__(path, Input(path, key[0], digest)))
        now = time.time()
        for path, real, key in todo:
            if now - key[1] / 1e9 > _RACY_S:
                cache[str(real)] = [*key, results[path].sha256]
        with suppress(CodemixError, OSError):  # a cache that cannot be written costs time, nothing else
            write_json(cache_path, cache)
    return [results[path] for path, _ in named]


def _hash_all(todo: list[tuple[str, Path, list[int]]], done: Callable[[str, list[int], str], None]) -> None:
    from codemix.progress import progress

    def one(item: tuple[str, Path, list[int]]) -> str:
        try:
            return file_sha256(item[1])
        except OSError as error:
            raise CodemixError(f"cannot read {item[0]}: {error.strerror}", hints=["check its permissions"], rule="input-unreadable") from error

    total = sum(key[0] for _, _, key in todo)
    if total < 2**28:  # a quarter gigabyte takes under a second; threads and a bar would cost more than they give
        for item in todo:
            done(item[0], item[2], one(item))
        return
    with progress("freezing inputs", total, "bytes") as advance, ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for item, digest in zip(todo, pool.map(one, todo), strict=True):
            done(item[0], item[2], digest)
            advance(item[2][0])


def _freeze_remote(uri: str) -> Input:
    from codemix.data.opening import remote_filesystem

    check_uri(uri)
    filesystem, path = remote_filesystem(uri)
    try:
        info = filesystem.info(path)
    except FileNotFoundError:
        raise CodemixError(f"there is no object {redacted(uri)}", rule="input-missing") from None
    except Exception as error:  # each filesystem has its own exceptions, and some of them repeat the credentials
        raise CodemixError(f"cannot look up {redacted(uri)}: {type(error).__name__}", hints=["check the address and your credentials"], rule="input-unreadable") from error
    for key in ("ETag", "etag", "md5Hash", "blob_id", "crc32c", "sha256", "checksum"):
        if info.get(key):
            return Input(uri, int(info.get("size") or 0), f"etag:{str(info[key]).strip(chr(34))}")
    raise CodemixError(f"{redacted(uri)} has no checksum that could tell when it changes", hints=["download it, and give its local path"], rule="no-checksum")
