"""The optional packages that reading inputs needs, known from the names of the inputs, and those a build lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from codemix.data.locations import scheme_of
from codemix.data.row_files import PARQUET_SUFFIXES
from codemix.data.store import Store
from codemix.errors import Problem
from codemix.recipe import read, uses
from codemix.recipe.requirements import Requirement, lacking, located, package

_REMOTE = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}
_EXECUTORS = {"ray": package("`--executor ray`", "ray", '"codemix[ray]"')}


def needed_for(patterns: Iterable[str]) -> Iterator[Requirement]:
    """What inputs named like this need."""
    for pattern in patterns:
        scheme = scheme_of(pattern)
        if scheme in _REMOTE:
            yield package(f"reading {scheme}:// addresses", _REMOTE[scheme], '"codemix[cloud]"')
        if pattern.lower().endswith(PARQUET_SUFFIXES):
            yield package("reading Parquet", "pyarrow", "pyarrow")


def build_lacks(
    source: read.Source, store: Store, data_root: Path, *, executor: str = "local", only: Collection[str] = ()
) -> list[Problem]:
    """The packages and programs that this machine lacks to build what the store lacks, each at its place.

    The store is only looked at when something is lacking: what is built already needs no package to be read.
    """
    recipe = source.recipe
    absent = [f for f in lacking(recipe) if f.path[0] in ("tokenizer", "sources")]
    if absent:
        built = _built(source, store, data_root)
        wanted = uses.built_with(recipe, only or recipe.sources) - built
        absent = [f for f in absent if (f.path[1] in wanted if f.path[0] == "sources" else not built)]
    problems = located(absent, source.document)
    if executor in _EXECUTORS and _EXECUTORS[executor].absent:
        problems.append(_EXECUTORS[executor].problem())
    return problems


def _built(source: read.Source, store: Store, data_root: Path) -> set[str]:
    """The sources of which the store holds what the recipe asks for."""
    if not any(store.root.glob("data/*")):
        return set()
    from codemix.data.found import find

    return {name for name, found in find(source.recipe, store, data_root).items() if found.built}
