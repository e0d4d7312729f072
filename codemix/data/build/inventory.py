"""What a store holds of a recipe. No numpy and no datatrove, so that planning stays instant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codemix.data.build.changes import data_changes
from codemix.data.build.documents import Documents
from codemix.data.build.identity import Identities, entries_with, identify
from codemix.data.inputs.locations import REMOTE, scheme_of
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.recipe.language import schema

NOT_HERE = "its inputs are not here"  # why a source that is built was looked up in the store alone
SHOWN = 3  # names of sources in one reason


@dataclass(frozen=True)
class SourceState:
    """What the store holds of a source, and `reason` where that is not all.

    `fingerprint` is None when its inputs cannot be read, `manifest` when it is not built. A source that only
    other sources read has documents and no tokens: `read_by` names those, and there is no manifest.
    `made_from`: the fingerprints of what comes before, built or not.
    """

    fingerprint: str | None
    manifest: Manifest | None
    reason: str = ""
    read_by: tuple[str, ...] = ()
    documents: Documents | None = None
    made_from: frozenset[str] = frozenset()

    @property
    def built(self) -> bool:
        return self.manifest is not None or self.documents is not None

    @property
    def funnel(self) -> dict[str, Any]:
        """What became of the documents of a source that is built."""
        if self.documents is not None:
            return self.documents.funnel.as_json()
        if self.manifest is not None:
            return self.manifest.funnel
        raise CodemixError(f"not built yet: {self.reason}", rule="not-built")

    def documents_folder(self, store: Store, name: str) -> Path:
        """Where the documents of a source that is built are; `name` is the source's."""
        if self.documents is not None:
            return self.documents.folder
        if self.manifest is not None:
            return store.path("documents", name, self.manifest.identity["documents"])
        raise CodemixError(f"not built yet: {self.reason}", rule="not-built")


def take_inventory(recipe: schema.Recipe, store: Store, data_root: Path) -> dict[str, SourceState]:
    """For each source of a recipe, what exists of it. Builds nothing."""
    store = Store(store.root.absolute())
    remote = any(_reads_remotely(source) for source in recipe.sources.values())
    if remote and not _any_tokens(store, recipe.sources):  # a plan needs no network
        unbuilt = SourceState(None, None, "not built yet")
        return dict.fromkeys(recipe.sources, unbuilt)
    ids = identify(recipe, store, Path(data_root).absolute())
    unknown = _Unknown(recipe, ids)
    states: dict[str, SourceState] = {}
    for name in recipe.sources:
        state_of = _state_of_tokens if name in ids.tokens else _state_of_documents
        state = state_of(recipe, store, ids, name, unknown)
        made_from = ids.made_from(name)
        states[name] = replace(state, made_from=made_from)
    return states


def _any_tokens(store: Store, names: Iterable[str]) -> bool:
    folders: list[Path] = []
    for name in names:
        folders += store.root.glob(f"data/{name}-*")
    return bool(folders)


def _state_of_tokens(
    recipe: schema.Recipe, store: Store, ids: Identities, name: str, unknown: _Unknown
) -> SourceState:
    fingerprint = ids.tokens[name].fingerprint
    if fingerprint is None:
        return SourceState(None, None, unknown.reason(name))
    folder = store.path("data", name, fingerprint)
    if not (folder / "manifest.json").exists():
        return SourceState(fingerprint, None, data_changes(store, ids, recipe, name))
    reason = NOT_HERE if _is_remembered(ids, name) else "built"
    return SourceState(fingerprint, Manifest.load(folder), reason)


def _is_remembered(ids: Identities, name: str) -> bool:
    """Whether any inputs of a source are known from the store alone."""
    ancestors = ids.graph.ancestors(name)
    for other in (name, *ancestors):
        identity = ids.documents[other]
        if identity.is_remembered:
            return True
    return False


def _state_of_documents(
    recipe: schema.Recipe, store: Store, ids: Identities, name: str, unknown: _Unknown
) -> SourceState:
    """Of a source that only other sources read."""
    read_by = tuple(ids.graph.readers[name])
    fingerprint = ids.documents[name].fingerprint
    if fingerprint is None:
        return SourceState(None, None, unknown.reason(name), read_by)
    folder = store.path("documents", name, fingerprint)
    if not (folder / "manifest.json").exists():
        return SourceState(fingerprint, None, data_changes(store, ids, recipe, name), read_by)
    reason = f"documents only, for {', '.join(read_by)}"
    return SourceState(fingerprint, None, reason, read_by, Documents.load(folder))


class _Unknown:
    """Why the identity of a source's data is unknown: its own inputs cannot be read, or those of what it
    rests on."""

    def __init__(self, recipe: schema.Recipe, ids: Identities):
        self._recipe = recipe
        self._ids = ids
        unreadable = {name for name, identity in ids.documents.items() if identity.fingerprint is None}
        self._at_fault: set[str] = set()  # the other ones read documents of one of these
        for name in unreadable:
            if unreadable.isdisjoint(ids.graph.parents(name)):
                self._at_fault.add(name)
        of_tokenizer = ids.graph.built_with(())
        self._of_tokenizer = self._at_fault & of_tokenizer
        self._of_dedup: dict[tuple[int, ...], set[str]] = {}  # by the entries that a source is in

    def reason(self, name: str) -> str:
        behind = self._behind(name)
        if behind:
            names = ", ".join(f"`{other}`" for other in sorted(behind)[:SHOWN])
            more = f" and {len(behind) - SHOWN} more" if len(behind) > SHOWN else ""
            return f"waits for {names}{more}, which cannot be read"
        problem = self._ids.documents[name].problem or self._ids.tokenizer.problem
        if problem is None:
            return "its inputs are missing"
        return problem.problems[0].what

    def _behind(self, name: str) -> set[str]:
        """The sources whose inputs cannot be read and that this one rests on; none when that is the source
        itself."""
        if name in self._at_fault:
            return set()
        read = self._at_fault & self._ids.graph.ancestors(name)
        return read | self._of_tokenizer | self._behind_dedup(name)

    def _behind_dedup(self, name: str) -> set[str]:
        entries = tuple(entries_with(self._recipe, name))
        if entries not in self._of_dedup:
            compared: set[str] = set()
            for entry in entries:
                compared.update(self._recipe.dedup[entry].sources)
            needed = self._ids.graph.built_with(compared)
            self._of_dedup[entries] = self._at_fault & needed
        return self._of_dedup[entries]


def _reads_remotely(source: schema.SourceSpec) -> bool:
    patterns = getattr(source.read, "patterns", tuple)  # only sources over files have any
    schemes = map(scheme_of, patterns())
    return any(scheme in REMOTE for scheme in schemes)
