"""What decides each phase's output: the identities that name the folders in the store. No numpy, no datatrove.

    documents   how they are read, the ops, the content of every input          (one a source)
    dedup       the entry, the documents it compares, the entries before it     (one an entry)
    tokenizer   its fields and files; what it is trained on, less what dedup    (one a recipe)
                removes and what is held out
    tokens      all three of the above, and the held-out share                  (one a source that is trained on)

Everything counts unless it is left out here by name, so a new field is safe: it can only build once too often.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codemix.data.inputs.frozen_inputs import Hashes, Input, freeze, frozen
from codemix.data.store.store import Store
from codemix.errors import CodemixError, did_you_mean
from codemix.recipe.language import schema
from codemix.recipe.language.component import identity
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.language.source_graph import SourceGraph
from codemix.recipe.planning.source_identity import documents_content

DOCUMENTS_FORMAT, DEDUP_FORMAT, TOKENIZER_FORMAT, TOKENS_FORMAT = 3, 4, 1, 2


@dataclass(frozen=True)
class Identity:
    """A fingerprint, what it was made from, and the inputs whose content is in it. `problem` says why there is none."""

    fingerprint: str | None
    content: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    problem: CodemixError | None = None

    def require(self) -> str:
        if self.fingerprint is None:
            raise self.problem or CodemixError("inputs are missing")
        return self.fingerprint


@dataclass(frozen=True)
class Identities:
    graph: SourceGraph
    documents: dict[str, Identity]
    dedup: tuple[Identity, ...]  # one an entry of the recipe
    tokenizer: Identity
    tokens: dict[str, Identity]


def identify(recipe: schema.Recipe, store: Store, data_root: Path) -> Identities:
    """The identities of everything the data phases of a recipe make. Hashes inputs that are new or touched."""
    graph = SourceGraph(recipe)
    documents = _documents_identities(graph, freeze_all(recipe, store, data_root))
    dedup: list[Identity] = []
    for i, entry in enumerate(recipe.dedup):
        before = [dedup[j] for j in range(i) if set(recipe.dedup[j].sources) & set(entry.sources)]
        dedup.append(
            _joined(
                {"format": DEDUP_FORMAT, "entry": identity(entry)},
                documents={n: documents[n] for n in entry.sources},
                after=before,
            )
        )
    tokenizer = _tokenizer_identity(graph, documents, dedup, store, data_root)
    tokens = {}
    for name in graph.tokenized:
        removed_by = [dedup[i] for i, entry in enumerate(recipe.dedup) if name in entry.sources]
        own = {"format": TOKENS_FORMAT, "held_out": identity(recipe.sources[name].held_out)}
        tokens[name] = _joined(own, documents=documents[name], dedup=removed_by, tokenizer=tokenizer)
    return Identities(graph, documents, tuple(dedup), tokenizer, tokens)


def freeze_all(
    recipe: schema.Recipe, store: Store, data_root: Path
) -> dict[str, tuple[list[Input], list[list[Input]]] | CodemixError]:
    """For each source its inputs and those of each op, frozen; or the problem that stands in the way."""
    found: dict[str, Any] = {}
    with Hashes(store) as hashes:
        for name, source in recipe.sources.items():
            try:
                inputs = frozen(source.read.inputs(data_root), hashes, data_root)
                found[name] = inputs, [frozen(op.inputs(data_root), hashes, data_root) for op in source.ops]
            except CodemixError as error:
                found[name] = error
    return found


def _documents_identities(graph: SourceGraph, frozen: dict[str, Any]) -> dict[str, Identity]:
    recipe = graph.recipe
    found: dict[str, Identity] = {}
    for asked in recipe.sources:
        for name in reversed(graph.chain(asked)):  # what is read comes before who reads it
            if name in found:
                continue
            source, other = recipe.sources[name], recipe.sources[name].read.origin
            if other is not None and other not in found:  # `codemix validate` says so at its place
                problem = CodemixError(f"`{name}` cannot read the source `{other}`", rule="unknown-source")
                found[name] = Identity(None, problem=problem)
            else:
                found[name] = documents_identity(
                    source, frozen[name], found[other] if other is not None else None
                )
    return {name: found[name] for name in recipe.sources}


def documents_identity(
    source: schema.SourceSpec,
    frozen: tuple[list[Input], list[list[Input]]] | CodemixError,
    origin: Identity | None = None,
) -> Identity:
    """`origin` is the identity of the documents that the source reads instead of inputs; its inputs are then the source's."""
    if isinstance(frozen, CodemixError):
        return Identity(None, problem=frozen)
    if origin is not None and origin.fingerprint is None:
        return origin
    inputs, of_ops = frozen
    content = documents_content(source)
    content |= {
        "format": DOCUMENTS_FORMAT,
        "extra": source.read.fingerprint_extra(),
        "inputs": [[i.path, i.sha256] for i in inputs],
        "op_inputs": [[[i.path, i.sha256] for i in each] for each in of_ops],
        "op_extra": [op.fingerprint_extra() for op in source.ops],
    }
    if origin is not None:
        content["documents"] = origin.fingerprint
    return Identity(fingerprint(content), content, origin.inputs if origin else tuple(inputs))


def _tokenizer_identity(
    graph: SourceGraph,
    documents: dict[str, Identity],
    dedup: list[Identity],
    store: Store,
    data_root: Path,
) -> Identity:
    recipe = graph.recipe
    tokenizer = recipe.tokenizer
    try:
        files = freeze(tokenizer.files(), store, data_root)
        shares = graph.tokenizer_shares
        for name in shares:
            if name not in recipe.sources:
                raise CodemixError(
                    f"the tokenizer's mixture names `{name}`, which is not a source",
                    hints=did_you_mean(name, recipe.sources),
                    rule="unknown-source",
                )
    except CodemixError as error:
        return Identity(None, problem=error)
    own = {
        "format": TOKENIZER_FORMAT,
        "tokenizer": identity(tokenizer),
        "files": [i.sha256 for i in files],
        "shares": identity(shares),
    }
    if shares:
        own["held_out"] = {name: identity(graph.held_out_shares[name]) for name in sorted(shares)}
    removed_by = [dedup[i] for i, entry in enumerate(recipe.dedup) if set(shares) & set(entry.sources)]
    return _joined(own, documents={name: documents[name] for name in sorted(shares)}, dedup=removed_by)


def _joined(own: dict[str, Any], **parents: Any) -> Identity:
    """An identity that holds its parents' fingerprints; without one as soon as a parent has none."""
    content = dict(own)
    for key, value in parents.items():
        each = (
            list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
        )
        for parent in each:
            if parent.fingerprint is None:
                return Identity(None, problem=parent.problem)
        if isinstance(value, dict):
            content[key] = [[name, parent.fingerprint] for name, parent in value.items()]
        else:
            content[key] = (
                [parent.fingerprint for parent in each] if isinstance(value, list) else value.fingerprint
            )
    return Identity(fingerprint(content), content)
