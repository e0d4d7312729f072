"""Rules of the recipe as it is written: unknown names, what components refuse, text held out by one source
only.
"""

from __future__ import annotations

from collections.abc import Iterator

from codemix.errors import did_you_mean
from codemix.recipe.language import schema
from codemix.recipe.language.finding import Finding, finding
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.language.quantities import exact_share
from codemix.recipe.language.source_graph import SourceGraph, components, names_in
from codemix.recipe.planning.mixture import unknown_source


def findings(recipe: schema.Recipe) -> Iterator[Finding]:
    """What breaks any of these rules."""
    yield from _duplicate_names(recipe)
    yield from _unknown_names(recipe)
    yield from _refusals(recipe)
    graph = SourceGraph(recipe)
    yield from _leaked_documents(recipe, graph)
    yield from _nothing_to_train_on(recipe, graph)
    yield from _nothing_to_score(recipe)


def _duplicate_names(recipe: schema.Recipe) -> Iterator[Finding]:
    """Two stages, or a group and a source, of one name."""
    names: set[str] = set()
    for i, stage in enumerate(recipe.stages):
        if stage.name in names:
            what = f"two stages are called `{stage.name}`"
            hint = f"rename one, for example `{stage.name}-2`"
            yield finding(("stages", i, "name"), "stage-twice", what, hint)
        names.add(stage.name)
    for name in sorted(recipe.groups.keys() & recipe.sources.keys()):
        what = f"`{name}` is both a group and a source"
        yield finding(("groups", name), "group-name", what, "rename the group", on_key=True)


def _unknown_names(recipe: schema.Recipe) -> Iterator[Finding]:
    """Names in `dedup` and in groups that no stage uses; those that a stage uses are judged there."""
    for i, dedup in enumerate(recipe.dedup):
        for j, name in enumerate(dedup.sources):
            if name in recipe.sources:
                continue
            what = f"there is no source `{name}`"
            hints = did_you_mean(name, recipe.sources)
            yield finding(("dedup", i, "sources", j), "unknown-source", what, *hints)
    known = recipe.sources.keys() | recipe.groups.keys()
    for group in recipe.groups.keys() - _names_used_by_stages(recipe):
        for name in names_in(recipe.groups[group]):
            if name not in known:
                yield unknown_source(recipe, name, ("groups", group, name), on_key=True)


def _names_used_by_stages(recipe: schema.Recipe) -> set[str]:
    names: set[str] = set()
    for stage in recipe.stages:
        names.update(names_in(stage.mixture))
        names.update(replacement.by for replacement in stage.replace)
    return names


def _refusals(recipe: schema.Recipe) -> Iterator[Finding]:
    """What components know about the recipe around them."""
    for at, component in components(recipe):
        for path, problem in component.check(recipe, at):
            yield Finding(path, problem)
    for name, source in recipe.sources.items():
        for i, op in enumerate(source.ops):
            refusal = op.refuses(source.tags)
            if refusal is not None:
                yield Finding(("sources", name, "ops", i), refusal)


def _leaked_documents(recipe: schema.Recipe, graph: SourceGraph) -> Iterator[Finding]:
    """Text held out by one source must not be trained on through another that reads the same."""
    first_reader: dict[str, str] = {}
    for name in graph.tokenized:
        root = recipe.sources[graph.root(name)]
        what_is_read = fingerprint(root.read)
        other = first_reader.setdefault(what_is_read, name)
        share = recipe.sources[name].held_out
        its_share = recipe.sources[other].held_out
        if share != its_share:
            what = f"`{name}` and `{other}` read the same documents but hold out different shares of them"
            larger = exact_share(max(share, its_share))
            hint = f"give both `held_out: {larger}`; documents are split by their hash, so equal shares agree"
            yield finding(("sources", name), "held-out-overlap", what, hint, on_key=True)


def _nothing_to_train_on(recipe: schema.Recipe, graph: SourceGraph) -> Iterator[Finding]:
    for name in sorted(graph.mixed):
        if recipe.sources[name].held_out == 1:
            what = f"`{name}` holds out all of its documents, so no stage can train on it"
            hint = "hold out a part, for example `held_out: 1%`"
            yield finding(("sources", name, "held_out"), "held-out-all", what, hint)


def _nothing_to_score(recipe: schema.Recipe) -> Iterator[Finding]:
    holds_out = any(source.held_out for source in recipe.sources.values())
    if recipe.evaluation.bits_per_byte and not holds_out:
        what = "no source holds out documents, so bits per byte cannot be scored"
        hint = "add `held_out: 1%` to the sources, or say `evaluation: {bits_per_byte: false}`"
        yield finding(("sources",), "nothing-held-out", what, hint, on_key=True)
