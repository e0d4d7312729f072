"""Phase 3, tokens: frozen documents, less what dedup removed, as shards of token ids with an EOS after each document.

    data/<source>-<fp12>/shards/<split>-<task>.ds, .ds.index, .ds.checks, .docs.jsonl.zst    and manifest.json, funnel.json, <split>.ids

The work is datatrove's DocumentTokenizer with its batching and encoding replaced; the files are its TokenizedFile format and
stay readable by what reads that. Which documents a shard holds depends on the frozen documents alone.
"""

from __future__ import annotations

import array
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.pipeline.tokens.tokenizer import DocumentTokenizer, TokenizedFile

from codemix.data.build.documents import Documents, by_size, held_out
from codemix.data.build.funnel import UNKNOWN, Funnel, after_dedup, total
from codemix.data.build.identity import Identity
from codemix.data.document import utf8_bytes
from codemix.data.encoding import encoders
from codemix.data.encoding.tokenizer import TokenizerFile
from codemix.data.execution.task import WorkUnit, quiet, tick
from codemix.data.store import block_checksums
from codemix.data.store.digests import file_digest
from codemix.data.store.jsonl_zst import LineWriter, read_lines, removed_rows
from codemix.data.store.manifest import (
    SPLITS,
    TOKEN_BYTES,
    Manifest,
    Shard,
    dtype_for,
    ids_file,
    split_summary,
)
from codemix.data.store.store import Store, read_json, write_json
from codemix.errors import CodemixError

MIN_TASK_BYTES, MAX_TASK_BYTES, TASKS = (
    2**24,
    2**30,
    256,
)  # of text; a shard is a task's documents of one split
BATCH_BYTES, BATCH_DOCUMENTS = (
    2**20,
    256,
)  # encoding objects of the slow path cost about 30 bytes a byte of text
SELF_CHECKED, SELF_CHECKED_CHARS = (
    16,
    4000,
)  # documents of each task that both encoders encode, and how much of each
SIDECAR = (
    "path",
    "language",
    "licence",
    "url",
    "repo",
    "size",
    "set",
)  # what is kept of a document's metadata beside the tokens


def batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows in batches bounded by bytes of text: code files vary a thousandfold, so a count would not bound memory."""
    batch, size = [], 0
    for row in rows:
        batch.append(row)
        size += len(row["text"])
        if size >= BATCH_BYTES or len(batch) >= BATCH_DOCUMENTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class ShardTokenizer(DocumentTokenizer):
    """datatrove's DocumentTokenizer, with the fast encoder, batches by bytes, a held-out split, ids checked at write."""

    def __init__(
        self, folder: Path, tokenizer: TokenizerFile, share: Fraction, encoder: encoders.Encoder | None = None
    ):
        super().__init__(str(folder), str(tokenizer.path), save_final_metadata=False, shuffle_documents=False)
        self.folder, self.meta, self.share = folder, tokenizer.meta, share
        self.encoder = encoder or encoders.load_encoder(tokenizer.path)
        self.dtype = dtype_for(self.meta["vocab_size"])
        self.text_bytes = dict.fromkeys(SPLITS, 0)
        self.ids = {split: array.array("Q") for split in SPLITS}  # a hash of each document's id

    def run(
        self, data: Iterable[dict[str, Any]], rank: int = 0, world_size: int = 1
    ) -> dict[str, TokenizedFile]:
        """Write the shards of one task from rows of id, text, meta and bytes of text; returns those that hold documents, by split."""
        files: dict[str, tuple[TokenizedFile, LineWriter]] = {}
        checked = 0
        dtype, vocab_size, eos = f"<u{TOKEN_BYTES[self.dtype]}", self.meta["vocab_size"], self.meta["eos_id"]
        for batch in batches(data):
            texts = [row["text"] for row in batch]
            if self.encoder.fast and checked < SELF_CHECKED:
                checked += len(batch)
                self._self_check([text[:SELF_CHECKED_CHARS] for text in texts[:SELF_CHECKED]])
            encoded = self.encoder.encode(texts)
            found = np.concatenate(encoded)
            if found.size and (int(found.max()) >= vocab_size or (found == eos).any()):
                name = next(
                    row["id"]
                    for row, ids in zip(batch, encoded, strict=True)
                    if (ids >= vocab_size).any() or (ids == eos).any()
                )
                raise ValueError(
                    f"{name}: the tokenizer made an id outside its vocabulary of {vocab_size}, or the end-of-document id {eos}, from text"
                )
            for row, ids in zip(batch, encoded, strict=True):
                size, split = (
                    row["bytes"],
                    "held_out" if self.share and held_out(row["text"].encode(), self.share) else "train",
                )
                if split not in files:
                    name = f"{split}-{rank:05d}.ds"
                    shard = TokenizedFile(self.output_folder, name, token_size=TOKEN_BYTES[self.dtype])
                    files[split] = (
                        shard,
                        LineWriter(self.folder / f"{name.removesuffix('.ds')}.docs.jsonl.zst"),
                    )
                shard, sidecar = files[split]
                tokens = np.empty(len(ids) + 1, dtype)
                tokens[:-1], tokens[-1] = ids, eos
                shard.write_bytes(tokens.tobytes())
                sidecar.write(
                    {"id": row["id"], "bytes": size}
                    | {k: v for k in SIDECAR if (v := row["meta"].get(k)) is not None}
                )
                self.text_bytes[split] += size
                self.ids[split].append(block_checksums.id_check(row["id"]))
        for shard, sidecar in files.values():
            shard.close()
            sidecar.close()
        return {split: shard for split, (shard, _) in files.items()}

    def _self_check(self, texts: list[str]) -> None:
        slow = self.encoder._slow
        if difference := encoders.disagreement(self.encoder, slow, texts):
            print(f"notice: encoding with `tokenizers` instead of tiktoken: {difference}", file=sys.stderr)
            self.encoder = slow


