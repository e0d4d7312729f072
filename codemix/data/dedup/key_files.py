"""Documents' keys on disk, a folder per bucket and a file per rank in it, in the order of the keys.

Documents with the same key in a bucket are alike. A place is a document's rank and its position among the
rank's documents, as one number: `rank << 32 | position`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

RECORD = np.dtype([("key", "<u8"), ("position", "<u4")])
TOGETHER = 2**23  # records that are matched in memory at once


def write_keys(bucket: Path, rank: int, keys: np.ndarray, positions: np.ndarray) -> None:
    """The keys of a rank's documents in a bucket, given in the order of their ascending positions."""
    order = keys.argsort(kind="stable")
    n = len(keys)
    records = np.empty(n, RECORD)
    records["key"] = keys[order]
    records["position"] = positions[order]
    bucket.mkdir(parents=True, exist_ok=True)
    path = bucket / f"{rank:05d}.keys"
    records.tofile(path)


def write_matches(bucket: Path, path: Path) -> None:
    """Write the pairs of places with one key in a bucket: the first one of a key, and each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = _RankFiles(bucket)
    n_stretches = files.n_records // TOGETHER + 1
    with open(path, "wb") as out:
        for number in range(n_stretches):
            first = 2**64 * number // n_stretches
            behind = 2**64 * (number + 1) // n_stretches
            keys, places = files.between(first, behind)
            _pairs(keys, places).tofile(out)


def read_matches(path: Path) -> np.ndarray:
    """Pairs of places, (pairs, 2) int64."""
    return np.fromfile(path, "<i8").reshape(-1, 2)


class _RankFiles:
    def __init__(self, bucket: Path):
        self._paths: dict[int, Path] = {}
        self.n_records = 0
        for path in sorted(bucket.glob("*.keys")):
            size = path.stat().st_size
            if size:  # nothing cannot be mapped
                rank = int(path.stem)
                self._paths[rank] = path
                self.n_records += size // RECORD.itemsize

    def between(self, first: int, behind: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys from `first` up to `behind` and the places that have them."""
        lowest = np.uint64(first)
        last = np.uint64(behind - 1)
        keys = [np.empty(0, np.uint64)]
        places = [np.empty(0, np.int64)]
        for rank, path in self._paths.items():
            records = np.memmap(path, RECORD, "r")  # one at a time: a map is an open file, and ranks are many
            all_keys = records["key"]
            start = all_keys.searchsorted(lowest)
            stop = all_keys.searchsorted(last, side="right")
            stretch = records[start:stop]
            of_rank = np.int64(rank << 32)
            positions = stretch["position"]
            keys.append(stretch["key"].copy())
            places.append(positions | of_rank)
        return np.concatenate(keys), np.concatenate(places)


def _pairs(keys: np.ndarray, places: np.ndarray) -> np.ndarray:
    order = np.lexsort((places, keys))
    keys = keys[order]
    places = places[order]
    is_first = np.ones(len(keys), bool)
    before = keys[:-1]
    is_first[1:] = keys[1:] != before
    firsts = places[is_first]
    n_keys_up_to = np.cumsum(is_first)
    others = ~is_first
    number_of_key = n_keys_up_to[others] - 1
    first_of_key = firsts[number_of_key]
    return np.stack((first_of_key, places[others]), axis=1)
