"""Weights as safetensors: one file, or several with an index where they are larger than a file should be."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.errors import CodemixError
from codemix.files import digest, replacing, write_whole

if TYPE_CHECKING:
    import numpy as np

FILE_BYTES = 5_000_000_000  # at most, in one file: as the Hugging Face libraries cut them
WHOLE = "model.safetensors"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
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


@dataclass(frozen=True)
class ArrayHead:
    """What a file says of an array before it is read."""

    file: Path
    dtype: str  # as safetensors names it: F32, BF16, ...
    shape: tuple[int, ...]


class WeightFiles:
    """The arrays of a Hugging Face folder, read one at a time. Pickled weights are never opened."""

    def __init__(self, folder: Path):
        """Raises CodemixError (`weights-missing`, `weights-damaged`), also where there are pickled weights only."""
        self.folder = folder
        self.heads: dict[str, ArrayHead] = {}
        for file in _files(folder):
            self.heads |= _heads(file)

    def array(self, name: str) -> np.ndarray:
        """One array as it is stored; half precision is a type of its own, which float32 holds exactly."""
        from safetensors import safe_open

        with _damage(self.heads[name].file), safe_open(self.heads[name].file, framework="numpy") as opened:
            return opened.get_tensor(name)

    def digest(self) -> str:
        """SHA-256 of all arrays with their names, types and shapes, however they are cut into files. Made once
        for each state of the files."""
        files = {head.file for head in self.heads.values()}
        states = [_state(file) for file in sorted(files)]
        return _digest(self.folder, tuple(states))


@lru_cache(8)
def _digest(folder: Path, _states: tuple[tuple[str, int, int], ...]) -> str:
    arrays = WeightFiles(folder)
    content = {}
    for name, head in arrays.heads.items():
        values = arrays.array(name)
        flat = values.reshape(-1).view("uint8")
        sha256 = hashlib.sha256(flat.data)
        shape = list(head.shape)
        content[name] = [head.dtype, shape, sha256.hexdigest()]
    return digest(content)


def _state(file: Path) -> tuple[str, int, int]:
    stat = file.stat()
    return file.name, stat.st_size, stat.st_mtime_ns


def _files(folder: Path) -> list[Path]:
    """The safetensors files of a model, as transformers looks for them."""
    files = [folder / WHOLE]
    index = folder / INDEX
    if not files[0].exists() and index.exists():
        files = [folder / name for name in _names_in(index)]
    missing = [file for file in files if not file.is_file()]
    if not missing:
        return files
    hint = f"a model is `{WHOLE}`, or several such files with an index"
    if files == [folder / WHOLE] and any(map(_is_pickled, folder.glob("*"))):
        hint = (
            "it has pickled weights, which can run code and are never loaded; convert them with transformers: "
            "`AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)`"
        )
    raise CodemixError(f"{missing[0]} is not there", hints=[hint], rule="weights-missing")


def _names_in(index: Path) -> list[str]:
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        names = sorted(set(content["weight_map"].values()))
        beside_it = [Path(name).name == name for name in names]
    except (ValueError, KeyError, TypeError, AttributeError):
        beside_it = [False]
    if all(beside_it):
        return names
    what = f"{index} does not map the names of arrays to files beside it"
    raise CodemixError(what, hints=["fetch the model again"], rule="weights-damaged")


def _is_pickled(file: Path) -> bool:
    return file.suffix in PICKLED


def _heads(file: Path) -> dict[str, ArrayHead]:
    from safetensors import safe_open

    heads = {}
    with _damage(file), safe_open(file, framework="numpy") as opened:
        for name in opened.keys():  # noqa: SIM118 - it is no mapping
            part = opened.get_slice(name)
            heads[name] = ArrayHead(file, part.get_dtype(), tuple(part.get_shape()))
    return heads


@contextlib.contextmanager
def _damage(file: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError) as error:
        what = f"{file} cannot be read as safetensors: {error}"
        raise CodemixError(what, hints=["fetch the model again"], rule="weights-damaged") from error


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
