"""The one place that opens inputs: local files and remote objects, whole, in pieces, or as lines. Strict
everywhere."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from codemix.data.document import Unreadable, row_of
from codemix.data.inputs.decompression import (
    MAX_EXPANSION,
    Damaged,
    decompressed,
    found_compression,
    named_compression,
)
from codemix.data.inputs.frozen_inputs import Input, Part, changed, freeze_remote
from codemix.data.inputs.line_streams import LineStream, keep, line_stream
from codemix.data.inputs.locations import INTERPRETER, REMOTE, locate, redacted, remote_filesystem, scheme_of
from codemix.errors import CodemixError

MAX_LINE_BYTES = 1 << 28  # one document of a quarter gigabyte is a mistake
_PIECE = 1 << 20
# To read a part of a compressed file, all before it is decompressed once by each process: so only a file that is much
# of what a source reads is divided, and into few parts.
_STREAM_PARTS = 8
_LARGE_STREAM = 32  # times what another part may hold
_STREAM_HEAD = 1 << 24  # bytes that are decompressed to estimate the size of the content


class Opener:
    """Opens the inputs of a source under one data root. Cheap to make; pickles."""

    def __init__(
        self,
        root: Path,
        *,
        max_expansion: float = MAX_EXPANSION,
        max_line_bytes: int = MAX_LINE_BYTES,
        first_row: bool = False,
    ):
        self.root = Path(root)
        self.max_expansion = max_expansion
        self.max_line_bytes = max_line_bytes
        self.first_row = first_row  # only the first row of each input is wanted: read little at a time

    def open(self, given: Input) -> BinaryIO:
        """The raw bytes of an input. Raises CodemixError when it is gone, or its size differs from when it
        was frozen."""
        if scheme_of(given.path) in REMOTE:
            return self._open_remote(given)
        try:
            file = open(locate(given.path, self.root), "rb")  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise CodemixError(
                f"cannot open {given.path}: {error.strerror}", rule="input-unreadable"
            ) from error
        if (size := os.fstat(file.fileno()).st_size) != given.bytes:
            file.close()
            raise CodemixError(
                f"{given.path} changed while it was in use: "
                f"it had {given.bytes:,} bytes and now has {size:,}",
                hints=["let the program that writes it finish, then run the same command again"],
                rule="input-changed",
            )
        if scheme_of(given.path) in INTERPRETER:
            _refuse_other_python(file, given)
        return file

    def _open_remote(self, given: Input) -> BinaryIO:
        if freeze_remote(given.path, again=True) != given:
            raise CodemixError(changed(given.path))
        filesystem, path = remote_filesystem(given.path)
        try:
            remote = _Remote(filesystem.open(path, "rb"), given.path)
            return cast(BinaryIO, remote)  # it has all that is used of one
        except Exception as error:  # each filesystem has its own, and some repeat the credentials
            raise CodemixError(
                f"cannot open {redacted(given.path)}: {type(error).__name__}", rule="input-unreadable"
            ) from error

    def pieces(self, part: Part) -> Iterator[bytes]:
        """The decompressed content of a part that is a whole input, or a stretch of a plain one, in pieces of
        64 KiB to 1 MiB. Raises Damaged."""
        with self.open(part.input) as file:
            if part.is_whole:
                yield from decompressed(file, part.input.path, max_expansion=self.max_expansion)
            else:
                yield from _stretch(file, part.start, part.stop)

    def whole(self, given: Input) -> bytes:
        """All of an input, decompressed. Raises Damaged, also when it is larger than one document may be."""
        out = io.BytesIO()
        for piece in self.pieces(Part(given)):
            out.write(piece)
            if out.tell() > self.max_line_bytes:
                raise Damaged("too_large", f"more than {self.max_line_bytes:,} bytes in one document")
        return out.getvalue()

    def lines(self, part: Part) -> Iterator[tuple[int, bytes | Unreadable]]:
        """The lines of a part, each with its number and its newline; an Unreadable is one row too.

        Rows are numbered from the start of the input, blank ones included, so that a number is a line number
        minus one; messages give the line number.
        """
        if part.is_whole or not named_compression(part.input.path):
            first_row = part.first_row
            pieces = self.pieces(part)
        else:
            key = (self.root, self.max_expansion, part.input)
            try:
                stream = line_stream(key, part.start, lambda: self.pieces(Part(part.input)))
            except Damaged:
                return iter(())  # it is in an earlier part, which says so
            first_row = stream.row
            pieces = _until(stream, part.stop)
        return enumerate(self._lines(pieces, part.input.path, first_row), first_row)

    def _lines(self, pieces: Iterator[bytes], name: str, row: int) -> Iterator[bytes | Unreadable]:
        """Lines are cut one by one out of a piece: a list of all of them would not stay in the cache, and cost
        more."""
        most = self.max_line_bytes
        begun: list[bytes] = []  # pieces of a line that has not ended
        size = 0
        try:
            for piece in pieces:
                for line in io.BytesIO(piece):
                    if begun or size:
                        size += len(line)
                        if size <= most:
                            begun.append(line)
                        else:
                            begun = []  # the line continues, and is only counted
                        if not line.endswith(b"\n"):
                            continue
                        yield b"".join(begun) if size <= most else self._too_long(name, row)
                        begun, size = [], 0
                    elif line.endswith(b"\n"):
                        yield line if len(line) <= most else self._too_long(name, row)
                    else:
                        begun, size = [line], len(line)
                        continue
                    row += 1
            if size:
                yield b"".join(begun) if size <= most else self._too_long(name, row)
        except Damaged as damage:
            yield Unreadable(damage.reason, row_of(name, row), damage.detail, rest_lost=True)

    def _too_long(self, name: str, row: int) -> Unreadable:
        limit = f"more than {self.max_line_bytes:,} bytes"
        return Unreadable("line_too_long", row_of(name, row), limit)

    def line_parts(self, given: Input, part_bytes: int) -> list[Part]:
        """Stretches of whole lines of a local file: of a plain one of about `part_bytes`, of a compressed one a
        few large ones.

        Counting the newlines of a plain file costs one more reading of it (over 1 GB per second), and keeps row
        numbers true.
        """
        if given.bytes <= 2 * part_bytes or scheme_of(given.path) in REMOTE:
            return [Part(given)]
        if named_compression(given.path):
            return self._stream_parts(given) if given.bytes >= _LARGE_STREAM * part_bytes else [Part(given)]
        with self.open(given) as file:
            if found_compression(file.read(512)):
                return [Part(given)]  # reading it will say that its suffix is wrong
            file.seek(0)
            return _line_parts(given, file, part_bytes)

    def _stream_parts(self, given: Input) -> list[Part]:
        """Stretches of the content of a compressed file, about equal if it is compressed throughout as at its
        start."""
        with self.open(given) as file:
            head = io.BytesIO(file.read(_STREAM_HEAD))
        content = 0
        with contextlib.suppress(Damaged):  # it is cut off; reading the parts will say what else is wrong
            for piece in decompressed(head, given.path, max_expansion=self.max_expansion):
                content += len(piece)
        content = content * given.bytes // head.tell()
        starts = [content * number // _STREAM_PARTS for number in range(_STREAM_PARTS)]
        stops = [*starts[1:], None]
        size = given.bytes // _STREAM_PARTS
        pairs = zip(starts, stops, strict=True)
        return [Part(given, start, stop, bytes=size) for start, stop in pairs]


def _refuse_other_python(file: BinaryIO, given: Input) -> None:
    """Each machine has a Python of its own, and there are several of one version."""
    if hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest() != given.sha256:
        hint = "install the same Python, from the same place, on each node"
        what = f"{given.path} of the Python of {socket.gethostname()} is not that of the machine that started the build"
        raise CodemixError(what, hints=[hint], rule="input-changed")
    file.seek(0)


def _until(stream: LineStream, stop: int | None) -> Iterator[bytes]:
    yield from stream.until(stop)
    if stop is not None:
        keep(stream)


def _line_parts(given: Input, file: BinaryIO, part_bytes: int) -> list[Part]:
    parts = []
    start = first_row = 0  # of the next part
    at = row = 0  # read so far
    while piece := file.read(_PIECE):
        end = at + piece.rfind(b"\n") + 1  # of the last whole line
        newlines = piece.count(b"\n")
        at += len(piece)
        row += newlines
        if newlines and end - start >= part_bytes:
            parts.append(Part(given, start, end, first_row, end - start))
            start = end
            first_row = row
    if start < at:
        parts.append(Part(given, start, at, first_row, at - start))
    return parts


def _stretch(file: BinaryIO, start: int, stop: int | None) -> Iterator[bytes]:
    file.seek(start)
    left = (1 << 62) if stop is None else stop - start
    while left > 0:
        piece = file.read(min(_PIECE, left))
        if not piece:
            return
        left -= len(piece)
        yield piece


class _Remote(io.RawIOBase):
    """A remote object that is being read. What goes wrong on the way is not damage of the data, and is
    reported as what it is."""

    def __init__(self, file: BinaryIO, path: str):
        self._file = file
        self._path = path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except Exception as error:  # each filesystem has its own, and some repeat the credentials
            hints = ["check the network, then run the same command again: it resumes where it stopped"]
            what = f"cannot read {redacted(self._path)}: {type(error).__name__}"
            raise CodemixError(what, hints=hints, rule="input-unreadable") from error

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
