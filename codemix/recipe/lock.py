"""`recipe.lock`: what a recipe was built from and came to, so that years later one can tell whether a store
still is it.

A lock pins the hash of each input, the shards and token counts of each source, the tokenizer and the versions
of the components. It holds no paths of a machine: inputs are named as the recipe names them. JSON, for its
diff in git. recipe/diffs/lock_diff.py compares two locks; data/review/lock_check.py holds one against a
store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict

import codemix
from codemix.errors import CodemixError
from codemix.recipe.language import yaml_text
from codemix.recipe.language.component import Component
from codemix.recipe.language.fingerprint import FORMAT, fingerprint
from codemix.recipe.language.schema import Recipe
from codemix.recipe.planning.source_identity import spec_fingerprints

LOCK = 2  # of this file's format
SPLIT_COUNTS = ("tokens", "documents", "bytes")
_SHARD_KEYS = ("path", "tokens", "sha256", "index_sha256", "docs_sha256")
_TOKENIZER_KEYS = ("sha256", "vocab_size", "eos_token", "eos_id")
_INPUT_KEYS = ("path", "bytes", "sha256")
_REQUIRED_KEYS = {"codemix", "data", "components", "sources"}
_REQUIRED_OF_SOURCE = {"fingerprint", "tokenizer", "inputs", "splits", "environment"}

Fields = dict[str, Any]  # a mapping of the JSON that is pinned as it is


class LockedSource(TypedDict):
    """What a lock says about a source that was built."""

    fingerprint: str
    dtype: str
    tokenizer: Fields
    inputs: list[Fields]  # path, bytes, sha256
    splits: dict[str, Fields]  # split -> its counts and shards
    environment: Fields


class Lock(TypedDict):
    """A lock, as its JSON. A source that was not built is None."""

    lock: int
    codemix: str
    format: int
    recipe: str
    data: str
    components: dict[str, int]
    tokenizer: Fields | None
    sources: dict[str, LockedSource | None]


Splits = dict[str, Fields]  # by the name of the split


class BuiltSource(Protocol):
    """What a lock takes from a manifest of data/store/manifest.py."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def tokenizer(self) -> Fields: ...
    @property
    def inputs(self) -> list[Fields]: ...
    @property
    def splits(self) -> Splits: ...
    @property
    def environment(self) -> Fields: ...


class SourceInStore(Protocol):
    """What the store holds of a source: data/build/inventory.py."""

    @property
    def manifest(self) -> BuiltSource | None: ...


def make(recipe: Recipe, inventory: Mapping[str, SourceInStore]) -> Lock:
    """The lock of a recipe; `inventory` maps its sources to what the store holds of them."""
    sources: dict[str, LockedSource | None] = {}
    for name in recipe.sources:
        state = inventory.get(name)
        manifest = state.manifest if state else None
        sources[name] = _source(manifest) if manifest else None
    return Lock(
        lock=LOCK,
        codemix=codemix.__version__,
        format=FORMAT,
        recipe=recipe.name,
        data=fingerprint(spec_fingerprints(recipe)),
        components=dict(sorted(_versions(recipe))),
        tokenizer=_common_tokenizer(sources.values()),
        sources=sources,
    )


def _source(manifest: BuiltSource) -> LockedSource:
    tokenizer = {key: manifest.tokenizer.get(key) for key in _TOKENIZER_KEYS}
    splits = {}
    for split, content in sorted(manifest.splits.items()):
        splits[split] = _split(content)
    return LockedSource(
        fingerprint=manifest.fingerprint,
        dtype=manifest.dtype,
        tokenizer=tokenizer,
        inputs=[_only(_INPUT_KEYS, given) for given in manifest.inputs],
        splits=splits,
        environment=manifest.environment,
    )


def _split(content: Fields) -> Fields:
    split: Fields = {}
    for key in SPLIT_COUNTS:
        split[key] = content.get(key, 0)
    shards = content.get("shards", ())
    split["shards"] = [_only(_SHARD_KEYS, shard) for shard in shards]
    return split


def _only(keys: Sequence[str], given: Fields) -> Fields:
    kept = {}
    for key in keys:
        if key in given:
            kept[key] = given[key]
    return kept


def _common_tokenizer(sources: Iterable[LockedSource | None]) -> Fields | None:
    """The tokenizer of all built sources; None where they have none or several."""
    common: Fields | None = None
    for source in sources:
        if source is None:
            continue
        if common is not None and common != source["tokenizer"]:
            return None
        common = source["tokenizer"]
    return common


def _versions(recipe: Recipe) -> Iterator[tuple[str, int]]:
    for component in _components(recipe):
        if isinstance(component, Component):
            yield f"{component.family} {component.kind}", component.version


def _components(recipe: Recipe) -> Iterator[Any]:
    yield recipe.tokenizer
    for stage in recipe.stages:
        yield stage.learning_rate
    yield from recipe.evaluation.tasks
    for source in recipe.sources.values():
        yield source.read
        yield from source.ops


def write(path: Path, lock: Lock) -> None:
    """Write a lock, whole or not at all."""
    content = json.dumps(lock, indent=1, ensure_ascii=False, sort_keys=True)
    yaml_text.write(path, content + "\n")


def read(path: Path) -> Lock:
    """A lock from its file. Raises CodemixError when it is missing, damaged or of a different format."""
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = "`codemix lock RECIPE` writes one once the data is built"
        raise CodemixError(f"there is no lock {path}", hints=[hint], rule="lock-missing") from None
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    version = lock.get("lock") if isinstance(lock, dict) else None
    if version != LOCK:
        raise CodemixError(
            f"{path} has lock format {version}, this codemix reads {LOCK}",
            hints=["check it with the codemix that wrote it, or write it again"],
            rule="lock-format",
        )
    if not _is_whole(lock):
        raise _damaged(path, "parts of it are missing")
    return lock


def _is_whole(lock: Fields) -> bool:
    if not lock.keys() >= _REQUIRED_KEYS or not isinstance(lock["sources"], dict):
        return False
    for source in lock["sources"].values():
        if source is None:
            continue
        if not isinstance(source, dict) or not source.keys() >= _REQUIRED_OF_SOURCE:
            return False
    return True


def _damaged(path: Path, why: str) -> CodemixError:
    hint = "restore it from version control"
    return CodemixError(f"{path} is damaged: {why}", hints=[hint], rule="lock-damaged")


def fingerprints(lock: Lock) -> set[str]:
    """The fingerprints of the sources that were built when a lock was written."""
    built = filter(None, lock["sources"].values())
    return {source["fingerprint"] for source in built}
