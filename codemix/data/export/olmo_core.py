"""OLMo-core's token files: raw arrays without a header, in spite of the suffix `.npy`, and a source mixture.

As `olmo_core.data` 3.0.0 reads them. Every document ends with EOS, which is how it finds documents.
"""

from __future__ import annotations

import json
from math import ceil

from codemix.data.export.formats import Format, StageMixture
from codemix.data.export.megatron import write_tokens
from codemix.data.export.output_file import ExportFolder
from codemix.data.export.token_sets import TokenSet


class OlmoCore(Format):
    """One file for each source and split, and a `SourceMixtureList` for each stage."""

    name = "olmo-core"
    reader = "OLMo-core's `NumpyFSLDataset` and source mixtures"
    keeps_order = False
    order_note = (
        "instance i of a `NumpyFSLDataset` with `sequence_length` = `seq_len` + 1 is row i, "
        "but OLMo-core's data loader shuffles instances"
    )

    def size(self, tokens: TokenSet) -> int:
        return 0 if tokens.raw_file() else tokens.bytes

    def write(self, tokens: TokenSet, folder: ExportFolder) -> None:
        write_tokens(tokens, f"{tokens.name}.npy", folder)

    def configuration(self, mixture: StageMixture) -> dict[str, str]:
        lines = [f"# {mixture.tokens:,} tokens: `requested_tokens: {mixture.tokens}`", "sources:"]
        for source, share in mixture.shares.items():
            repetition = max(1, ceil(mixture.epochs[source] * 1000) / 1000)
            lines += [
                f"  - source_name: {json.dumps(source)}",
                f"    target_ratio: {share}",
                f"    max_repetition_ratio: {repetition}",
                f"    paths: [{json.dumps(f'train/{source}.npy')}]",
            ]
        return {f"{mixture.stage}.yaml": "\n".join(lines) + "\n"}
