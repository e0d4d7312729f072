"""Checks the shards of one source, its funnel and its tokenizer against its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codemix.data.encoding.tokenizer import content_hash
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.manifest import SPLITS, TOKEN_BYTES, Manifest, Shard, dtype_for, split_summary
from codemix.data.store.store import read_json
from codemix.errors import CodemixError, Problem

_BLOCK = 2**22  # tokens looked at together
_COMMANDS = {"stages": "`codemix train`", "evals": "`codemix eval`", "reports": "the command that made it"}


def damaged(what: str, folder: Path) -> Problem:
    """The problem of a finished folder that is not what it was."""
    kind = folder.parent.name
    command = _COMMANDS.get(kind, "`codemix build-data`")
    rule = "shard-damaged" if kind == "data" else "store-damaged"
    return Problem(what, hints=(f"delete {folder} and run {command} again",), rule=rule)


def check_source(folder: Path, manifest: Manifest, files: Mapping[str, str]) -> Iterator[Problem]:
    """What is wrong with a source; `files` are the digests of its files."""
    if manifest.dtype != dtype_for(manifest.tokenizer["vocab_size"]):
        yield damaged(f"{folder}: dtype {manifest.dtype} does not fit the vocabulary", folder)
    for split in SPLITS:
        for shard in manifest.shards(split):
            yield from _CheckedShard(folder, shard, manifest).problems(files)
        yield from _check_totals(folder, manifest, split)
    yield from _check_funnel(folder, manifest)
    yield from _check_tokenizer(folder, manifest)


def _check_totals(folder: Path, manifest: Manifest, split: str) -> Iterator[Problem]:
    of_split = manifest.splits.get(split, {})
    shards = manifest.shards(split)
    of_shards = split_summary(list(shards))
    for key in ("tokens", "documents", "bytes"):
        counted = of_split.get(key, 0)
        summed = of_shards[key]
        if counted != summed:
            what = f"{folder}: split {split} counts {counted:,} {key}, its shards {summed:,}"
            yield damaged(what, folder)


@dataclass(frozen=True)
class _CheckedShard:
    """One shard of a source."""

    folder: Path
    shard: Shard
    manifest: Manifest

    @property
    def path(self) -> Path:
        return self.folder / self.shard.path

    @property
    def token_bytes(self) -> int:
        return TOKEN_BYTES[self.manifest.dtype]

    def problems(self, files: Mapping[str, str]) -> Iterator[Problem]:
        """The first thing that is wrong with its files, or all that is wrong inside them.

        Where the digests agree, what is inside can only be wrong because a build went wrong.
        """
        problem = self._file_problem(files) or self._index_problem()
        if problem is not None:
            yield problem
            return
        yield from self._token_problems()
        yield from self._document_problems()

    def _file_problem(self, files: Mapping[str, str]) -> Problem | None:
        for name, digest in self.shard.digests().items():
            path = self.folder / name
            if name not in files:
                return self._damaged(f"{path} is missing")
            if name == self.shard.path and self._size_problem() is not None:
                return self._size_problem()
            if files[name] != digest:
                return self._damaged(f"{path} was changed: its SHA-256 differs from the manifest's")
        return None

    def _size_problem(self) -> Problem | None:
        size = self.path.stat().st_size
        expected = self.shard.tokens * self.token_bytes
        if size == expected:
            return None
        return self._damaged(f"{self.path} has {size:,} bytes, the manifest says {expected:,}")

    def _index_problem(self) -> Problem | None:
        if self.shard.tokens == 0 or self.shard.documents == 0:
            return self._damaged(f"{self.path} is empty")
        ends = self._ends()
        lengths = np.diff(ends.astype(np.int64), prepend=0)
        tokens = self.shard.tokens
        documents = self.shard.documents
        is_whole = len(ends) == documents and ends[-1] == tokens
        if is_whole and (lengths > 0).all():
            return None
        what = f"{self.path}.index does not divide {tokens:,} tokens into {documents:,} documents"
        return self._damaged(what)

    def _ends(self) -> np.ndarray:
        return np.fromfile(f"{self.path}.index", "<u8")

    def _token_problems(self) -> Iterator[Problem]:
        eos = self.manifest.tokenizer["eos_id"]
        vocab_size = self.manifest.tokenizer["vocab_size"]
        tokens = np.memmap(self.path, f"<u{self.token_bytes}", "r")
        n_eos = 0
        largest = 0
        for start in range(0, len(tokens), _BLOCK):
            block = tokens[start : start + _BLOCK]
            n_eos += int((block == eos).sum())
            largest = max(largest, int(block.max()))
        last = tokens[self._ends() - 1]
        if (last != eos).any():
            yield self._damaged(f"{self.path}: a document does not end in the end-of-document token {eos}")
        elif n_eos != self.shard.documents:
            yield self._damaged(f"{self.path}: the end-of-document token {eos} appears inside a document")
        if largest >= vocab_size:
            yield self._damaged(f"{self.path} holds id {largest}, the vocabulary has {vocab_size:,}")

    def _document_problems(self) -> Iterator[Problem]:
        path = self.folder / self.shard.docs
        documents = 0
        size = 0
        try:
            for row in read_lines(path):
                documents += 1
                size += row["bytes"]
        except CodemixError as error:
            yield from error.problems
            return
        if documents != self.shard.documents or size != self.shard.bytes:
            counted = f"{documents:,} documents of {size:,} bytes"
            expected = f"{self.shard.documents:,} of {self.shard.bytes:,}"
            yield self._damaged(f"{path} lists {counted}, the manifest says {expected}")

    def _damaged(self, what: str) -> Problem:
        return damaged(what, self.folder)


def _check_funnel(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    funnel = manifest.funnel
    path = folder / "funnel.json"
    try:
        if read_json(path) != funnel:
            yield damaged(f"{path} does not say what the manifest says", folder)
    except CodemixError as error:
        yield from error.problems
    read = funnel["read"]
    kept = funnel["kept"]
    accounted = kept + sum(funnel["dropped"].values()) + funnel["unreadable"]
    written = sum(manifest.documents(split) for split in SPLITS)
    if read != accounted:
        yield damaged(f"{folder}: {read:,} documents were read, {accounted:,} are accounted for", folder)
    if kept != written:
        yield damaged(f"{folder}: {kept:,} documents were kept, {written:,} are in the shards", folder)


def _check_tokenizer(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """The tokenizer that made the shards must be in the store, as it was."""
    store = folder.parent.parent
    sha256 = manifest.tokenizer["sha256"]
    for meta in sorted(store.glob("tokenizers/*/meta.json")):
        path = meta.parent / "tokenizer.json"
        try:
            if sha256 not in meta.read_text(encoding="utf-8"):
                continue
            if content_hash(path) != sha256:
                yield damaged(f"{path} was changed: it is not the tokenizer that made {folder.name}", folder)
        except (OSError, ValueError) as error:
            yield damaged(f"{path} cannot be read: {error}", folder)
        return
    yield damaged(f"{folder}: its tokenizer (SHA-256 {sha256[:12]}...) is not in the store", folder)
