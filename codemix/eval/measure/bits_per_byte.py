"""Bits per byte of each source on its held-out documents: sums of bits over sums of bytes, divided once.

A document's bytes are its UTF-8 text, its bits those of all its tokens, the first one given EOS; the EOS that ends it is in
neither. Every document is scored on its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from codemix.data.loader.shards import Shards
from codemix.data.store.manifest import Manifest
from codemix.eval.engine.score import Engine


@dataclass(frozen=True)
class HeldOut:
    """A held-out document: where it lies, and what the build wrote about it."""

    id: str
    bytes: int
    language: str
    shard: int
    number: int  # in its shard


def held_out(manifest: Manifest) -> list[HeldOut]:
    """Every held-out document of a source. Raises CodemixError (`shard-corrupt`) where files are not what the manifest says."""
    shards = Shards(manifest, "held_out", 1)
    shards.check()
    found = []
    for place, shard in enumerate(shards.shards):
        for number, about in shards.metadata(place, set(range(shard.documents))).items():
            found.append(
                HeldOut(
                    str(about["id"]), int(about["bytes"]), str(about.get("language") or ""), place, number
                )
            )
    return found


def subset(documents: Iterable[HeldOut], max_bytes: int) -> list[HeldOut]:
    """The documents to score: in the order of a hash of their ids, each that still fits in `max_bytes`.

    The order does not depend on the recipe, so recipes that share a source are scored on the same text. When not even
    the smallest fits it is taken all the same, so that a source never goes unmeasured.
    """
    documents = sorted(documents, key=lambda d: (hashlib.sha256(d.id.encode()).digest(), d.id))
    chosen, left = [], max_bytes
    for document in documents:
        if document.bytes <= left:
            chosen.append(document)
            left -= document.bytes
    return chosen or sorted(documents, key=lambda d: (d.bytes, d.id))[:1]


def tokens(manifest: Manifest, documents: list[HeldOut]) -> list[np.ndarray]:
    """The tokens of held-out documents, without the EOS that ends each."""
    shards = Shards(manifest, "held_out", 1)
    return [shards.document(d.shard, d.number)[:-1].astype(np.int64) for d in documents]


def bits_per_byte(
    engine: Engine, manifest: Manifest, max_bytes: int
) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """(summary, one record a document) of a source; None when it holds nothing out."""
    available = [d for d in held_out(manifest) if d.bytes]
    if not available:
        return None
    documents = subset(available, max_bytes)
    scores = engine.score_documents(tokens(manifest, documents), label=f"bits per byte: {manifest.source}")
    records = [
        {
            "source": manifest.source,
            "id": d.id,
            "bits": s.bits,
            "bytes": d.bytes,
            "tokens": s.tokens,
            "language": d.language,
        }
        for d, s in zip(documents, scores, strict=True)
    ]
    summary = sums(records) | {
        "available": {"documents": len(available), "bytes": sum(d.bytes for d in available)},
        "subset": len(documents) < len(available),
        "max_bytes": max_bytes,
    }
    if len(languages := {r["language"] for r in records}) > 1:
        summary["by_language"] = {
            name or "unknown": sums([r for r in records if r["language"] == name])
            for name in sorted(languages)
        }
    return summary, records


def sums(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Bits, bytes, tokens and documents of records, summed, and bits over bytes."""
    total = {
        "bits": float(np.sum([r["bits"] for r in records], dtype=np.float64)),
        "bytes": sum(r["bytes"] for r in records),
        "tokens": sum(r["tokens"] for r in records),
        "documents": len(records),
    }
    return total | {"bits_per_byte": total["bits"] / total["bytes"]}
