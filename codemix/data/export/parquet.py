"""Parquet, one row per sequence: `tokens`, and `source` in a materialised stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from codemix.data.export.formats import Format, StageMixture, weights_file
from codemix.data.export.output_file import ExportFolder
from codemix.data.export.token_sets import Block, TokenSet
from codemix.files import file_digest, replacing

if TYPE_CHECKING:
    import pyarrow


class Parquet(Format):
    """One file for each source and split, and weights for each stage."""

    name = "parquet"
    reader = "anything that reads Parquet"
    keeps_order = True
    order_note = "row i of the file is row i of the stage"

    def size(self, tokens: TokenSet) -> int:
        return tokens.bytes

    def write(self, tokens: TokenSet, folder: ExportFolder) -> None:
        import pyarrow.parquet

        name = f"{tokens.name}.parquet"
        with replacing(folder.root / name) as temporary:
            writer = None
            for block in tokens.blocks():
                table = _table(block)
                writer = writer or pyarrow.parquet.ParquetWriter(
                    temporary, table.schema, compression="zstd", use_dictionary=["source"]
                )
                writer.write_table(table)
            if writer is None:
                empty = _table(Block(np.zeros(0, tokens.dtype), np.zeros(0, np.int64)))
                writer = pyarrow.parquet.ParquetWriter(temporary, empty.schema)
            writer.close()
            sha256 = file_digest(temporary)
        folder.add_written(name, sha256)

    def configuration(self, mixture: StageMixture) -> dict[str, str]:
        return weights_file(mixture, ".parquet")


def _table(block: Block) -> pyarrow.Table:
    import pyarrow

    ends = np.cumsum(block.lengths)
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    lists = pyarrow.LargeListArray.from_arrays(offsets, np.asarray(block.tokens))
    columns = {"tokens": lists}
    if block.sources is not None:
        columns["source"] = pyarrow.array(block.sources)
    return pyarrow.table(columns)
