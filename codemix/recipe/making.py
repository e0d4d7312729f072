"""What decides the shards of a recipe's sources, as far as the recipe says: data/identity.py without the content of inputs."""

from __future__ import annotations

from typing import Any

from codemix.recipe import schema, uses
from codemix.recipe.component import identity
from codemix.recipe.fingerprint import fingerprint


def making(recipe: schema.Recipe) -> dict[str, dict[str, Any]]:
    """For each source everything that decides its shards, by part."""
    documents = {name: fingerprint([[o.read, o.ops, o.on_bad, o.max_bad] for o in _chain(recipe, name)]) for name in recipe.sources}
    trained_on = [n for n in sorted(recipe.tokenizer.trains_on(uses.tokenized(recipe))) if n in recipe.sources]
    tokenizer = fingerprint([
        recipe.tokenizer, _dedup(recipe, set(trained_on), documents),
        [[n, documents[n], uses.held_out_with(recipe, n)] for n in trained_on],
    ])  # fmt: skip
    return {
        name: {
            "inputs": identity(s.read), "documents of the source it reads": [documents[o] for o in uses.chain(recipe, name)[1:]], "ops": identity(s.ops),
            "held-out share": identity(s.held_out), "bad documents": identity([s.on_bad, s.max_bad]),
            "dedup": _dedup(recipe, {name}, documents | {name: ""}), "tokenizer": tokenizer,
        } for name, s in recipe.sources.items()
    }  # fmt: skip


def spec_fingerprints(recipe: schema.Recipe) -> dict[str, str]:
    """The identity of each source by its spec alone, for plans made before it is built."""
    return {name: "spec:" + fingerprint([name, parts]) for name, parts in making(recipe).items()}


def _chain(recipe: schema.Recipe, name: str) -> list[schema.Source]:
    return [recipe.sources[n] for n in uses.chain(recipe, name)]


def _dedup(recipe: schema.Recipe, names: set[str], documents: dict[str, str]) -> list[Any]:
    """The entries that remove documents of these sources, those before them on which they depend, and what each compares."""
    found = []
    for entry in reversed(recipe.dedup):
        if names & set(entry.sources):
            names = names | set(entry.sources)
            found.append([identity(entry), [documents.get(n, "") for n in entry.sources]])
    return found
