"""Phase 3, tokens: frozen documents, less what dedup removed, as shards of token ids.

    data/<source>-<fp12>/shards/<split>-<task>.ds, .ds.index, .ds.checks, .docs.jsonl.zst
                         manifest.json, funnel.json, <split>.ids

Which documents a shard holds depends on the frozen documents alone.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from codemix.data.build.documents import (
    Documents,
    DocumentsFile,
    by_size,
    remove_leftovers,
)
from codemix.data.build.funnel import SUBSAMPLE_KEY, UNKNOWN, Funnel, after_dedup, total
from codemix.data.build.identity import Identity
from codemix.data.build.marks import read_marks, write_mark
from codemix.data.build.shards import Row, ShardTokenizer
from codemix.data.document import utf8_bytes
from codemix.data.encoding.tokenizer import TokenizerFile
from codemix.data.execution.task import tick
from codemix.data.hash_rank import held_out, sample_rank
from codemix.data.store.jsonl_zst import read_lines, removed_rows
from codemix.data.store.manifest import SPLITS, Manifest, Shard, dtype_for, ids_file, split_summary
from codemix.data.store.store import Store, write_json
from codemix.errors import CodemixError
from codemix.files import move_into_place

MIN_TASK_BYTES = 2**24  # of text; a shard is a task's documents of one split
MAX_TASK_BYTES = 2**30
TASKS = 256  # of one source, about, within these bounds


@dataclass(frozen=True)
class Removal:
    """What a dedup entry removes of a source."""

    key: str  # of the funnel
    folder: Path  # of its lists, one per file of documents


class Judged(NamedTuple):
    """A frozen document with the `bytes` of its text, and the funnel's key if a dedup entry removed it."""

    row: Row
    removed_by: str


@dataclass(frozen=True)
class TokensTask:
    """Tokenizes some files of documents into at most one shard per split."""

    source: str
    number: int
    documents: Path
    files: tuple[DocumentsFile, ...]
    removed: tuple[Removal, ...]
    tokenizer: Path
    share: Fraction  # that is held out
    cut: int | None  # of the others those of a lower `sample_rank` are trained on; None: all
    work: Path

    @property
    def name(self) -> str:
        return f"tokens of {self.source}, part {self.number}"

    @property
    def size(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def done(self) -> Path:
        return self.work / ".parts" / f"{self.number:05d}.json"

    def run(self) -> None:
        temporary = self.work / ".aside" / f"{self.number:05d}"
        shards_folder = self.work / "shards"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        shards_folder.mkdir(exist_ok=True)
        self.done.parent.mkdir(exist_ok=True)
        funnel = Funnel()
        step = ShardTokenizer(temporary, TokenizerFile.load(self.tokenizer), self.share)
        shards = {}
        for split, writer in step.run(self._rows(funnel), self.number).items():
            files = writer.files()
            shards[split] = asdict(writer.as_shard(files, "shards"))
            for path in files:
                move_into_place(path, shards_folder / path.name)
            ids = temporary / f"{self.number:05d}.{split}"
            writer.write_ids(ids)
            move_into_place(ids, self.done.parent / ids.name)  # with the marks, until `finish` joins them
        mark = {
            "shards": shards,
            "funnel": funnel.as_json(),
            "fast": step.fast,
            "notice": step.notice,
        }
        write_mark(self.done, mark)
        shutil.rmtree(temporary, ignore_errors=True)

    def _rows(self, funnel: Funnel) -> Iterator[Row]:
        """The documents that no dedup entry removed and `subsample:` did not leave out, with their `bytes` of
        text; the others are counted."""
        for row, removed_by in self.judged():
            key = removed_by or self._not_sampled(row)
            if not key:
                yield row
                continue
            step, _, reason = key.partition("/")
            language = str(row["meta"].get("language") or UNKNOWN)
            funnel.add_dropped(language, row["bytes"], step, reason)

    def judged(self) -> Iterator[Judged]:
        """Every document, in order, and what dedup made of it."""
        for file in self.files:
            removed_by = self._removed_by(file)
            path = self.documents / file.path
            rows = 0
            for row in read_lines(path):
                size = utf8_bytes(row["text"])
                tick(size)
                row["bytes"] = size
                yield Judged(row, removed_by.get(rows, ""))
                rows += 1
            if rows != file.documents:
                raise CodemixError(
                    f"{path} holds {rows:,} documents, its manifest says {file.documents:,}",
                    hints=["delete its folder and build the data again"],
                    rule="store-damaged",
                )

    def _not_sampled(self, row: Row) -> str:
        """The funnel's key for a document that `subsample:` leaves out; empty for every other."""
        if self.cut is None or sample_rank(row["id"]) < self.cut or self.holds_out(row):
            return ""
        return SUBSAMPLE_KEY

    def holds_out(self, row: Row) -> bool:
        return held_out(row["text"].encode(), self.share)

    def _removed_by(self, file: DocumentsFile) -> dict[int, str]:
        """The funnel's key for each row of a file that a dedup entry removed."""
        keys: dict[int, str] = {}
        for entry in self.removed:
            rows = removed_rows([entry.folder / file.name])
            keys |= dict.fromkeys(rows, entry.key)
        return keys


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
        tasks: list[TokensTask] = []
        for files in by_size(self.documents.files, limit, lambda file: file.bytes):
            tasks.append(self._task(len(tasks), tuple(files), work))
        return tasks

    def _task(self, number: int, files: tuple[DocumentsFile, ...], work: Path) -> TokensTask:
        return TokensTask(
            source=self.name,
            number=number,
            documents=self.documents.folder,
            files=files,
            removed=self.removed,
            tokenizer=self.tokenizer.folder,
            share=self.share,
            cut=self.cut,
            work=work,
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
        remove_leftovers(work / "shards", known)
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
