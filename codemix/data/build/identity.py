"""What decides each phase's output: the identities that name the folders in the store. No numpy, no
datatrove.

    documents   how they are read, the ops, the content of every input, and     (one per source)
                the models that the ops have trained
    models      the op's training, the documents of each class                  (one per op that is trained)
    dedup       the entry, the documents it compares, the entries before it     (one per entry)
    tokenizer   its fields and files; what it is trained on, less what dedup    (one per recipe)
                removes and what is held out
    tokens      all three of the above, the held-out share, the subsample       (one per source trained on)
    samples     all three of the above, the held-out share                      (one per source sampled by tokens)

Everything counts unless it is left out here by name, so a new field is safe: it can only build once too
often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from codemix.data.build.stored_inputs import FrozenInputs, are_absent, of_documents, of_tokenizers
from codemix.data.inputs.frozen_inputs import Hashes, Input, freeze, frozen
from codemix.data.interfaces import DocumentReader, Op
from codemix.data.scoring import scoring_ops
from codemix.data.store.store import Store
from codemix.errors import CodemixError, did_you_mean
from codemix.recipe.language import schema
from codemix.recipe.language.component import identity
from codemix.recipe.language.finding import faults_of
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.language.source_graph import SourceGraph
from codemix.recipe.language.subsample import ALL, ReadShares, read_shares, trained_share
from codemix.recipe.planning.source_identity import documents_content

DOCUMENTS_FORMAT = 4
MODELS_FORMAT = 1
DEDUP_FORMAT = 5
TOKENIZER_FORMAT = 1
SAMPLE_FORMAT = 1
TOKENS_FORMAT = 3


@dataclass(frozen=True)
class Identity:
    """A fingerprint, what it was made from, and the inputs whose content is in it. `problem` says why there
    is none. `is_remembered`: the inputs are not on this machine, and the store says what they were."""

    fingerprint: str | None
    content: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    problem: CodemixError | None = None
    is_remembered: bool = False

    def require(self) -> str:
        if self.fingerprint is None:
            raise self.problem or CodemixError("inputs are missing")
        return self.fingerprint


Models = dict[int, Identity]  # of a source's ops that are trained, by the op's number, from 1


@dataclass(frozen=True)
class SampleIdentity:
    """Which share of a source's frozen documents is trained on, and what decides where a share ends."""

    share: Fraction  # of their tokens
    places: Identity


@dataclass(frozen=True)
class Identities:
    graph: SourceGraph
    documents: dict[str, Identity]
    read_shares: dict[str, Fraction]  # of the documents of each source that its ops see
    models: dict[str, Models]  # by source
    dedup: tuple[Identity, ...]  # one per entry of the recipe
    tokenizer: Identity
    samples: dict[str, SampleIdentity]  # of sources whose frozen documents are trained on in part
    tokens: dict[str, Identity]

    def made_from(self, name: str) -> frozenset[str]:
        """The fingerprints of a source's documents, and of what its tokens are made from."""
        before = [self.documents[name], self.tokenizer]
        if name in self.models:
            before += self.models[name].values()
        if name in self.samples:
            before.append(self.samples[name].places)
        for entry in entries_with(self.graph.recipe, name):
            before.append(self.dedup[entry])
        known = {identity.fingerprint for identity in before if identity.fingerprint is not None}
        return frozenset(known)

    def input_bytes(self, name: str) -> int:
        """The size of what a source reads, compressed as it is [bytes]."""
        return input_bytes(self.documents[name].inputs)


