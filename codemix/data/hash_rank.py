"""Choosing documents by a hash of their ids or texts: the same ones in any order, on any machine."""

from __future__ import annotations

import hashlib
from fractions import Fraction

SUBSAMPLE = b"subsample"  # a hash of its own, so that a sample is not what a tokenizer is trained on


def hash_rank(document_id: str) -> int:
    """A number below 2**64 for a document's id."""
    encoded = document_id.encode("utf-8", "replace")
    digest = hashlib.blake2b(encoded, digest_size=8).digest()
    return int.from_bytes(digest)


def sample_rank(document_id: str) -> int:
    """A document's place in the order in which samples take documents, below 2**64."""
    encoded = document_id.encode("utf-8", "replace")
    digest = hashlib.blake2b(encoded, digest_size=8, person=SUBSAMPLE).digest()
    return int.from_bytes(digest)


def is_sampled(document_id: str, share: Fraction) -> bool:
    """Whether a document is in a sample of this share: what is in a smaller one is in every larger one."""
    threshold = share.numerator * 2**64
    return sample_rank(document_id) * share.denominator < threshold


def held_out(text: bytes, share: Fraction) -> bool:
    """Whether a document is held out: by the hash of its text, so that equal texts share their fate
    everywhere."""
    digest = hashlib.sha256(text).digest()
    hashed = int.from_bytes(digest[:8])
    threshold = share.numerator * 2**64
    return hashed * share.denominator < threshold
