"""OLMo-core's token files: raw arrays without a header, in spite of the suffix `.npy`, and a source mixture.

As `olmo_core.data` 3.0.0 reads them. Every document ends with EOS, which is how it finds documents.
"""

from __future__ import annotations

import json
from math import ceil
from typing import Any

from codemix.data.export.formats import Format, StageMixture
from codemix.data.export.megatron import write_tokens
from codemix.data.export.output_file import ExportFolder
from codemix.data.export.token_sets import TokenSet


class OlmoCore(Format):
    """One file for each source and split; for each stage a `SourceMixtureList`, and the settings around it."""

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
        lines = [f"# a SourceMixtureList; {mixture.stage}.settings.json has the rest", "sources:"]
        for source, share in mixture.shares.items():
            repetition = max(1, ceil(mixture.epochs[source] * 1000) / 1000)
            lines += [
                f"  - source_name: {json.dumps(source)}",
                f"    target_ratio: {share}",
                f"    max_repetition_ratio: {repetition}",
                f"    paths: [{json.dumps(f'train/{source}.npy')}]",
            ]
        settings = json.dumps(_settings(mixture), indent=1)
        return {
            f"{mixture.stage}.yaml": "\n".join(lines) + "\n",
            f"{mixture.stage}.settings.json": settings + "\n",
        }


def _settings(mixture: StageMixture) -> dict[str, dict[str, Any]]:
    """Arguments of a `SourceMixtureDatasetConfig`, `NumpyFSLDatasetConfig` and `NumpyDataLoaderConfig`, and of the
    `NumpyPaddedFSLDatasetConfig` that an `LMEvaluatorCallbackConfig` takes, which reports by label.
    """
    batch = {}
    if mixture.batch_size is not None:
        batch = {"global_batch_size": mixture.batch_size * mixture.seq_len}  # tokens
    dataset = {"sequence_length": mixture.seq_len, "dtype": mixture.dtype}
    validation = {
        "paths": [f"held_out/{source}.npy" for source in mixture.held_out],
        "metadata": [{"label": source} for source in mixture.held_out],
    }
    return {
        "mixture": {"requested_tokens": mixture.tokens} | batch,
        "dataset": dataset,
        "data_loader": batch | {"seed": mixture.seed},
        "validation": dataset | validation,
    }
