"""A bucket as codemix uses one: objects that are written whole, read in ranges and never renamed.

What passes by itself (503, a broken connection, a body that is cut, no answer in time) is tried again after
random, growing pauses; the rest is an error with the object, the cause and the remedy. Credentials are read from
the environment by the library, as the clouds' own tools do, and never printed.

obstore and not fsspec: it has conditional writes for S3 and GCS, needs no other package, and streams without
holding Python's lock (measured in benchmarks/remote.py).
"""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, TypeVar

from codemix.data.remote import refusals
from codemix.data.store.addresses import is_address
from codemix.errors import CodemixError
from codemix.recipe.language.requirements import package

T = TypeVar("T")
CONCURRENT = 64  # requests at a time, by who asks several
TRIES = 10  # of one request that gets nowhere
FIRST_PAUSE_S = 0.2  # doubled after each try
LONGEST_PAUSE_S = 20.0
CHUNK = 2**20  # bytes of a body that are held at once
_READING = {"timeout": "10m", "read_timeout": "30s", "connect_timeout": "10s", "allow_http": True}
_WRITING = {"timeout": "30m", "connect_timeout": "10s", "allow_http": True}  # a read time-out counts sending
_ONE_TRY = {"max_retries": 0}


@dataclass(frozen=True)
class Entry:
    """An object, as a listing has it."""

    key: str
    bytes: int
    modified: datetime
    etag: str  # bare, without quotes; empty where the service has none


@dataclass(frozen=True)
class Stored:
    """A small object as it was read: its content, and which version of it that was."""

    content: bytes
    version: Mapping[str, str]


