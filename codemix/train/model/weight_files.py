"""Weights as safetensors: one file, or several with an index where they are larger than a file should be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.errors import CodemixError
from codemix.files import replacing, write_whole

if TYPE_CHECKING:
    import numpy as np

FILE_BYTES = 5_000_000_000  # at most, in one file: as the Hugging Face libraries cut them
WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
Named = tuple[str, "np.ndarray"]


def write_weights(tensors: Iterable[Named], sizes: Mapping[str, int], folder: Path) -> None:
    """Write arrays in the order given, a file's worth in memory at a time. `sizes`: bytes of each, by name.

    The index is written last: without it the files of several are no model.
    """
    groups = _groups(sizes)
    if len(groups) == 1:
        _save(dict(tensors), folder / WHOLE)
        (folder / INDEX).unlink(missing_ok=True)  # of a larger model that was here before
        return
    arrays = iter(tensors)
    places: dict[str, str] = {}
    for number, names in enumerate(groups, 1):
        file = f"model-{number:05}-of-{len(groups):05}.safetensors"
        of_file = _take(arrays, len(names))
        _save(dict(of_file), folder / file)
        places |= dict.fromkeys(names, file)
    _write_index(places, sum(sizes.values()), folder)
    (folder / WHOLE).unlink(missing_ok=True)


def _write_index(places: Mapping[str, str], total: int, folder: Path) -> None:
    metadata = {"total_size": total}
    index = {"metadata": metadata, "weight_map": places}
    text = json.dumps(index, indent=2)
    write_whole(folder / INDEX, f"{text}\n")


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """Every array of a folder, by name. Raises CodemixError (`export-mismatch`) where a file is missing."""
    from safetensors.numpy import load_file

    files = [folder / WHOLE]
    if (folder / INDEX).exists():
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        names = sorted(set(index["weight_map"].values()))
        files = [folder / name for name in names]
    tensors: dict[str, np.ndarray] = {}
    for file in files:
        if not file.is_file():
            hint = "a model is `model.safetensors`, or several such files with an index"
            raise CodemixError(f"{file} is not there", hints=[hint], rule="export-mismatch")
        tensors |= load_file(file)
    return tensors


def _groups(sizes: Mapping[str, int]) -> list[list[str]]:
    """Names in order, cut where a file would be larger than FILE_BYTES."""
    groups: list[list[str]] = [[]]
    held = 0
    for name, size in sizes.items():
        if groups[-1] and held + size > FILE_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += size
    return groups


def _take(arrays: Iterator[Named], count: int) -> Iterator[Named]:
    for _ in range(count):
        yield next(arrays)


def _save(tensors: dict[str, Any], path: Path) -> None:
    from safetensors.numpy import save_file

    with replacing(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # what the umask says; safetensors makes a file for the owner alone
        save_file(tensors, temporary, metadata={"format": "pt"})
        temporary.chmod(mode)