def identify(recipe: schema.Recipe, store: Store, data_root: Path) -> Identities:
    """The identities of everything the data phases of a recipe make. Hashes inputs that are new or
    touched."""
    graph = SourceGraph(recipe)
    inputs = _freeze_all(recipe, store, data_root)
    documents, models = _documents_identities(graph, inputs, store)
    dedup: list[Identity] = []
    for entry in range(len(recipe.dedup)):
        dedup.append(_dedup_identity(recipe, entry, documents, dedup))
    tokenizer = _tokenizer_identity(graph, documents, dedup, store, data_root)
    of_any_size = read_shares(graph)
    read = {name: of_any_size.of(name, input_bytes(made.inputs)) for name, made in documents.items()}
    samples: dict[str, SampleIdentity] = {}
    tokens: dict[str, Identity] = {}
    for name in graph.tokenized:
        held_out = identity(recipe.sources[name].held_out)
        joined = _Joined({"format": TOKENS_FORMAT, "held_out": held_out})
        share = trained_share(graph, name)
        frozen_share = min(read[origin] for origin in graph.chain(name))
        removed_by = [dedup[entry] for entry in entries_with(recipe, name)]
        if share != ALL:
            joined.note("subsample", share)
        if share != frozen_share:
            places = _Joined({"format": SAMPLE_FORMAT, "held_out": held_out})
            places.add("documents", documents[name])
            places.add_list("dedup", removed_by)
            places.add("tokenizer", tokenizer)
            samples[name] = SampleIdentity(share / frozen_share, places.identity())
            joined.add("sample", samples[name].places)
        joined.add("documents", documents[name])
        joined.add_list("dedup", removed_by)
        joined.add("tokenizer", tokenizer)
        tokens[name] = joined.identity()
    return Identities(graph, documents, read, models, tuple(dedup), tokenizer, samples, tokens)


def input_bytes(inputs: Sequence[Input]) -> int:
    return sum(given.bytes for given in inputs)


def entries_with(recipe: schema.Recipe, *names: str) -> list[int]:
    """The entries of `dedup:` that any of these sources is in."""
    entries: list[int] = []
    for number, entry in enumerate(recipe.dedup):
        sources = set(entry.sources)
        if sources.intersection(names):
            entries.append(number)
    return entries


def entries_before(recipe: schema.Recipe, entry: int) -> list[int]:
    """The earlier entries of `dedup:` that share a source with this one: it sees what they left."""
    sources = recipe.dedup[entry].sources
    earlier = range(entry)
    sharing = entries_with(recipe, *sources)
    return [other for other in sharing if other in earlier]


def _dedup_identity(
    recipe: schema.Recipe, entry: int, documents: dict[str, Identity], earlier: list[Identity]
) -> Identity:
    spec = recipe.dedup[entry]
    joined = _Joined({"format": DEDUP_FORMAT, "entry": identity(spec)})
    joined.add_named("documents", {name: documents[name] for name in spec.sources})
    joined.add_list("after", [earlier[i] for i in entries_before(recipe, entry)])
    return joined.identity()


def _freeze_all(
    recipe: schema.Recipe, store: Store, data_root: Path
) -> dict[str, FrozenInputs | CodemixError]:
    """For each source its frozen inputs, or why they cannot be read."""
    by_source: dict[str, FrozenInputs | CodemixError] = {}
    with Hashes(store) as hashes:
        for name, source in recipe.sources.items():
            place = ("sources", name)
            try:
                inputs = _frozen((*place, "read"), source.read, hashes, data_root)
                of_ops = [
                    _frozen((*place, "ops", number), op, hashes, data_root)
                    for number, op in enumerate(source.ops)
                ]
                by_source[name] = FrozenInputs(inputs, of_ops)
            except CodemixError as error:
                by_source[name] = error
    return by_source


def _frozen(path: tuple, component: DocumentReader | Op, hashes: Hashes, data_root: Path) -> list[Input]:
    """The inputs of the component at `path` of the recipe. Raises Faults."""
    try:
        return frozen(component.inputs(data_root), hashes, data_root)
    except CodemixError as error:
        raise faults_of(path, error) from None


