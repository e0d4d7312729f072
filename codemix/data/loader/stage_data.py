"""What reading a stage's rows takes: the shards of its sources and, with fill-in-the-middle,
the ids of its tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codemix.data.loader.fill_in_the_middle import Sentinels, sentinels_of
from codemix.data.loader.shards import Shards
from codemix.data.store.manifest import Manifest
from codemix.errors import CodemixError
from codemix.recipe.planning.plan import StagePlan


def training_shards(stage: StagePlan, manifests: Mapping[str, Manifest]) -> dict[str, Shards]:
    """The shards that a stage reads, by source. Raises CodemixError (`not-built`) when a source has none."""
    shards: dict[str, Shards] = {}
    for planned in stage.sources:
        name = planned.source
        manifest = manifest_of(name, manifests)
        shards[name] = Shards(manifest, "train", stage.seq_len)
    return shards


def manifest_of(name: str, manifests: Mapping[str, Manifest]) -> Manifest:
    """A source's manifest. Raises CodemixError when it has none."""
    if name in manifests:
        return manifests[name]
    raise CodemixError(
        f"the tokens of `{name}` are not in the store",
        hints=["run `codemix build-data`"],
        rule="not-built",
    )


def stage_sentinels(stage: StagePlan, tokenizer: Mapping[str, Any]) -> Sentinels | None:
    """The ids of the fill-in-the-middle tokens, where the stage needs them."""
    if not any(stage.fim.values()):
        return None
    return sentinels_of(tokenizer)
