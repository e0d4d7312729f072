"""What an editor shows about the word under the cursor: tokens, epochs and shares of a source, a stage, the
documentation of a component or a key."""

from __future__ import annotations

from codemix.recipe.editor.names import named
from codemix.recipe.editor.open_file import OpenFile, Place
from codemix.recipe.editor.schema_at import described, shapes_at
from codemix.recipe.language import component
from codemix.recipe.language.quantities import show_share, show_tokens
from codemix.recipe.planning.plan import Plan, StagePlan, StageSource
from codemix.recipe.reference.pages import describe_kind
from codemix.tables import Table


def hover(file: OpenFile, place: Place, plan: Plan | None) -> str:
    """Markdown about a place, with the numbers of `plan`; nothing where there is nothing to say."""
    found = named(file, place)
    if found is not None and plan is not None:
        if found.kind == "source":
            return _source(plan, found.name)
        if found.kind == "stage":
            return _stage(plan, found.name)
    if file.document is None:
        return ""
    shapes = shapes_at(file.document.value, place.path)
    if place.path[-1:] == ("kind",):
        return _component(file, place)
    return described(shapes)


def _component(file: OpenFile, place: Place) -> str:
    """The page of the component whose `kind` is under the cursor."""
    assert file.document is not None
    value = file.document.value
    for part in place.path:
        value = value[part]
    holder = shapes_at(file.document.value, place.path[:-1])
    for family in component.FAMILIES:
        for shape in holder:
            is_of_family = shape.get("$ref") == f"#/$defs/{family}"
            if is_of_family and value in component.kinds(family):
                return describe_kind(family, value)
    return described(holder)


def _source(plan: Plan, name: str) -> str:
    source = plan.recipe.sources.get(name)
    if source is None:
        return ""
    size = "unknown until it is built" if source.tokens is None else show_tokens(source.tokens)
    lines = [f"**{name}**: one epoch is {size} tokens, at most {source.max_epochs:g} epochs", ""]
    table = Table("", ["stage", ">share", ">tokens", ">epochs so far"])
    for stage in plan.stages:
        for read in stage.sources:
            if read.source == name:
                table.rows.append(_reading(stage, read))
    lines.append(table.markdown() if table.rows else "no stage reads it")
    return "\n".join(lines)


def _reading(stage: StagePlan, read: StageSource) -> list[str]:
    tokens = read.windows * stage.seq_len
    epochs = read.epochs_after
    return [
        stage.name,
        show_share(read.share),
        show_tokens(tokens),
        "?" if epochs is None else f"{float(epochs):.3f}",
    ]


def _stage(plan: Plan, name: str) -> str:
    for stage in plan.stages:
        if stage.name != name or not stage.steps:
            continue
        first = stage.lr(0)
        last = stage.lr(stage.steps - 1)
        tokens = show_tokens(stage.tokens)
        size = f"{tokens} tokens in {stage.steps:,} steps"
        rates = f"learning rate {first:.2g} to {last:.2g}"
        return f"**{name}**: {size}, {rates}, fingerprint `{stage.fingerprint[:12]}`"
    return ""
