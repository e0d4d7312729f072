"""A look at the first row of every file, before the long work: a wrong column, a missing field, a damaged
file.

It finds nothing that reading would not find; it finds it in the first second, in all sources at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from codemix.data.build.apply_ops import unreadable_problem
from codemix.data.document import Unreadable
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.locations import REMOTE, scheme_of
from codemix.data.inputs.opener import Opener
from codemix.data.sources._row_files import ROW_SUFFIXES
from codemix.data.sources._rows import RowSource
from codemix.errors import CodemixError, Problem
from codemix.recipe.language import schema
from codemix.recipe.language.finding import Finding

SHOWN = 3  # problems of one source; a wrong column is wrong in every file


def first_rows(
    sources: dict[str, schema.SourceSpec], inputs: Mapping[str, Iterable[Input]], root: Path
) -> list[Finding]:
    """Why building these sources would stop at the first row of a file, or at opening it; each names its
    source."""
    looks: list[_Look] = []
    for name, source in sources.items():
        for given in _looked_into(source, inputs[name]):
            look = _Look(name, source, given, root)
            looks.append(look)
    findings: dict[str, list[Finding]] = {name: [] for name in sources}
    with ThreadPoolExecutor(8) as pool:  # remote files answer slowly, and all at once
        by_look = pool.map(_Look.problems, looks)
        for look, of_file in zip(looks, by_look, strict=True):
            findings[look.name] += [look.finding(problem) for problem in of_file]
    shown: list[Finding] = []
    for of_source in findings.values():
        shown += of_source[:SHOWN]
    return shown


@dataclass(frozen=True)
class _Look:
    """A look at the first row of one file."""

    name: str  # of its source
    source: schema.SourceSpec
    given: Input
    root: Path

    def finding(self, problem: Problem) -> Finding:
        place = ("sources", self.name, "read")
        return Finding(place, problem)

    def problems(self) -> list[Problem]:
        opener = Opener(self.root, first_row=True)
        try:
            first = next(self.source.read.read(Part(self.given), opener), None)
        except CodemixError as error:
            return list(error.problems)
        if isinstance(first, Unreadable) and self.source.on_bad == "error":
            return [unreadable_problem(first, f"source `{self.name}`: ")]
        return []


def _looked_into(source: schema.SourceSpec, inputs: Iterable[Input]) -> list[Input]:
    """Every local file of rows; of remote ones, each of which costs a download, the first and the last."""
    if not isinstance(source.read, RowSource):
        return []
    local: list[Input] = []
    remote: list[Input] = []
    for given in inputs:
        if given.path.lower().endswith(ROW_SUFFIXES):
            files = remote if scheme_of(given.path) in REMOTE else local
            files.append(given)
    return local + remote[:1] + remote[1:][-1:]