def _documents_identities(
    graph: SourceGraph, inputs: dict[str, FrozenInputs | CodemixError], store: Store
) -> tuple[dict[str, Identity], dict[str, Models]]:
    sources = graph.recipe.sources
    identities: dict[str, Identity] = {}
    models: dict[str, Models] = {}
    read = read_shares(graph)
    for name in graph.in_order:  # what is needed comes before who needs it
        source = sources[name]
        models[name] = _models_of(source, graph, identities)
        origin = identities.get(source.read.origin or "")
        made = _Making(name, source, origin, models[name], read)
        identity = made.identity(inputs[name])
        if identity.problem is not None and are_absent(identity.problem):
            identity = _remembered_documents(name, made, identity, store)
        identities[name] = identity
    for name in sources:
        if name not in identities:  # `codemix validate` reports it at its place
            identities[name] = _without_documents(name, graph)
            models[name] = {}
    return {name: identities[name] for name in sources}, models


def _remembered_documents(
    name: str,
    made: _Making,
    absent: Identity,
    store: Store,
) -> Identity:
    """Of a source whose inputs are not here: of the documents that the store has made of such a source.

    Unknown where it has none, or several, of which nobody can tell which inputs are meant.
    """
    by_fingerprint: dict[str, Identity] = {}
    for remembered in of_documents(store, name, len(made.source.ops)):
        candidate = made.identity(remembered.inputs)
        if candidate.fingerprint == remembered.fingerprint:
            by_fingerprint[remembered.fingerprint] = replace(candidate, is_remembered=True)
    if len(by_fingerprint) > 1:
        folders = ", ".join(f"{name}-{fingerprint[:12]}" for fingerprint in by_fingerprint)
        problem = CodemixError(
            f"the inputs of `{name}` are not here, and the store has documents of {len(by_fingerprint)} versions",
            hints=[f"remove all but one of documents/: {folders}"],
            rule="inputs-ambiguous",
        )
        return Identity(None, problem=faults_of(("sources", name), problem))
    return next(iter(by_fingerprint.values()), absent)


def _without_documents(name: str, graph: SourceGraph) -> Identity:
    """Of a source that waits for an unknown one, or for itself."""
    quoted = [f"`{parent}`" for parent in graph.parents(name)]
    parents = ", ".join(quoted)
    problem = CodemixError(f"`{name}` cannot have the documents of {parents}", rule="unknown-source")
    return Identity(None, problem=problem)


def _models_of(source: schema.SourceSpec, graph: SourceGraph, documents: dict[str, Identity]) -> Models:
    models: Models = {}
    for number, op in scoring_ops(source.ops):
        training = op.training()
        if training is None:
            continue
        classes = {label: list(names) for label, names in training.classes.items()}
        own = {"format": MODELS_FORMAT, "kind": op.kind, "version": op.version, "bytes": training.bytes}
        joined = _Joined({**own, "classes": classes})
        joined.add_named("documents", {name: documents[name] for name in training.sources})
        joined.note("held_out", {name: graph.held_out_shares[name] for name in training.sources})
        models[number] = joined.identity()
    return models


@dataclass(frozen=True)
class _Making:
    """How the documents of a source are made, but for the content of its inputs."""

    name: str
    source: schema.SourceSpec
    origin: Identity | None
    models: Models
    read: ReadShares

    def identity(self, inputs: FrozenInputs | CodemixError) -> Identity:
        if isinstance(inputs, CodemixError):
            return Identity(None, problem=inputs)
        read = self.origin or inputs
        size = input_bytes(read.inputs)
        share = self.read.of(self.name, size)
        return documents_identity(
            self.source,
            inputs,
            self.origin,
            self.models,
            share,
        )


