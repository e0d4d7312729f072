"""What decides the shards of a recipe's sources, as far as the recipe says: data/build/identity.py without
the content of inputs, and without the names of sources.

Everything in a source counts unless it is left out here by name, so that a new field can only build once too
often."""

from __future__ import annotations

from collections.abc import Mapping, Set
from fractions import Fraction
from typing import Any

from codemix.recipe.language import schema
from codemix.recipe.language.component import identity
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.language.source_graph import SourceGraph
from codemix.recipe.language.subsample import ALL, read_shares, trained_share

# of a source, what its documents do not depend on: the plan's business, labels, and what the tokens phase
# adds for itself
NOT_DOCUMENTS = frozenset(
    {"tokens", "documents", "max_epochs", "on_cap", "held_out", "subsample", "tags", "notes"}
)
_PART_OF_FIELD = {
    "read": "inputs",
    "on_bad": "bad documents",
    "max_bad": "bad documents",
}  # else the field's name


def documents_content(source: schema.SourceSpec) -> dict[str, Any]:
    """What decides the documents of a source, by field; the content of inputs is not in it."""
    content = {}
    for name in type(source).model_fields:
        if name not in NOT_DOCUMENTS:
            content[name] = identity(getattr(source, name))
    return content


def identity_parts(graph: SourceGraph) -> dict[str, dict[str, Any]]:
    """For each source everything that decides its shards, by part."""
    sources = graph.recipe.sources
    documents = _documents_fingerprints(graph)
    dedup = _DedupIdentity(graph.recipe, documents)
    tokenizer = _tokenizer_fingerprint(graph, documents, dedup)
    parts: dict[str, dict[str, Any]] = {}
    for name, source in sources.items():
        origins = graph.chain(name)[1:]
        parts[name] = {
            **_documents_parts(source),
            "documents of the source it reads": [documents[origin] for origin in origins],
            **_training_part(graph, documents, name),
            "held-out share": identity(source.held_out),
            **_subsample_part(trained_share(graph, name)),
            "dedup": dedup.of({name}, without=name),
            "tokenizer": tokenizer,
        }
    return parts


def spec_fingerprints(recipe: schema.Recipe) -> dict[str, str]:
    """The identity of each source by its spec alone, whatever it is called, for plans made before it is
    built."""
    prints = {}
    for name, parts in identity_parts(SourceGraph(recipe)).items():
        prints[name] = "spec:" + fingerprint(parts)
    return prints


def _subsample_part(share: Fraction) -> dict[str, str]:
    """Nothing of a source that is not subsampled: its identity is what it was before there were samples."""
    if share == ALL:
        return {}
    return {"subsample": identity(share)}


def _nameless_content(source: schema.SourceSpec) -> dict[str, Any]:
    """`documents_content` without the name of the source that it reads, whose documents count instead."""
    content = documents_content(source)
    origin = source.read.origin
    if origin is not None:
        content["read"] = {key: value for key, value in content["read"].items() if value != origin}
    return content


def _documents_parts(source: schema.SourceSpec) -> dict[str, Any]:
    """`documents_content` under the names that `codemix diff` shows."""
    values: dict[str, list[Any]] = {}
    for name, value in _nameless_content(source).items():
        part = _PART_OF_FIELD.get(name, name)
        values.setdefault(part, []).append(value)
    for part, inside in values.items():
        if len(inside) == 1:
            values[part] = inside[0]
    return values


def _training_part(graph: SourceGraph, documents: Mapping[str, str], name: str) -> dict[str, list[str]]:
    """What the models of a source's ops are trained on, where there are any."""
    trained_on = _trained_on(graph, name)
    if not trained_on:
        return {}
    return {"documents that train its ops": [documents[other] for other in trained_on]}


def _trained_on(graph: SourceGraph, name: str) -> list[str]:
    read = graph.chain(name)
    others = graph.ancestors(name).difference(read)
    return sorted(others)


