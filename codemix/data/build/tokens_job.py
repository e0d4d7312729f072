"""One source's tokens as a job: its tasks, and what they leave summed into funnel and manifest."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from codemix.data.build.documents import Documents, DocumentsFile, by_size, remove_leftovers
from codemix.data.build.funnel import Funnel, after_dedup, total
from codemix.data.build.identity import Identity
from codemix.data.build.marks import read_marks
from codemix.data.build.pieces import Encoding
from codemix.data.build.tokens import SHARDS, Removal, TokensTask
from codemix.data.encoding.tokenizer import TokenizerFile
from codemix.data.store.manifest import SPLITS, Manifest, Shard, dtype_for, ids_file, split_summary
from codemix.data.store.store import Store, write_json

MIN_TASK_BYTES = 2**24  # of text; a shard is a task's documents of one split
MAX_TASK_BYTES = 2**30
TASKS = 256  # of one source, about, within these bounds


@dataclass(frozen=True)
class TokensJob:
    """Everything that turns one source's frozen documents into shards."""

    name: str
    tags: dict[str, str]
    share: Fraction  # that is held out
    identity: Identity
    documents: Documents
    inputs: list[dict[str, Any]]
    removed: tuple[Removal, ...]
    tokenizer: TokenizerFile
    store: Store
    environment: dict[str, Any]
    cut: int | None = None  # of the sample that is trained on, by sample_cut.py

    @property
    def final(self) -> Path:
        return self.store.path("data", self.name, self.identity.require())

    def tasks(self, work: Path) -> Sequence[TokensTask]:
        wanted = self.documents.bytes // TASKS
        limit = min(max(wanted, MIN_TASK_BYTES), MAX_TASK_BYTES)
        encoding = Encoding(self.tokenizer.folder, self.share, work)
        groups = by_size(self.documents.files, limit, lambda file: file.bytes)
        tasks: list[TokensTask] = []
        for files in groups:
            tasks.append(self._task(len(tasks), tuple(files), encoding))
        return tasks

    def _task(self, number: int, files: tuple[DocumentsFile, ...], encoding: Encoding) -> TokensTask:
        return TokensTask(
            source=self.name,
            number=number,
            documents=self.documents.folder,
            files=files,
            removed=self.removed,
            encoding=encoding,
            cut=self.cut,
        )

    def finish(self, work: Path) -> dict[str, str]:
        """Sum what the tasks left, and write the funnel and the manifest. Returns the digests that are
        known."""
        marks = read_marks(work)
        shards = {split: _shards_of(marks, split) for split in SPLITS}
        removed = total(Funnel.from_json(mark["funnel"]) for mark in marks)
        funnel = after_dedup(self.documents.funnel, removed)
        written = sum(shard.documents for of_split in shards.values() for shard in of_split)
        assert funnel.kept == written, f"{funnel.kept} documents kept, {written} written"
        notices = {mark["notice"] for mark in marks} - {""}
        for notice in sorted(notices):
            print(f"notice: {self.name}: {notice}", file=sys.stderr)
        known = _digests(shards)
        remove_leftovers(work / SHARDS, known)
        for split in SPLITS:
            if shards[split]:
                _join_ids(work, split)
        write_json(work / "funnel.json", funnel.as_json())
        fast = all(mark["fast"] for mark in marks)
        manifest = self._manifest(shards, funnel, fast)
        manifest.save(work)
        return known

    def _manifest(self, shards: Mapping[str, list[Shard]], funnel: Funnel, fast: bool) -> Manifest:
        meta = self.tokenizer.meta
        return Manifest(
            source=self.name,
            fingerprint=self.identity.require(),
            identity=self.identity.content,
            tokenizer=meta,
            dtype=dtype_for(meta["vocab_size"]),
            splits={split: split_summary(of_split) for split, of_split in shards.items()},
            inputs=self.inputs,
            environment=self.environment | {"fast_encoder": fast},
            tags=self.tags,
            funnel=funnel.as_json(),
        )


def _shards_of(marks: list[dict[str, Any]], split: str) -> list[Shard]:
    shards: list[Shard] = []
    for mark in marks:
        by_split = mark["shards"]
        if split in by_split:
            shards.append(Shard(**by_split[split]))
    return shards


def _digests(shards: Mapping[str, list[Shard]]) -> dict[str, str]:
    """The digest of each file of all shards."""
    known: dict[str, str] = {}
    for of_split in shards.values():
        for shard in of_split:
            known |= shard.digests()
    return known


def _join_ids(work: Path, split: str) -> None:
    """One file of the hashes that the tasks left of their documents' ids, shard after shard."""
    parts = work / ".parts"
    paths = sorted(parts.glob(f"*.{split}"))
    with open(work / ids_file(split), "wb") as joined:
        for path in paths:
            joined.write(path.read_bytes())
