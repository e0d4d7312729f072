"""The phases of a build, each over what the store lacks of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.build.documents import Documents
from codemix.data.build.documents_job import DocumentsJob
from codemix.data.build.identity import Identities, entries_before, entries_with
from codemix.data.build.learning import Learning
from codemix.data.encoding.tokenizer import Tokenizer, TokenizerFile, describe
from codemix.data.encoding.tokenizer_faults import refuse_unfaithful
from codemix.data.execution.jobs import complete
from codemix.data.execution.nodes import nodes_of
from codemix.data.execution.runner import Resources
from codemix.data.inputs.locations import locate
from codemix.data.store.store import Store, read_json, write_json
from codemix.progress import progress
from codemix.recipe.language import schema

if TYPE_CHECKING:
    from codemix.data.build.pieces import Encoding
    from codemix.data.build.tokens_job import TokensJob

# what shards keep of the tokenizer that made them
TOKENIZER_FACTS = ("sha256", "vocab_size", "eos_id", "eos_token", "bos", "special", "probe")


@dataclass(frozen=True)
class Builder:
    """Builds the outputs of one recipe whose identities are known."""

    recipe: schema.Recipe
    store: Store
    ids: Identities
    root: Path
    resources: Resources

    def documents_folder(self, name: str) -> Path:
        fingerprint = self.ids.documents[name].require()
        return self.store.path("documents", name, fingerprint)

    def dedup_folder(self, entry: int) -> Path:
        fingerprint = self.ids.dedup[entry].require()
        return self.store.path("dedup", fingerprint[:12])

    def tokenizer_folder(self) -> Path:
        fingerprint = self.ids.tokenizer.require()
        return self.store.path("tokenizers", fingerprint[:12])

    def tokens_folder(self, name: str) -> Path:
        fingerprint = self.ids.tokens[name].require()
        return self.store.path("data", name, fingerprint)

    def has_tokens(self, name: str) -> bool:
        if self.ids.tokens[name].fingerprint is None:
            return False
        return self.tokens_folder(name).exists()

    def documents(self, name: str) -> Documents:
        return Documents.load(self.documents_folder(name))

    def build_tokens(self, names: list[str]) -> None:
        """Everything that the tokens of these sources rest on, then the tokens."""
        if not self._tokenizer.train_bytes():  # a ready one needs no documents: refused before they are read
            self.build_tokenizer()
        needed = set(names)
        if not self.tokenizer_folder().exists():
            needed |= set(self.ids.graph.tokenizer_shares)
        entries = self._dedup_entries(needed)
        for entry in entries:
            needed |= set(self.recipe.dedup[entry].sources)
        encoded = filter(self._is_encoded_at_once, names)
        self.build_documents([name for name in self.recipe.sources if name in needed], set(encoded))
        for entry in entries:
            self.build_dedup(entry)
        tokenizer = self.build_tokenizer()
        jobs = self._sampled([self._tokens_job(name, tokenizer) for name in names])
        complete(self.store, jobs, label="tokenizing", resources=self.resources)

    def _dedup_entries(self, names: set[str]) -> list[int]:
        """The entries of `dedup:` that the tokens of these sources rest on.

        An entry sees what the entries before it left, in any of its sources.
        """
        entries: list[int] = []
        needed = set(names)
        for entry in reversed(range(len(self.recipe.dedup))):
            sources = set(self.recipe.dedup[entry].sources)
            if sources & needed:
                needed |= sources
                entries.append(entry)
        return entries[::-1]

    def _is_encoded_at_once(self, name: str) -> bool:
        """Whether tokens of a source are made while its documents are read: all that they rest on is there."""
        if self.resources.executor != "local":  # a cluster's task fills one folder
            return False
        if entries_with(self.recipe, name) or name in self.ids.samples:
            return False
        return self.tokenizer_folder().exists()

    def build_documents(self, names: list[str], encoded: Collection[str] = ()) -> None:
        """The documents of these sources, and first of those that they need in turn, as far as the store lacks
        them; with the tokens of `encoded`, in pieces."""
        waves: list[list[str]] = []
        wave = self.without_documents(names)
        while wave:
            waves.append(wave)
            parents: dict[str, None] = {}
            for name in wave:
                parents |= dict.fromkeys(self.ids.graph.parents(name))
            wave = self.without_documents(list(parents))
        learning = Learning(self.store, self.ids, self.resources, self.documents)
        for wave in reversed(waves):
            left = self.without_documents(wave)  # some are in an earlier wave as well
            jobs = learning.ready([self._documents_job(name, name in encoded) for name in left])
            complete(self.store, jobs, label="reading documents", resources=self.resources)

    def _origin(self, name: str) -> str | None:
        return self.recipe.sources[name].read.origin

    def without_documents(self, names: list[str]) -> list[str]:
        """Those of which the store lacks the documents."""
        missing: list[str] = []
        for name in names:
            if not self.documents_folder(name).exists():
                missing.append(name)
        return missing

    def _documents_job(self, name: str, is_encoded: bool) -> DocumentsJob:
        origin = self._origin(name)
        return DocumentsJob(
            name=name,
            source=self.recipe.sources[name],
            identity=self.ids.documents[name],
            root=self.root,
            store=self.store,
            read_share=self.ids.read_shares[name],
            origin=self.documents(origin) if origin is not None else None,
            encoding=self._encoding(name) if is_encoded else None,
            workers=self.resources.workers,
        )

    def _encoding(self, name: str) -> Encoding:
        from codemix.data.build.pieces import Encoding

        return Encoding(
            tokenizer=self.tokenizer_folder(),
            share=self.recipe.sources[name].held_out,
            work=self.store.work(self.tokens_folder(name)),
        )

    def build_dedup(self, entry: int) -> None:
        """The lists of what an entry of `dedup:` removes."""
        final = self.dedup_folder(entry)
        fill = partial(self._deduplicate, entry)
        self.store.make(final, fill)

    def _deduplicate(self, entry: int, work: Path) -> None:
        from codemix.data.build.dedup import deduplicate

        spec = self.recipe.dedup[entry]
        earlier = entries_before(self.recipe, entry)
        deduplicate(
            spec,
            documents=[self.documents(name) for name in spec.sources],
            before=[self.dedup_folder(each) for each in earlier],
            identity=self.ids.dedup[entry],
            resources=self.resources,
            nodes=nodes_of(self.store),
            work=work,
        )

    @property
    def _tokenizer(self) -> Tokenizer:
        return self.recipe.tokenizer

    def build_tokenizer(self) -> TokenizerFile:
        """The recipe's tokenizer, made when the store lacks it."""
        folder = self.tokenizer_folder()
        self.store.make(folder, self._make_tokenizer)
        return TokenizerFile.load(folder)

    def _make_tokenizer(self, work: Path) -> None:
        total = self._tokenizer.train_bytes() or None
        label = "training the tokenizer" if total else "loading the tokenizer"
        with progress(label, total, "bytes") as advance:
            self._write_tokenizer(work, advance)

    def _write_tokenizer(self, work: Path, advance: Any) -> None:
        def texts() -> Iterator[str]:
            for text in self._training_text():
                advance(len(text.encode("utf-8", "surrogatepass")))
                yield text
            advance(0, note="read; merging")

        component = self._tokenizer
        files = tuple(locate(path, self.root) for path in component.files())
        tokenizer = component.make(files, texts)
        refuse_unfaithful(tokenizer, getattr(component, "path", component.kind))
        path = work / "tokenizer.json"
        tokenizer.save(str(path))
        facts = {
            "fingerprint": self.ids.tokenizer.fingerprint,
            "identity": self.ids.tokenizer.content,
            "environment": environment("tokenizers"),
        }
        write_json(work / "meta.json", describe(tokenizer, path, component.end_token()) | facts)

    def _training_text(self) -> Iterator[str]:
        from codemix.data.build.tokenizer_text import TrainingText

        held_out = self.ids.graph.held_out_shares
        for name, share in sorted(self.ids.graph.tokenizer_shares.items()):
            folders = [self.dedup_folder(entry) for entry in entries_with(self.recipe, name)]
            manifests = [read_json(folder / "manifest.json") for folder in folders]
            yield from TrainingText(
                documents=self.documents(name),
                removed=tuple(folder / "removed" / name for folder in folders),
                removed_bytes=sum(manifest["removed"][name]["bytes"] for manifest in manifests),
                held_out=held_out[name],
                wanted=int(share * self._tokenizer.train_bytes()),
            )

    def _tokens_job(self, name: str, tokenizer: TokenizerFile) -> TokensJob:
        from codemix.data.build.tokens import Removal
        from codemix.data.build.tokens_job import TokensJob

        documents = self.documents(name)
        source = self.recipe.sources[name]
        removed: list[Removal] = []
        for entry in entries_with(self.recipe, name):
            folder = self.dedup_folder(entry) / "removed" / name
            removed.append(Removal(self._removal_key(entry), folder))
        facts = {key: tokenizer.meta[key] for key in TOKENIZER_FACTS}
        return TokensJob(
            name=name,
            tags=dict(source.tags),
            share=source.held_out,
            identity=self.ids.tokens[name],
            documents=documents,
            inputs=self._inputs(name),
            removed=tuple(removed),
            tokenizer=TokenizerFile(tokenizer.folder, facts),
            store=self.store,
            environment=environment("datatrove", "tokenizers", "fastokens"),
        )

    def _sampled(self, jobs: list[TokensJob]) -> list[TokensJob]:
        """The jobs with the cuts of those whose sources are sampled."""
        from codemix.data.build.sample_cut import PlacesJob

        places: list[PlacesJob] = []
        for job in jobs:
            if job.name in self.ids.samples:
                identity = self.ids.samples[job.name].places
                places.append(PlacesJob(job, identity))
        complete(self.store, places, label="sampling", resources=self.resources)
        cuts: dict[str, int] = {}
        for done in places:
            name = done.tokens.name
            share = self.ids.samples[name].share
            cuts[name] = done.cut(share)
        return [replace(job, cut=cuts.get(job.name)) for job in jobs]

    def _inputs(self, name: str) -> list[dict[str, Any]]:
        """The files that a source's documents were made of, each once: its own, and those that train its ops."""
        by_path: dict[str, dict[str, Any]] = {}
        ancestors = self.ids.graph.ancestors(name)
        for other in (name, *sorted(ancestors)):
            identity = self.ids.documents[other]
            for given in identity.inputs:
                content = given.as_json()
                by_path.setdefault(given.path, content)
        return list(by_path.values())

    def _removal_key(self, entry: int) -> str:
        """The funnel's key for what a dedup entry removes."""
        kind = self.recipe.dedup[entry].kind
        return f"dedup{entry + 1}-{kind}/duplicate"


def environment(*packages: str) -> dict[str, str]:
    """Versions of what made an output: recorded, not part of its identity."""
    from importlib.metadata import version

    versions = {name: version(name) for name in packages}
    machine = platform.machine() or os.name
    return {"python": platform.python_version(), "platform": machine, **versions}
