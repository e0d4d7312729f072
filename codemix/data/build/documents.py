"""Phase 1, documents: read a source, run its ops, and freeze what is left, counting everything that is not.

    documents/<source>-<fp12>/docs/<task>-<nnn>.jsonl.zst    {"id", "text", "meta"} a line
                              dropped/<nn>-<op>/<reason>.jsonl.zst, kept.jsonl.zst    samples for a person to look at
                              dropped/unreadable/<reason>.jsonl.zst    place and cause of some that could not be read
                              funnel.json, manifest.json

The inputs divide into tasks by size; the division depends on the inputs alone, so any number of workers writes the same
bytes. A task leaves its files aside and renames them, then its mark; a task with a mark is never run again.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from codemix.data.build.apply_ops import UNREADABLE, apply_ops
from codemix.data.build.funnel import Funnel, total
from codemix.data.build.identity import Identity
from codemix.data.build.samples import Samples, sample_path, write_samples
from codemix.data.execution.task import WorkUnit, tick
from codemix.data.inputs.frozen_inputs import Input, Part, changed, freeze
from codemix.data.inputs.opener import Opener
from codemix.data.store.digests import file_digest
from codemix.data.store.jsonl_zst import LineWriter
from codemix.data.store.store import Store, read_json, write_json
from codemix.errors import CodemixError, Problem
from codemix.recipe.language import schema
from codemix.recipe.language.quantities import show_share

MIN_TASK_BYTES, MAX_TASK_BYTES, TASKS = (
    2**22,
    2**30,
    256,
)  # of input; about TASKS tasks a source, within these bounds
MIN_FILE_BYTES = 2**24  # of text in one file of documents; a task's bound where that is larger


@dataclass(frozen=True)
class Documents:
    """Frozen documents of a source: where, and in which files, in order."""

    source: str
    folder: Path
    fingerprint: str
    files: tuple[dict[str, Any], ...]  # {"path", "documents", "bytes" of text, "sha256"}
    funnel: Funnel

    @classmethod
    def load(cls, folder: Path) -> Documents:
        content = read_json(folder / "manifest.json")
        return cls(
            content["source"],
            folder,
            content["fingerprint"],
            tuple(content["files"]),
            Funnel.from_json(read_json(folder / "funnel.json")),
        )

    @property
    def bytes(self) -> int:
        return sum(file["bytes"] for file in self.files)

    def parts(self) -> list[Part]:
        """Its files, for a source that reads them."""
        return [Part(Input(f["path"], f["bytes"], f["sha256"])) for f in self.files]


@dataclass(frozen=True)
class DocumentsTask:
    """Reads some parts of a source's inputs, in order, through all its ops."""

    source_name: str
    source: schema.SourceSpec
    number: int
    parts: tuple[Part, ...]
    opener: Opener
    work: Path
    file_bytes: int = MIN_FILE_BYTES

    @property
    def name(self) -> str:
        return f"documents of {self.source_name}, part {self.number}"

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def done(self) -> Path:
        return self.work / ".parts" / f"{self.number:05d}.json"

    def run(self) -> None:
        steps = steps_of(
            self.source,
            [_state(self.work / ".states" / f"{n:02d}") for n, _ in enumerate(self.source.ops, 1)],
        )
        funnel, dropped, kept, files = Funnel(), Samples(), Samples(), []
        writer, before = None, 0  # `before`: bytes of text in the files that are closed

        def close() -> None:
            nonlocal writer, before
            writer.close()
            path = writer.path
            files.append(
                {
                    "path": f"docs/{path.name}",
                    "documents": writer.rows,
                    "bytes": funnel.kept_bytes - before,
                    "sha256": file_digest(path),
                }
            )
            writer, before = None, funnel.kept_bytes

        for part in self.parts:
            for doc in apply_ops(
                self.source.read.read(part, self.opener),
                steps,
                funnel,
                dropped,
                strict=self.source.on_bad == "error",
            ):
                if writer is None:
                    writer = LineWriter(self.work / "docs" / f"{self.number:05d}-{len(files):03d}.jsonl.zst")
                try:
                    writer.write({"id": doc.id, "text": doc.text, "meta": doc.meta})
                except (
                    TypeError
                ) as error:  # metadata that JSON cannot hold: the component's bug, told with its document
                    raise TypeError(f"{doc.id}: {error}") from error
                kept.add("kept", doc)
                if funnel.kept_bytes - before >= self.file_bytes:
                    close()
            tick(part.size)
        if writer is not None:
            close()
        mark = {
            "funnel": funnel.as_json(),
            "files": files,
            "dropped": dropped.as_json(),
            "kept": kept.as_json(),
        }
        write_json(self.done, mark, for_people=False)


def steps_of(
    source: schema.SourceSpec, states: list[Any]
) -> list[tuple[str, Callable[[Document], Document | Drop]]]:
    """The name of each op of a source, as the funnel has it, and the function it applies; `states` is what each prepared."""
    return [
        (f"{n:02d}-{op.kind}", op.start(state))
        for n, (op, state) in enumerate(zip(source.ops, states, strict=True), 1)
    ]


@lru_cache(4)
def _state(path: Path) -> Any:
    return pickle.loads(path.read_bytes()) if path.exists() else None


