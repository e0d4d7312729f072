"""The formats that an export can have, by the name that `--format` takes."""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codemix.errors import CodemixError, did_you_mean

if TYPE_CHECKING:
    from codemix.data.export.output_file import ExportFolder
    from codemix.data.export.token_sets import TokenSet

FORMATS = {
    "megatron": "codemix.data.export.megatron:Megatron",
    "olmo-core": "codemix.data.export.olmo_core:OlmoCore",
    "litdata": "codemix.data.export.litdata:LitData",
    "mds": "codemix.data.export.mds:Mds",
    "arrayrecord": "codemix.data.export.array_record:ArrayRecord",
    "parquet": "codemix.data.export.parquet:Parquet",
}


@dataclass(frozen=True)
class StageMixture:
    """What a stage reads, for a trainer that draws from its sources by weight."""

    stage: str
    shares: Mapping[str, str]  # source -> decimal; they sum to exactly 1
    epochs: Mapping[str, float]  # of the source in this stage
    tokens: int
    steps: int
    batch_size: int | None  # None where it grows
    seq_len: int
    seed: int
    dtype: str  # of the tokens in the files
    held_out: tuple[str, ...]  # sources with held-out documents


class Format(ABC):
    """How one trainer wants its tokens and its weights."""

    name: str
    reader: str  # what reads it, in the README's words
    keeps_order: bool  # whether its reader takes the sequences of a materialised stage as they are stored
    order_note: str

    @abstractmethod
    def size(self, tokens: TokenSet) -> int:
        """The bytes that a set takes, within a percent, without those that are linked."""

    @abstractmethod
    def write(self, tokens: TokenSet, folder: ExportFolder) -> None:
        """Write a set.

        Raises CodemixError where the format cannot hold it.
        """
        raise NotImplementedError

    @abstractmethod
    def configuration(self, mixture: StageMixture) -> dict[str, str]:
        """The trainer's own configuration of a stage's weights: file name -> content.

        Paths in it are relative to the export's folder.
        """
        raise NotImplementedError


def weights_file(mixture: StageMixture, suffix: str = "") -> dict[str, str]:
    """A stage's weights and its validation sets as JSON, for readers that take them as arguments."""
    weights = {
        "sets": [f"train/{source}{suffix}" for source in mixture.shares],
        "weights": [float(share) for share in mixture.shares.values()],
        "validation": {source: f"held_out/{source}{suffix}" for source in mixture.held_out},
        "tokens": mixture.tokens,
        "seq_len": mixture.seq_len,
        "seed": mixture.seed,
    }
    content = json.dumps(weights, indent=1)
    return {f"{mixture.stage}.json": f"{content}\n"}


def format_named(name: str) -> Format:
    """Raises CodemixError (`export-format`) for a name that is not in FORMATS."""
    if name not in FORMATS:
        raise CodemixError(
            f"there is no format `{name}`", hints=did_you_mean(name, FORMATS), rule="export-format"
        )
    module, _, attribute = FORMATS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)()
