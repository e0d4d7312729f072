"""Commands that search for a mixture: import, fit, propose, decide, ladder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    ChipOption,
    DataRootOption,
    JsonOption,
    MarkdownOption,
    MfuOption,
    WriteOption,
    count_of,
    print_json,
    write_page,
)
from codemix.cli.over_buckets import over_buckets

if TYPE_CHECKING:
    from codemix.eval.pages.page import Page

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Propose a mixture from the scores of small runs.",
)
SpaceArg = Annotated[Path, typer.Argument(help="The study with `mix:`, a YAML file.", show_default=False)]
EvidenceArg = Annotated[list[Path], typer.Argument(help="Files of evidence, JSON lines.", show_default=False)]
OwnEvidenceArg = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Files of evidence; default the study's own points in the store.", show_default=False
    ),
]
MetricsOption = Annotated[
    list[str], typer.Option("--metrics", help="Metrics to fit, or patterns; repeat the option for more.")
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", help="Write a page: shares, gains, effects, trade-off, surface.")
]


@group.command("import")
def import_(
    mixtures: Annotated[Path, typer.Argument(help="CSV of shares by run.", show_default=False)],
    metrics: Annotated[Path, typer.Argument(help="CSV of losses by run.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file of evidence to write.")],
    stage: Annotated[str, typer.Option("--stage", help="The stage that had the shares.")] = "pretrain",
    parameters: Annotated[
        str | None, typer.Option("--parameters", help="Of the runs' model, such as 60M.")
    ] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", help="That each run read, such as 1B.")] = None,
) -> None:
    """Turn the tables of RegMix or Olmix into rows of evidence.

    Two CSV files, joined by run.
    """
    from codemix.eval.evidence.layouts import RunSize, read_tables
    from codemix.eval.evidence.rows import write_rows

    size = RunSize(
        parameters=count_of("--parameters", parameters),
        tokens=count_of("--tokens", tokens),
    )
    imported = read_tables(mixtures, metrics, stage, size)
    write_rows(output, imported.rows)
    for note in imported.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{len(imported.rows)} rows in {output}")


@group.command("swarm")
def swarm(
    space: SpaceArg,
    chip: ChipOption = "v5e",
    mfu: MfuOption = 0.4,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """Show the points that `study run` would train, and their cost."""
    from codemix.recipe.studies.mix_space import mix_space
    from codemix.recipe.studies.stage_tree import tree
    from codemix.recipe.studies.study import check, load_study
    from codemix.recipe.studies.swarm import draw_swarm

    study = load_study(space)
    drawn = draw_swarm(mix_space(study))
    plans = check(study).require()
    stages = tree(plans, chip=chip, mfu=mfu)
    if json:
        return print_json(drawn.as_json() | {"cost": stages.notes()})
    shown = drawn.table()
    shown.notes += stages.notes()
    return print(shown.markdown()) if markdown else shown.print()


@group.command("rows")
@over_buckets("catalog")
def rows(
    study: SpaceArg,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file of evidence to write.")],
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
) -> None:
    """Write the evidence of a study's points as a file.

    Of those that are trained and scored in the store; to keep, or to share.
    """
    from codemix.eval.evidence.rows import write_rows
    from codemix.eval.mix.collect import rows_of_study

    collected = rows_of_study(study, store, data_root)
    write_rows(output, collected.rows)
    for note in collected.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{len(collected.rows)} rows in {output}")


@group.command("fit")
def fit(
    evidence: EvidenceArg,
    metrics: MetricsOption = ["*"],  # noqa: B006 - typer copies it
    trees: Annotated[
        bool, typer.Option("--trees", help="Compare with boosted trees; needs codemix[lightgbm].")
    ] = False,
    html: HtmlOption = None,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """Fit a law to runs, and say how well it orders others.

    The law is `c + exp(t.w)`, metric by metric; it is tested on runs that it was not fitted on.
    """
    from codemix.eval.evidence.fitness import caveats
    from codemix.eval.evidence.rows import read_rows
    from codemix.eval.evidence.tabulation import table, varied
    from codemix.eval.mix.quality import k_fold, quality_table

    rows = read_rows(evidence)
    fitted = table(rows, varied(rows), metrics)
    quality = k_fold(fitted)
    notes = caveats(fitted)
    ranks = None
    if trees:
        from codemix.eval.mix.boosted_trees import tree_ranks

        ranks = tree_ranks(fitted)
    if json:
        return print_json(
            {"runs": len(rows), "quality": [vars(q) for q in quality], "trees": ranks, "notes": notes}
        )
    if html or markdown:
        from codemix.eval.mix.page import fit_page

        title = ", ".join(path.stem for path in evidence)
        _write_page(fit_page(fitted, quality, notes, title, ranks), html, markdown)
    if not markdown:
        quality_table(quality, notes, ranks).print()
    return None


def _write_page(page: Page, html: Path | None, markdown: bool) -> None:
    """A page as a file, and as Markdown on standard output, where they were asked for."""
    if html is not None:
        write_page(page, html)
    if markdown:
        from codemix.eval.pages import rendering

        print(rendering.markdown(page))


@group.command("propose")
@over_buckets("catalog")
def propose(
    space: SpaceArg,
    evidence: OwnEvidenceArg = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the proposed recipe, for `diff` and `run`.")
    ] = None,
    write: WriteOption = None,
    proxies: Annotated[
        Path | None,
        typer.Option(
            "--proxies", help="Losses of one model for each domain, for MixMin as a second opinion."
        ),
    ] = None,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    html: HtmlOption = None,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """Propose the best mixture by the evidence.

    Within caps and limits, with what the runs leave open.
    """
    from codemix.eval.mix.collect import collect
    from codemix.eval.mix.search import search
    from codemix.recipe.studies.mix_space import mix_space
    from codemix.recipe.studies.study import load_study, write_recipe

    study = load_study(space)
    output = output or write
    name = output.stem if output else f"{study.name}-proposed"
    collected = collect(evidence or [], space, store, data_root)
    for note in collected.notes:
        print(f"note: {note}", file=sys.stderr)
    answer = search(mix_space(study), collected.rows, store, data_root, name, proxies=proxies)
    if output:
        header = f"# The mixture that `codemix mix propose` found best for `{study.name}`.\n"
        write_recipe(study, answer.recipe, output, header)
    if html or markdown:
        from codemix.eval.mix.page import proposal_page

        _write_page(proposal_page(answer), html, markdown)
    if json:
        return print_json(answer.as_json())
    if markdown:
        return None
    for shown in answer.tables():
        shown.print()
    if output:
        print(f"written to {output}; see `codemix diff {study.folder / study.spec.base} {output}`")
    return None


@group.command("decide")
def decide(
    evidence: EvidenceArg,
    metrics: MetricsOption = ["*"],  # noqa: B006 - typer copies it
    json: JsonOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """Say what small runs tell of the order of large ones.

    What the seeds tell apart, and whether the order of candidates carries over.
    """
    from codemix.eval.decide.decision import decide as decided
    from codemix.eval.decide.outcomes import read_each
    from codemix.eval.decide.tables import decision_tables

    decision = decided(read_each(evidence), metrics)
    if json:
        return print_json(decision.as_json())
    for shown in decision_tables(decision):
        print(shown.markdown()) if markdown else shown.print()
    return None


@group.command("ladder")
def ladder(
    evidence: EvidenceArg,
    parameters: Annotated[
        str, typer.Option("--parameters", help="Of the larger model, such as 7B.", show_default=False)
    ],
    tokens: Annotated[
        str, typer.Option("--tokens", help="That it is to read, such as 4T.", show_default=False)
    ],
    metrics: MetricsOption = ["*"],  # noqa: B006 - typer copies it
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Mixture that gains are over; default the first.")
    ] = None,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """Predict a larger run from runs of several sizes.

    With intervals, and gains in compute.
    """
    from codemix.eval.decide.ladder import report
    from codemix.eval.decide.ladder_runs import Size
    from codemix.eval.decide.outcomes import read_each
    from codemix.eval.decide.tables import ladder_tables

    n = count_of("--parameters", parameters) or 0
    d = count_of("--tokens", tokens) or 0
    found = report(read_each(evidence), Size(n, d), metrics, baseline)
    if json:
        return print_json(found.as_json())
    for shown in ladder_tables(found):
        print(shown.markdown()) if markdown else shown.print()
    return None