@dataclass(frozen=True)
class DocumentsJob:
    """Everything that turns one source of a recipe into frozen documents."""

    name: str
    source: schema.SourceSpec
    identity: Identity
    root: Path
    store: Store
    origin: Documents | None = None  # what it reads instead of inputs

    @property
    def final(self) -> Path:
        return self.store.path("documents", self.name, self.identity.require())

    def tasks(self, work: Path) -> list[WorkUnit]:
        if refused := [problem for op in self.source.ops if (problem := op.refuses(self.source.tags))]:
            raise CodemixError(*refused)
        for n, op in enumerate(self.source.ops, 1):
            path = work / ".states" / f"{n:02d}"
            if not path.exists() and (state := op.prepare(self.root)) is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                aside = path.with_suffix(".tmp")
                aside.write_bytes(pickle.dumps(state, protocol=5))
                os.replace(aside, path)
        inputs = self.identity.inputs
        size = self.origin.bytes if self.origin else sum(given.bytes for given in inputs)
        limit = min(max(size // TASKS, MIN_TASK_BYTES), MAX_TASK_BYTES)
        opener = Opener(self.origin.folder if self.origin else self.root)
        parts = (
            self.origin.parts()
            if self.origin
            else [part for given in inputs for part in self.source.read.parts(given, opener, limit)]
        )
        groups = by_size(parts, limit, lambda part: part.size)
        return [
            DocumentsTask(self.name, self.source, n, tuple(group), opener, work, max(limit, MIN_FILE_BYTES))
            for n, group in enumerate(groups)
        ]

    def finish(self, work: Path) -> dict[str, str]:
        """Sum what the tasks left, write the samples, the funnel and the manifest. Returns the digests that are known."""
        marks = [read_json(path) for path in sorted((work / ".parts").glob("*.json"))]
        funnel = total(Funnel.from_json(mark["funnel"]) for mark in marks)
        dropped, kept = Samples(), Samples()
        for mark in marks:
            dropped.merge(mark["dropped"])
            kept.merge(mark["kept"])
        self._check_bad(funnel, dropped)
        self._check_inputs(work)
        files = [file for mark in marks for file in mark["files"]]
        known = {Path(file["path"]).name for file in files}
        (work / "docs").mkdir(exist_ok=True)
        for path in (work / "docs").iterdir():  # leftovers of a task that was killed
            if path.name not in known:
                path.unlink()
        shutil.rmtree(work / "dropped", ignore_errors=True)
        for key, entries in dropped.as_json().items():
            write_samples(sample_path(work, key), entries)
        write_samples(work / "kept.jsonl.zst", kept.as_json().get("kept", []))
        write_json(work / "funnel.json", funnel.as_json())
        write_json(
            work / "manifest.json",
            {
                "format": 1,
                "source": self.name,
                "fingerprint": self.identity.fingerprint,
                "identity": self.identity.content,
                "files": files,
                "inputs": [given.as_json() for given in self.identity.inputs],
                "environment": {"python": platform.python_version()},
            },
        )
        for left in (".parts", ".states"):
            shutil.rmtree(work / left, ignore_errors=True)
        return {file["path"]: file["sha256"] for file in files}

    def _check_inputs(self, work: Path) -> None:
        """An input that changed after it was frozen, and kept its size, must not stand under the fingerprint of what it was."""
        if self.origin is not None:
            return
        frozen = [given for given in self.identity.inputs if not given.sha256.startswith("name:")]
        now = freeze([given.path for given in frozen], self.store, self.root, again=True)
        if problems := [changed(was.path) for was, is_now in zip(frozen, now, strict=True) if was != is_now]:
            shutil.rmtree(work)
            raise CodemixError(*problems[:20])

    def _check_bad(self, funnel: Funnel, samples: Samples) -> None:
        bad = funnel.unreadable.total()
        if not bad or bad <= self.source.max_bad * funnel.read:
            return
        common = funnel.unreadable.most_common(5)
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in common)
        shown = [row for reason, _ in common for row in samples.rows(f"{UNREADABLE}/{reason}")[:1]]
        enough = min(100, 100 * bad / funnel.read + 0.001)
        limit = f"the limit is `max_bad: {show_share(self.source.max_bad)}`; repair the data, or raise it to {enough:.3f}%"
        raise CodemixError(
            Problem(
                f"source `{self.name}`: {bad:,} of {funnel.read:,} documents are unreadable ({reasons})",
                hints=(*(f"for example {row['id']}: {row['text']}" for row in shown), limit),
                rule="too-many-unreadable",
            )
        )


def held_out(text: bytes, share: Fraction) -> bool:
    """Whether a document is held out: by the hash of its text, so that equal texts share their fate everywhere."""
    return int.from_bytes(hashlib.sha256(text).digest()[:8]) * share.denominator < share.numerator * 2**64


def by_size(items: Iterable[Any], limit: int, size: Callable[[Any], int]) -> list[list[Any]]:
    """Consecutive items in groups of about `limit`: a group ends once it has reached it. Depends on the items alone."""
    groups: list[list[Any]] = []
    held = limit
    for item in items:
        if held >= limit:
            groups.append([])
            held = 0
        groups[-1].append(item)
        held += size(item)
    return groups
