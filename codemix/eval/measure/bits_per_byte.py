"""Bits per byte of each source on its held-out documents: sums of bits over sums of bytes, divided once.

A document's bytes are its UTF-8 text, its bits those of all its tokens, the first one given EOS; the EOS that
ends it is in neither. Every document is scored on its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codemix.data.loader.shards import Shards
from codemix.data.store.manifest import Manifest
from codemix.eval.engine.score import Engine
from codemix.eval.task_shapes.example_files import Row


@dataclass(frozen=True)
class HeldOut:
    """A held-out document: its place in the shards, and what the build wrote about it."""

    id: str
    bytes: int
    language: str
    shard: int
    number: int  # in its shard


def held_out(manifest: Manifest) -> list[HeldOut]:
    """Every held-out document of a source. Raises CodemixError (`shard-corrupt`) where files are not what the
    manifest says.
    """
    shards = Shards(manifest, "held_out", 1)
    shards.check()
    documents = []
    for place, shard in enumerate(shards.shards):
        every_number = set(range(shard.documents))
        for number, metadata in shards.metadata(place, every_number).items():
            language = str(metadata.get("language") or "")
            document = HeldOut(str(metadata["id"]), int(metadata["bytes"]), language, place, number)
            documents.append(document)
    return documents


def measurable(manifest: Manifest) -> list[HeldOut]:
    """The held-out documents with any text in them."""
    documents = held_out(manifest)
    return [document for document in documents if document.bytes]


def subset(documents: Iterable[HeldOut], max_bytes: int) -> list[HeldOut]:
    """The documents to score: in the order of a hash of their ids, each that still fits in `max_bytes`.

    The order does not depend on the recipe, so recipes that share a source are scored on the same text. When
    not even the smallest fits it is taken all the same, so that a source never goes unmeasured.
    """
    ordered = sorted(documents, key=_place)
    chosen: list[HeldOut] = []
    bytes_left = max_bytes
    for document in ordered:
        if document.bytes <= bytes_left:
            chosen.append(document)
            bytes_left -= document.bytes
    if not chosen:
        by_size = sorted(ordered, key=lambda document: (document.bytes, document.id))
        return by_size[:1]
    return chosen


def _place(document: HeldOut) -> tuple[bytes, str]:
    """Where a document is in the order of a hash of its id."""
    content = document.id.encode()
    digest = hashlib.sha256(content).digest()
    return digest, document.id


def tokens(manifest: Manifest, documents: Iterable[HeldOut]) -> list[np.ndarray]:
    """The tokens of held-out documents, without the EOS that ends each."""
    shards = Shards(manifest, "held_out", 1)
    tokens = []
    for document in documents:
        with_eos = shards.document(document.shard, document.number)
        without_eos = with_eos[:-1]
        tokens.append(without_eos.astype(np.int64))
    return tokens


def scored_tokens(manifest: Manifest, max_bytes: int) -> list[np.ndarray]:
    """The tokens of the documents that `bits_per_byte` scores."""
    available = measurable(manifest)
    return tokens(manifest, subset(available, max_bytes))


def bits_per_byte(
    engine: Engine, manifest: Manifest, max_bytes: int
) -> tuple[dict[str, Any], list[Row]] | None:
    """(summary, one record per document) of a source; None when it holds nothing out."""
    available = measurable(manifest)
    if not available:
        return None
    documents = subset(available, max_bytes)
    scores = engine.score_documents(tokens(manifest, documents), label=f"bits per byte: {manifest.source}")
    records = [
        {
            "source": manifest.source,
            "id": document.id,
            "bits": score.bits,
            "bytes": document.bytes,
            "tokens": score.tokens,
            "language": document.language,
        }
        for document, score in zip(documents, scores, strict=True)
    ]
    available_bytes = sum(document.bytes for document in available)
    summary = sums(records)
    summary["available"] = {"documents": len(available), "bytes": available_bytes}
    summary["subset"] = len(documents) < len(available)
    summary["max_bytes"] = max_bytes
    languages = sorted({document.language for document in documents})
    if len(languages) > 1:
        summary["by_language"] = {
            language or "unknown": sums([record for record in records if record["language"] == language])
            for language in languages
        }
    return summary, records


def sums(records: Sequence[Row]) -> dict[str, Any]:
    """Bits, bytes, tokens and documents of records, summed, and bits over bytes."""
    bits = float(np.sum([record["bits"] for record in records], dtype=np.float64))
    size = sum(record["bytes"] for record in records)
    return {
        "bits": bits,
        "bytes": size,
        "tokens": sum(record["tokens"] for record in records),
        "documents": len(records),
        "bits_per_byte": bits / size,
    }
