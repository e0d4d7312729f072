"""The token ids of several texts in one flat array."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy import ndarray


@dataclass(frozen=True)
class Encoded:
    """Token ids of several texts, one after the other: uint32 [tokens], and where each text's end: int64
    [texts]."""

    ids: ndarray
    ends: ndarray

    @classmethod
    def of(cls, parts: Iterable[ndarray]) -> Encoded:
        """From the ids of each text."""
        arrays = [np.zeros(0, np.uint32)]
        arrays.extend(parts)
        lengths = [len(ids) for ids in arrays]
        ends = np.cumsum(lengths, dtype=np.int64)
        ids = np.concatenate(arrays)
        return cls(ids, ends[1:])

    @property
    def lengths(self) -> ndarray:
        """Tokens of each text: int64 [texts]."""
        return np.diff(self.ends, prepend=0)

    def with_end_token(self, token: int) -> Encoded:
        """The same with a token after each text."""
        n_texts = len(self.ends)
        numbers = np.arange(1, n_texts + 1)
        ids = np.insert(self.ids, self.ends, token)
        return Encoded(ids, self.ends + numbers)

    def of_texts(self, chosen: ndarray) -> Encoded:
        """Those of some texts; `chosen`: bool [texts]."""
        if chosen.all():
            return self
        kept = np.repeat(chosen, self.lengths)
        ends = np.cumsum(self.lengths[chosen])
        return Encoded(self.ids[kept], ends)

    def parts(self) -> list[ndarray]:
        """The ids of each text."""
        if not len(self.ends):
            return []
        inner = self.ends[:-1]
        return np.split(self.ids, inner)
