"""Runs of neighbouring words (n-grams) of a text, compared by hashes in arrays instead of strings in a loop.

A hash is a polynomial over the characters of a run, modulo 2**64 or 2**32 (Karp and Rabin, 1987): with the sums of
`character * BASE**position` up to each place, the hash of any run is one subtraction and one product. Equal
runs have equal hashes, always; the other way round a caller compares the characters where it matters.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64 and 2**32
_INVERSE = pow(_BASE, -1, 2**64)
U32, U64 = np.dtype(np.uint32), np.dtype(np.uint64)
_TABLE = 2**16
_ALL = slice(None)


class WordRuns:
    """The words of a text. Their characters stand one after the other, without blanks.

    Offsets are into the characters. Runs are in the order of their first words, one for each word: where fewer
    words follow than a run has, it ends with the text, so that a caller looks at the first ones only.
    """

    def __init__(self, characters: np.ndarray, starts: np.ndarray, number: np.dtype):
        """`number`: of the hashes, U32 where unlike runs may look alike, rarely, or U64."""
        self.characters = characters  # (characters,) unsigned integers
        self.starts = starts  # (words,) int64
        n_words = len(starts)
        ends = np.append(starts[1:], len(characters))
        self.ends = ends[:n_words]
        self._number = number

    @classmethod
    def parted(
        cls, code_points: np.ndarray, is_blank: np.ndarray, is_first: np.ndarray, number: np.dtype
    ) -> WordRuns:
        """`is_first`: whether a character begins a word, unless it is a blank."""
        is_kept = ~is_blank
        characters = code_points.compress(is_kept)
        begins_word = is_first.compress(is_kept)
        starts = np.flatnonzero(begins_word)
        return cls(characters, starts, number)

    @classmethod
    def between(cls, code_points: np.ndarray, is_blank: np.ndarray, number: np.dtype) -> WordRuns:
        """Of the words between blanks."""
        blank_before = is_blank[:-1]
        is_first = np.ones_like(is_blank)
        is_first[1:] = blank_before
        return cls.parted(code_points, is_blank, is_first, number)

    def part(self, first: int, stop: int) -> WordRuns:
        """Of some of the words, one at least."""
        start = self.starts[first]
        end = self.ends[stop - 1]
        characters = self.characters[start:end]
        starts = self.starts[first:stop] - start
        return WordRuns(characters, starts, self._number)

    def __len__(self) -> int:
        return len(self.starts)

    def longest(self, n: int) -> int:
        """Characters in the longest run of `n` words; there must be one."""
        ends = self.ends[n - 1 :]
        starts = self.starts[: len(ends)]
        lengths = ends - starts
        return int(lengths.max())

    def hashes(self, n: int) -> np.ndarray:
        """The hash of each run of `n` words, (words,)."""
        end = len(self.characters)
        ends = np.full(len(self), end)
        whole = self.ends[n - 1 :]
        n_whole = len(whole)
        ends[:n_whole] = whole
        return self.hashes_until(ends)

    def hashes_until(self, ends: np.ndarray, words: np.ndarray | slice = _ALL) -> np.ndarray:
        """The hashes of the stretches from the beginnings of some words to an end each."""
        starts = self.starts[words]
        sums = self._sums[ends]
        sums -= self._sums[starts]
        sums *= self._scales[words]
        return sums

    @cached_property
    def _sums(self) -> np.ndarray:
        """Before each character, the sum of `character * BASE**position` up to it."""
        n = len(self.characters)
        products = self.characters.astype(self._number)
        products *= _powers(_BASE, n, self._number)
        sums = np.zeros(n + 1, self._number)
        behind_first = sums[1:]
        np.cumsum(products, dtype=self._number, out=behind_first)
        return sums

    @cached_property
    def _scales(self) -> np.ndarray:
        """What makes the sums of a run that begins at a word those of a run at the text's beginning."""
        n = len(self.characters)
        scales = _powers(_INVERSE, n, self._number)
        return scales[self.starts]


def code_points(text: str) -> np.ndarray:
    """The code points of a text, uint8 where all are of ASCII, else uint32."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def text_of(code_points: np.ndarray) -> str:
    """The text that has these code points."""
    wide = code_points.astype("<u4", copy=False)
    return wide.tobytes().decode("utf-32-le", "surrogatepass")


def _powers(base: int, n: int, number: np.dtype) -> np.ndarray:
    """`base**0` to `base**(n - 1)`, modulo the numbers that a type has."""
    table = _power_table(base, number)
    if n <= _TABLE:
        return table[:n]
    of_block_starts: list[int] = []
    for start in range(0, n, _TABLE):
        power = pow(base, start, 2**64)
        of_block_starts.append(power)
    factors = np.array(of_block_starts, U64).astype(number)
    powers = np.multiply.outer(factors, table)
    return powers.ravel()[:n]


@lru_cache(4)
def _power_table(base: int, number: np.dtype) -> np.ndarray:
    factors = np.full(_TABLE, base, U64)
    factors[0] = 1
    powers = np.multiply.accumulate(factors)
    return powers.astype(number)
