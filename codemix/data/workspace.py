"""A recipe in a store: what it says, what exists, what will happen. No numpy, no datatrove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codemix.data.build.inventory import SourceState, take_inventory
from codemix.data.build.stage_changes import stage_changes
from codemix.data.store.manifest import Manifest
from codemix.data.store.stages import is_done, renamed_since, stage_dir
from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.language import recipe_file
from codemix.recipe.language.component import refuse_clashes
from codemix.recipe.planning.plan import Plan, Pool, StagePlan


@dataclass(frozen=True)
class Workspace:
    """What most work starts from; `open_workspace` makes it."""

    source: recipe_file.RecipeFile
    store: Store
    data_root: Path
    found: Mapping[str, SourceState]
    checked: validation.Checked

    @property
    def plan(self) -> Plan:
        """Raises CodemixError when the recipe has an error."""
        return self.checked.require()

    @property
    def pools(self) -> dict[str, Pool]:
        """What the sources that are built hold."""
        return _pools(self.found)

    @property
    def manifests(self) -> dict[str, Manifest]:
        """Manifests of the sources that are built. Raises CodemixError when one that a stage reads is not."""
        read = {planned.source for stage in self.checked.plan.stages for planned in stage.sources}
        missing = sorted(name for name in read if self.found[name].manifest is None)
        if missing:
            reasons = [f"{name}: {self.found[name].reason}" for name in missing]
            raise CodemixError(
                "the data is not built yet",
                hints=(*reasons, f"run `codemix build-data {self.source.document.file}`"),
                rule="not-built",
            )
        return _manifests(self.found)

    def stage_dir(self, stage: StagePlan) -> Path:
        """Where a stage is, once it is trained."""
        return stage_dir(self.store, stage)

    def is_trained(self, stage: StagePlan) -> bool:
        return is_done(self.stage_dir(stage))

    def renamed_since(self, stage: StagePlan) -> str:
        """Which sources have another name in the folder of a stage that is trained; empty for none."""
        return renamed_since(self.stage_dir(stage), stage)

    def why_untrained(self, stage: StagePlan) -> str:
        """What differs from the nearest stage of this name in the store; empty when it is trained."""
        if self.is_trained(stage):
            return ""
        return stage_changes(self.store, stage, self.source.recipe)


def _manifests(inventory: Mapping[str, SourceState]) -> dict[str, Manifest]:
    manifests: dict[str, Manifest] = {}
    for name, state in inventory.items():
        if state.manifest is not None:
            manifests[name] = state.manifest
    return manifests


def open_workspace(source: recipe_file.RecipeFile, store: Store, data_root: Path) -> Workspace:
    """Plan a recipe against what the store holds: exact sizes where a source is built, declared ones
    elsewhere."""
    refuse_clashes()
    inventory = take_inventory(source.recipe, store.built, data_root)
    checked = validation.check(source, _pools(inventory))
    return Workspace(source, store, data_root, inventory, checked)


def _pools(inventory: Mapping[str, SourceState]) -> dict[str, Pool]:
    pools = {}
    for name, manifest in _manifests(inventory).items():
        pools[name] = _pool(manifest)
    return pools


def _pool(manifest: Manifest) -> Pool:
    """The training windows of a source that is built come from these shards."""
    shards = manifest.shards("train")
    tokens = tuple(shard.tokens for shard in shards)
    return Pool(tokens, manifest.documents("train"), True, manifest.content)
