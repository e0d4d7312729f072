"""Whether a file's bytes are text at all, decided before they are decoded. Standard library only."""

from __future__ import annotations

import re

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# A pointer names its version first and has fewer than 1024 bytes; the other hosts are those of its first
# versions.
_LFS_FIRST_LINE = rb"version https?://(?:git-lfs\.github\.com|hawser\.github\.com|git-media\.io)/[^\n]*\n"
_LFS_LINE = re.compile(_LFS_FIRST_LINE)
_LFS_POINTER = re.compile(_LFS_FIRST_LINE + rb"(?:[^\n]*\n)*?oid ")
_LFS_POINTER_BYTES = 1024
NO_TEXT = {
    "lfs_pointer": "it is a pointer to a file that Git LFS keeps elsewhere",
    "utf16": "it is UTF-16 (or UTF-32)",
    "binary": "it holds zero bytes",
    "control_characters": "it holds more control characters than a text does",
}
_CONTROL = bytes(c for c in range(32) if c not in b"\b\t\n\v\f\r\x1b") + b"\x7f"
_BYTES_PER_CONTROL = (
    128  # git's own measure: more than one control character per this many bytes makes a file binary
)


def no_text(data: bytes) -> str | None:
    """Why a file is not text that extends ASCII: `lfs_pointer`, `utf16` or `binary`; None if it may be.

    As git has it, a zero byte anywhere makes a file binary. UTF-16 is recognized by its byte order mark, or
    by zero bytes that are all the upper (or all the lower) halves of its characters.
    """
    if len(data) < _LFS_POINTER_BYTES and _LFS_POINTER.match(data):
        return "lfs_pointer"  # the file itself is kept elsewhere
    if data.startswith(_UTF16_MARKS):
        return "utf16"
    if b"\0" not in data:
        return None
    return "utf16" if _is_utf16(data) else "binary"


def is_lfs_line(line: bytes) -> bool:
    """Whether a line is the first of a Git LFS pointer."""
    return _LFS_LINE.fullmatch(line) is not None


def is_wide(line: bytes) -> bool:
    """Whether a line that was cut out at a newline's byte is of a file in UTF-16 or UTF-32."""
    if not line.strip(b"\0\n"):
        return False
    return line.startswith(_UTF16_MARKS) or 3 * line.count(0) >= len(line)


def mostly_control(data: bytes) -> bool:
    """Whether bytes that are not UTF-8 hold more control characters than a text in Latin-1 would."""
    return _controls(data) * _BYTES_PER_CONTROL > len(data)


def _controls(data: bytes) -> int:
    return len(data) - len(data.translate(None, _CONTROL))


def _is_utf16(data: bytes) -> bool:
    """Whether bytes without a mark are UTF-16: a quarter of the characters or more in Latin-1, none a
    control."""
    even, odd = data[::2].count(0), data[1::2].count(0)
    if len(data) % 2 or (even and odd) or 8 * max(even, odd) < len(data):
        return False
    try:
        text = data.decode("utf-16-be" if even else "utf-16-le")
    except UnicodeDecodeError:
        return False
    return not _controls(text.encode())
