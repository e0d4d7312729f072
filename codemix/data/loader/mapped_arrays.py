"""Arrays mapped from files, in a cache that the whole process shares: bounded, so that a source of thousands
of shards does not run out of file descriptors."""

from __future__ import annotations

import collections
import mmap
import os
import threading
import time
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

LOOK_EVERY_S = 0.05  # a look costs microseconds, and so does reading a row
_MAX_MAPS = 128  # file descriptors held; well below a limit of 256, the usual one of some systems
_maps: collections.OrderedDict[tuple[str, int], _Mapped] = collections.OrderedDict()
_lock = threading.Lock()
os.register_at_fork(  # a lock that another thread holds would stay locked in the child
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


class CannotMap(Exception):
    """Why a file is not the array that it should be."""


@dataclass
class _Mapped:
    array: ndarray
    file: mmap.mmap | None  # None of an empty one
    size_is_old_s: float = 0.0  # when to look at the file's size again [monotonic seconds]


def map_array(path: str, dtype: str, count: int, noun: str) -> ndarray:
    """The `count` items (a `noun` each) of a file, mapped.

    Raises CannotMap, also where a file was cut short since it was mapped; its size is looked at again every
    twentieth of a second. Reading behind the end of one that was cut short since that look ends the process
    (SIGBUS).
    """
    key = (path, count)
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
    now_s = time.monotonic()
    if now_s >= mapped.size_is_old_s:
        _require_size(mapped, key, count * np.dtype(dtype).itemsize, noun)
        mapped.size_is_old_s = now_s + LOOK_EVERY_S
    return mapped.array


def _require_size(mapped: _Mapped, key: tuple[str, int], wanted: int, noun: str) -> None:
    size = 0 if mapped.file is None else mapped.file.size()
    if size == wanted:
        return
    with _lock:
        _maps.pop(key, None)
    count = key[1]
    raise CannotMap(f"it has {size:,} bytes, and {count:,} {noun} take {wanted:,}")


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
