"""What a look at the first row of every file tells, before the long work: a wrong column, a field that is not there, a damaged file.

It finds nothing that reading would not find; it finds it in the first second, in all sources at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
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

SHOWN = 3  # problems of one source; a wrong column is wrong in every file


def first_rows(
    sources: dict[str, schema.SourceSpec], inputs: dict[str, Iterable[Input]], root: Path
) -> list[Problem]:
    """Why building these sources would stop at the first row of a file, or at opening it; each problem names its source."""
    looks = [
        (name, given) for name, source in sources.items() for given in _looked_into(source, inputs[name])
    ]
    problems: dict[str, list[Problem]] = {name: [] for name in sources}
    with ThreadPoolExecutor(8) as pool:  # remote files answer slowly, and all at once
        found = pool.map(lambda look: _first_row(look[0], sources[look[0]], look[1], root), looks)
        for (name, _), of_file in zip(looks, found, strict=True):
            problems[name] += of_file
    return [problem for of_source in problems.values() for problem in of_source[:SHOWN]]


def _looked_into(source: schema.SourceSpec, inputs: Iterable[Input]) -> list[Input]:
    """Every local file of rows; of remote ones, of which each costs a download of its first block, the first and the last."""
    if not isinstance(source.read, RowSource):
        return []
    files = [given for given in inputs if given.path.lower().endswith(ROW_SUFFIXES)]
    remote = [given for given in files if scheme_of(given.path) in REMOTE]
    return [given for given in files if given not in remote[1:-1]] if len(remote) > 2 else files


def _first_row(name: str, source: schema.SourceSpec, given: Input, root: Path) -> list[Problem]:
    try:
        first = next(source.read.read(Part(given), Opener(root, first_row=True)), None)
    except CodemixError as error:
        return list(error.problems)
    if isinstance(first, Unreadable) and source.on_bad == "error":
        return [unreadable_problem(first, f"source `{name}`: ")]
    return []