@dataclass(frozen=True)
class TokensTask:
    """Tokenizes some files of documents into at most one shard a split."""

    source: str
    number: int
    documents: Path
    files: tuple[dict[str, Any], ...]
    removed: tuple[tuple[str, Path], ...]  # (funnel key, folder of lists) of each dedup entry
    tokenizer: Path
    share: Fraction
    work: Path

    @property
    def name(self) -> str:
        return f"tokens of {self.source}, part {self.number}"

    @property
    def size(self) -> int:
        return sum(file["bytes"] for file in self.files)

    @property
    def done(self) -> Path:
        return self.work / ".parts" / f"{self.number:05d}.json"

    def run(self) -> None:
        quiet()
        aside, shards = self.work / ".aside" / f"{self.number:05d}", self.work / "shards"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        shards.mkdir(exist_ok=True)
        self.done.parent.mkdir(exist_ok=True)
        funnel = Funnel()
        step = ShardTokenizer(aside, TokenizerFile.load(self.tokenizer), self.share)
        written = step.run(self._rows(funnel), self.number)
        found = {}
        for split, file in written.items():
            name = f"{split}-{self.number:05d}"
            suffixes = (("path", ".ds"), ("index", ".ds.index"), ("docs", ".docs.jsonl.zst"))
            paths = {key: aside / f"{name}{suffix}" for key, suffix in suffixes}
            paths["checks"] = block_checksums.write_checks(paths["path"])
            found[split] = asdict(
                Shard(
                    f"shards/{name}.ds",
                    len(file),
                    len(file.doc_ends),
                    step.text_bytes[split],
                    file_digest(paths["path"]),
                    file_digest(paths["index"]),
                    f"shards/{name}.docs.jsonl.zst",
                    file_digest(paths["docs"]),
                    file_digest(paths["checks"]),
                )
            )
            ids = aside / f"{self.number:05d}.{split}"  # stays with the marks until `finish` joins them
            np.sort(np.array(step.ids[split], "<u8")).tofile(ids)
            for path in (*paths.values(), ids):
                with open(path, "rb+") as handle:
                    os.fsync(handle.fileno())
                os.replace(path, (self.done.parent if path is ids else shards) / path.name)
        write_json(
            self.done,
            {
                "shards": found,
                "funnel": funnel.as_json(),
                "fast": step.encoder.fast,
                "notice": step.encoder.notice,
            },
            for_people=False,
        )
        shutil.rmtree(aside, ignore_errors=True)

    def _rows(self, funnel: Funnel) -> Iterator[dict[str, Any]]:
        """The documents that no dedup entry removed, with their `bytes` of text; the removed ones are counted."""
        for file in self.files:
            gone: dict[int, str] = {}
            for key, folder in self.removed:
                gone |= dict.fromkeys(removed_rows([folder / Path(file["path"]).name]), key)
            count = -1
            for count, row in enumerate(read_lines(self.documents / file["path"])):
                row["bytes"] = size = utf8_bytes(row["text"])
                tick(size)
                if (key := gone.get(count)) is None:
                    yield row
                else:
                    step, _, reason = key.partition("/")
                    funnel.add_dropped(str(row["meta"].get("language") or UNKNOWN), size, step, reason)
            if count + 1 != file["documents"]:
                raise CodemixError(
                    f"{self.documents / file['path']} holds {count + 1:,} documents, its manifest says {file['documents']:,}",
                    hints=["delete its folder and build the data again"],
                    rule="store-damaged",
                )


