"""LitData's chunks for its `TokensLoader`: a header, then tokens without gaps.

Layout as litdata 0.2.76 writes it: u32 items, u32 [items + 1] offsets of the items [bytes], the items. All
documents of a chunk are one item here, for `TokensLoader` reads blocks of tokens whatever the items are.
"""

from __future__ import annotations

import json
import struct

from codemix.data.export.formats import Format, StageMixture, weights_file
from codemix.data.export.output_file import ExportFolder
from codemix.data.export.sample_parts import count_tokens, parts
from codemix.data.export.token_sets import TokenSet

CHUNK_BYTES = 1 << 29
HEADER = struct.Struct("<III")
DATA_FORMATS = {2: "no_header_tensor:20", 4: "no_header_numpy:6"}  # uint16; uint32, which torch's list lacks


class LitData(Format):
    """A folder of chunks for each source and split, and weights for each stage."""

    name = "litdata"
    reader = "LitData's `StreamingDataset` with `TokensLoader`"
    keeps_order = True
    order_note = "with `TokensLoader(block_size=seq_len + 1)` and `shuffle=False`, item i is row i"

    def size(self, tokens: TokenSet) -> int:
        return tokens.bytes

    def write(self, tokens: TokenSet, folder: ExportFolder) -> None:
        chunks = []
        limit = CHUNK_BYTES // tokens.token_bytes
        for number, blocks in enumerate(parts(tokens, limit)):
            name = f"chunk-0-{number}.bin"
            count = count_tokens(blocks)
            size = HEADER.size + count * tokens.token_bytes
            with folder.file(f"{tokens.name}/{name}") as file:
                file.write(HEADER.pack(1, HEADER.size, size))
                for block in blocks:
                    file.write(block.tokens)
            chunks.append({"chunk_bytes": size, "chunk_size": 1, "dim": count, "filename": name})
        index = {"chunks": chunks, "config": _config(tokens.token_bytes), "updated_at": "0"}
        folder.text(f"{tokens.name}/index.json", json.dumps(index, sort_keys=True))

    def configuration(self, mixture: StageMixture) -> dict[str, str]:
        return weights_file(mixture)


def _config(token_bytes: int) -> dict[str, object]:
    one_leaf = '[1, {"type": null, "context": null, "children_spec": []}]'  # of a PyTree of torch
    return {
        "chunk_bytes": CHUNK_BYTES,
        "chunk_size": None,
        "compression": None,
        "compression_batch_size": None,
        "compression_level": None,
        "data_format": [DATA_FORMATS[token_bytes]],
        "data_spec": one_leaf,
        "encryption": None,
        "ipc_compression": None,
        "item_loader": "TokensLoader",
        "types": "tensor",
    }
