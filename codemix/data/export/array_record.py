"""ArrayRecord files, as Grain reads them: one record per sequence, its tokens as bytes.

Written by the array_record package (0.8.6), one record per group, which random access wants.
"""

from __future__ import annotations

from codemix.data.export.formats import Format, StageMixture, weights_file
from codemix.data.export.output_file import ExportFolder
from codemix.data.export.sample_parts import starts
from codemix.data.export.token_sets import TokenSet
from codemix.files import file_digest, replacing

OPTIONS = "group_size:1,uncompressed"
OVERHEAD_BYTES = 160  # of a record, measured


class ArrayRecord(Format):
    """One file for each source and split, and weights for each stage."""

    name = "arrayrecord"
    reader = "Grain's `ArrayRecordDataSource`"
    keeps_order = True
    order_note = "record i is row i"

    def size(self, tokens: TokenSet) -> int:
        overhead = OVERHEAD_BYTES * tokens.sequences
        return tokens.bytes + overhead

    def write(self, tokens: TokenSet, folder: ExportFolder) -> None:
        from array_record.python.array_record_module import ArrayRecordWriter

        name = f"{tokens.name}.arrayrecord"
        with replacing(folder.root / name) as temporary:
            writer = ArrayRecordWriter(str(temporary), OPTIONS)
            for block in tokens.blocks():
                begins = starts(block.lengths).tolist()
                for begin, length in zip(begins, block.lengths.tolist(), strict=True):
                    writer.write(block.tokens[begin : begin + length].tobytes())
            writer.close()
            sha256 = file_digest(temporary)
        folder.add_written(name, sha256)

    def configuration(self, mixture: StageMixture) -> dict[str, str]:
        return weights_file(mixture, ".arrayrecord")
