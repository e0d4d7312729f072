"""Parts of the files of a finished folder in a bucket, read where they lie in its pieces.

SHA-256 is of whole pieces, so a part cannot be checked by it. What can be is that a piece is still the object that was
checked: its ETag is the one that it had when the folder was finished, from bytes that had just been hashed. A piece
with another (a bucket that was copied by other tools) is read whole and hashed once, before anything is used of it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from codemix.data.remote import pieces
from codemix.data.remote.bucket import CONCURRENT, Bucket, Entry
from codemix.data.remote.pieces import Contents, File


@dataclass(frozen=True)
class Part:
    """Bytes `start` to `end` of the piece of this name."""

    piece: str
    start: int
    end: int


class FilesInPieces:
    """Where the files of a folder lie in its pieces."""

    def __init__(self, contents: Contents):
        sizes = [file.bytes for file in contents.files]
        starts = itertools.accumulate(sizes, initial=0)
        paths = [file.path for file in contents.files]
        self._start = dict(zip(paths, starts, strict=False))
        self._pieces = contents.pieces
        self._piece_bytes = contents.piece_bytes

    def parts(self, path: str, start: int, end: int) -> list[Part]:
        """What bytes `start` to `end` of a file consist of: one part, or two where a piece ends in between."""
        before = self._start[path]
        first = before + start
        cut = self._cut(first, before + end)
        return list(cut)

    def _cut(self, start: int, end: int) -> Iterator[Part]:
        while start < end:
            number, inside = divmod(start, self._piece_bytes)
            room = self._piece_bytes - inside
            length = min(end - start, room)
            piece = self._pieces[number]
            yield Part(piece, inside, inside + length)
            start += length


@dataclass(frozen=True)
class PinnedFolder:
    """A folder in a bucket, each of its pieces known to be whole, by ETag."""

    bucket: Bucket
    folder: str
    places: FilesInPieces
    etags: Mapping[str, str]

    def read(self, part: Part) -> bytes:
        """One request. Raises CodemixError where the piece is gone or is another by now."""
        name = part.piece
        key = f"{self.folder}/{name}"
        etag = self.etags[name]
        return self.bucket.part(key, part.start, part.end, etag)

    def file(self, file: File) -> bytes:
        """A whole small file. Raises CodemixError where it is not what it was pushed as."""
        parts = self.places.parts(file.path, 0, file.bytes)
        content = b"".join(map(self.read, parts))
        if hashlib.sha256(content).hexdigest() != file.sha256:
            place = f"{file.path} in {self.bucket.address}/{self.folder}"
            raise pieces.damaged(place, "its SHA-256 is another")
        return content


def unknown_pieces(contents: Contents, there: Mapping[str, Entry], checked: Mapping[str, str]) -> list[str]:
    """The pieces that are not known to be whole: their ETag is neither that of when they were pushed nor that of when
    they were checked here."""
    pushed = dict(zip(contents.pieces, contents.etags, strict=False))
    unknown = []
    for piece in dict.fromkeys(contents.pieces):
        known = (pushed.get(piece), checked.get(piece))
        etag = there[piece].etag
        if not etag or etag not in known:
            unknown.append(piece)
    return unknown


def check_pieces(bucket: Bucket, entries: list[Entry]) -> None:
    """Read pieces whole and compare their SHA-256 with their names.

    Raises CodemixError (`bucket-damaged`) for one that has another.
    """

    def check(entry: Entry) -> None:
        name = entry.key.rsplit("/", 1)[-1]
        digest = hashlib.sha256()
        for chunk in bucket.stream(entry.key, 0, entry.bytes):
            digest.update(chunk)
        if digest.hexdigest() != name:
            raise pieces.damaged_piece(bucket, entry.key)

    with ThreadPoolExecutor(CONCURRENT) as pool:
        try:
            for _ in pool.map(check, entries):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
