"""Addresses of buckets, told from folders. Standard library only."""

from __future__ import annotations

import re
from pathlib import Path

from codemix.errors import CodemixError
from codemix.recipe.language.secrets import hidden, secret_in

SCHEMES = ("s3", "gs")
_ADDRESS = re.compile(rf"(?:{'|'.join(SCHEMES)})://[^/?#@:\s]+(?:/[^?#]*)?")
_ALMOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/|(?:s3|gs|gcs|s3a):")


def is_address(place: str) -> bool:
    """Whether a place is an address of a bucket, not a folder.

    Raises CodemixError for what is meant as an address and is not one codemix reads: taken for a folder, it
    would be made, with a name like `s3:`.
    """
    if _ADDRESS.fullmatch(place) and not secret_in(place):
        return True
    if looks_like_address(place):
        hints = ["write `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`; credentials come from the environment"]
        what = f"`{hidden(place)}` is not an address of a bucket that codemix reads"
        raise CodemixError(what, hints=hints, rule="bucket-address")
    return False


def looks_like_address(place: str) -> bool:
    """Whether a place is meant as an address, also where a path has lost one of its slashes (`s3:/bucket`)."""
    return _ALMOST.match(place) is not None


def as_given(place: Path) -> str:
    """An address as somebody wrote it, from the path that it was taken for, which has one slash less; without
    secrets."""
    text = re.sub(r"^([A-Za-z0-9+.-]+:)/+", r"\1//", str(place))
    return hidden(text)