def _documents_fingerprints(graph: SourceGraph) -> dict[str, str]:
    own, prints = {}, {}
    read = read_shares(graph).of_large  # how large it is, no recipe says
    for name, source in graph.recipe.sources.items():
        content = _nameless_content(source) | _subsample_part(read[name])
        own[name] = list(content.values())
    for name in own:
        decisive = [own[read] for read in graph.chain(name)]
        for other in _trained_on(graph, name):
            held_out = identity(graph.held_out_shares[other])
            decisive.append([*own[other], held_out])
        prints[name] = fingerprint(decisive)
    return prints


def _tokenizer_fingerprint(
    graph: SourceGraph,
    documents: Mapping[str, str],
    dedup: _DedupIdentity,
) -> str:
    known = graph.recipe.sources.keys()
    trained_on = known & graph.tokenizer_shares.keys()
    held_out = graph.held_out_shares
    text = sorted([documents[name], str(held_out[name])] for name in trained_on)
    removed_by = dedup.of(trained_on)
    tokenizer = _by_documents(identity(graph.recipe.tokenizer), documents)
    return fingerprint([tokenizer, removed_by, text])


def _by_documents(value: Any, documents: Mapping[str, str]) -> Any:
    """A component's identity with the mappings of sources in it by their documents instead of their names."""
    if not isinstance(value, dict):
        return value
    names_sources = bool(value) and value.keys() <= documents.keys()
    if names_sources:
        shares = [(documents[name], str(share)) for name, share in value.items()]
        return sorted(shares)
    content = {}
    for key, inside in value.items():
        content[key] = _by_documents(inside, documents)
    return content


def _hash_of(place: int, documents: str) -> int:
    """What a source adds to the sum of an entry that compares it, as the `place`-th of its sources."""
    digest = fingerprint([place, documents])
    return int(digest, 16)


Within = frozenset[int]  # numbers of entries


def _hashes(entry: schema.Dedup, documents: Mapping[str, str]) -> dict[str, int]:
    """What each source adds to the sum of an entry: where copies meet, the place in the list decides."""
    hashes = {}
    for place, name in enumerate(entry.sources):
        if name in documents:
            hashes[name] = _hash_of(place, documents[name])
    return hashes


def _without_sources(entry: schema.Dedup) -> str:
    content = identity(entry)
    del content["sources"]
    return fingerprint(content)


class _DedupIdentity:
    """What decides which documents dedup removes. Each entry is hashed once, however many sources ask.

    What an entry compares is a sum of hashes over its sources, so that one source can be taken out of it.
    """

    def __init__(self, recipe: schema.Recipe, documents: Mapping[str, str]):
        entries = recipe.dedup
        self.entries = [frozenset(entry.sources) for entry in entries]
        self.specs: list[str] = []
        self.hashes: list[dict[str, int]] = []
        self.sums: list[int] = []
        self.reached: dict[Within, list[int]] = {}
        for entry in entries:
            hashes = _hashes(entry, documents)
            total = sum(hashes.values())
            self.specs.append(_without_sources(entry))
            self.hashes.append(hashes)
            self.sums.append(total)

    def of(self, names: Set[str], without: str = "") -> list[list[str]]:
        """The entries that decide which documents of these sources are removed, each with what it compares.

        An entry that shares a source with one of them, and comes before it, is one of them too.
        """
        entries = enumerate(self.entries)
        sharing = [i for i, entry in entries if not entry.isdisjoint(names)]
        within = frozenset(sharing)
        if within not in self.reached:
            self.reached[within] = self._reach(set(names))
        pairs = []
        for i in self.reached[within]:
            own = self.hashes[i].get(without, 0)
            compared = self.sums[i] - own
            pair = [self.specs[i], f"{compared:x}"]
            pairs.append(pair)
        return pairs

    def _reach(self, names: set[str]) -> list[int]:
        reached = []
        for i in reversed(range(len(self.entries))):
            entry = self.entries[i]
            if not entry.isdisjoint(names):
                names |= entry
                reached.append(i)
        return reached
