"""Documents as two evaluations scored them, and how much of the difference is noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codemix.eval import stats
from codemix.eval.pages.results import Documents, EvalFacts


@dataclass(frozen=True)
class DocumentPair:
    """The bits of one document on both sides, and its bytes."""

    reference: float
    value: float
    bytes: int


def bootstrap(pairs: Sequence[DocumentPair]) -> stats.Difference:
    """The change of bits per byte from the reference, with an interval over the documents."""
    sizes = [pair.bytes for pair in pairs]
    references = [pair.reference for pair in pairs]
    values = [pair.value for pair in pairs]
    return stats.paired_bootstrap((references, sizes), (values, sizes))


def family_moves(first: EvalFacts, last: EvalFacts, families: Mapping[str, str]) -> dict[str, stats.Difference]:
    """How bits per byte of each family moved between two evaluations, with a paired interval over documents."""
    before = first.documents()
    after = last.documents()
    moves = {}
    for family in ("code", "text", "other"):
        common = set(before) & set(after)
        sources = sorted(source for source in common if families.get(source, "other") == family)
        pairs = [pair for source in sources for pair in _pairs(before, after, source)]
        if len(pairs) > 1:
            moves[family] = bootstrap(pairs)
    return moves


def _pairs(before: Documents, after: Documents, source: str) -> list[DocumentPair]:
    """The documents of a source that both sides scored alike."""
    pairs = []
    for name in sorted(set(before[source]) & set(after[source])):
        old = before[source][name]
        new = after[source][name]
        if old.bytes == new.bytes and old.bytes > 0:
            pairs.append(DocumentPair(old.bits, new.bits, old.bytes))
    return pairs
