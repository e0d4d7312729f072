"""What the ops of sources learn before documents are read: models trained on other sources, and cuts of ranked
scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codemix.data.build.classifiers import MODEL, ClassifierTraining
from codemix.data.build.documents import Documents
from codemix.data.build.documents_job import DocumentsJob
from codemix.data.build.identity import Identities
from codemix.data.build.scores import ScoresJob
from codemix.data.execution.jobs import complete
from codemix.data.execution.runner import Resources
from codemix.data.scoring import Learned, ScoringOp, Training, scoring_ops
from codemix.data.store.store import Store, read_json
from codemix.progress import progress

Facts = dict[str, Any]  # JSON, for the manifest of the documents


@dataclass(frozen=True)
class Learning:
    """Makes jobs of documents ready, whose ops score."""

    store: Store
    ids: Identities
    resources: Resources
    documents: Callable[[str], Documents]  # of a source that is built

    def ready(self, jobs: Sequence[DocumentsJob]) -> list[DocumentsJob]:
        """The jobs with what each of their ops learns, in the order of the ops; a turn for all sources at once."""
        made = {job.name: job for job in jobs}
        waiting = [(job.name, list(scoring_ops(job.source.ops))) for job in jobs]
        while waiting:
            waiting = [(name, ops) for name, ops in waiting if ops]
            ranked: list[ScoresJob] = []
            for name, ops in waiting:
                number, op = ops.pop(0)
                made[name] = self._with_model(made[name], number, op)
                if op.is_ranked:
                    ranked.append(ScoresJob(made[name], number))
            complete(self.store, ranked, label="scoring documents", resources=self.resources)
            for scores in ranked:
                made[scores.documents.name] = _with_cuts(scores)
        return list(made.values())

    def _with_model(self, job: DocumentsJob, number: int, op: ScoringOp) -> DocumentsJob:
        training = op.training()
        if training is None:
            about: Facts = {"op": op.kind}
            return _learnt(job, number, op.prepare(job.root), about)
        folder = self._trained(job, number, op, training)
        manifest = read_json(folder / "manifest.json")
        about = {"op": op.kind, "model": manifest["fingerprint"]}
        for key in ("classes", "in_both_classes", "auc", "kept_from_score"):
            about[key] = manifest[key]
        learned = Learned(folder / MODEL)
        return _learnt(job, number, learned, about)

    def _trained(self, job: DocumentsJob, number: int, op: ScoringOp, training: Training) -> Path:
        """The folder of an op's model, trained when the store lacks it."""
        identity = self.ids.models[job.name][number]
        folder = model_folder(self.store, identity.require())

        def fill(work: Path) -> None:
            shares = self.ids.graph.held_out_shares
            trainer = ClassifierTraining(
                op=op,
                training=training,
                documents={name: self.documents(name) for name in training.sources},
                held_out={name: shares[name] for name in training.sources},
                identity=identity,
                place=f"source `{job.name}`, ops[{number - 1}]",
            )
            with progress("training a classifier", None, "texts"):
                trainer.build(work)

        self.store.make(folder, fill, keep=False)
        return folder


def model_folder(store: Store, fingerprint: str) -> Path:
    return store.path("classifiers", fingerprint[:12])


def _with_cuts(job: ScoresJob) -> DocumentsJob:
    manifest = read_json(job.final / "manifest.json")
    documents = job.documents
    about = dict(documents.about_learned[str(job.op)])
    for key in ("documents", "cuts", "cut_scores"):
        about[key] = manifest[key]
    cuts = tuple(manifest["cuts"])
    learned = replace(documents.learned[job.op], cuts=cuts)
    return _learnt(documents, job.op, learned, about)


def _learnt(job: DocumentsJob, number: int, learned: Learned, about: Facts) -> DocumentsJob:
    return replace(
        job,
        learned={**job.learned, number: learned},
        about_learned={**job.about_learned, str(number): about},
    )


def learned_before(
    manifest: Mapping[str, Any], ops: Sequence[Any], store: Store, root: Path
) -> dict[int, Learned]:
    """What the ops of a source had learnt when its documents were made, by the number of the op."""
    learned: dict[int, Learned] = {}
    for number, op in scoring_ops(ops):
        about: Facts = manifest["learned"][str(number)]
        if "model" in about:
            folder = model_folder(store, about["model"])
            model = folder / MODEL
        else:
            model = op.model_file(root)
        cuts = tuple(about.get("cuts", ()))
        learned[number] = Learned(model, cuts)
    return learned
