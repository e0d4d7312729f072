"""Strict decompression in bounded pieces: a truncated, damaged, misnamed or exploding file is an error, never
a short read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from codemix.data.text.binary import NO_TEXT, no_text

COMPRESSIONS = {
    ".gz": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
}  # suffix -> compression; everything else is plain
MAX_EXPANSION = (
    200  # bytes out per byte in; source code and prose stay under 20, only bombs and blank files exceed this
)
EXPANSION_FREE = 1 << 24  # [bytes] this much is harmless at any ratio, even as 16 million blank lines
_READ = 1 << 20
_PIECE = 1 << 17  # small enough to stay in the cache between decompressing and splitting
# One zstd block of 4 bytes can expand to 128 KiB. Feeding 8 KiB at a time bounds what one call can return
# (256 MiB), at no cost in speed.
_ZSTD_FEED = 1 << 13
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "parquet",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"\x04\x22\x4d\x18": "lz4",
}
_TAR = slice(257, 265)  # where a tar archive names itself, by one of two names
_TARS = (b"ustar\x0000", b"ustar  \0")
_REMEDIES = {  # for a file that holds what its name does not say
    "": "take that suffix out of its name",
    "gzip": "give it the suffix of what it holds (.gz)",
    "zstd": "give it the suffix of what it holds (.zst)",
    "parquet": "give it the suffix of what it holds (.parquet)",
}


class Damaged(Exception):
    """The rest of an input cannot be read: `reason` to count by, `detail` for a person."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def named_compression(name: str) -> str:
    """What a file's name says: `gzip`, `zstd`, or empty for plain."""
    for suffix, compression in COMPRESSIONS.items():
        if name.lower().endswith(suffix):
            return compression
    return ""


def found_compression(head: bytes) -> str:
    """What a file's first bytes say: `gzip`, `zstd`, another binary container, or empty for anything else."""
    if head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstd"  # a skippable frame
    if head[_TAR] in _TARS:
        return "tar"
    for magic, compression in _MAGIC.items():
        if head.startswith(magic):
            return compression
    return ""


def check_name(name: str, head: bytes) -> str:
    """The compression of a file whose name and first bytes agree. Raises Damaged (`wrong_suffix`,
    `truncated`) when they do not."""
    named = named_compression(name)
    actual = found_compression(head)
    if named and not head:
        raise Damaged("truncated", f"the file is empty, which no {named} file is")
    if named != actual and no_text(head) == "lfs_pointer":
        raise Damaged("lfs_pointer", NO_TEXT["lfs_pointer"])
    if named != actual:
        holds = f"{actual} data" if actual else "no compressed data"
        remedy = _REMEDIES.get(actual, f"unpack it, for {actual} is not read")
        named_as = f"by its name it is {named or 'plain'}"
        raise Damaged("wrong_suffix", f"{named_as}, but it holds {holds}; {remedy}")
    return named


def decompressed(file: BinaryIO, name: str, *, max_expansion: float = MAX_EXPANSION) -> Iterator[bytes]:
    """The content of `file` in pieces of 64 KiB to 1 MiB, decompressed as `name` says. Raises Damaged."""
    head = file.read(_READ)
    compression = check_name(name, head)
    if not compression:
        while head:
            yield head
            head = file.read(_READ)
        return
    n_in = n_out = 0

    def counted(data: bytes) -> bytes:
        nonlocal n_out
        n_out += len(data)
        if n_out > EXPANSION_FREE and n_out > max_expansion * n_in:
            more = f"{n_in:,} bytes became more than {n_out:,}, over {max_expansion:g} times as many"
            raise Damaged("expands_too_much", f"{more}; `max_expansion` allows more")
        return data

    def pieces() -> Iterator[bytes]:
        nonlocal n_in, head
        while head:
            n_in += len(head)
            yield head
            head = file.read(_READ)

    stream = (_gzip if compression == "gzip" else _zstd)(pieces())
    waiting: list[bytes] = []
    size = 0
    damage = None
    try:
        for data in stream:
            waiting.append(counted(data))
            size += len(data)
            if size >= _PIECE:
                yield b"".join(waiting) if len(waiting) > 1 else waiting[0]
                waiting, size = [], 0
    except Damaged as error:  # what came out before it is given first, of small files as of large ones
        damage = error
    if waiting:
        yield b"".join(waiting)
    if damage is not None:
        raise damage


def _gzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """All members, one after the other; zero padding after the last is allowed, as gzip does."""
    member = zlib.decompressobj(31)
    for data in pieces:
        while data:
            if member.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                member = zlib.decompressobj(31)
            yield _inflated(member, data)
            data = member.unused_data if member.eof else member.unconsumed_tail
    while not member.eof:  # output may still wait inside when the input is used up
        rest = _inflated(member, b"")
        if not rest and not member.eof:
            raise Damaged("truncated", "the gzip data ends in the middle")
        yield rest


def _inflated(member: zlib._Decompress, data: bytes) -> bytes:
    try:
        return member.decompress(data, _READ)
    except (
        zlib.error
    ) as error:  # bits are turned; what came out just before is not to be trusted, zlib keeps it
        raise Damaged("damaged", f"gzip: {error}") from None


def _zstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """All frames, one after the other, with windows of any size up to 2 GiB (`zstd --long=31`)."""
    import zstandard

    context = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    frame = None
    for data in pieces:
        view = memoryview(data)
        at = 0
        while at < len(view):
            fed = view[at : at + _ZSTD_FEED]
            at += len(fed)
            frame = frame or context.decompressobj()
            try:
                yield frame.decompress(fed)
            except zstandard.ZstdError as error:
                raise Damaged("damaged", f"zstd: {error}") from None
            if frame.eof:
                at -= len(frame.unused_data)
                frame = None
    if frame is not None:
        raise Damaged("truncated", "the zstd data ends in the middle")
