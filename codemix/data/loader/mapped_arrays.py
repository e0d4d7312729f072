"""Arrays mapped from files, in a cache that the whole process shares: bounded, so that a source of thousands
of shards does not run out of file descriptors."""

from __future__ import annotations

import collections
import mmap
import os
import threading
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

_MAX_MAPS = 384  # file descriptors held; well below the usual limit of 1,024
_maps: collections.OrderedDict[tuple[str, int], _Mapped] = collections.OrderedDict()
_lock = threading.Lock()
os.register_at_fork(  # a lock that another thread holds would stay locked in the child
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


class CannotMap(Exception):
    """Why a file is not the array that it should be."""


@dataclass(frozen=True)
class _Mapped:
    array: ndarray
    file: mmap.mmap | None  # None of an empty one


def map_array(path: str, dtype: str, count: int, noun: str) -> ndarray:
    """The `count` items (a `noun` each) of a file, mapped.

    Raises CannotMap, also where a file was cut short since it was mapped. Reading behind the end of one that is
    cut short between this look at its size and the reading ends the process (SIGBUS).
    """
    key = (path, count)
    wanted = count * np.dtype(dtype).itemsize
    with _lock:
        mapped = _maps.get(key)
        if mapped is not None:
            _maps.move_to_end(key)
    if mapped is None:
        mapped = _map(path, dtype, count)
        with _lock:
            _maps[key] = mapped
            while len(_maps) > _MAX_MAPS:
                _maps.popitem(last=False)  # an array in use keeps its own map alive
    size = 0 if mapped.file is None else mapped.file.size()
    if size != wanted:
        with _lock:
            _maps.pop(key, None)
        raise CannotMap(f"it has {size:,} bytes, and {count:,} {noun} take {wanted:,}")
    return mapped.array


def _map(path: str, dtype: str, count: int) -> _Mapped:
    try:
        if os.path.getsize(path) == 0:
            return _Mapped(np.zeros(0, dtype), None)
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CannotMap(error.strerror or str(error)) from None
    fits = len(mapped) // np.dtype(dtype).itemsize
    array = np.frombuffer(mapped, dtype, min(count, fits))
    return _Mapped(array, mapped)
