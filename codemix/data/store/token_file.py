"""Files of tokens in the format of datatrove and nanotron, which stay readable by what reads that.

    <name>          the tokens of all documents, little-endian
    <name>.index    little-endian uint64: where each document ends [tokens]

Written here, since datatrove's own class imports a client of its hub: half the start of a small build.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np


class TokenFile:
    """A file of tokens that is being written; `close` writes its index."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._index = Path(f"{path}.index")
        self._file = open(path, "wb")  # noqa: SIM115 - closed in close()
        self._ends: list[np.ndarray] = []
        self.tokens = 0
        self.documents = 0

    def write(self, tokens: np.ndarray, ends: np.ndarray) -> None:
        """Append some documents. `ends`: where each ends in `tokens`."""
        self._file.write(tokens.data)
        self._ends.append(ends + self.tokens)
        self.tokens += tokens.size
        self.documents += ends.size

    def close(self) -> None:
        self._file.close()
        ends = np.concatenate(self._ends) if self._ends else np.empty(0)
        ends.astype("<u8").tofile(self._index)
