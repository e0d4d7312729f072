"""A folder of files in a bucket: nothing of it counts before all of it is there.

The files, one after another in the order of their names, are a sequence of bytes; each 64 MiB of it is an object
that is named by its SHA-256, so that two writers cannot mix, small files need no object each, and what an
interrupted upload has sent already is not sent again.

    <folder>/<sha256>     64 MiB of the files, the last one the rest
    <folder>/done.json    the names, sizes and digests of the files, and the pieces in their order; written last,
                          where there is none
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from codemix.data.remote.bucket import CONCURRENT, Bucket, Entry
from codemix.data.store.copying import changed
from codemix.errors import CodemixError

FORMAT = 1
DONE = "done.json"
ETAGS = "etags.json"  # the note of them: a field that earlier versions do not know would be refused
PIECE = 64 * 2**20  # bytes
SENDING = 8  # pieces in memory, and on their way

Advance = Callable[[int], None]  # called with bytes


@dataclass(frozen=True)
class File:
    """A file of a folder."""

    path: str  # inside the folder
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `end` of a file, which lie in a piece one span after the other."""

    file: File
    start: int
    end: int


@dataclass(frozen=True)
class Contents:
    """What a folder in a bucket holds: its done.json."""

    files: tuple[File, ...]
    pieces: tuple[str, ...]  # their SHA-256
    piece_bytes: int = PIECE
    notes: Mapping[str, str] = field(default_factory=dict)  # small texts that are read without any piece

    @property
    def total_bytes(self) -> int:
        sizes = [file.bytes for file in self.files]
        return sum(sizes)

    @functools.cached_property
    def spans(self) -> list[list[Span]]:
        """For each piece, what it consists of."""
        cut = _spans(self.files, self.piece_bytes)
        return list(cut)

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each piece, by its name."""
        by_name = {}
        for name, spans in zip(self.pieces, self.spans, strict=True):
            by_name[name] = _size(spans)
        return by_name

    @property
    def etags(self) -> tuple[str, ...]:
        """The ETag of each piece when the folder was finished; none of what an earlier codemix put there."""
        if ETAGS not in self.notes:
            return ()
        listed = json.loads(self.notes[ETAGS])
        return tuple(listed)

    def with_etags(self, there: Mapping[str, Entry]) -> Contents:
        """The same with the ETags of its pieces, as they are there."""
        etags = [there[piece].etag for piece in self.pieces]
        notes = dict(self.notes)
        notes[ETAGS] = json.dumps(etags)
        return replace(self, notes=notes)

    def as_json(self) -> bytes:
        content = asdict(self) | {"format": FORMAT}
        return json.dumps(content, sort_keys=True, ensure_ascii=False).encode()


def _spans(files: Iterable[File], piece_bytes: int) -> Iterator[list[Span]]:
    spans: list[Span] = []
    room = piece_bytes
    for file in files:
        start = 0
        while start < file.bytes:
            end = min(file.bytes, start + room)
            spans.append(Span(file, start, end))
            room -= end - start
            start = end
            if not room:
                yield spans
                spans = []
                room = piece_bytes
    if spans:
        yield spans


class UnreadableError(CodemixError):
    """A folder in a bucket is finished, and this codemix cannot read its done.json."""


def read_contents(bucket: Bucket, folder: str) -> Contents | None:
    """What a folder in a bucket holds; None where it is not there, or not finished.

    Raises UnreadableError where its done.json is damaged, or of a newer format.
    """
    key = f"{folder}/{DONE}"
    text = bucket.get(key)
    if text is None:
        return None
    place = f"{bucket.address}/{key}"
    try:
        content = json.loads(text)
        written = content.pop("format")
        if written != FORMAT:
            what = f"{place} has format {written}, this codemix reads format {FORMAT}"
            raise UnreadableError(what, hints=["use the codemix that wrote it"], rule="bucket-format")
        return _contents(content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"{place} is damaged: {error}"
        hint = "delete it, and push the folder again"
        raise UnreadableError(what, hints=[hint], rule="bucket-damaged") from None


def _contents(content: dict[str, Any]) -> Contents:
    files = tuple(File(**file) for file in content.pop("files"))
    contents = Contents(files=files, pieces=tuple(content.pop("pieces")), **content)
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{file.path} leads outside of the folder")
    if len(contents.spans) != len(contents.pieces):
        raise ValueError("its pieces are not its files")
    return contents


def upload(
    bucket: Bucket,
    folder: str,
    source: Path,
    digests: Mapping[str, str],
    *,
    notes: Mapping[str, str] | None = None,
    advance: Advance = lambda n: None,
) -> Contents:
    """Put the files of a local folder into one of a bucket; what the bucket's folder holds then.

    `digests`: the SHA-256 of each file, by its path. Raises CodemixError where a file has another by now, and
    where somebody else has finished the folder with other content.
    """
    sizes = {name: (source / name).stat().st_size for name in sorted(digests)}
    files = tuple(File(name, size, digests[name]) for name, size in sizes.items())
    there = objects_there(bucket, folder)
    pieces = _send_pieces(bucket, folder, source, files, there, advance)
    contents = Contents(files, pieces, PIECE, notes or {})
    sent = objects_there(bucket, folder)
    refuse_lost(bucket, folder, contents, sent)
    contents = contents.with_etags(sent)
    if not bucket.put_new(f"{folder}/{DONE}", contents.as_json()):
        raise CodemixError(
            f"{bucket.address}/{folder} was finished by somebody else meanwhile, with other content",
            hints=["what is there is whole; run the same command again to use it"],
            rule="bucket-conflict",
        )
    return contents


def _send_pieces(
    bucket: Bucket,
    folder: str,
    source: Path,
    files: tuple[File, ...],
    there: Mapping[str, Entry],
    advance: Advance,
) -> tuple[str, ...]:
    """Send what is not there yet of the files; the names of all pieces."""

    def send(piece: bytes) -> str:
        name = hashlib.sha256(piece).hexdigest()
        if name not in there or there[name].bytes != len(piece):
            bucket.put(f"{folder}/{name}", piece)
        advance(len(piece))
        return name

    sent: list[Future[str]] = []
    with ThreadPoolExecutor(SENDING) as pool:
        try:
            for number, piece in enumerate(_read_pieces(source, files)):
                if number >= SENDING:
                    sent[number - SENDING].result()  # so that only so many are in memory
                sent.append(pool.submit(send, piece))
            return tuple(piece.result() for piece in sent)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _read_pieces(source: Path, files: tuple[File, ...]) -> Iterator[bytes]:
    """The files' bytes, cut. Raises CodemixError where a file is not what its digest says."""
    hashes = {file: hashlib.sha256() for file in files}
    for spans in _spans(files, PIECE):
        parts: list[bytes] = []
        for span in spans:
            part = _read(source, span)
            hashes[span.file].update(part)
            if span.end == span.file.bytes and hashes[span.file].hexdigest() != span.file.sha256:
                raise changed(source / span.file.path)
            parts.append(part)
        yield b"".join(parts)


