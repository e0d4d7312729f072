"""Rules of the recipe as it is written: names that lead nowhere, what components refuse, text held out by one source only."""

from __future__ import annotations

from collections.abc import Iterator

from codemix.errors import did_you_mean
from codemix.recipe.language import schema, source_graph
from codemix.recipe.language.finding import Finding, finding
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.language.quantities import exact_share
from codemix.recipe.planning.mixture import unknown_source


def findings(recipe: schema.Recipe) -> list[Finding]:
    """All of them."""
    return [*_names(recipe), *_components(recipe), *_held_out(recipe)]


def _names(recipe: schema.Recipe) -> Iterator[Finding]:
    """Names that stand twice or refer to nothing."""
    first: dict[str, int] = {}
    for i, stage in enumerate(recipe.stages):
        if stage.name in first:
            what, hint = f"two stages are called `{stage.name}`", f"rename one, for example `{stage.name}-2`"
            yield finding(("stages", i, "name"), "stage-twice", what, hint)
        first[stage.name] = i
    for name in sorted(set(recipe.groups) & set(recipe.sources)):
        yield finding(
            ("groups", name),
            "group-name",
            f"`{name}` is both a group and a source",
            "rename the group",
            on_key=True,
        )
    for i, dedup in enumerate(recipe.dedup):
        for j, name in enumerate(dedup.sources):
            if name not in recipe.sources:
                near = did_you_mean(name, recipe.sources)
                yield finding(
                    ("dedup", i, "sources", j), "unknown-source", f"there is no source `{name}`", *near
                )
    used = {name for stage in recipe.stages for name in source_graph.names_in(stage.mixture)} | {
        r.by for s in recipe.stages for r in s.replace
    }
    for group, mixture in recipe.groups.items():
        for name in source_graph.names_in(mixture):
            if (
                group not in used and name not in recipe.sources and name not in recipe.groups
            ):  # used groups are judged where they are used
                yield unknown_source(recipe, name, ("groups", group, name), on_key=True)


def _components(recipe: schema.Recipe) -> Iterator[Finding]:
    """What components know about the recipe around them: a component may define `check(recipe, at)`."""
    for at, component in source_graph.components(recipe):
        for path, problem in getattr(component, "check", lambda recipe, at: ())(recipe, at):
            yield Finding(path, problem)
    for name, source in recipe.sources.items():
        for i, op in enumerate(source.ops):
            if problem := op.refuses(source.tags):
                yield Finding(("sources", name, "ops", i), problem)


def _held_out(recipe: schema.Recipe) -> Iterator[Finding]:
    """Text held out by one source must not be trained on through another that reads the same."""
    by_read: dict[str, str] = {}
    graph = source_graph.SourceGraph(recipe)
    for name in graph.tokenized:
        source = recipe.sources[name]
        key = fingerprint(recipe.sources[graph.root(name)].read)
        other = by_read.setdefault(key, name)
        if other != name and recipe.sources[other].held_out != source.held_out:
            what = f"`{name}` and `{other}` read the same documents but hold out different shares of them"
            share = exact_share(max(source.held_out, recipe.sources[other].held_out))
            hint = f"give both `held_out: {share}`; documents are split by their hash, so equal shares agree"
            yield finding(("sources", name), "held-out-overlap", what, hint, on_key=True)
    for name in sorted(graph.mixed):
        if recipe.sources[name].held_out == 1:
            what, hint = (
                f"`{name}` holds out all of its documents, so no stage can train on it",
                "hold out a part, for example `held_out: 1%`",
            )
            yield finding(("sources", name, "held_out"), "held-out-all", what, hint)
    if recipe.evaluation.bits_per_byte and all(s.held_out == 0 for s in recipe.sources.values()):
        what = "no source holds out documents, so bits per byte cannot be scored"
        hint = "add `held_out: 1%` to the sources, or say `evaluation: {bits_per_byte: false}`"
        yield finding(("sources",), "nothing-held-out", what, hint, on_key=True)
