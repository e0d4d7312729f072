"""The documents of another source of the recipe, as its ops left them, for further ops.

The other source reads and filters once. A changed threshold here runs the ops listed here, over documents in
the store, and opens no input. So two sources can divide one raw set, by quality for example. A source that is
only read by others becomes no tokens; held-out documents and `dedup:` belong to the sources that are trained
on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document
from codemix.data.inputs.frozen_inputs import Part
from codemix.data.inputs.opener import Opener
from codemix.data.interfaces import DocumentReader
from codemix.data.store.jsonl_zst import read_lines
from codemix.errors import Problem, did_you_mean
from codemix.recipe.language.schema import Name
from codemix.recipe.language.source_graph import SourceGraph

if TYPE_CHECKING:
    from codemix.recipe.language.schema import Recipe


class OtherSource(DocumentReader):
    """The documents of another source of this recipe, as its ops left them."""

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset()  # here the name decides what is read
    kind: Literal["source"] = "source"
    name: Name = Field(description="the other source")
    EXAMPLES: ClassVar = ({"kind": "source", "name": "stack"},)

    @property
    def origin(self) -> str:
        return self.name

    def inputs(self, root: Path) -> list[str]:
        return []  # what it reads is in the store, and has an identity of its own

    def read(self, part: Part, opener: Opener) -> Iterator[Document]:
        path = opener.root / part.input.path
        for row in read_lines(path):
            text = row["text"]
            yield Document(row["id"], text, row["meta"])

    def check(self, recipe: Recipe, at: tuple) -> Iterator[tuple[tuple, Problem]]:
        """What is wrong with reading that source in this recipe, each problem with its place."""
        own, other = at[1], self.name
        if other not in recipe.sources:
            yield (
                (*at, "name"),
                Problem(
                    f"there is no source `{other}`",
                    hints=did_you_mean(other, recipe.sources),
                    rule="unknown-source",
                ),
            )
            return
        graph = SourceGraph(recipe)
        chain = graph.chain(other)
        if own in chain:
            circle = " reads ".join(f"`{n}`" for n in [own, *chain[: chain.index(own) + 1]])
            yield (
                (*at, "name"),
                Problem(
                    f"sources read each other in a circle: {circle}",
                    hints=("one of them must read files",),
                    rule="source-cycle",
                ),
            )
            return
        if other in graph.tokenized:
            return
        named = ", ".join(f"`{n}`" for n in graph.readers[other])
        if recipe.sources[other].held_out:
            yield (
                ("sources", other, "held_out"),
                Problem(
                    f"`{other}` is only read by other sources and never trained on, so it holds nothing out",
                    hints=(f"move `held_out:` to {named}",),
                    rule="held-out-unused",
                ),
            )
        for i, entry in enumerate(recipe.dedup):
            if other in entry.sources:
                yield (
                    ("dedup", i, "sources", entry.sources.index(other)),
                    Problem(
                        f"`{other}` is only read by other sources and never trained on, "
                        "so dedup changes nothing there",
                        hints=(f"name {named} instead",),
                        rule="dedup-unused",
                    ),
                )
