"""A model that an op is trained on sources of the recipe: its text, the model, and how well it tells held-out
texts apart.

    classifiers/<fp12>/model.linear     what the op wrote
                       manifest.json    texts by class, the area under the ROC curve, what each score keeps

Documents are taken by a hash of their ids, evenly over the sources of a class, without those that a source holds
out. A text that both classes have is in neither. A tenth of the texts, by a hash, only tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from codemix.data.build.documents import Documents
from codemix.data.build.identity import Identity
from codemix.data.document import Document
from codemix.data.hash_rank import hash_rank, held_out
from codemix.data.scoring import MILLION, LabelledText, Scorer, ScoringOp, Training
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.store import write_json
from codemix.errors import CodemixError

MODEL = "model.linear"
MIN_TEXTS = 20  # of a class; with fewer no test says anything
_TESTED = 2**64 // 10  # of a digest's second eight bytes: the tenth that only tests
_SHOWN_SCORES = [step * MILLION // 10 for step in range(1, 10)]


@dataclass(frozen=True)
class ClassifierTraining:
    """Everything that trains the model of one op."""

    op: ScoringOp
    training: Training
    documents: Mapping[str, Documents]  # by source
    held_out: Mapping[str, Fraction]  # by source
    identity: Identity
    place: str  # of the op, for people

    def build(self, work: Path) -> None:
        texts = self._texts()
        for label in self.training.classes:
            n = len(texts.of(label))
            if n < MIN_TEXTS:
                raise self._lacking(label, n)
        path = work / MODEL
        self.op.train([text.labelled for text in texts.training], path)
        scorer = self.op.scorer(path)
        manifest = {
            "format": 1,
            "fingerprint": self.identity.fingerprint,
            "identity": self.identity.content,
            "classes": {label: self._class_facts(label, texts) for label in self.training.classes},
            "in_both_classes": texts.in_both,
            **_quality(texts, scorer, list(self.training.classes)),
        }
        write_json(work / "manifest.json", manifest)

    def _texts(self) -> Texts:
        texts = Texts()
        for label, sources in self.training.classes.items():
            documents = [self.documents[name] for name in sources]
            available = sum(each.bytes for each in documents)
            for each in documents:
                for text in self._sample(each, available):
                    texts.add(text, label)
        texts.leave_out_what_both_have()
        return texts

    def _sample(self, documents: Documents, available: int) -> Iterator[str]:
        """Texts of one source, so that its class comes to about the bytes that are wanted."""
        share = self.held_out[documents.source]
        for file in documents.files:
            for row in read_lines(documents.folder / file.path):
                if hash_rank(row["id"]) * available >= self.training.bytes * 2**64:
                    continue
                text = row["text"]
                if not share or not held_out(text.encode(), share):
                    yield text

    def _class_facts(self, label: str, texts: Texts) -> dict[str, Any]:
        of_class = texts.of(label)
        return {
            "sources": list(self.training.classes[label]),
            "documents": len(of_class),
            "bytes": sum(len(text.text.encode()) for text in of_class),
            "tested": sum(text.tested for text in of_class),
        }

    def _lacking(self, label: str, n: int) -> CodemixError:
        sources = ", ".join(f"`{name}`" for name in self.training.classes[label])
        return CodemixError(
            f"{self.place}: the class `{label}` ({sources}) has {n} different texts to train on, and needs {MIN_TEXTS}",
            hints=[
                "name larger sources, or raise `train_bytes`",
                "texts that both classes have count for neither",
            ],
            rule="classifier-text",
        )


@dataclass(frozen=True)
class HashedText:
    """A text, its class, and the digest that orders it among all."""

    digest: bytes
    text: str
    label: str

    @property
    def labelled(self) -> LabelledText:
        return LabelledText(self.text, self.label)

    @property
    def tested(self) -> bool:
        return int.from_bytes(self.digest[8:16]) < _TESTED


@dataclass
class Texts:
    """Different texts by their digests, which are their order too."""

    by_digest: dict[bytes, HashedText] = field(default_factory=dict)
    both: set[bytes] = field(default_factory=set)

    def add(self, text: str, label: str) -> None:
        digest = hashlib.sha256(text.encode()).digest()
        known = self.by_digest.setdefault(digest, HashedText(digest, text, label))
        if known.label != label:
            self.both.add(digest)

    def leave_out_what_both_have(self) -> None:
        for digest in self.both:
            del self.by_digest[digest]

    @property
    def in_both(self) -> int:
        return len(self.both)

    def of(self, label: str) -> list[HashedText]:
        in_order = self.in_order
        return [text for text in in_order if text.label == label]

    @property
    def in_order(self) -> list[HashedText]:
        digests = sorted(self.by_digest)
        return [self.by_digest[digest] for digest in digests]

    @property
    def training(self) -> list[HashedText]:
        in_order = self.in_order
        return [text for text in in_order if not text.tested]


def _quality(texts: Texts, scorer: Scorer, labels: Sequence[str]) -> dict[str, Any]:
    """How well the model tells the held-out texts of the first class from those of the second."""
    from codemix.data.text.linear_model import auc

    scores: dict[str, list[int]] = {label: [] for label in labels}
    for text in texts.in_order:
        if text.tested:
            score = scorer(Document("", text.text))
            scores[text.label].append(score)
    positive, negative = (scores[label] for label in labels)
    if not positive or not negative:
        return {"auc": None, "kept_from_score": {}}
    kept = {}
    for threshold in _SHOWN_SCORES:
        shares = [_share_from(threshold, scores[label]) for label in labels]
        kept[f"{threshold / MILLION:g}"] = dict(zip(labels, shares, strict=True))
    return {"auc": round(auc(positive, negative), 4), "kept_from_score": kept}


def _share_from(threshold: int, scores: Sequence[int]) -> float:
    kept = [score for score in scores if score >= threshold]
    share = len(kept) / len(scores)
    return round(share, 4)
