"""One source's documents as a job: its tasks, and what they leave summed into samples, funnel and
manifest."""

from __future__ import annotations

import pickle
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.build import read_ids
from codemix.data.build.apply_ops import UNREADABLE
from codemix.data.build.documents import (
    Documents,
    DocumentsTask,
    by_size,
    remove_leftovers,
    state_path,
)
from codemix.data.build.funnel import Funnel, total
from codemix.data.build.identity import Identity
from codemix.data.build.marks import read_marks
from codemix.data.build.samples import Samples, sample_path, write_samples
from codemix.data.inputs.frozen_inputs import Part, changed, freeze
from codemix.data.inputs.opener import Opener
from codemix.data.scoring import Learned
from codemix.data.store.store import Store, write_json
from codemix.errors import CodemixError, Problem
from codemix.files import digest, replacing
from codemix.recipe.language import schema
from codemix.recipe.language.quantities import show_share
from codemix.recipe.language.subsample import ALL

if TYPE_CHECKING:
    from codemix.data.build.pieces import Encoding

MIN_TASK_BYTES = 2**22  # of input
MAX_TASK_BYTES = 2**30
TASKS = 256  # of one source, about, within these bounds
MIN_FILE_BYTES = 2**24  # of text in one file of documents; a task's bound where that is larger


