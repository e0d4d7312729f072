"""What decides the shards of a recipe's sources, as far as the recipe says: data/build/identity.py without the content
of inputs.

Everything in a source counts unless it is left out here by name, so that a new field can only build once too often.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from codemix.recipe.language import schema
from codemix.recipe.language.component import identity
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.language.source_graph import SourceGraph

# of a source, what its documents do not depend on: the plan's business, labels, and what the tokens phase adds for itself
NOT_DOCUMENTS = frozenset({"tokens", "documents", "max_epochs", "on_cap", "held_out", "tags", "notes"})
_PART_OF_FIELD = {
    "read": "inputs",
    "on_bad": "bad documents",
    "max_bad": "bad documents",
}  # else the field's name


def documents_content(source: schema.SourceSpec) -> dict[str, Any]:
    """What decides the documents of a source, by field; the content of inputs is not in it."""
    fields = [name for name in type(source).model_fields if name not in NOT_DOCUMENTS]
    return {name: identity(getattr(source, name)) for name in fields}


def identity_parts(graph: SourceGraph) -> dict[str, dict[str, Any]]:
    """For each source everything that decides its shards, by part."""
    sources = graph.recipe.sources
    documents = _documents_fingerprints(graph)
    dedup = _DedupIdentity(graph.recipe, documents)
    tokenizer = _tokenizer_fingerprint(graph, documents, dedup)
    parts: dict[str, dict[str, Any]] = {}
    for name, source in sources.items():
        parts[name] = {
            **_documents_parts(source),
            "documents of the source it reads": [documents[origin] for origin in graph.chain(name)[1:]],
            "held-out share": identity(source.held_out),
            "dedup": dedup.of({name}, without=name),
            "tokenizer": tokenizer,
        }
    return parts


def spec_fingerprints(recipe: schema.Recipe) -> dict[str, str]:
    """The identity of each source by its spec alone, for plans made before it is built."""
    parts = identity_parts(SourceGraph(recipe))
    return {name: "spec:" + fingerprint([name, of_source]) for name, of_source in parts.items()}


def _documents_parts(source: schema.SourceSpec) -> dict[str, Any]:
    """`documents_content` under the names that `codemix diff` shows."""
    values: dict[str, list[Any]] = {}
    for name, value in documents_content(source).items():
        values.setdefault(_PART_OF_FIELD.get(name, name), []).append(value)
    return {part: inside[0] if len(inside) == 1 else inside for part, inside in values.items()}


def _documents_fingerprints(graph: SourceGraph) -> dict[str, str]:
    sources = graph.recipe.sources
    own = {name: list(documents_content(source).values()) for name, source in sources.items()}
    return {name: fingerprint([own[n] for n in graph.chain(name)]) for name in sources}


def _tokenizer_fingerprint(graph: SourceGraph, documents: Mapping[str, str], dedup: _DedupIdentity) -> str:
    known = graph.recipe.sources.keys()
    trained_on = sorted(known & graph.tokenizer_shares.keys())
    text = [[name, documents[name], graph.held_out_shares[name]] for name in trained_on]
    return fingerprint([graph.recipe.tokenizer, dedup.of(set(trained_on)), text])


class _DedupIdentity:
    """What decides which documents dedup removes. Each entry is hashed once, however many sources ask.

    What an entry compares is a sum of hashes over its sources, so that one source can be taken out of it.
    """

    def __init__(self, recipe: schema.Recipe, documents: Mapping[str, str]):
        self.entries = [frozenset(entry.sources) for entry in recipe.dedup]
        self.specs = [fingerprint(entry) for entry in recipe.dedup]
        compared = frozenset().union(*self.entries) & documents.keys()
        self.hashes = {name: int(fingerprint([name, documents[name]]), 16) for name in compared}
        self.sums = [sum(self.hashes.get(name, 0) for name in entry) for entry in self.entries]
        self.reached: dict[frozenset[int], list[int]] = {}

    def of(self, names: Set[str], without: str | None = None) -> list[list[str]]:
        """The entries that decide which documents of these sources are removed, each with what it compares.

        An entry that shares a source with one of them, and comes before it, is one of them too.
        """
        within = frozenset(i for i, entry in enumerate(self.entries) if not entry.isdisjoint(names))
        if within not in self.reached:
            self.reached[within] = self._reach(set(names))
        return [[self.specs[i], self._compared(i, without)] for i in self.reached[within]]

    def _compared(self, i: int, without: str | None) -> str:
        """The sum of hashes of entry `i`, less the hash of the source `without`, in hexadecimal."""
        is_inside = without is not None and without in self.entries[i]
        return f"{self.sums[i] - self.hashes.get(without, 0):x}" if is_inside else f"{self.sums[i]:x}"

    def _reach(self, names: set[str]) -> list[int]:
        entries = []
        for i in reversed(range(len(self.entries))):
            if not self.entries[i].isdisjoint(names):
                names |= self.entries[i]
                entries.append(i)
        return entries
