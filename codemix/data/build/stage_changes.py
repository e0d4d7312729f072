"""Why a stage is trained again: what differs from the nearest stage of its name in the store. No numpy, no
datatrove."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.data.build.differences import describe, line, nearest, newest
from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError
from codemix.recipe.diffs.settings import Setting, settings
from codemix.recipe.language import recipe_file, schema, yaml_text
from codemix.recipe.planning.plan import StagePlan, StageSource

NOT_IN_STORE = "not in the store"
_TRAINED_BY = ("model.", "training.", "seed")  # paths of settings that decide a stage, beside its own

Lineage = dict[str, Any]  # the JSON that a trained stage keeps of what it was made from


def stage_changes(store: Store, stage: StagePlan, recipe: schema.Recipe) -> str:
    """What differs from the nearest training of a stage of this name in the store."""
    candidates: list[list[str]] = []
    paths = store.root.glob(f"stages/{stage.name}-*/lineage.json")
    for path in newest(paths):
        with suppress(CodemixError, KeyError, TypeError):
            lineage = read_json(path)
            differences = _differences(path.parent, lineage, stage, recipe)
            candidates.append(list(differences))
    return describe(nearest(candidates)) if candidates else NOT_IN_STORE


def _differences(folder: Path, then: Lineage, stage: StagePlan, recipe: schema.Recipe) -> Iterator[str]:
    yield from _start_differences(then, stage)
    if then["tokens"] != stage.tokens:
        yield f"tokens {then['tokens']:,} -> {stage.tokens:,}"
    before = _by_names_of(stage, then["sources"])
    sources = {source.source: source for source in stage.sources}
    names = sources.keys() | before.keys()
    for name in sorted(names):
        yield from _source_differences(name, before.get(name), sources.get(name))
    document = yaml_text.load(folder / "recipe.yaml")
    trained = recipe_file.of_document(document).recipe
    own = f"stages.{stage.name}."
    deciding = (*_TRAINED_BY, own)
    for setting in settings(trained, recipe):
        if setting.path.startswith(deciding):
            path = setting.path.removeprefix(own)
            yield line(Setting(path, setting.values))


def _start_differences(then: Lineage, stage: StagePlan) -> Iterator[str]:
    """What differs in the weights that it starts from."""
    before = _start_then(then)
    now = _start_now(stage)
    if now.identity != before.identity:
        if now.name == before.name:
            yield f"it starts from a different `{now.name}`"
        else:
            yield f"it starts from {before.name} -> {now.name}"
    elif then["load"] != stage.load:
        yield f"it loads {then['load']} -> {stage.load}"


@dataclass(frozen=True)
class _Start:
    """What a stage starts from, as it is called and as it is known; scratch has no identity."""

    name: str = "scratch"
    identity: str | None = None


def _start_then(then: Lineage) -> _Start:
    if model := then.get("pretrained"):
        return _Start(model["huggingface"], model["sha256"])
    if parent := then["parent"]:
        return _Start(parent["stage"], parent["fingerprint"])
    return _Start()


def _start_now(stage: StagePlan) -> _Start:
    if model := stage.pretrained:
        return _Start(model.huggingface, model.sha256)
    if parent := stage.parent:
        return _Start(parent.name, parent.fingerprint)
    return _Start()


def _by_names_of(stage: StagePlan, sources: dict[str, Lineage]) -> dict[str, Lineage]:
    """What was read then, each under the name that the stage has for what it holds."""
    today = {source.key: source.source for source in stage.sources}
    renamed = {}
    for name, read in sources.items():
        key = read.get("key", "")
        renamed[today.get(key, name)] = read
    return renamed


def _source_differences(name: str, then: Lineage | None, now: StageSource | None) -> Iterator[str]:
    if then is None:
        yield f"`{name}` is new"
    elif now is None:
        yield f"`{name}` is gone"
    else:
        if then.get("key") != now.key:
            yield f"the data of `{name}`"
        if then["windows"] != now.windows:
            yield f"windows of `{name}` {then['windows']:,} -> {now.windows:,}"
        elif then["start"] != now.start:
            yield f"`{name}` from window {then['start']:,} -> {now.start:,}"
