"""Clusters of documents: the connected components of matching pairs. The first one of each survives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Place(NamedTuple):
    """A document's place: the rank whose files hold it, and its position among the rank's documents."""

    rank: int
    position: int

    @classmethod
    def of(cls, number: int) -> Place:
        return cls(number >> 32, number & 0xFFFFFFFF)


def survivors(matches: Iterable[np.ndarray]) -> dict[Place, Place]:
    """Every document of a cluster but its first, with the first, given pairs of places as numbers: (n, 2).

    Memory is that of the clusters and of the pairs that come together, not of all pairs.
    """
    joined = np.empty((0, 2), np.int64)  # each document but the first of its cluster, and that one
    for pairs in matches:
        all_pairs = np.concatenate((joined, pairs))
        joined = _joined(all_pairs)
    survivor_of: dict[Place, Place] = {}
    for later, first in joined.tolist():
        removed = Place.of(later)
        survivor_of[removed] = Place.of(first)
    return survivor_of


def _joined(pairs: np.ndarray) -> np.ndarray:
    """Later places and the first place of their cluster, in order of the later ones."""
    places, ends = np.unique(pairs, return_inverse=True)
    ends = ends.reshape(-1, 2)
    itself = np.arange(len(places))
    first = itself.copy()  # of the cluster of each place, as far as it is known
    while True:
        known = first[ends]
        lower = known.min(axis=1)
        upper = known.max(axis=1)
        apart = lower != upper
        if not apart.any():
            break
        np.minimum.at(first, upper[apart], lower[apart])
        first = _followed(first)
    later = np.flatnonzero(first != itself)
    firsts = first[later]
    return np.stack((places[later], places[firsts]), axis=1)


def _followed(first: np.ndarray) -> np.ndarray:
    """Where one leads that goes on from first to first."""
    while True:
        further = first[first]
        if np.array_equal(further, first):
            return first
        first = further
