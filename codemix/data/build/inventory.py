"""What a store holds of a recipe. No numpy and no datatrove, so that planning stays instant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.data.build.changes import data_changes
from codemix.data.build.documents import Documents
from codemix.data.build.identity import Identities, identify
from codemix.data.inputs.locations import REMOTE, scheme_of
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.recipe.language import schema


@dataclass(frozen=True)
class SourceState:
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


def take_inventory(recipe: schema.Recipe, store: Store, data_root: Path) -> dict[str, SourceState]:
    """For each source of a recipe, what exists of it. Builds nothing."""
    found = {}
    store, data_root = Store(store.root.absolute()), Path(data_root).absolute()
    if any(map(_reads_remotely, recipe.sources.values())) and not any(
        any(store.root.glob(f"data/{name}-*")) for name in recipe.sources
    ):
        return {
            name: SourceState(None, None, "not built yet") for name in recipe.sources
        }  # a plan needs no network
    ids = identify(recipe, store, data_root)
    unknown = _Unknown(recipe, ids)
    for name in recipe.sources:
        own = ids.tokens.get(name, ids.documents[name])
        read_by = () if name in ids.tokens else tuple(ids.graph.readers[name])
        if own.fingerprint is None:
            found[name] = SourceState(None, None, unknown.reason(name), read_by)
            continue
        folder = store.path("documents" if read_by else "data", name, own.fingerprint)
        if not (folder / "manifest.json").exists():
            found[name] = SourceState(own.fingerprint, None, data_changes(store, ids, recipe, name), read_by)
        elif read_by:
            found[name] = SourceState(
                own.fingerprint,
                None,
                f"documents only, for {', '.join(read_by)}",
                read_by,
                Documents.load(folder),
            )
        else:
            found[name] = SourceState(own.fingerprint, Manifest.load(folder), "built")
    return found


class _Unknown:
    """Why the identity of a source's data is unknown: its own inputs cannot be read, or those of what it rests on."""

    def __init__(self, recipe: schema.Recipe, ids: Identities):
        unreadable = {n for n in recipe.sources if ids.documents[n].fingerprint is None}
        # the others read documents of one of these
        self.at_fault = {n for n in unreadable if recipe.sources[n].read.origin not in unreadable}
        self.recipe, self.ids = recipe, ids
        self.of_tokenizer = self.at_fault & ids.graph.built_with(())
        self.of_dedup: dict[tuple[int, ...], set[str]] = {}  # by the entries that a source is in

    def reason(self, name: str) -> str:
        if name not in self.at_fault:
            behind = (
                self.at_fault.intersection(self.ids.graph.chain(name)) | self.of_tokenizer | self._dedup(name)
            )
            if behind:
                named = ", ".join(f"`{n}`" for n in sorted(behind)[:3])
                more = f" and {len(behind) - 3} more" if len(behind) > 3 else ""
                return f"waits for {named}{more}, which cannot be read"
        problem = self.ids.documents[name].problem or self.ids.tokenizer.problem
        return problem.problems[0].what if problem else "its inputs are missing"

    def _dedup(self, name: str) -> set[str]:
        within = tuple(i for i, entry in enumerate(self.recipe.dedup) if name in entry.sources)
        if within not in self.of_dedup:
            compared = {n for i in within for n in self.recipe.dedup[i].sources}
            self.of_dedup[within] = self.at_fault & self.ids.graph.built_with(compared)
        return self.of_dedup[within]


def _reads_remotely(source: schema.SourceSpec) -> bool:
    patterns = getattr(source.read, "patterns", tuple)  # only sources over files have any
    return any(scheme_of(pattern) in REMOTE for pattern in patterns())
