"""What an export writes, known before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.data.export.formats import Format, StageMixture
from codemix.data.export.token_sets import TokenSet
from codemix.recipe.planning.plan import StagePlan


@dataclass(frozen=True)
class Export:
    """Sets of tokens, weights of stages, and the tokenizer, for one trainer."""

    recipe: str
    format: Format
    sets: tuple[TokenSet, ...]
    mixtures: tuple[StageMixture, ...]
    materialized: StagePlan | None
    tokenizer: Path
    identity: Mapping[str, Any]

    def sizes(self) -> dict[str, int]:
        """Bytes that each set takes; what is linked takes none."""
        by_name = {}
        for tokens in self.sets:
            by_name[tokens.name] = self.format.size(tokens)
        return by_name
