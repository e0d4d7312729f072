"""A permutation of [0, n) named by a key, and its inverse: every image is computed by itself, nothing is
stored.

A Feistel network permutes [0, 2^bits), the least power of two that holds n: the index is cut into a high and
a low part, and in turn each is xor-ed with a hash of the other. An image that is not below n is permuted
again until it is (cycle walking): still a permutation of [0, n), and less than two rounds on average.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

_ROUNDS = 8  # each half of an index is changed four times
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93], np.uint64)
_STEP = 0x9E3779B97F4A7C15  # makes eight round keys of the four words of a key


def permute(key: bytes, n: int, index: ndarray) -> ndarray:
    """The images of `index` (each in [0, n)) under the permutation of [0, n) that `key` names."""
    which = np.zeros(len(index), np.int64)
    return permute_each([key], np.array([n]), which, index)


def unpermute(key: bytes, n: int, image: ndarray) -> ndarray:
    """The indices whose images under `permute` are `image`."""
    which = np.zeros(len(image), np.int64)
    return unpermute_each([key], np.array([n]), which, image)


def permute_each(keys: list[bytes], n: ndarray, which: ndarray, index: ndarray) -> ndarray:
    """`permute` of each index by the key, and the n, that its `which` numbers."""
    return _walk(keys, n, which, index, backwards=False)


def unpermute_each(keys: list[bytes], n: ndarray, which: ndarray, image: ndarray) -> ndarray:
    """`unpermute` of each image by the key, and the n, that its `which` numbers."""
    return _walk(keys, n, which, image, backwards=True)


def _walk(keys: list[bytes], n: ndarray, which: ndarray, index: ndarray, *, backwards: bool) -> ndarray:
    index = np.asarray(index, np.int64)
    is_outside = (index < 0) | (index >= n[which])
    if is_outside.any():
        raise IndexError("an index is outside its permutation")
    round_keys = _round_keys(keys)
    bits = np.array([max(0, size - 1).bit_length() for size in n.tolist()], np.uint64)
    low_bits = (bits + np.uint64(1)) >> np.uint64(1)
    high_bits = bits - low_bits
    n = n.astype(np.uint64)
    image = index.astype(np.uint64)
    outside = np.arange(len(index))
    while len(outside):
        at = which[outside]
        turned = _feistel(image[outside], round_keys[:, at], low_bits[at], high_bits[at], backwards)
        image[outside] = turned
        outside = outside[turned >= n[at]]
    return image.astype(np.int64)


def _round_keys(keys: list[bytes]) -> ndarray:
    """Round keys [rounds, keys]: each of a key's four words twice, the second time with an offset."""
    words = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 4)
    first_four = words.T.astype(np.uint64)
    last_four = first_four + np.uint64(_STEP)
    return np.concatenate([first_four, last_four])


def _feistel(
    x: ndarray, round_keys: ndarray, low_bits: ndarray, high_bits: ndarray, backwards: bool
) -> ndarray:
    one = np.uint64(1)
    masks = [(one << low_bits) - one, (one << high_bits) - one]
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
