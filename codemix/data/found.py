"""What a store holds of a recipe. No numpy and no datatrove, so that planning stays instant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.data.changes import data_changes
from codemix.data.documents import Documents
from codemix.data.identity import Identities, identify
from codemix.data.locations import REMOTE, scheme_of
from codemix.data.manifest import Manifest
from codemix.data.store import Store
from codemix.recipe import schema, uses


@dataclass(frozen=True)
class Found:
    """What the store holds of a source. `fingerprint` is None when its inputs cannot be read, `manifest` when it is not built.

    A source that only other sources read has documents and no tokens: `read_by` names them, and there is no manifest.
    """

    fingerprint: str | None
    manifest: Manifest | None
    reason: str = ""
    read_by: tuple[str, ...] = ()
    documents: Documents | None = None

    @property
    def built(self) -> bool:
        return self.manifest is not None or self.documents is not None

    @property
    def funnel(self) -> dict[str, Any]:
        """Where the documents of a source that is built went."""
        return self.documents.funnel.as_json() if self.documents is not None else self.manifest.funnel


def find(recipe: schema.Recipe, store: Store, data_root: Path) -> dict[str, Found]:
    """For each source of a recipe, what exists of it. Builds nothing."""
    found = {}
    store, data_root = Store(store.root.absolute()), Path(data_root).absolute()
    if any(map(_reads_remotely, recipe.sources.values())) and not any(any(store.root.glob(f"data/{name}-*")) for name in recipe.sources):
        return {name: Found(None, None, "not built yet") for name in recipe.sources}  # a plan needs no network
    ids = identify(recipe, store, data_root)
    for name in recipe.sources:
        own = ids.tokens.get(name, ids.documents[name])
        read_by = () if name in ids.tokens else tuple(uses.readers(recipe, name))
        if own.fingerprint is None:
            found[name] = Found(None, None, _why_unknown(recipe, ids, name), read_by)
            continue
        folder = store.path("documents" if read_by else "data", name, own.fingerprint)
        if not (folder / "manifest.json").exists():
            found[name] = Found(own.fingerprint, None, data_changes(store, ids, recipe, name), read_by)
        elif read_by:
            found[name] = Found(own.fingerprint, None, f"documents only, for {', '.join(read_by)}", read_by, Documents.load(folder))
        else:
            found[name] = Found(own.fingerprint, Manifest.load(folder), "built")
    return found


def _why_unknown(recipe: schema.Recipe, ids: Identities, name: str) -> str:
    """Why the identity of a source's data is unknown: its own inputs cannot be read, or those of what it rests on."""
    unreadable = {n for n in recipe.sources if ids.documents[n].fingerprint is None}
    origins = {n: recipe.sources[n].read.origin for n in unreadable}
    at_fault = {n for n in unreadable if origins[n] not in unreadable}  # the others read documents of one at fault
    others = sorted(at_fault & uses.built_with(recipe, [name]))
    if others and name not in at_fault:
        return f"waits for {', '.join(f'`{n}`' for n in others)}, which cannot be read"
    problem = ids.documents[name].problem or ids.tokenizer.problem
    return problem.problems[0].what if problem else "its inputs are missing"


def _reads_remotely(source: schema.Source) -> bool:
    patterns = getattr(source.read, "patterns", tuple)  # only sources over files have any
    return any(scheme_of(pattern) in REMOTE for pattern in patterns())