def _read(folder: Path, span: Span) -> bytes:
    with open(folder / span.file.path, "rb") as file:
        file.seek(span.start)
        return file.read(span.end - span.start)


def refuse_lost(bucket: Bucket, folder: str, contents: Contents, there: Mapping[str, Entry]) -> None:
    """Raises CodemixError where a piece is not among what is there of a folder, or has another size."""
    for name, size in contents.sizes.items():
        if name in there and there[name].bytes == size:
            continue
        what = f"{bucket.address}/{folder}/{name} is not there as it was sent"
        hint = "something deleted or replaced it; delete its folder from the bucket and push it again"
        raise CodemixError(what, hints=[hint], rule="bucket-lost")


def objects_there(bucket: Bucket, folder: str) -> dict[str, Entry]:
    """The objects of a folder, by name."""
    by_name = {}
    for entry in bucket.entries(folder):
        name = entry.key.removeprefix(f"{folder}/")
        by_name[name] = entry
    return by_name


def _size(spans: Iterable[Span]) -> int:
    size = 0
    for span in spans:
        size += span.end - span.start
    return size


def download(
    bucket: Bucket, folder: str, contents: Contents, target: Path, *, advance: Advance = lambda n: None
) -> None:
    """Write the files of a bucket's folder into a local one, each piece checked by its SHA-256.

    Pieces that an interrupted download left there are kept where their digest is right. Raises CodemixError
    for a piece that is gone or is not what it is named after, OSError where the disk is full.
    """
    for file in contents.files:
        path = target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as begun:
            begun.truncate(file.bytes)

    def fetch(name: str, spans: list[Span]) -> None:
        if not _is_here(target, name, spans):
            _fetch_piece(bucket, f"{folder}/{name}", target, spans)
        advance(_size(spans))

    with ThreadPoolExecutor(CONCURRENT) as pool:
        try:
            for _ in pool.map(fetch, contents.pieces, contents.spans):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _is_here(target: Path, name: str, spans: list[Span]) -> bool:
    """Whether an earlier download wrote a piece."""
    digest = hashlib.sha256()
    for span in spans:
        path = target / span.file.path
        if not path.stat().st_blocks and span.file.bytes:  # nothing of the file was ever written
            return False
        digest.update(_read(target, span))
    return digest.hexdigest() == name


def _fetch_piece(bucket: Bucket, key: str, target: Path, spans: list[Span]) -> None:
    name = key.rsplit("/", 1)[-1]
    for _ in range(2):  # a body that came whole and wrong is asked for once more
        body = bucket.stream(key, 0, _size(spans))
        if _write(body, target, spans) == name:
            return
    raise damaged_piece(bucket, key)


def damaged_piece(bucket: Bucket, key: str) -> CodemixError:
    """The problem of a piece that is not what it is named after."""
    return damaged(f"{bucket.address}/{key}", "its SHA-256 is not its name")


def damaged(place: str, why: str) -> CodemixError:
    """The problem of something in a bucket that is not what was pushed."""
    hint = "delete the folder from the bucket, and push it again from where it is whole"
    return CodemixError(f"{place} is damaged: {why}", hints=[hint], rule="bucket-damaged")


def _write(body: Iterator[bytes], target: Path, spans: list[Span]) -> str:
    """Write what comes to its places; its SHA-256."""
    digest = hashlib.sha256()
    left = b""
    for span in spans:
        place = span.start
        with open(target / span.file.path, "rb+") as file:
            file.seek(place)
            while place < span.end:
                chunk = left or next(body)
                here = chunk[: span.end - place]
                left = chunk[len(here) :]
                digest.update(here)
                place += file.write(here)
    return digest.hexdigest()
