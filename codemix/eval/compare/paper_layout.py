"""The section of a comparison in the layout of the paper's Table 2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from codemix.eval.compare import paper_numbers
from codemix.eval.compare.findings import Findings
from codemix.eval.compare.variants import Variant, VariantStage, is_cooldown
from codemix.eval.pages.page import Block, Cell, Mark, Note, PageTable, Section
from codemix.eval.pages.results import Average
from codemix.eval.pages.score_tables import mean_text
from codemix.recipe.language.quantities import show_tokens

AVERAGES = ("reasoning", "knowledge", "nl_avg", "code", "total_avg")  # in the order of the paper's columns
HEADINGS = (
    "variant",
    "recipe row",
    "text",
    "code",
    "Reason.",
    "Know.",
    "NL",
    "Code",
    "Total",
    "bits/byte text",
    "bits/byte code",
)
FIRST_STAGES = ("pre-training", "init")  # of the paper's rows: their tokens do not add to others


def paper_layout_section(findings: Findings) -> Section:
    """The paper's Table 2 from our numbers; what was not measured is a dash."""
    table = PageTable("Variants, stage by stage", HEADINGS, "llrrrrrrrrr", id="table-2")
    partial = _Partial()
    shows_paper = False
    for variant in findings.variants:
        for number, stage in enumerate(variant.stages):
            table.rows.append(_our_row(stage, number, partial))
            paper_row = _paper_row(variant, number) if findings.question.overlay_paper else None
            if paper_row is not None:
                table.rows.append(_paper_cells(paper_row))
                shows_paper = True
    table.notes.append(
        "Tokens are those read in the stage; "
        "a plus means that they come on top of the stages above. NL is the mean of Reason. and "
        "Know., Total of Reason., Know. and Code, as in the paper."
    )
    if not any(stage.averages(name) for v in findings.variants for stage in v.stages for name in AVERAGES):
        table.notes.append(
            "– : no tasks were scored. "
            "Small models are told apart by bits per byte long before any task score leaves chance."
        )
    if partial.exists:
        table.notes.append(f"* : a partial mean, not comparable with the paper's{partial.cause}.")
    blocks: list[Block] = [table]
    if shows_paper:
        origin = f"{paper_numbers.CITATION}, 470M parameters"
        text = f"Grey rows are the paper's own numbers ({origin}), not ours. {paper_numbers.NOISE}"
        blocks.append(Note("plain", text))
    return Section("table-2", "All numbers in the paper's layout", "", blocks)


@dataclass
class _Partial:
    """Averages over fewer tasks, or fewer examples, than the paper's."""

    exists: bool = False
    absent: set[str] = field(default_factory=set)

    def add(self, averages: Iterable[Average]) -> None:
        self.exists = True
        for average in averages:
            self.absent.update(average.absent)

    @property
    def cause(self) -> str:
        if not self.absent:
            return ": a `limit` cut tasks short"
        return f"; absent tasks: {', '.join(sorted(self.absent))}"


def _our_row(stage: VariantStage, number: int, partial: _Partial) -> list[Cell]:
    is_first = number == 0
    head: Cell = Mark(stage.variant.name, "strong") if is_first else ""
    sign = "" if is_first else "+"
    cells = [head, stage.name]
    for n in _tokens_read(stage).values():
        cells.append(f"{sign}{show_tokens(n)}" if n else "–")
    for name in AVERAGES:
        cells.append(_average_text(stage.averages(name), partial))
    for family in ("text", "code"):
        cells.append(mean_text(stage.family_bits(family)))
    return cells


def _tokens_read(stage: VariantStage) -> dict[str, int]:
    """Tokens of code, and of all that is not code."""
    tokens = {"text": 0, "code": 0}
    for source, use in stage.facts.sources.items():
        is_code = stage.variant.families[source] == "code"
        tokens["code" if is_code else "text"] += use.tokens
    return tokens


def _average_text(averages: Sequence[Average], partial: _Partial) -> str:
    """The mean over seeds; a star where it is partial."""
    text = mean_text([average.value for average in averages], digits=1)
    if not any(average.is_partial for average in averages):
        return text
    partial.add(averages)
    return text + "*"


def _paper_cells(row: paper_numbers.Row) -> list[Cell]:
    sign = "" if row.stage in FIRST_STAGES else "+"
    texts = [f"paper: {row.stage}"]
    for tokens in (row.text, row.code):
        texts.append("–" if tokens is None else f"{sign}{tokens}B")
    texts += [f"{score:.1f}" for score in row.scores]
    texts += ["–", "–"]  # bits per byte
    cells: list[Cell] = [""]
    cells += [Mark(text, "muted") for text in texts]
    return cells


def _paper_row(variant: Variant, number: int) -> paper_numbers.Row | None:
    """The row of the paper's Table 2 for one of our stages, when the run has the name of its variant.

    Stages are matched from the end: the last cooldown with the paper's, the stages before it with the rows
    before.
    """
    name = paper_numbers.paper_variant(variant.name) or paper_numbers.paper_variant(
        variant.first.facts.recipe
    )
    rows = [row for row in paper_numbers.TABLE_2 if row.variant == name]
    if not rows:
        return None
    numbers = range(len(variant.stages))
    cooldowns = [i for i in numbers if is_cooldown(variant.stages[i].facts)]
    others = [i for i in numbers if i not in cooldowns]
    *rows_before, cooldown_row = rows
    matched = dict(zip(reversed(others), reversed(rows_before), strict=False))
    if cooldowns:
        matched[cooldowns[-1]] = cooldown_row
    return matched.get(number)
