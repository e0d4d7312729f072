"""A permutation of [0, n) named by a key, and its inverse: every image is computed by itself, nothing is
stored.

A Feistel network permutes [0, 2^bits), the least power of two that holds n: the index is cut into a high and
a low part, and in turn each is xor-ed with a hash of the other. An image that is not below n is permuted
again until it is (cycle walking): still a permutation of [0, n), and less than two rounds on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

_ONE = np.uint64(1)
_ROUNDS = 8  # each half of an index is changed four times
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93], np.uint64)
_STEP = np.uint64(0x9E3779B97F4A7C15)  # makes eight round keys of the four words of a key


def permute(key: bytes, n: int, index: ndarray) -> ndarray:
    """The images of `index` (each in [0, n)) under the permutation of [0, n) that `key` names."""
    permutation = _one_permutation(key, n, len(index))
    return permutation.images(index)


def unpermute(key: bytes, n: int, image: ndarray) -> ndarray:
    """The indices whose images under `permute` are `image`."""
    permutation = _one_permutation(key, n, len(image))
    return permutation.indices(image)


@dataclass(frozen=True)
class Permutations:
    """Several permutations, and which of them each index of an array goes through."""

    keys: list[bytes]
    sizes: ndarray  # [keys] the n of each
    which: ndarray  # [B] the number of each index's permutation

    def images(self, index: ndarray) -> ndarray:
        """The image of each index."""
        return self._walk(index, backwards=False)

    def indices(self, image: ndarray) -> ndarray:
        """The index whose image is each of `image`."""
        return self._walk(image, backwards=True)

    def _walk(self, index: ndarray, *, backwards: bool) -> ndarray:
        index = np.asarray(index, np.int64)
        is_outside = (index < 0) | (index >= self.sizes[self.which])
        if is_outside.any():
            raise IndexError("an index is outside its permutation")
        round_keys = _round_keys(self.keys)
        bits = _bits_to_number(self.sizes)
        low_bits = (bits + _ONE) >> _ONE
        high_bits = bits - low_bits
        sizes = self.sizes.astype(np.uint64)
        image = index.astype(np.uint64)
        outside = np.arange(len(index))
        while len(outside):
            at = self.which[outside]
            turned = _feistel(image[outside], round_keys[:, at], low_bits[at], high_bits[at], backwards)
            image[outside] = turned
            is_outside = turned >= sizes[at]
            outside = outside[is_outside]
        return image.astype(np.int64)


def _one_permutation(key: bytes, n: int, indices: int) -> Permutations:
    """The same permutation for a number of indices."""
    which = np.zeros(indices, np.int64)
    sizes = np.array([n])
    return Permutations([key], sizes, which)


def _bits_to_number(sizes: ndarray) -> ndarray:
    """The bits that the numbers below each size need."""
    bits = []
    for size in sizes.tolist():
        greatest = max(0, size - 1)
        bits.append(greatest.bit_length())
    return np.array(bits, np.uint64)


def _round_keys(keys: list[bytes]) -> ndarray:
    """Round keys [rounds, keys]: each of a key's four words twice, the second time with an offset."""
    joined = b"".join(keys)
    words = np.frombuffer(joined, "<u8").reshape(-1, 4)
    first_four = words.T.astype(np.uint64)
    last_four = first_four + _STEP
    return np.concatenate([first_four, last_four])


def _feistel(
    x: ndarray, round_keys: ndarray, low_bits: ndarray, high_bits: ndarray, backwards: bool
) -> ndarray:
    masks = [(_ONE << low_bits) - _ONE, (_ONE << high_bits) - _ONE]
    halves = [x & masks[0], x >> low_bits]
    a, b = _MULTIPLIERS
    rounds = range(_ROUNDS)
    for r in reversed(rounds) if backwards else rounds:
        changed = r & 1
        z = (halves[1 - changed] + round_keys[r]) * a
        z ^= z >> np.uint64(29)
        z *= b
        z >>= np.uint64(32)  # the high bits of a product are the mixed ones
        z &= masks[changed]
        halves[changed] ^= z
    return (halves[1] << low_bits) | halves[0]
