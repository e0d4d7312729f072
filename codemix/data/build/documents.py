"""Phase 1, documents: read a source, run its ops, and freeze what they keep, counting everything else.

    documents/<source>-<fp12>/
        docs/<task>-<nnn>.jsonl.zst              {"id", "text", "meta"} per line
        dropped/<nn>-<op>/<reason>.jsonl.zst     samples for a person to look at
        dropped/unreadable/<reason>.jsonl.zst    place and cause of some that are unreadable
        kept.jsonl.zst                           samples
        read.ids                                 the ids of all that was read, hashed (read_ids.py)
        funnel.json, manifest.json

The inputs divide into tasks by size; the division depends on the inputs alone, so any number of workers
writes the same bytes. A task writes its files to temporary ones and renames them, then its mark; a task with
a mark is never run again.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from codemix.data.build.apply_ops import Readable, Step, apply_ops
from codemix.data.build.funnel import Funnel
from codemix.data.build.marks import write_mark
from codemix.data.build.read_ids import ReadIds
from codemix.data.build.samples import Samples
from codemix.data.document import Item
from codemix.data.execution.task import tick
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.opener import Opener
from codemix.data.interfaces import Op
from codemix.data.scoring import Learned
from codemix.data.store.jsonl_zst import LineWriter
from codemix.data.store.store import read_json
from codemix.files import file_digest
from codemix.recipe.language import schema
from codemix.recipe.language.subsample import ALL

if TYPE_CHECKING:
    from codemix.data.build.pieces import Encoding

SUFFIX = ".jsonl.zst"
Sized = TypeVar("Sized")


@dataclass(frozen=True)
class DocumentsFile:
    """One file of frozen documents; `path` is relative to their folder."""

    path: str
    documents: int
    bytes: int  # of text
    sha256: str

    @property
    def name(self) -> str:
        return Path(self.path).name

    @property
    def stem(self) -> str:
        return self.name.removesuffix(SUFFIX)


@dataclass(frozen=True)
class Documents:
    """Frozen documents of a source: where, and in which files, in order."""

    source: str
    folder: Path
    fingerprint: str
    files: tuple[DocumentsFile, ...]
    funnel: Funnel

    @classmethod
    def load(cls, folder: Path) -> Documents:
        manifest = read_json(folder / "manifest.json")
        funnel = read_json(folder / "funnel.json")
        return cls(
            source=manifest["source"],
            folder=folder,
            fingerprint=manifest["fingerprint"],
            files=tuple(DocumentsFile(**file) for file in manifest["files"]),
            funnel=Funnel.from_json(funnel),
        )

    @property
    def documents(self) -> int:
        return sum(file.documents for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def parts(self) -> list[Part]:
        """Its files, for a source that reads them."""
        parts: list[Part] = []
        for file in self.files:
            given = Input(file.path, file.bytes, file.sha256)
            parts.append(Part(given))
        return parts


class FileWriter:
    """Writes one file of documents, of about `limit` bytes of text."""

    def __init__(self, path: Path, limit: int):
        self._lines = LineWriter(path)
        self._limit = limit
        self._bytes = 0  # of text

    def writing(self, documents: Iterable[Readable]) -> Iterator[dict[str, Any]]:
        """Write documents until the file is full. Each is given as a row when it is written, with the `bytes` of its
        text."""
        for doc, size in documents:
            row = {"id": doc.id, "text": doc.text, "meta": doc.meta}
            try:
                self._lines.write(row)
            except (
                TypeError
            ) as error:  # metadata that JSON cannot hold: the component's bug, told with its document
                raise TypeError(f"{doc.id}: {error}") from error
            self._bytes += size
            yield {**row, "bytes": size}
            if self._bytes >= self._limit:
                return

    def close(self) -> DocumentsFile:
        self._lines.close()
        path = self._lines.path
        return DocumentsFile(f"docs/{path.name}", self._lines.rows, self._bytes, file_digest(path))


@dataclass(frozen=True)
class DocumentsTask:
    """Reads some parts of a source's inputs, in order, through all its ops."""

    source_name: str
    source: schema.SourceSpec
    number: int
    parts: tuple[Part, ...]
    opener: Opener
    work: Path
    file_bytes: int  # of text in one file of documents, about
    division: str  # digest of what all tasks of the source read
    read_share: Fraction = ALL
    learned: Mapping[int, Learned] = field(default_factory=dict)  # by the number of the op, from 1
    encoding: Encoding | None = None  # to make pieces of tokens with, too

    @property
    def name(self) -> str:
        return f"documents of {self.source_name}, part {self.number}"

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def done(self) -> Path:
        division = self.division[:8]
        name = f"{self.number:05d}-{division}.json"
        return self.work / ".parts" / name

    def reads(self) -> list[Path]:
        read: list[Path] = []
        for number, _ in enumerate(self.source.ops, 1):
            read.append(state_path(self.work, number))
        for learned in self.learned.values():
            read.append(learned.model)
        if self.source.read.origin is not None:
            for part in self.parts:
                read.append(self.opener.root / part.input.path)
        return read

    def steps(self) -> list[Step]:
        """The ops, ready in this worker."""
        states = [
            self.learned.get(number) or _state(state_path(self.work, number))
            for number, _ in enumerate(self.source.ops, 1)
        ]
        return steps_of(self.source, states)

    def read(self, part: Part) -> Iterator[Item]:
        """What the source has in a part of its inputs, as far as it is needed."""
        reader = self.source.read
        if self.read_share == ALL:
            return reader.read(part, self.opener)
        return reader.sampled(part, self.opener, self.read_share)

    def run(self) -> None:
        funnel = Funnel()
        dropped = Samples()
        kept = Samples()
        ids = ReadIds()
        documents = self._kept(ids, funnel, dropped, kept)
        files = self._write(documents)
        self.done.parent.mkdir(exist_ok=True)
        ids.write(self.done.with_suffix(".ids"))  # with the marks, until the job joins them
        mark = {
            "funnel": funnel.as_json(),
            "files": [asdict(file) for file in files],
            "dropped": dropped.as_json(),
            "kept": kept.as_json(),
        }
        write_mark(self.done, mark)

    def _kept(self, ids: ReadIds, funnel: Funnel, dropped: Samples, kept: Samples) -> Iterator[Readable]:
        """The documents that the ops keep of all parts; everything is counted."""
        steps = self.steps()
        strict = self.source.on_bad == "error"
        for part in self.parts:
            read = ids.noting(self.read(part))
            for each in apply_ops(read, steps, funnel, dropped, strict=strict):
                kept.add("kept", each.document)
                yield each
            tick(part.size)

    def _write(self, documents: Iterator[Readable]) -> list[DocumentsFile]:
        """Write files of documents, and of each its piece where tokens are made at once."""
        pieces = self.encoding.piece_writer() if self.encoding is not None else None
        files: list[DocumentsFile] = []
        for first in documents:
            stem = f"{self.number:05d}-{len(files):03d}"
            writer = FileWriter(self.work / "docs" / f"{stem}{SUFFIX}", self.file_bytes)
            rows = writer.writing(itertools.chain([first], documents))
            if pieces is None:
                for _ in rows:
                    pass
                files.append(writer.close())
            else:
                written = pieces.write(rows, stem, Funnel())
                files.append(writer.close())
                pieces.keep(written, files[-1])
        return files


