"""The scores of all documents that reach an op, and the cuts at the places that it asks for.

    scores/<source>-<op>-<fp12>/    manifest.json: documents, cuts, a histogram of the scores

The source is read as in the documents phase (the same tasks, the same ops before), and nothing is counted or
kept but one number a document: what becomes of it is counted once, when documents are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codemix.data.build.apply_ops import apply_ops
from codemix.data.build.documents import DocumentsTask
from codemix.data.build.documents_job import DocumentsJob
from codemix.data.build.funnel import Funnel
from codemix.data.build.samples import Samples
from codemix.data.execution.task import tick
from codemix.data.scoring import MILLION, ScoringOp, lowest_key, score_of, sort_key
from codemix.data.store.store import write_json
from codemix.files import replacing

_BINS = 20  # of the histogram


@dataclass(frozen=True)
class ScoresTask:
    """Scores the documents that some parts of a source's inputs bring to an op."""

    documents: DocumentsTask  # of the same parts
    op: int  # its number, from 1

    @property
    def name(self) -> str:
        return f"scores of {self.documents.source_name}, part {self.documents.number}"

    @property
    def size(self) -> int:
        return self.documents.size

    @property
    def done(self) -> Path:
        return self.documents.done.with_suffix(".npy")

    def reads(self) -> list[Path]:
        return self.documents.reads()

    def run(self) -> None:
        import numpy as np

        task = self.documents
        learned = task.learned[self.op]
        op = task.source.ops[self.op - 1]
        score = op.scorer(learned.model)
        steps = task.steps()[: self.op - 1]
        strict = task.source.on_bad == "error"
        keys: list[int] = []
        for part in task.parts:
            read = task.read(part)
            for doc, _ in apply_ops(read, steps, Funnel(), Samples(), strict=strict):
                key = sort_key(score(doc), doc.id)
                keys.append(key)
            tick(part.size)
        self.done.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.done) as temporary, temporary.open("wb") as file:
            np.save(file, np.array(keys, np.uint64))


@dataclass(frozen=True)
class ScoresJob:
    """The cuts of one op of a source."""

    documents: DocumentsJob
    op: int  # its number, from 1

    @property
    def final(self) -> Path:
        documents = self.documents
        name = f"{documents.name}-{self.op}"
        fingerprint = documents.identity.require()
        return documents.store.path("scores", name, fingerprint)

    def tasks(self, work: Path) -> Sequence[ScoresTask]:
        tasks: list[ScoresTask] = []
        for task in self.documents.tasks(work):
            tasks.append(ScoresTask(task, self.op))
        return tasks

    def finish(self, work: Path) -> dict[str, str]:
        import numpy as np

        paths = sorted((work / ".parts").glob("*.npy"))
        arrays = [np.load(path) for path in paths]
        keys = np.sort(np.concatenate(arrays or [np.zeros(0, np.uint64)]))
        op: ScoringOp = self.documents.source.ops[self.op - 1]
        places = op.places(len(keys)) if len(keys) else ()
        cuts = [int(keys[len(keys) - place]) for place in places]
        scores = [score_of(cut) / MILLION for cut in cuts]
        edges = [step * MILLION // _BINS for step in range(_BINS)]
        limits = np.array([lowest_key(edge) for edge in edges], np.uint64)
        below = np.searchsorted(keys, limits, "left")
        manifest = {
            "format": 1,
            "fingerprint": self.documents.identity.fingerprint,
            "op": self.op,
            "documents": len(keys),
            "places": list(places),
            "cuts": cuts,
            "cut_scores": scores,
            "histogram": np.diff([*below, len(keys)]).tolist(),
        }
        write_json(work / "manifest.json", manifest)
        return {}
