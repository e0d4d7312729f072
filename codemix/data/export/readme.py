"""The README of an export: what is in the folder, and what it keeps of the recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codemix.data.export.export import Export
from codemix.data.export.formats import Format, StageMixture
from codemix.data.export.token_sets import TokenSet
from codemix.data.export.trainer_order import ORDERS
from codemix.recipe.planning.plan import StagePlan


def readme(export: Export) -> str:
    """Markdown."""
    parts = [
        f"# {export.recipe}, for {export.format.reader}",
        "Written by `codemix export-data`. `SHA256SUMS` covers every file (`sha256sum -c SHA256SUMS`); files may be "
        "one with those of the store, so do not edit them. `tokenizer.json` is the tokenizer of the tokens; each "
        "document ends with its end-of-text token.",
        "## What is here",
        _set_table(export.sets),
        "## What it keeps of the recipe",
    ]
    if export.materialized is None:
        parts += _about_shares(export.format, export.mixtures)
    else:
        parts += _about_rows(export.format, export.materialized)
    return "\n\n".join(parts) + "\n"


def _set_table(sets: Sequence[TokenSet]) -> str:
    lines = ["| set | sequences | tokens |", "| --- | ---: | ---: |"]
    for tokens in sets:
        lines.append(f"| `{tokens.name}` | {tokens.sequences:,} | {tokens.tokens:,} |")
    return "\n".join(lines)


def _about_shares(format: Format, mixtures: Sequence[StageMixture]) -> Iterator[str]:
    yield (
        "**The shares, not the order.** Each stage has a file of weights: the recipe's planned shares after all "
        "rounding. Which windows a step reads is decided by the trainer's own shuffling. "
        f"{_what_can_be_asked(format)} For the recipe's own order read the stage from codemix, or export it with "
        "`--materialize`."
    )
    lines = [
        "| stage | tokens | steps | source | weight | epochs |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for mixture in mixtures:
        for source, share in mixture.shares.items():
            epochs = f"{mixture.epochs[source]:.3g}"
            lines.append(
                f"| `{mixture.stage}` | {mixture.tokens:,} | {mixture.steps:,} | `{source}` | {share} | {epochs} |"
            )
    yield "\n".join(lines)
    yield (
        "A share that changes inside a stage is given as its mean, and a batch size that grows is left out. A later "
        "stage begins each source again, where codemix would continue after what earlier stages have read."
    )


def _what_can_be_asked(format: Format) -> str:
    if format.name in ORDERS:
        return (
            "It follows from the settings in this folder, so where they are unchanged `codemix show` and `codemix "
            f"seen` answer for a run on these files with `--trained-by {format.name}`."
        )
    return "So `codemix show` and `codemix seen` say nothing about a run on these files."


def _about_rows(format: Format, stage: StagePlan) -> Iterator[str]:
    yield (
        f"**The order.** `rows/{stage.name}` holds the {stage.rows:,} rows of stage `{stage.name}` in the order in "
        f"which codemix trains on them, {stage.seq_len + 1:,} tokens each: {stage.seq_len:,} inputs and the last "
        f"target. {format.order_note[0].upper()}{format.order_note[1:]}."
    )
    yield "Steps are consecutive rows:"
    lines = ["| from step | rows per step |", "| ---: | ---: |"]
    for stretch in stage.batches:
        lines.append(f"| {stretch.first_step:,} | {stretch.size:,} |")
    yield "\n".join(lines)
    if stage.doc_mask == "segment" or stage.reset_positions:
        yield (
            "The recipe masks attention between documents or restarts positions at them; both follow from the "
            "end-of-text tokens inside a row, and are left to the trainer."
        )