@dataclass(frozen=True)
class TokensJob:
    """Everything that turns one source's frozen documents into shards."""

    name: str
    tags: dict[str, str]
    share: Fraction
    identity: Identity
    documents: Documents
    inputs: list[dict[str, Any]]
    removed: tuple[tuple[str, Path], ...]
    tokenizer: TokenizerFile
    store: Store
    environment: dict[str, Any]

    @property
    def final(self) -> Path:
        return self.store.path("data", self.name, self.identity.require())

    def tasks(self, work: Path) -> list[WorkUnit]:
        limit = min(max(self.documents.bytes // TASKS, MIN_TASK_BYTES), MAX_TASK_BYTES)
        groups = by_size(self.documents.files, limit, lambda file: file["bytes"])
        return [
            TokensTask(
                self.name,
                n,
                self.documents.folder,
                tuple(group),
                self.removed,
                self.tokenizer.folder,
                self.share,
                work,
            )
            for n, group in enumerate(groups)
        ]

    def _join_ids(self, work: Path, split: str) -> None:
        """One file of the hashes that the tasks left of their documents' ids, shard after shard."""
        with open(work / ids_file(split), "wb") as joined:
            for path in sorted((work / ".parts").glob(f"*.{split}")):
                joined.write(path.read_bytes())

    def finish(self, work: Path) -> dict[str, str]:
        """Sum what the tasks left, and write the funnel and the manifest. Returns the digests that are known."""
        marks = [read_json(path) for path in sorted((work / ".parts").glob("*.json"))]
        shards = {
            split: [Shard(**mark["shards"][split]) for mark in marks if split in mark["shards"]]
            for split in SPLITS
        }
        funnel = after_dedup(self.documents.funnel, total(Funnel.from_json(mark["funnel"]) for mark in marks))
        written = sum(shard.documents for each in shards.values() for shard in each)
        assert funnel.kept == written, f"{funnel.kept} documents kept, {written} written"
        for notice in sorted({mark["notice"] for mark in marks} - {""}):
            print(f"notice: {self.name}: {notice}", file=sys.stderr)
        (work / "shards").mkdir(exist_ok=True)
        known = {
            name: digest
            for each in shards.values()
            for shard in each
            for name, digest in shard.digests().items()
        }
        for path in (work / "shards").iterdir():
            if f"shards/{path.name}" not in known:
                path.unlink()
        for split, each in shards.items():
            if each:
                self._join_ids(work, split)
        write_json(work / "funnel.json", funnel.as_json())
        meta = self.tokenizer.meta
        Manifest(
            self.name,
            self.identity.require(),
            self.identity.content,
            meta,
            dtype_for(meta["vocab_size"]),
            {split: split_summary(each) for split, each in shards.items()},
            self.inputs,
            self.environment | {"fast_encoder": all(mark["fast"] for mark in marks)},
            self.tags,
            funnel.as_json(),
        ).save(work)
        for left in (".parts", ".aside"):
            shutil.rmtree(work / left, ignore_errors=True)
        return known
