"""Documents as two evaluations scored them, and how much of the difference is noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codemix.eval import stats
from codemix.eval.pages.facts import of_family
from codemix.eval.pages.results import Documents, EvalFacts
from codemix.recipe.language.tags import FAMILIES


@dataclass(frozen=True)
class DocumentPair:
    """The bits of one document on both sides, and its bytes."""

    reference: float
    value: float
    bytes: int


def bootstrap(pairs: Sequence[DocumentPair]) -> stats.Difference:
    """The change of bits per byte from the reference, with an interval over the documents."""
    references = []
    values = []
    sizes = []
    for pair in pairs:
        references.append(pair.reference)
        values.append(pair.value)
        sizes.append(pair.bytes)
    return stats.paired_bootstrap((references, sizes), (values, sizes))


def family_moves(
    first: EvalFacts, last: EvalFacts, families: Mapping[str, str]
) -> dict[str, stats.Difference]:
    """The change of each family's bits per byte between two evaluations, with an interval over documents."""
    before = first.documents()
    after = last.documents()
    common = sorted(set(before) & set(after))
    moves: dict[str, stats.Difference] = {}
    for family in FAMILIES:
        pairs = []
        for source in of_family(family, common, families):
            pairs += _pairs(before, after, source)
        if len(pairs) > 1:
            moves[family] = bootstrap(pairs)
    return moves


def _pairs(before: Documents, after: Documents, source: str) -> list[DocumentPair]:
    """The documents of a source that both sides scored alike."""
    old_scores = before[source]
    new_scores = after[source]
    common = set(old_scores) & set(new_scores)
    pairs = []
    for name in sorted(common):
        old = old_scores[name]
        new = new_scores[name]
        if old.bytes == new.bytes and old.bytes > 0:
            pairs.append(DocumentPair(old.bits, new.bits, old.bytes))
    return pairs
