"""Which share of each source's documents is trained on, and which share is read at all.

`subsample:` is taken last: the held-out documents, the tokenizer, the models and the duplicates of a subsampled
source are those of the whole, and 1/16 of what is left is 1/16 whatever dedup removes (data/build/sample_cut.py).
What nobody needs is not read: where a large source holds nothing out, is in no `dedup:`, ranks nothing and trains
nothing, the sample is taken at reading. A source that only others read is read as far as they need, and never
beyond its own share.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from fractions import Fraction

from codemix.recipe.language.schema import Recipe
from codemix.recipe.language.source_graph import SourceGraph

ALL = Fraction(1)
READ_WHOLE = 2**30  # of inputs [bytes]: of fewer, a share of the documents may be far from that of the text


def trained_share(graph: SourceGraph, name: str) -> Fraction:
    """The share of a source's documents that is trained on: the least of its own and of those that it reads.

    A document's place in every sample is the same, so the least is what all of them hold.
    """
    sources = graph.recipe.sources
    chain = graph.chain(name)
    shares = [sources[read].subsample for read in chain]
    return min(shares)


def subsampled(recipe: Recipe) -> dict[str, Fraction]:
    """The sources that are trained on in part, each with its share."""
    graph = SourceGraph(recipe)
    shares = {}
    for name in graph.tokenized:
        share = trained_share(graph, name)
        if share != ALL:
            shares[name] = share
    return shares


@dataclass(frozen=True)
class ReadShares:
    """The share of each source's documents that its ops see; the rest is not read, and counted so."""

    of_large: dict[str, Fraction]
    of_small: dict[str, Fraction]

    def of(self, name: str, input_bytes: int) -> Fraction:
        """`input_bytes`: of what the source reads, or the source whose documents it reads."""
        shares = self.of_small if input_bytes < READ_WHOLE else self.of_large
        return shares[name]


def read_shares(graph: SourceGraph) -> ReadShares:
    needed_whole = set(_needed_whole(graph))
    return ReadShares(
        of_large=_read_shares(graph, needed_whole),
        of_small=_read_shares(graph, set(graph.tokenized) | needed_whole),
    )


def _read_shares(graph: SourceGraph, needed_whole: Set[str]) -> dict[str, Fraction]:
    shares = dict.fromkeys(graph.recipe.sources, ALL)
    for name in reversed(graph.in_order):  # who reads a source comes before it
        readers = graph.readers.get(name, [])
        wanted = [shares[reader] for reader in readers]
        if name in graph.tokenized:
            wanted.append(trained_share(graph, name))
        if name in needed_whole:
            wanted.append(ALL)
        shares[name] = max(wanted)
        if name not in graph.tokenized:
            shares[name] = min(shares[name], graph.recipe.sources[name].subsample)
    return shares


def _needed_whole(graph: SourceGraph) -> Iterator[str]:
    """The sources of which something besides training needs every document."""
    recipe = graph.recipe
    yield from graph.tokenizer_shares
    for entry in recipe.dedup:
        yield from entry.sources
    for name, source in recipe.sources.items():
        trainers = set(graph.parents(name)) - {source.read.origin}
        yield from trainers
        is_ranked = any(op.is_ranked for op in source.ops)
        if source.held_out or is_ranked:
            yield name
