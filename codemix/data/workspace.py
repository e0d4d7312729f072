"""A recipe in a store: what it says, what exists, what will happen. No numpy, no datatrove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codemix.data.build.changes import stage_changes
from codemix.data.build.inventory import SourceState, take_inventory
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.language import recipe_file
from codemix.recipe.language.component import refuse_clashes
from codemix.recipe.planning.plan import Plan, Pool, StagePlan


@dataclass(frozen=True)
class Workspace:
    """What most work starts from; `look` makes it."""

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
    def manifests(self) -> dict[str, Manifest]:
        """Manifests of the sources that are built. Raises CodemixError when one that a stage reads is not."""
        used = {s.source for stage in self.checked.plan.stages for s in stage.sources}
        missing = [
            f"{name}: {self.found[name].reason}" for name in sorted(used) if self.found[name].manifest is None
        ]
        if missing:
            raise CodemixError(
                "the data is not built yet",
                hints=(*missing, f"run `codemix build-data {self.source.document.file}`"),
                rule="not-built",
            )
        return {name: f.manifest for name, f in self.found.items() if f.manifest is not None}

    def stage_dir(self, stage: StagePlan) -> Path:
        """Where a stage is, once it is trained."""
        return self.store.path("stages", stage.name, stage.fingerprint)

    def is_trained(self, stage: StagePlan) -> bool:
        return (self.stage_dir(stage) / "done.json").exists()

    def why_untrained(self, stage: StagePlan) -> str:
        """What differs from the nearest stage of this name in the store; empty when it is trained."""
        return "" if self.is_trained(stage) else stage_changes(self.store, stage, self.source.recipe)


def open_workspace(source: recipe_file.RecipeFile, store: Store, data_root: Path) -> Workspace:
    """Plan a recipe against what the store holds: exact sizes where a source is built, declared ones elsewhere."""
    refuse_clashes()
    found = take_inventory(source.recipe, store, data_root)
    pools = {}
    for name, f in found.items():
        if f.manifest is not None:
            train = f.manifest.splits["train"]
            pools[name] = Pool(
                tuple(s["tokens"] for s in train["shards"]), train["documents"], True, f.manifest.content
            )
    return Workspace(source, store, data_root, found, validation.check(source, pools))
