"""Megatron's indexed data set: `.bin` with the tokens, `.idx` with their lengths.

Layout as megatron-core 0.16.1 reads it (`megatron/core/datasets/indexed_dataset.py`). The `.bin` is a shard of
ours byte for byte, so one shard is linked, several are joined.
"""

from __future__ import annotations

import json
import struct

import numpy as np

from codemix.data.export.formats import Format, StageMixture
from codemix.data.export.output_file import ExportFolder
from codemix.data.export.token_sets import TokenSet
from codemix.errors import CodemixError

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
DTYPE_CODES = {2: 8, 4: 4}  # by bytes of a token: uint16; int32, which ids below 2^31 also are
LONGEST = 2**31 - 1  # tokens of a sequence: lengths are int32


class Megatron(Format):
    """One prefix for each source and split, and a blend for each stage."""

    name = "megatron"
    reader = "Megatron-LM's `IndexedDataset` (`--per-split-data-args-path`)"
    keeps_order = True
    order_note = "`IndexedDataset[i]` is row i; `GPTDataset` would shuffle it again"

    def size(self, tokens: TokenSet) -> int:
        index = 42 + 20 * tokens.sequences
        if tokens.raw_file():
            return index
        return index + tokens.bytes

    def write(self, tokens: TokenSet, folder: ExportFolder) -> None:
        lengths = tokens.lengths()
        if lengths.max(initial=0) > LONGEST:
            raise CodemixError(
                f"{tokens.name}: a document of {lengths.max():,} tokens is longer than Megatron can index",
                hints=[f"its lengths are 32-bit: at most {LONGEST:,}; drop it with the op `size`"],
                rule="export-too-long",
            )
        write_tokens(tokens, f"{tokens.name}.bin", folder)
        with folder.file(f"{tokens.name}.idx") as file:
            code = DTYPE_CODES[tokens.token_bytes]
            count = len(lengths)
            file.write(MAGIC + struct.pack("<QBQQ", VERSION, code, count, count + 1))
            file.write(lengths.astype("<i4"))
            ends = np.cumsum(lengths)
            starts = ends - lengths
            file.write((starts * tokens.token_bytes).astype("<i8"))
            file.write(np.arange(count + 1, dtype="<i8"))

    def configuration(self, mixture: StageMixture) -> dict[str, str]:
        train: list[str] = []
        for source, share in mixture.shares.items():
            train += [share, f"train/{source}"]
        valid = [f"held_out/{source}" for source in mixture.held_out]  # no weights: each is a set of its own
        blend = {"train": train, "valid": valid or None, "test": None}
        arguments = [
            f"--per-split-data-args-path {mixture.stage}.json",
            f"--seq-length {mixture.seq_len}",
            f"--train-iters {mixture.steps}",
            f"--seed {mixture.seed}",
        ]
        if valid:
            arguments.append("--multiple-validation-sets")
        if mixture.batch_size is not None:
            arguments.append(f"--global-batch-size {mixture.batch_size}")
        return {
            f"{mixture.stage}.json": json.dumps(blend, indent=1) + "\n",
            f"{mixture.stage}.args": "\n".join(arguments) + "\n",
        }


def write_tokens(tokens: TokenSet, name: str, folder: ExportFolder) -> None:
    """A file of a set's tokens and nothing else, linked where the store has the same bytes."""
    raw = tokens.raw_file()
    if raw is not None and folder.link(name, raw):
        return
    with folder.file(name) as file:
        for block in tokens.blocks():
            file.write(block.tokens)
