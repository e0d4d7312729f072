"""Cheap checksums of a shard by block, so that a reader of a window knows that its tokens are those that were
written.

    <shard>.ds.checks    little-endian uint64: XXH3 of the whole `<shard>.ds.index`,
                         then of each BLOCK bytes of `<shard>.ds`

SHA-256 in the manifest and in SHA256SUMS says the same with certainty, to a reader of every byte, as `codemix
verify` is. These cost a few microseconds when a block is first touched, and detect what disks do to files,
not forgery.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xxhash

BLOCK = 2**18  # bytes: small beside what a run reads, large beside the call that checks one
SUFFIX = ".checks"


def blocks(size: int) -> int:
    """How many blocks a file of `size` bytes has."""
    return -(-size // BLOCK)


def block_check(tokens: np.ndarray, block: int) -> int:
    """The checksum of one block of a shard's tokens."""
    tokens_per_block = BLOCK // tokens.itemsize
    start = block * tokens_per_block
    return whole_check(tokens[start : start + tokens_per_block])


def whole_check(array: np.ndarray) -> int:
    """The checksum of a whole array."""
    as_bytes = array.view(np.uint8)
    return xxhash.xxh3_64_intdigest(as_bytes.data)


def write_checks(shard: Path) -> Path:
    """Write the checksums of a shard whose tokens and index are whole; returns their path."""
    path = shard.with_name(shard.name + SUFFIX)
    index = np.fromfile(f"{shard}.index", np.uint8)
    checks = [whole_check(index)]
    with open(shard, "rb") as f:
        while block := f.read(BLOCK):
            checks.append(xxhash.xxh3_64_intdigest(block))
    np.array(checks, "<u8").tofile(path)
    return path


def id_check(document_id: str) -> int:
    """The hash by which a document's id is looked up."""
    return xxhash.xxh3_64_intdigest(document_id.encode("utf-8", "surrogatepass"))
