"""The optional packages that reading an input needs, known from its name alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from codemix.data.inputs.locations import scheme_of
from codemix.recipe.language.requirements import Requirement, package

PARQUET_SUFFIXES = (".parquet", ".pq")
_REMOTE = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}


def needed_for(patterns: Iterable[str]) -> Iterator[Requirement]:
    """What inputs named like this need."""
    for pattern in patterns:
        scheme = scheme_of(pattern)
        if scheme in _REMOTE:
            yield package(f"reading {scheme}:// addresses", _REMOTE[scheme], '"codemix[cloud]"')
        if pattern.lower().endswith(PARQUET_SUFFIXES):
            yield package("reading Parquet", "pyarrow", "pyarrow")
