"""What makes runs less comparable than they look."""

from __future__ import annotations

from collections.abc import Sequence

from codemix.eval.compare.answer import listed
from codemix.eval.compare.variants import Variant
from codemix.eval.pages.facts import RunFacts
from codemix.eval.pages.page import Note


def caveats(variants: Sequence[Variant], logged: Sequence[Variant] = ()) -> list[Note]:
    """Notices for the head of the page, about variants that codemix trained and those with a log."""
    runs = [run.facts for variant in (*variants, *logged) for run in variant.runs]
    possible = [
        _unequal_ledgers(runs),
        _lengths(runs),
        _model_sizes(runs),
        _tokenizers(runs),
        _missing_records(variants),
    ]
    return [note for note in possible if note is not None]


def _unequal_ledgers(runs: Sequence[RunFacts]) -> Note | None:
    wrong = [
        f"`{facts.recipe}`/`{stage.name}`"
        for facts in runs
        for stage in facts.stages
        if stage.training.ledger_equal is False
    ]
    if not wrong:
        return None
    text = (
        f"These stages did not read what was planned: {', '.join(wrong)}. Nothing about them can be trusted."
    )
    return Note("bad", text)


def _lengths(runs: Sequence[RunFacts]) -> Note | None:
    lengths = {sum(stage.plan.tokens for stage in facts.stages) for facts in runs}
    if len(lengths) < 2:
        return None
    tokens = ", ".join(f"{length:,}" for length in sorted(lengths))
    return Note("warn", f"The runs differ in length: {tokens} tokens. More tokens help by themselves.")


def _model_sizes(runs: Sequence[RunFacts]) -> Note | None:
    if len({facts.model.parameters for facts in runs}) < 2:
        return None
    return Note("warn", "The runs differ in model size, so a difference need not come from the data.")


def _tokenizers(runs: Sequence[RunFacts]) -> Note | None:
    tokenizers = {source.tokenizer_sha256 for facts in runs for source in facts.sources.values()}
    if len(tokenizers) < 2:
        return None
    text = "The runs use different tokenizers. Bits per byte stay comparable; losses per token do not."
    return Note("warn", text)


def _missing_records(variants: Sequence[Variant]) -> Note | None:
    without = [variant.name for variant in variants if not all(variant.last.documents)]
    if not without:
        return None
    text = f"No per-document records for {listed(without)}, so there are no intervals, and nothing is called."
    return Note("warn", text)
