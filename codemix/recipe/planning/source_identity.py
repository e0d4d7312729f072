"""What decides the shards of a recipe's sources, as far as the recipe says: data/build/identity.py without the content of inputs."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from codemix.recipe.language import schema, source_graph
from codemix.recipe.language.component import identity
from codemix.recipe.language.fingerprint import fingerprint


def making(recipe: schema.Recipe) -> dict[str, dict[str, Any]]:
    """For each source everything that decides its shards, by part."""
    chains = {name: source_graph.chain(recipe, name) for name in recipe.sources}
    own = {n: identity([s.read, s.ops, s.on_bad, s.max_bad]) for n, s in recipe.sources.items()}
    documents = {name: fingerprint([own[n] for n in chain]) for name, chain in chains.items()}
    trained_on = [
        n for n in sorted(recipe.tokenizer.trains_on(source_graph.tokenized(recipe))) if n in recipe.sources
    ]
    held_out, dedup = source_graph.held_out_shares(recipe), _Dedup(recipe, documents)
    tokenizer = fingerprint(
        [
            recipe.tokenizer,
            dedup.of(set(trained_on)),
            [[n, documents[n], held_out[n]] for n in trained_on],
        ]
    )
    return {
        name: {
            "inputs": identity(s.read),
            "documents of the source it reads": [documents[o] for o in chains[name][1:]],
            "ops": identity(s.ops),
            "held-out share": identity(s.held_out),
            "bad documents": identity([s.on_bad, s.max_bad]),
            "dedup": dedup.of({name}, without=name),
            "tokenizer": tokenizer,
        }
        for name, s in recipe.sources.items()
    }


def spec_fingerprints(recipe: schema.Recipe) -> dict[str, str]:
    """The identity of each source by its spec alone, for plans made before it is built."""
    return {name: "spec:" + fingerprint([name, parts]) for name, parts in making(recipe).items()}


class _Dedup:
    """What decides which documents dedup removes, entry by entry; each entry is looked at once, however many sources ask.

    What an entry compares is a sum of hashes over its sources, so that one source can be taken out of it.
    """

    def __init__(self, recipe: schema.Recipe, documents: Mapping[str, str]):
        self.entries = [frozenset(entry.sources) for entry in recipe.dedup]
        self.specs = [fingerprint(entry) for entry in recipe.dedup]
        self.hashes = {
            n: int(fingerprint([n, documents[n]]), 16)
            for n in frozenset().union(*self.entries) & documents.keys()
        }
        self.sums = [sum(self.hashes.get(n, 0) for n in entry) for entry in self.entries]
        self.reached: dict[frozenset[int], list[int]] = {}

    def of(self, names: Set[str], without: str | None = None) -> list[list[str]]:
        """The entries that remove documents of these sources, those before them on which they depend, and what each compares."""
        within = frozenset(i for i, entry in enumerate(self.entries) if not entry.isdisjoint(names))
        if within not in self.reached:
            self.reached[within] = self._reach(set(names))
        found = []
        for i in self.reached[within]:
            own = self.hashes.get(without, 0) if without in self.entries[i] else 0
            found.append([self.specs[i], f"{self.sums[i] - own:x}"])
        return found

    def _reach(self, names: set[str]) -> list[int]:
        found = []
        for i in reversed(range(len(self.entries))):
            if not self.entries[i].isdisjoint(names):
                names |= self.entries[i]
                found.append(i)
        return found
