"""Arrays mapped from files, in a cache that the whole process shares: bounded, so that a source of thousands
of shards does not run out of file descriptors."""

from __future__ import annotations

import collections
import os
import threading

import numpy as np
from numpy import ndarray

_MAX_MAPS = 384  # file descriptors held; well below the usual limit of 1,024
_maps: collections.OrderedDict[tuple[str, int], ndarray] = collections.OrderedDict()
_lock = threading.Lock()
os.register_at_fork(  # a lock that another thread holds would stay locked in the child
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


class CannotMap(Exception):
    """Why a file is not the array that it should be."""


def map_array(path: str, dtype: str, count: int, noun: str) -> ndarray:
    """The `count` items (a `noun` each) of a file, mapped. Raises CannotMap."""
    key = (path, count)
    with _lock:
        if key in _maps:
            _maps.move_to_end(key)
            return _maps[key]
    wanted = count * np.dtype(dtype).itemsize
    try:
        size = os.path.getsize(path)
    except OSError as error:
        raise CannotMap(error.strerror or str(error)) from None
    if size != wanted:
        raise CannotMap(f"it has {size:,} bytes, and {count:,} {noun} take {wanted:,}")
    array = np.zeros(0, dtype)
    if count:
        array = np.memmap(path, dtype, "r").view(ndarray)  # slicing a memmap object is several times slower
    with _lock:
        _maps[key] = array
        while len(_maps) > _MAX_MAPS:
            _maps.popitem(last=False)  # an array in use keeps its own map alive
    return array
