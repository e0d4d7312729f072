"""Files of a store that are not on this disk, as a reader of some of their bytes sees them. Standard library only."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol, Self


@dataclass(frozen=True)
class Traffic:
    """Reading: of so many bytes, in so many requests."""

    requests: int = 0
    bytes: int = 0

    def __add__(self, other: Traffic) -> Self:
        requests = self.requests + other.requests
        n_bytes = self.bytes + other.bytes
        return replace(self, requests=requests, bytes=n_bytes)

    def __sub__(self, other: Traffic) -> Self:
        requests = self.requests - other.requests
        n_bytes = self.bytes - other.bytes
        return replace(self, requests=requests, bytes=n_bytes)


@dataclass(frozen=True)
class PartOfFile:
    """Bytes `start` to `end` of a file, named by the place that it would have on this disk."""

    file: str
    start: int
    end: int


class PartReader(Protocol):
    """Reads parts of files, many at a time."""

    def ask(self, part: PartOfFile) -> Future[bytes]:
        """Its bytes, when they have come; an error of theirs is a CodemixError."""

    @property
    def traffic(self) -> Traffic:
        """Of all that was asked."""