def state_path(work: Path, op: int) -> Path:
    """Where the state that an op (counted from 1) prepared for all workers is, pickled, if it has one."""
    return work / ".states" / f"{op:02d}"


@lru_cache(4)
def _state(path: Path) -> Any:
    if not path.exists():
        return None
    return pickle.loads(path.read_bytes())


def steps_of(source: schema.SourceSpec, states: list[Any]) -> list[Step]:
    """The ops of a source as steps, named as the funnel names them; `states` is what each prepared."""
    steps: list[Step] = []
    for op, state in zip(source.ops, states, strict=True):
        position = len(steps) + 1
        name = f"{position:02d}-{op.kind}"
        hides = type(op).shown is not Op.shown
        shown = op.shown if hides else None
        apply = op.start_batch(state)
        step = Step(name, apply, shown)
        steps.append(step)
    return steps


def remove_leftovers(folder: Path, known: Collection[str]) -> None:
    """Remove the files of a task that was killed before it left its mark; `known`: `<folder>/<file>` of the
    others."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if f"{folder.name}/{path.name}" not in known:
            path.unlink()


def by_size(items: Iterable[Sized], limit: int, size: Callable[[Sized], int]) -> list[list[Sized]]:
    """Consecutive items in groups of about `limit`: a group ends once it has reached it. Depends on the items
    alone."""
    groups: list[list[Sized]] = []
    held = limit
    for item in items:
        if held >= limit:
            groups.append([])
            held = 0
        groups[-1].append(item)
        held += size(item)
    return groups