@dataclass(frozen=True)
class DocumentsJob:
    """Everything that turns one source of a recipe into frozen documents."""

    name: str
    source: schema.SourceSpec
    identity: Identity
    root: Path
    store: Store
    read_share: Fraction = ALL  # of the documents, by `subsample:`
    origin: Documents | None = None  # what it reads instead of inputs
    learned: Mapping[int, Learned] = field(default_factory=dict)  # by the number of the op, from 1
    about_learned: Mapping[str, Any] = field(default_factory=dict)  # for the manifest
    encoding: Encoding | None = None  # to make pieces of tokens with, too
    workers: int = 1  # among whom its tasks are divided

    @property
    def final(self) -> Path:
        return self.store.path("documents", self.name, self.identity.require())

    def tasks(self, work: Path) -> Sequence[DocumentsTask]:
        refused = [problem for op in self.source.ops if (problem := op.refuses(self.source.tags))]
        if refused:
            raise CodemixError(*refused)
        self._prepare_ops(work)
        limit = min(max(self._size() // TASKS, MIN_TASK_BYTES), MAX_TASK_BYTES)
        opener = Opener(self.origin.folder if self.origin else self.root)
        file_bytes = max(limit, MIN_FILE_BYTES)
        groups = by_size(self._parts(opener, limit), limit, lambda part: part.size)
        division = _division(groups)
        _keep_marks_of(division, work)
        sizes = [sum(part.size for part in parts) for parts in groups]
        encoding = self.encoding if self._are_balanced(sizes) else None
        return [
            DocumentsTask(
                source_name=self.name,
                source=self.source,
                number=number,
                parts=tuple(parts),
                opener=opener,
                work=work,
                file_bytes=file_bytes,
                division=division,
                read_share=self.read_share,
                learned=self.learned,
                encoding=encoding,
            )
            for number, parts in enumerate(groups)
        ]

    def _are_balanced(self, sizes: list[int]) -> bool:
        """Whether no task is much more than the share of a worker, who would encode alone while others wait."""
        share = sum(sizes) / self.workers
        largest = max(sizes, default=0)
        return largest <= 1.5 * share

    def _prepare_ops(self, work: Path) -> None:
        for number, op in enumerate(self.source.ops, 1):
            path = state_path(work, number)
            if path.exists() or number in self.learned:
                continue
            state = op.prepare(self.root)
            if state is not None:
                with replacing(path) as temporary:
                    temporary.write_bytes(pickle.dumps(state, protocol=5))

    def _size(self) -> int:
        if self.origin is not None:
            return self.origin.bytes
        return sum(given.bytes for given in self.identity.inputs)

    def _parts(self, opener: Opener, limit: int) -> list[Part]:
        if self.origin is not None:
            return self.origin.parts()
        return [
            part for given in self.identity.inputs for part in self.source.read.parts(given, opener, limit)
        ]

    def finish(self, work: Path) -> dict[str, str]:
        """Sum what the tasks left, write samples, funnel and manifest. Returns the digests that are known."""
        marks = read_marks(work)
        funnel = total(Funnel.from_json(mark["funnel"]) for mark in marks)
        dropped = Samples()
        kept = Samples()
        for mark in marks:
            dropped.merge(mark["dropped"])
            kept.merge(mark["kept"])
        self._check_unreadable(funnel, dropped)
        self._check_inputs()
        files = [file for mark in marks for file in mark["files"]]
        digests = {file["path"]: file["sha256"] for file in files}
        remove_leftovers(work / "docs", digests)
        shutil.rmtree(work / "dropped", ignore_errors=True)
        for key in dropped.names():
            write_samples(sample_path(work, key), dropped.rows(key))
        write_samples(work / "kept.jsonl.zst", kept.rows("kept"))
        ids = (work / ".parts").glob("*.ids")
        read_ids.join(sorted(ids), work)
        write_json(work / "funnel.json", funnel.as_json())
        write_json(work / "manifest.json", self._manifest(files))
        return digests

    def _manifest(self, files: list[dict[str, Any]]) -> dict[str, Any]:
        learned = {"learned": self.about_learned} if self.about_learned else {}
        return {
            "format": 1,
            "source": self.name,
            "fingerprint": self.identity.fingerprint,
            "identity": self.identity.content,
            "files": files,
            "inputs": [given.as_json() for given in self.identity.inputs],
            "environment": {"python": platform.python_version()},
            **learned,
        }

    def _check_inputs(self) -> None:
        """An input that changed after it was frozen, and kept its size, must not pass for what it was."""
        if self.origin is not None:
            return
        frozen = [given for given in self.identity.inputs if not given.sha256.startswith("name:")]
        again = freeze([given.path for given in frozen], self.store, self.root, again=True)
        pairs = zip(frozen, again, strict=True)
        problems = [changed(before.path) for before, now in pairs if before != now]
        if problems:
            self.store.discard(self.final)
            raise CodemixError(*problems[:20])

    def _check_unreadable(self, funnel: Funnel, samples: Samples) -> None:
        unreadable = funnel.unreadable.total()
        if unreadable <= self.source.max_bad * funnel.read:
            return
        reasons = funnel.unreadable.most_common(5)
        counts = ", ".join(f"{n:,} {reason}" for reason, n in reasons)
        firsts = [samples.rows(f"{UNREADABLE}/{reason}")[:1] for reason, _ in reasons]
        examples = [f"for example {row['id']}: {row['text']}" for rows in firsts for row in rows]
        allowed = show_share(self.source.max_bad)
        enough = min(100, 100 * unreadable / funnel.read + 0.001)
        limit = f"the limit is `max_bad: {allowed}`; repair the data, or raise it to {enough:.3f}%"
        problem = Problem(
            f"source `{self.name}`: {unreadable:,} of {funnel.read:,} documents are unreadable ({counts})",
            hints=(*examples, limit),
            rule="too-many-unreadable",
        )
        raise CodemixError(problem)


def _division(groups: Sequence[Sequence[Part]]) -> str:
    """The digest of what each task reads. What an interrupted build divided may be divided otherwise now: how much a
    compressed file holds is estimated, by libraries that change."""
    limits: list[list[Any]] = []
    for number, group in enumerate(groups):
        for part in group:
            name = part.input.path
            limits.append([number, name, part.start, part.stop])
    return digest(limits)


def _keep_marks_of(division: str, work: Path) -> None:
    """Remove the marks of tasks with other parts."""
    marks = work / ".parts"
    for path in marks.glob("*"):
        if division[:8] not in path.name:
            path.unlink()
