"""Commands that build data and show what was built: build-data, inspect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    DataRootOption,
    ExecutorOption,
    JsonOption,
    RecipeArg,
    WorkersOption,
    load,
    print_json,
    write_page,
)
from codemix.cli.over_buckets import over_buckets

if TYPE_CHECKING:
    from codemix.data.build.inventory import SourceState
    from codemix.tables import Table


@over_buckets("everything", writes=True)
def build_data(
    recipe: RecipeArg,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    workers: WorkersOption = 1,
    executor: ExecutorOption = "local",
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Build only this source; may be given several times.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Read, filter, deduplicate and tokenize what the store lacks."""
    from codemix.api import preflight
    from codemix.data.build.build import build
    from codemix.data.build.inventory import take_inventory
    from codemix.data.store.store import Store
    from codemix.recipe.checks import validation
    from codemix.recipe.language import recipe_file
    from codemix.recipe.language.finding import placed_in

    source = recipe_file.read_recipe(recipe)
    planned = validation.check(source).require()
    place = Store(store)
    preflight.before_building(source, planned, place, data_root, executor=executor, only=only or ())
    with placed_in(source.document):
        build(source.recipe, place, data_root=data_root, workers=workers, executor=executor, only=only)
    built = {}
    for name, state in take_inventory(source.recipe, place, data_root).items():
        if state.built and (not only or name in only):
            built[name] = state
    if json:
        return print_json({name: _as_json(state) for name, state in built.items()})
    return data_table(built, recipe).print()


def _as_json(state: SourceState) -> dict[str, Any]:
    content: dict[str, Any] = {"fingerprint": state.fingerprint, "funnel": state.funnel}
    if state.manifest:
        content["splits"] = state.manifest.splits
    return content


DATA_COLUMNS = [
    "source",
    ">read",
    ">kept",
    ">dropped",
    ">unreadable",
    ">train tokens",
    ">held out",
    ">bytes/token",
    "fingerprint",
]
MOST_REASONS = 4


def data_table(states: Mapping[str, SourceState], recipe: Path) -> Table:
    """Built sources: documents read, kept, dropped; tokens and bytes; and what dropped most."""
    from codemix.tables import Table

    table = Table("Data", DATA_COLUMNS)
    for name, state in states.items():
        fingerprint = (state.fingerprint or "")[:12]
        table.rows.append([name, *_document_counts(state), *_token_counts(state), fingerprint])
        reasons = _reasons_for_dropping(state)
        if reasons:
            table.notes.append(f"{name}: {reasons}")
        if state.manifest is None:
            readers = ", ".join(state.read_by)
            table.notes.append(f"{name}: documents only, for {readers}")
    if table.notes:
        table.notes.append(f"`codemix inspect {recipe}` shows samples of what was kept and dropped")
    return table


def _document_counts(state: SourceState) -> list[str]:
    """Read, kept, dropped, unreadable."""
    funnel = state.funnel
    dropped = sum(funnel["dropped"].values())
    counts = (funnel["read"], funnel["kept"], dropped, funnel["unreadable"])
    return [f"{count:,}" for count in counts]


def _token_counts(state: SourceState) -> list[str]:
    """Tokens to train on, tokens held out, bytes per token; empty for a source of documents only."""
    if state.manifest is None:
        return ["", "", ""]
    train = state.manifest.splits["train"]
    tokens = train["tokens"]
    held_out = state.manifest.tokens("held_out")
    bytes_per_token = f"{train['bytes'] / tokens:.2f}" if tokens else ""
    return [f"{tokens:,}", f"{held_out:,}", bytes_per_token]


def _reasons_for_dropping(state: SourceState) -> str:
    """What dropped most, with counts."""
    counts = Counter(state.funnel["dropped"])
    for reason, count in state.funnel["unreadable_by_reason"].items():
        counts[f"unreadable/{reason}"] = count
    shown = [f"{reason} {count:,}" for reason, count in counts.most_common(MOST_REASONS)]
    more = len(counts) - MOST_REASONS
    if more > 0:
        shown.append(f"{more} more reasons")
    return ", ".join(shown)


@over_buckets("everything")
def inspect(
    recipe: RecipeArg,
    source: Annotated[str | None, typer.Argument(help="One source; default all.")] = None,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=0,
            help="Kept and dropped documents to show for each reason: 2, on a page 20.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page: documents side by side, to search and order.")
    ] = None,
) -> None:
    """Show what each op kept and dropped, with samples."""
    from codemix.data.review.inspect import inspect as inspect_sources
    from codemix.data.review.inspect_view import render

    context = load(recipe, store, data_root)
    if samples is None:
        samples = 20 if html else 2
    found = inspect_sources(
        context.source.recipe, context.store, context.found, source=source, samples=samples
    )
    if html is not None:
        from codemix.eval.inspection.page import page

        write_page(page(context.source.recipe, found), html)
    if json or html is None:
        print_json(found) if json else render(found)