def documents_identity(
    source: schema.SourceSpec,
    inputs: FrozenInputs,
    origin: Identity | None = None,
    models: Models | None = None,
    read_share: Fraction = ALL,
) -> Identity:
    """`origin`: of the documents that the source reads instead of inputs; its inputs are then the
    source's. `models`: of its ops that are trained. `read_share`: of the documents, by `subsample:`."""
    content = documents_content(source)
    content |= {
        "format": DOCUMENTS_FORMAT,
        "extra": source.read.fingerprint_extra(),
        "inputs": _as_content(inputs.inputs),
        "op_inputs": [_as_content(of_op) for of_op in inputs.of_ops],
        "op_extra": [op.fingerprint_extra() for op in source.ops],
    }
    if read_share != ALL:
        content["subsample"] = identity(read_share)
    joined = _Joined(content)
    if models:
        joined.add_named("models", {str(number): model for number, model in models.items()})
    if origin is None:
        return joined.identity(tuple(inputs.inputs))
    joined.add("documents", origin)
    return joined.identity(origin.inputs)


def _as_content(inputs: list[Input]) -> list[list[str]]:
    content: list[list[str]] = []
    for given in inputs:
        content.append([given.path, given.sha256])
    return content


def _tokenizer_identity(
    graph: SourceGraph,
    documents: dict[str, Identity],
    dedup: list[Identity],
    store: Store,
    data_root: Path,
) -> Identity:
    try:
        frozen_files = freeze(graph.recipe.tokenizer.files(), store, data_root)
        files = [file.sha256 for file in frozen_files]
        return _tokenizer_of_files(files, graph, documents, dedup)
    except CodemixError as error:
        if are_absent(error):
            for remembered in of_tokenizers(store):
                candidate = _tokenizer_of_files(remembered.files, graph, documents, dedup)
                if candidate.fingerprint == remembered.fingerprint:
                    return replace(candidate, is_remembered=True)
        return Identity(None, problem=faults_of(("tokenizer",), error))


def _tokenizer_of_files(
    files: list[str], graph: SourceGraph, documents: dict[str, Identity], dedup: list[Identity]
) -> Identity:
    """`files`: the hashes of the files that the tokenizer is made of. Raises CodemixError where its mixture is
    not one."""
    recipe = graph.recipe
    shares = graph.tokenizer_shares
    unknown = [name for name in shares if name not in recipe.sources]
    if unknown:
        problem = CodemixError(
            f"the tokenizer's mixture names `{unknown[0]}`, which is not a source",
            hints=did_you_mean(unknown[0], recipe.sources),
            rule="unknown-source",
        )
        return Identity(None, problem=problem)
    own = {
        "format": TOKENIZER_FORMAT,
        "tokenizer": identity(recipe.tokenizer),
        "files": files,
        "shares": identity(shares),
    }
    names = sorted(shares)
    if names:
        held_out = graph.held_out_shares
        own["held_out"] = {name: identity(held_out[name]) for name in names}
    joined = _Joined(own)
    joined.add_named("documents", {name: documents[name] for name in names})
    joined.add_list("dedup", [dedup[entry] for entry in entries_with(recipe, *names)])
    return joined.identity()


class _Joined:
    """An identity that holds its parents' fingerprints; it has none itself if a parent has none."""

    def __init__(self, content: dict[str, Any]):
        self._content = content
        self._parents: list[Identity] = []

    def add(self, key: str, parent: Identity) -> None:
        self._parents.append(parent)
        self._content[key] = parent.fingerprint

    def add_list(self, key: str, parents: list[Identity]) -> None:
        self._parents += parents
        self._content[key] = [parent.fingerprint for parent in parents]

    def add_named(self, key: str, parents: dict[str, Identity]) -> None:
        named: list[list[str | None]] = []
        for name, parent in parents.items():
            self._parents.append(parent)
            named.append([name, parent.fingerprint])
        self._content[key] = named

    def note(self, key: str, value: Any) -> None:
        self._content[key] = identity(value)

    def identity(self, inputs: tuple[Input, ...] = ()) -> Identity:
        """`inputs`: whose content is in it."""
        for parent in self._parents:
            if parent.fingerprint is None:
                return Identity(None, problem=parent.problem)
        return Identity(fingerprint(self._content), self._content, inputs)
