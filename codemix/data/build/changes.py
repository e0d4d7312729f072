"""Why data is built again: what differs from what the store holds under the same name. No numpy, no
datatrove."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from codemix.data.build.differences import NOTHING_BUILT, describe, line, manifests, nearest
from codemix.data.build.identity import Identities, entries_with
from codemix.data.store.store import Store
from codemix.recipe.diffs.settings import differing, ops_by_name
from codemix.recipe.language import schema
from codemix.recipe.language.subsample import ALL

Content = dict[str, Any]  # of an identity


def data_changes(store: Store, ids: Identities, recipe: schema.Recipe, name: str) -> str:
    """What differs from the nearest build of a source in the store, whose tokens (or documents) of now are
    not built."""
    changes = _DataChanges(store, ids, recipe, name)
    kind = "data" if name in ids.tokens else "documents"
    paths = store.root.glob(f"{kind}/{name}-*/manifest.json")
    earlier = [manifest["identity"] for manifest in manifests(paths)]
    if not earlier:
        return NOTHING_BUILT
    if kind == "documents":
        now = ids.documents[name].content
        return describe(nearest(list(documents_differences(then, now)) for then in earlier))
    differences = nearest(list(changes.of_tokens(then)) for then in earlier)
    documents = ids.documents[name].fingerprint
    if documents is not None and store.path("documents", name, documents).exists():
        return f"its documents are re-used; {describe(differences)}"
    return describe(differences)


@dataclass(frozen=True)
class _DataChanges:
    """Differences of one source's identities from earlier ones."""

    store: Store
    ids: Identities
    recipe: schema.Recipe
    name: str

    def of_tokens(self, then: Content) -> Iterator[str]:
        now = self.ids.tokens[self.name].content
        dedup = then.get("dedup")
        tokenizer = then.get("tokenizer")
        if then.get("documents") != now["documents"]:
            yield from self._of_documents(self.name, then.get("documents", ""))
        if then.get("held_out") != now["held_out"]:
            yield f"held_out {then.get('held_out')} -> {now['held_out']}"
        if then.get("subsample") != now.get("subsample"):
            yield f"subsample {then.get('subsample', ALL)} -> {now.get('subsample', ALL)}"
        elif ("sample" in then) != ("sample" in now):
            yield "a different version of codemix took its sample"
        if dedup != now["dedup"]:
            yield from self._of_dedup(dedup or [])
        if tokenizer != now["tokenizer"]:
            yield from self._of_tokenizer(str(tokenizer))
        if then.get("format") != now["format"]:
            yield "a different version of codemix wrote it"

    def _of_documents(self, name: str, then: str) -> Iterator[str]:
        """What differs from the documents of a source with the fingerprint `then`."""
        path = self.store.path("documents", name, then) / "manifest.json"
        earlier = [manifest["identity"] for manifest in manifests([path])]
        if not earlier:
            yield "other documents"
            return
        now = self.ids.documents[name].content
        yield from documents_differences(earlier[0], now)

    def _of_dedup(self, then: list[str]) -> Iterator[str]:
        """What differs in the dedup entries that the source is in."""
        entries = entries_with(self.recipe, self.name)
        if len(entries) != len(then):
            yield f"{len(then)} -> {len(entries)} entries of dedup"
            return
        for entry, before in zip(entries, then, strict=True):
            if before != self.ids.dedup[entry].fingerprint:
                differences = list(self._of_entry(entry, before))
                yield from differences or [f"what dedup[{entry}] compares"]

    def _of_entry(self, entry: int, then: str) -> Iterator[str]:
        now = self.ids.dedup[entry].content
        path = self.store.path("dedup", then[:12]) / "manifest.json"
        for manifest in manifests([path]):
            before = manifest["identity"]
            key = f"dedup[{entry}]"
            settings = differing({key: before["entry"]}, {key: now["entry"]})
            yield from map(line, settings)
            documents = dict(before["documents"])
            for name, fingerprint in now["documents"]:
                earlier = documents.get(name, fingerprint)
                if name == self.name or earlier == fingerprint:
                    continue
                for difference in self._of_documents(name, earlier):
                    yield f"of `{name}` in dedup: {difference}"

    def _of_tokenizer(self, then: str) -> Iterator[str]:
        path = self.store.path("tokenizers", then[:12]) / "meta.json"
        differences: list[str] = []
        for meta in manifests([path]):
            differences += tokenizer_differences(meta["identity"], self.ids.tokenizer.content)
        yield from differences or ["the text that the tokenizer is trained on"]


def tokenizer_differences(then: Content, now: Content) -> Iterator[str]:
    for key, label in (("tokenizer", "tokenizer"), ("shares", "tokenizer shares")):
        before = {label: then.get(key)}
        after = {label: now.get(key)}
        yield from map(line, differing(before, after))
    if then.get("files") != now.get("files"):
        yield "the tokenizer's file changed"


def documents_differences(then: Content, now: Content) -> Iterator[str]:
    before = _compared(then, others=now)
    after = _compared(now, others=then)
    yield from map(line, differing(before, after))
    yield from _inputs("input", then.get("inputs", []), now["inputs"])
    for earlier, current in zip(then.get("op_inputs", []), now["op_inputs"], strict=False):
        yield from _inputs("input of an op", earlier, current)
    if then.get("documents") != now.get("documents"):
        yield "the documents of the source that it reads"
    if then.get("models") != now.get("models"):
        yield "what the model of an op is trained on"
    if _versions(then) != _versions(now):
        yield "a different version of codemix or Python wrote it"


def _compared(content: Content, others: Content) -> Content:
    """The settings of an identity of documents that are compared one by one."""
    return {
        "read": content.get("read"),
        "ops": ops_by_name(content.get("ops", []), others.get("ops", [])),
        "on_bad": content.get("on_bad"),
        "max_bad": content.get("max_bad"),
        "subsample": content.get("subsample"),
    }


def _versions(content: Content) -> list[Any]:
    versions: list[tuple[str, int]] = []
    ops = content.get("ops", [])
    for component in (content.get("read") or {}, *ops):
        kind = component.get("kind", "")
        version = component.get("version", 0)
        versions.append((kind, version))
    versions.sort()
    others = [content.get(key) for key in ("format", "extra", "op_extra")]
    return [*others, *versions]


def _inputs(noun: str, then: list[list[str]], now: list[list[str]]) -> Iterator[str]:
    """Inputs, each a path and its digest, that changed, are new or are gone."""
    before = dict(then)
    after = dict(now)
    common = before.keys() & after.keys()
    verbs = {
        "changed": {path for path in common if before[path] != after[path]},
        "new": after.keys() - before.keys(),
        "gone": before.keys() - after.keys(),
    }
    for verb, paths in verbs.items():
        if not paths:
            continue
        first = min(paths)
        if len(paths) == 1:
            yield f"{noun} {first} {verb}"
        else:
            yield f"{len(paths)} {noun}s {verb}, {first} the first"
