"""Rows of evidence from files, and from the scored points of a study in a store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codemix.errors import CodemixError, Problem
from codemix.eval.evidence import scored
from codemix.eval.evidence.rows import Row, read_rows
from codemix.eval.run_study import contexts

_SHOWN = 4  # points that are named


@dataclass
class Collected:
    """Rows, and what is missing."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def rows_of_study(
    study: Path,
    store: Path,
    data_root: Path,
) -> Collected:
    """The rows of the points of a study whose last stage is trained and scored in a store.

    Raises CodemixError when there is none. The data that a point reads is a part of its stage's identity, so
    what was run on other data is missing, not taken.
    """
    by_stage = _rows_by_stage(store)
    found: dict[str, Row] = {}  # points that round to the same windows are one run
    missing = []
    points = contexts(study, store, data_root)
    for point in points:
        last = point.checked.plan.stages[-1]
        row = by_stage.get(last.fingerprint)
        if row is None:
            missing.append(point.source.recipe.name)
        else:
            found[last.fingerprint] = row
    if not found:
        what = f"none of the {len(points)} points of {study} is trained and scored in {store}"
        hint = f"run `codemix study run {study}`, or name files of evidence"
        problem = Problem(what, hints=(hint,), rule="evidence")
        raise CodemixError(problem)
    collected = Collected(list(found.values()))
    if missing:
        named = ", ".join(missing[:_SHOWN])
        more = ", ..." if len(missing) > _SHOWN else ""
        n = f"{len(missing)} of {len(points)}"
        collected.notes.append(f"{n} points are not trained and scored yet: {named}{more}")
    return collected


def collect(
    evidence: Sequence[Path],
    study: Path,
    store: Path,
    data_root: Path,
) -> Collected:
    """The rows of files; of the study's own points where no file is named."""
    if evidence:
        return Collected(read_rows(evidence))
    return rows_of_study(study, store, data_root)


def _rows_by_stage(store: Path) -> dict[str, Row]:
    """The newest row of each scored stage."""
    files = list(store.glob(f"evals/*/{scored.FILE}"))
    oldest_first = sorted(files, key=os.path.getmtime)
    rows = {}
    for file in oldest_first:
        [row] = read_rows([file])
        rows[row.stage_fingerprint] = row
    return rows
