"""MosaicML Streaming's MDS shards, one sample per sequence with a column `tokens`.

Layout as mosaicml-streaming 0.13.0 writes it: u32 samples, u32 [samples + 1] offsets in the file, the columns as
JSON, the samples. A sample is the u32 size of its array, then the array: a byte with the number of dimensions
and the width of the shape, the shape, the values.
"""

from __future__ import annotations

import json

import numpy as np
from numpy import ndarray

from codemix.data.export.formats import Format, StageMixture
from codemix.data.export.output_file import ExportFolder
from codemix.data.export.sample_parts import parts, starts
from codemix.data.export.token_sets import Block, TokenSet

SHARD_BYTES = 1 << 29
OVERHEAD_BYTES = 11  # of a sample, at most
ONE_DIMENSION = 1 << 2  # with the code of the shape's type in the two low bits
SHAPE_TYPES = ((0, "<u1"), (1, "<u2"), (2, "<u4"))


class Mds(Format):
    """A folder of shards for each source and split, and streams for each stage."""

    name = "mds"
    reader = "MosaicML's `StreamingDataset`"
    keeps_order = True
    order_note = "with `shuffle=False`, sample i is row i"

    def size(self, tokens: TokenSet) -> int:
        overhead = OVERHEAD_BYTES * tokens.sequences
        return tokens.bytes + overhead

    def write(self, tokens: TokenSet, folder: ExportFolder) -> None:
        shards = []
        columns = _columns(tokens.dtype)
        header = json.dumps(columns, sort_keys=True).encode()
        limit = SHARD_BYTES // tokens.token_bytes
        for number, blocks in enumerate(parts(tokens, limit)):
            name = f"shard.{number:05}.mds"
            lengths = np.concatenate([block.lengths for block in blocks])
            offsets = _offsets(lengths, tokens.token_bytes, len(header))
            with folder.file(f"{tokens.name}/{name}") as file:
                file.write(np.array([len(lengths)], "<u4"))
                file.write(offsets.astype("<u4"))
                file.write(header)
                for block in blocks:
                    file.write(_samples(block))
            file_entry = {"basename": name, "bytes": int(offsets[-1]), "hashes": {}}
            entry = {"raw_data": file_entry, "samples": len(lengths), "zip_data": None}
            shards.append(columns | entry)
        index = {"shards": shards, "version": 2}
        folder.text(f"{tokens.name}/index.json", json.dumps(index, sort_keys=True))

    def configuration(self, mixture: StageMixture) -> dict[str, str]:
        sequences = mixture.tokens // mixture.seq_len
        lines = [f"# epoch_size: {sequences} sequences of {mixture.seq_len} tokens", "streams:"]
        for source, share in mixture.shares.items():
            name = json.dumps(source)
            local = json.dumps(f"train/{source}")
            lines.append(f"  {name}:")
            lines.append(f"    local: {local}")
            lines.append(f"    proportion: {share}")
        lines.append("validation:" if mixture.held_out else "validation: {}")
        for source in mixture.held_out:
            lines.append(f"  {json.dumps(source)}: {{local: {json.dumps(f'held_out/{source}')}}}")
        content = "\n".join(lines)
        return {f"{mixture.stage}.yaml": f"{content}\n"}


def _columns(dtype: str) -> dict[str, object]:
    return {
        "column_encodings": [f"ndarray:{dtype}"],
        "column_names": ["tokens"],
        "column_sizes": [None],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": SHARD_BYTES,
        "version": 2,
    }


def _shape_bytes(lengths: ndarray) -> ndarray:
    """Bytes of the narrowest type that holds each length."""
    is_wide = lengths >= 1 << 16
    return 1 + (lengths >= 1 << 8) + 2 * is_wide


def _offsets(lengths: ndarray, token_bytes: int, header: int) -> ndarray:
    """Where each sample begins in the file, and where the last ends [bytes]."""
    values = lengths * token_bytes
    samples = 4 + 1 + _shape_bytes(lengths) + values
    n_offsets = len(lengths) + 1
    first = 4 + 4 * n_offsets + header
    ends = first + np.cumsum(samples)
    return np.concatenate([[first], ends])


def _samples(block: Block) -> bytes:
    values = block.tokens.tobytes()
    width = block.tokens.itemsize
    pieces = []
    begins = starts(block.lengths) * width
    for begin, length in zip(begins.tolist(), block.lengths.tolist(), strict=True):
        shape = _shape(length)
        size = length * width
        pieces.append((len(shape) + size).to_bytes(4, "little"))
        pieces.append(shape)
        pieces.append(values[begin : begin + size])
    return b"".join(pieces)


def _shape(length: int) -> bytes:
    """The byte that describes a one-dimensional shape, and the shape."""
    for code, dtype in SHAPE_TYPES:
        largest = np.iinfo(dtype).max
        if length <= largest:
            shape = np.array([length], dtype)
            return bytes([ONE_DIMENSION | code]) + shape.tobytes()
    raise ValueError(f"a sample of {length:,} tokens")
