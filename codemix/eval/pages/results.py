"""What an evaluation measured: scores by source and by task, averages, and records by document."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from codemix.data.store.store import read_json
from codemix.errors import CodemixError
from codemix.eval.task_shapes.example_files import records


@dataclass(frozen=True)
class SourceScore:
    """Bits per byte of the held-out documents of one source, or of one language in it."""

    bits: float
    bytes: int
    documents: int
    bits_per_byte: float
    is_subset: bool = False
    overlap: float | None = None  # share of the texts that training had read; None when not measured
    by_language: Mapping[str, SourceScore] = field(default_factory=dict)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SourceScore:
        languages = content.get("by_language", {})
        return cls(
            bits=content["bits"],
            bytes=content["bytes"],
            documents=content["documents"],
            bits_per_byte=content["bits_per_byte"],
            is_subset=bool(content.get("subset")),
            overlap=_overlap(content),
            by_language={name: cls.from_json(score) for name, score in languages.items()},
        )

    @property
    def is_consistent(self) -> bool:
        """Whether the score is finite and is what its own sums give."""
        if self.bytes <= 0 or not math.isfinite(self.bits):
            return False
        return math.isclose(self.bits / self.bytes, self.bits_per_byte, rel_tol=1e-6)


@dataclass(frozen=True)
class TaskScore:
    """The score of one task, a share in [0, 1]."""

    n: int
    metric: str
    score: float
    stderr: float | None
    chance: float | None  # None for a task whose answers are generated
    majority: float | None
    gold_bits_per_byte: float | None  # of the right answers
    isolation: str  # how generated programs were run
    overlap: float | None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TaskScore:
        gold = content.get("gold_bits_per_byte")
        return cls(
            n=content["n"],
            metric=content["metric"],
            score=content["score"],
            stderr=content.get("stderr"),
            chance=content.get("chance"),
            majority=content.get("majority"),
            gold_bits_per_byte=gold["bits_per_byte"] if gold else None,
            isolation=content.get("isolation") or "",
            overlap=_overlap(content),
        )


@dataclass(frozen=True)
class Average:
    """One of the paper's averages over tasks [%]."""

    value: float
    stderr: float | None
    is_partial: bool
    absent: tuple[str, ...]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Average:
        return cls(
            value=content["value"],
            stderr=content.get("stderr"),
            is_partial=bool(content.get("partial")),
            absent=tuple(content.get("absent", ())),
        )


@dataclass(frozen=True)
class EvalFacts:
    """One evaluation of a stage; empty for a stage that was not evaluated."""

    stage: str = ""
    stage_fingerprint: str = ""
    sources: dict[str, SourceScore] = field(default_factory=dict)
    tasks: dict[str, TaskScore] = field(default_factory=dict)
    averages: dict[str, Average] = field(default_factory=dict)  # only those that have a value
    content: Mapping[str, Any] | None = None  # results.json
    folder: Path | None = None

    @property
    def exists(self) -> bool:
        return self.content is not None

    @property
    def fingerprint(self) -> str:
        return (self.content or {}).get("fingerprint", "")

    @property
    def environment(self) -> Mapping[str, Any]:
        return (self.content or {}).get("environment", {})

    def documents(self) -> Documents:
        """The record of each held-out document."""
        return documents(self.folder / "documents.jsonl") if self.folder else {}

    def as_json(self) -> dict[str, Any]:
        content = self.content or {}
        provenance = {"fingerprint": self.fingerprint, "environment": self.environment}
        return {
            "evaluated": self.exists,
            "bits_per_byte": content.get("bits_per_byte", {}),
            "tasks": content.get("tasks", {}),
            "aggregates": content.get("aggregates", {}),
            "evaluation": provenance if self.exists else None,
        }


def read_results(path: Path) -> EvalFacts:
    """The evaluation whose folder or results.json is at `path`. Raises CodemixError where it is damaged."""
    file = path if path.is_file() else path / "results.json"
    content = read_json(file)
    try:
        averages = {name: average for name, average in content.get("aggregates", {}).items() if average}
        facts = EvalFacts(
            stage=content.get("stage", ""),
            stage_fingerprint=content.get("stage_fingerprint", ""),
            sources={n: SourceScore.from_json(s) for n, s in content.get("bits_per_byte", {}).items()},
            tasks={name: TaskScore.from_json(task) for name, task in content.get("tasks", {}).items()},
            averages={n: Average.from_json(a) for n, a in averages.items() if a.get("value") is not None},
            content=content,
            folder=file.parent,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _damage(file, f"{type(error).__name__}: {error}") from None
    for source, score in facts.sources.items():
        if not score.is_consistent:
            sums = f"{score.bits} bits over {score.bytes} bytes"
            raise _damage(file, f"`{source}` has {sums} and claims {score.bits_per_byte}")
    return facts


def _damage(file: Path, cause: str) -> CodemixError:
    hint = "delete its folder and run `codemix eval` again"
    return CodemixError(f"{file} is damaged: {cause}", hints=[hint], rule="store-damaged")


def _overlap(content: Mapping[str, Any]) -> float | None:
    contamination = content.get("contamination")
    if not contamination:
        return None
    return contamination.get("shared_any")


def pooled(scores: Mapping[str, SourceScore], sources: Iterable[str]) -> float | None:
    """Bits per byte of several sources together: bits summed, bytes summed, divided once."""
    total_bits = 0.0
    total_bytes = 0
    for source in sources:
        if source in scores:
            total_bits += scores[source].bits
            total_bytes += scores[source].bytes
    if not total_bytes:
        return None
    return total_bits / total_bytes


class DocumentBits(NamedTuple):
    """The score of one held-out document."""

    bits: float
    bytes: int


Documents = dict[str, dict[str, DocumentBits]]  # source -> document id -> score


def documents(path: Path) -> Documents:
    """The scores of every held-out document that an evaluation scored; empty when it kept no records."""
    if not path.is_file():
        return {}
    stat = path.stat()
    return _read_documents(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(64)
def _read_documents(path: Path, _size: int, _changed: int) -> Documents:
    """Read once for each state of a file: a comparison asks for the evaluations of a run several times."""
    by_source: Documents = {}
    for record in records(path):
        score = DocumentBits(float(record["bits"]), int(record["bytes"]))
        by_source.setdefault(record["source"], {})[record["id"]] = score
    return by_source