class Bucket:
    """The objects under a prefix of a bucket; keys are relative to the prefix. Safe to share by threads."""

    def __init__(self, address: str):
        """`address`: `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`. Asks nothing of the network.

        Raises CodemixError for another address, and where the package for it is not installed.
        """
        if not is_address(address):
            raise CodemixError(f"`{address}` is a folder, not an address of a bucket", rule="bucket-address")
        requirement = package("a store in a bucket", "obstore", '"codemix[cloud]"')
        if requirement.absent:
            raise CodemixError(requirement.problem())
        from obstore.store import from_url

        self.address = address.rstrip("/")
        self._closed = threading.Event()
        options: dict[str, Any] = {"retry_config": _ONE_TRY}
        try:
            self._reading = from_url(self.address, client_options=_READING, **options)
            self._writing = from_url(self.address, client_options=_WRITING, **options)
        except Exception as error:  # a key file that is not there, a variable that is not what it should be
            raise refusals.refusal("open", self.address, error) from None

    def put(self, key: str, content: bytes) -> None:
        """Write an object whole, also over one of that name."""
        import obstore

        self._patiently("write", key, lambda: obstore.put(self._writing, key, content, use_multipart=False))

    def put_new(self, key: str, content: bytes) -> bool:
        """Write an object whole where there is none of that name. Whether it is there with this content now;
        it is not where somebody else was first with another."""
        import obstore

        def put() -> bool:
            try:
                obstore.put(self._writing, key, content, mode="create", use_multipart=False)
            except obstore.exceptions.AlreadyExistsError:
                return False
            return True

        if self._patiently("write", key, put):
            return True
        return self.get(key) == content  # true where it was ours, and the answer to an earlier try was lost

    def get(self, key: str) -> bytes | None:
        """The content of a small object; None where there is none of that name."""
        import obstore

        def get() -> bytes | None:
            try:
                return bytes(obstore.get(self._reading, key).bytes())
            except FileNotFoundError as error:
                if refusals.is_missing(error):
                    return None
                raise

        return self._patiently("read", key, get)

    def stored(self, key: str) -> Stored | None:
        """A small object with its version; None where there is none of that name."""
        import obstore

        def get() -> Stored | None:
            try:
                answer = obstore.get(self._reading, key)
            except FileNotFoundError as error:
                if refusals.is_missing(error):
                    return None
                raise
            named = {"e_tag": answer.meta["e_tag"], "version": answer.meta["version"]}
            version = {name: value for name, value in named.items() if value}
            return Stored(bytes(answer.bytes()), version)

        return self._patiently("read", key, get)

    def put_over(self, key: str, content: bytes, read: Stored) -> bool:
        """Write an object whole over the version that was read. Whether it is there with this content now; it is not
        where somebody else has written or deleted it meanwhile."""
        import obstore

        def put() -> bool:
            try:
                obstore.put(self._writing, key, content, mode=read.version, use_multipart=False)
            except (obstore.exceptions.PreconditionError, FileNotFoundError) as error:
                if isinstance(error, FileNotFoundError) and not refusals.is_missing(error):
                    raise
                return False
            return True

        if self._patiently("write", key, put):
            return True
        return self.get(key) == content  # true where it was ours, and the answer to an earlier try was lost

    def stream(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes of an object from `start` up to `end`, as they come.

        A body that is cut is continued where it was. Raises CodemixError where the object is not there, or
        ends before.
        """
        tries = 0
        while start < end:
            try:
                for chunk in self._body(key, start, end):
                    yield chunk
                    start += len(chunk)
                    tries = 0
            except CodemixError:
                raise
            except Exception as error:
                tries += 1
                self._wait_or_refuse("read", key, error, tries)

    def _body(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """One try at it."""
        import obstore

        asked = (start, end)
        answer = obstore.get(self._reading, key, options={"range": asked})
        if answer.range != asked:
            size = answer.meta["size"]
            raise self._too_short(key, size, end)
        for chunk in answer.stream(min_chunk_size=CHUNK):
            yield bytes(chunk)

    def part(self, key: str, start: int, end: int, etag: str = "") -> bytes:
        """The bytes of an object from `start` up to `end`, in one request.

        A body that is cut is asked for again. Raises CodemixError where the object is not there, ends before, or is
        not the one of this ETag any more. ETags are compared here: not every service obeys If-Match.
        """
        import obstore

        asked = (start, end)

        def get() -> bytes:
            answer = obstore.get(self._reading, key, options={"range": asked})
            if answer.range != asked:
                raise self._too_short(key, answer.meta["size"], end)
            found = _bare(answer.meta["e_tag"])
            if etag and found != etag:
                raise self._replaced(key)
            body = bytes(answer.bytes())
            if len(body) != end - start:
                raise ConnectionError(f"{len(body):,} bytes came of {end - start:,}")
            return body

        return self._patiently("read", key, get)

    def _replaced(self, key: str) -> CodemixError:
        return CodemixError(
            f"{self.address}/{key} was replaced while it was read: its ETag is another",
            hints=["the same command checks it by its SHA-256, and resumes from the newest checkpoint"],
            rule="bucket-lost",
        )

    def close(self) -> None:
        """Let no request be tried again: those on their way fail where they would have waited."""
        self._closed.set()

    def _too_short(self, key: str, size: int, end: int) -> CodemixError:
        return CodemixError(
            f"cannot read {self.address}/{key}: it has {size:,} bytes, and {end:,} were put there",
            hints=["something replaced it; delete its folder from the bucket and push it again"],
            rule="bucket-lost",
        )

    def entries(self, prefix: str = "") -> list[Entry]:
        """The objects under a prefix of whole names, a thousand in a request."""
        import obstore

        def listed() -> list[Entry]:
            found: list[Entry] = []
            for batch in obstore.list(self._reading, prefix or None):
                found += map(_entry, batch)
            return found

        return self._patiently("list", prefix, listed)

    def folders(self, prefix: str) -> list[str]:
        """The first names under a prefix of whole names that have objects below them."""
        import obstore

        def names() -> list[str]:
            answer = obstore.list_with_delimiter(self._reading, prefix)
            below = map(PurePosixPath, answer["common_prefixes"])
            last = [path.name for path in below]
            return sorted(last)

        return self._patiently("list", prefix, names)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, one after the other; one that is gone already is no error."""
        import obstore

        def delete(key: str) -> None:
            try:
                obstore.delete(self._writing, key)
            except FileNotFoundError as error:
                if not refusals.is_missing(error):
                    raise

        for key in keys:
            self._patiently("delete", key, functools.partial(delete, key))

    def _patiently(self, verb: str, key: str, call: Callable[[], T]) -> T:
        """What a request answers, in as many tries as it takes."""
        tries = 0
        while True:
            try:
                return call()
            except CodemixError:
                raise
            except Exception as error:
                tries += 1
                self._wait_or_refuse(verb, key, error, tries)

    def _wait_or_refuse(self, verb: str, key: str, error: Exception, tries: int) -> None:
        is_last = tries == TRIES or self._closed.is_set()
        if is_last or not refusals.passes(error):
            place = f"{self.address}/{key}"
            raise refusals.refusal(verb, place.rstrip("/"), error) from None
        growing = FIRST_PAUSE_S * 2**tries
        longest = min(LONGEST_PAUSE_S, growing)
        pause = random.uniform(0, longest)
        self._closed.wait(pause)


def _entry(listed: Mapping[str, Any]) -> Entry:
    key = listed["path"]
    n_bytes = listed["size"]
    modified = listed["last_modified"]
    etag = _bare(listed["e_tag"])
    return Entry(key, n_bytes, modified, etag)


def _bare(etag: str | None) -> str:
    """An ETag without its quotes, which listings and answers of one service may put differently."""
    return (etag or "").removeprefix("W/").strip('"')
