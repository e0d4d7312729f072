"""Commands about data: build it, check it, look at it, trace what a step read."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
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
from codemix.errors import EXIT_PROBLEM

TrainedByOption = Annotated[
    str,
    typer.Option(
        "--trained-by",
        help="Whose order: codemix, or megatron or olmo-core on the `export-data` of that format.",
    ),
]

if TYPE_CHECKING:
    from codemix.data.build.inventory import SourceState
    from codemix.data.workspace import Workspace
    from codemix.errors import Problem
    from codemix.recipe.lock import Lock
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
def verify(
    recipe: Annotated[
        Path | None,
        typer.Argument(help="A recipe; without one, all that is finished in the store.", show_default=False),
    ] = None,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
) -> int:
    """Check every finished file against its recorded digest.

    With a recipe: its data, what that was made from, and the stages, scores and reports that were made of it;
    shards also against <recipe>.lock, where there is one. With a lock the inputs need not be there any more: it
    knows which shards to expect.
    """
    from codemix.data.remote.needed import fingerprints_of
    from codemix.data.review import lock_check
    from codemix.data.review.verify import verify as verify_folders
    from codemix.data.store.finished import finished, related

    notes: list[str] = []
    if recipe is None:
        done = verify_folders(finished(store))
        problems = list(done.problems)
    else:
        workspace = load(recipe, store, data_root)
        lock = _lock_beside(recipe)
        if lock is None:
            workspace.manifests  # noqa: B018 - refuses an unbuilt source
        done = verify_folders(related(store, fingerprints_of(workspace)))
        problems = list(done.problems)
        if lock is not None:
            problems += lock_check.check(lock, workspace.store, digests=done.measured)
            notes += _not_looked_up(workspace)
    if done.unlisted:
        which = _first_few(done.unlisted, 5)
        notes.append(
            f"finished before codemix kept digests, so only what their manifests say was checked: {which}"
        )
    if json:
        shown = [problem.as_json() for problem in problems]
        print_json({"checked": dict(done.checked), "problems": shown, "notes": notes})
    else:
        _show_checked(recipe or store, done.checked, problems, notes)
    return EXIT_PROBLEM if problems else 0


def _show_checked(
    what: Path, checked: Mapping[str, int], problems: Sequence[Problem], notes: Sequence[str]
) -> None:
    for problem in problems:
        print(problem.render() + "\n", file=sys.stderr)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    counts = [f"{kind} {count:,}" for kind, count in checked.items()]
    by_kind = ", ".join(counts) or "none is finished"
    outputs = sum(checked.values())
    print(f"{what}: {outputs:,} outputs checked ({by_kind}), {len(problems):,} problems")


def _lock_beside(recipe: Path) -> Lock | None:
    from codemix.recipe import lock

    path = recipe.with_suffix(".lock")
    return lock.read(path) if path.exists() else None


def _not_looked_up(workspace: Workspace) -> list[str]:
    from codemix.data.build.inventory import NOT_HERE

    notes = []
    for name, state in workspace.found.items():
        if state.fingerprint is None:
            notes.append(f"`{name}` was not looked up by its inputs: {state.reason}")
        elif state.reason == NOT_HERE:
            notes.append(f"`{name}` was looked up by what the store says of its inputs: they are not here")
    return notes


def _first_few(names: Sequence[str], most: int) -> str:
    shown = ", ".join(names[:most])
    if len(names) > most:
        shown += f" and {len(names) - most:,} more"
    return shown


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


@over_buckets("training")
def show(
    recipe: RecipeArg,
    step: Annotated[
        int,
        typer.Option(
            "--step",
            min=0,
            help="Step of the run, from 0, counted over its stages; a line of metrics with run_step N was written "
            "after step N - 1.",
            show_default=False,
        ),
    ],
    stage: Annotated[
        str | None, typer.Option("--stage", help="Which stage, where several have that step.")
    ] = None,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    trained_by: TrainedByOption = "codemix",
    json: JsonOption = False,
) -> None:
    """List the documents that one training step reads."""
    from codemix.data.review.step_trace import show as show_step
    from codemix.tables import Table

    context = load(recipe, store, data_root)
    if trained_by != "codemix":
        from codemix.data.review import trainer_trace

        found = trainer_trace.show(context.plan, step, context.manifests, trained_by=trained_by, stage=stage)
        return print_json(found) if json else _samples_table(step, found, trained_by).print()
    rows = show_step(context.plan, step, context.manifests, stage=stage)
    if json:
        return print_json(rows)
    table = Table(f"Step {step:,}", [">row", "source", ">epoch", ">window", "shard", ">offset", "documents"])
    for r in rows:
        named = [f"{d['id']}{_licences(d.get('licence'))}" for d in r["documents"]]
        table.rows.append(
            [
                str(r["row"]),
                r["source"],
                str(r["epoch"]),
                f"{r['window']:,}",
                Path(r["shard"]).name,
                f"{r['offset']:,}",
                "\n".join(named),
            ]
        )
    return table.print()


def _samples_table(step: int, rows: Sequence[Mapping[str, Any]], trained_by: str) -> Table:
    from codemix.tables import Table

    table = Table(f"Step {step:,} of {trained_by}", [">row", "source", ">sample", "documents"])
    for row in rows:
        named = [f"{d['id']}{_licences(d.get('licence'))}" for d in row["documents"]]
        documents = "\n".join(named)
        sample = f"{row['sample']:,}"
        cells = [str(row["row"]), row["source"], sample, documents]
        table.rows.append(cells)
    return table


def _licences(licence: str | list[str] | None) -> str:
    if not licence:
        return ""
    names = licence if isinstance(licence, list) else [licence]
    shown = ", ".join(map(str, names))
    return f" [{shown}]"


@over_buckets("training")
def seen(
    recipe: RecipeArg,
    document: Annotated[
        str, typer.Argument(help="A document's id, as `codemix show` prints it.", show_default=False)
    ],
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    trained_by: TrainedByOption = "codemix",
    stage: Annotated[
        str | None,
        typer.Option("--stage", help="Which stage another trainer trained, where there are several."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the training steps that read a document."""
    from codemix.data.review.document_trace import seen as find_steps
    from codemix.tables import Table

    context = load(recipe, store, data_root)
    if trained_by == "codemix":
        traced = find_steps(context.plan, context.manifests, document)
    else:
        from codemix.data.review import trainer_trace

        traced = trainer_trace.seen(
            context.plan, context.manifests, document, trained_by=trained_by, stage=stage
        )
    if json:
        return print_json({"places": traced.places, "reads": traced.reads})
    for place in traced.places:
        split = f"{place['source']} ({place['split']})"
        print(f"{document}: {place['tokens']:,} tokens in {split}, {place['shard']}")
    if not traced.reads:
        held_out = all(place["split"] == "held_out" for place in traced.places)
        return print("no step reads it: it is held out" if held_out else "no step reads it")
    units = ["epoch", "window"] if trained_by == "codemix" else ["sample"]
    numbers = [f">{unit}" for unit in [*units, "from", "to"]]
    table = Table("", [">step", "stage", ">row", "source", *numbers])
    for read in traced.reads:
        step = read.get("run_step", read["step"])
        cells = [f"{step:,}", read["stage"], str(read["row"]), read["source"]]
        cells += [f"{read[unit]:,}" for unit in [*units, "from", "to"]]
        table.rows.append(cells)
    return table.print()


@over_buckets("everything")
def why(
    recipe: RecipeArg,
    document: Annotated[
        str,
        typer.Argument(
            help="A document's id: `<input>#<row>`, or what the source's `id:` names.", show_default=False
        ),
    ],
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
) -> None:
    """Tell what became of a document: kept, or dropped by which op.

    A document that was read and is not in the store is read again from the inputs, and goes through the
    source's ops again.
    """
    from codemix.data.review import why as fates
    from codemix.data.review.inspect_view import plain

    context = load(recipe, store, data_root)
    fates_found = fates.why(context.source.recipe, context.store, context.found, data_root, document)
    if json:
        return print_json([fate.as_json() for fate in fates_found])
    for fate in fates_found:
        print(plain(fates.sentence(fate)))
    return None
