"""Choosing documents by a hash of their ids: the same ones in any order, on any machine."""

from __future__ import annotations

import hashlib


def hash_rank(document_id: str) -> int:
    """A number below 2**64 for a document's id."""
    encoded = document_id.encode("utf-8", "replace")
    digest = hashlib.blake2b(encoded, digest_size=8).digest()
    return int.from_bytes(digest)
