"""What is wrong with the sources that an op's model is trained on, by what the recipe says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from codemix.errors import Problem, did_you_mean
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.language.schema import Recipe
from codemix.recipe.language.source_graph import SourceGraph

OVERLAP = "classifier-overlap"
Placed = tuple[tuple, Problem]  # a path of the recipe, and what is wrong there


def problems(recipe: Recipe, at: tuple, classes: Mapping[str, tuple[str, ...]]) -> Iterator[Placed]:
    """Problems of the op at path `at`, whose model learns the classes from sources, each with its place."""
    graph = SourceGraph(recipe)
    judged = at[1]
    check = _Check(recipe, graph, judged, classes)
    for label, names in classes.items():
        for number, name in enumerate(names):
            problem = check.problem(label, name)
            if problem is None:
                continue
            place = (*at, label, number)
            yield place, problem


@dataclass(frozen=True)
class _Check:
    recipe: Recipe
    graph: SourceGraph
    judged: str  # the source that the op is in
    classes: Mapping[str, tuple[str, ...]]

    def problem(self, label: str, name: str) -> Problem | None:
        sources = self.recipe.sources
        if name not in sources:
            hints = did_you_mean(name, sources)
            return Problem(f"there is no source `{name}`", hints=hints, rule="unknown-source")
        if name == self.judged or self.judged in self.graph.ancestors(name):
            hint = f"read `{self.judged}` without this op, by a source of its own, and train on that one"
            return Problem(
                f"the model that judges `{self.judged}` would be trained on what it leaves of it",
                hints=(hint,),
                rule="source-cycle",
            )
        others = [other for other in self.classes if other != label and name in self.classes[other]]
        if others:
            return Problem(
                f"`{name}` is in the classes `{label}` and `{others[0]}`",
                hints=("leave it out of one of them",),
                rule="classifier-classes",
            )
        if self._read(name) == self._read(self.judged):
            return Problem(
                f"`{name}` trains the class `{label}` with documents that this op judges too",
                hints=("their scores are sharper than those of others; `silence:` it if you mean it",),
                rule=OVERLAP,
                severity="warning",
            )
        return None

    def _read(self, name: str) -> str:
        """What a source reads in the end, as a fingerprint."""
        root = self.graph.root(name)
        return fingerprint(self.recipe.sources[root].read)
