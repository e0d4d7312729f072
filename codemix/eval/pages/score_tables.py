"""The tables of scores, most trusted first; the terminal, a report and a comparison show the same ones.

Bits per byte of held-out text, then of the right answers, then accuracy centred on chance, then what is
generated, then the paper's averages. How much of a text training had read is shown beside its score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from codemix.eval.pages.page import Cell, Mark, PageTable, percent
from codemix.eval.pages.results import Average, EvalFacts, TaskScore

Columns = Mapping[str, Sequence[EvalFacts]]  # heading -> evaluations, one per seed
Call = Callable[[str, str, str], str]  # (measure, task, heading) -> a key of CALL_MARKS
AVERAGES = {
    "reasoning": "Reasoning (11 tasks)",
    "knowledge": "Knowledge (2)",
    "nl_avg": "NL avg",
    "code": "Code (2)",
    "total_avg": "Total avg",
}
CALL_MARKS = {  # verdict -> tone of the cell, word after the number; "" where nothing is compared
    "better": Mark(" better", "good"),
    "worse": Mark(" worse", "bad"),
    "no call": Mark("", "muted"),
    "": Mark(""),
}
OVERLAP_NOTE = "Overlap: share of the texts with a run of about 50 bytes that training had read too."


def no_call(measure: str, task: str, heading: str) -> str:
    """The call where nothing is compared."""
    return ""


def task_tables(columns: Columns, call: Call = no_call, calls: str = "") -> list[PageTable]:
    """Right answers, accuracy, generation, averages: the tables that have rows. `calls` explains `call`."""
    results = [result for seeds in columns.values() for result in seeds]
    names = sorted({name for result in results for name in result.tasks})
    rows = [_TaskRow(name, columns, call) for name in names]
    guessed = [row for row in rows if row.chance is not None]
    written = [row for row in rows if row.chance is None]
    tables = [
        _gold_table(rows, columns),
        _centred_table(guessed, columns),
        _plain_table(guessed, columns),
        _written_table(written, columns),
    ]
    shown = [table for table in tables if table.rows]
    if shown:
        shown[0].notes.append(OVERLAP_NOTE)
        if calls:
            shown[0].notes.append(calls)
    averages = _averages_table(columns)
    return [*shown, averages] if averages.rows else shown


class _TaskRow:
    """One task under every heading."""

    def __init__(self, name: str, columns: Columns, call: Call):
        self.name = name
        self._columns = columns
        self._call = call
        self.seeds = {
            heading: [result.tasks[name] for result in results if name in result.tasks]
            for heading, results in columns.items()
        }
        scored = [scores for scores in self.seeds.values() if scores]
        self.shown: TaskScore = scored[-1][0]
        self.chance = self.shown.chance
        every_score = [score for scores in scored for score in scores]
        self.overlap = percent(largest_overlap(score.overlap for score in every_score))

    def gold_cells(self) -> list[Cell]:
        """Bits per byte of the right answers."""
        cells = []
        for heading, scores in self.seeds.items():
            text = mean_text(score.gold_bits_per_byte for score in scores)
            cells.append(self._marked("gold", heading, text))
        return cells

    def score_cells(self) -> list[Cell]:
        """Scores [%], centred on chance where there is a chance level."""
        return [
            self._marked("score", heading, _score_text(scores, self.chance))
            for heading, scores in self.seeds.items()
        ]

    def plain_cells(self) -> list[Cell]:
        """Scores [%] that are not centred."""
        return [_score_text(scores) for scores in self.seeds.values()]

    def _marked(self, measure: str, heading: str, text: str) -> Cell:
        """A cell whose tone and last word say what may be called."""
        mark = CALL_MARKS[self._call(measure, self.name, heading)]
        if not mark.tone or text == "–":
            return text
        return Mark(text + mark.text, mark.tone)


def _gold_table(rows: Sequence[_TaskRow], columns: Columns) -> PageTable:
    table = PageTable(
        "Bits per byte of the right answers",
        ["task", "examples", "overlap", *columns],
        "lrr" + "r" * len(columns),
        id="gold",
    )
    for row in rows:
        table.rows.append([row.name, f"{row.shown.n:,}", row.overlap, *row.gold_cells()])
    table.notes.append(
        "Lower is better. It moves long before accuracy leaves chance, so it ranks small models best."
    )
    return table


def _centred_table(rows: Sequence[_TaskRow], columns: Columns) -> PageTable:
    headings = ["task", "overlap", *columns]
    table = PageTable("Accuracy centred on chance", headings, "lr" + "r" * len(columns), id="cloze")
    for row in rows:
        table.rows.append([row.name, row.overlap, *row.score_cells()])
    table.notes.append(
        "0 is guessing, 100 is perfect, ± one standard error over examples. "
        "Within two of them of 0 a score says nothing yet."
    )
    return table


def _plain_table(rows: Sequence[_TaskRow], columns: Columns) -> PageTable:
    headings = ["task", "chance", "constant", *columns]
    table = PageTable("Plain accuracy [%]", headings, "lrr" + "r" * len(columns), id="accuracy")
    for row in rows:
        table.rows.append([row.name, percent(row.chance), percent(row.shown.majority), *row.plain_cells()])
    table.notes.append(
        "Constant: what the best single answer to everything reaches, "
        "where all questions have the same choices."
    )
    return table


def _written_table(rows: Sequence[_TaskRow], columns: Columns) -> PageTable:
    headings = ["task", "measure", "overlap", *columns]
    align = "llr" + "r" * len(columns)
    table = PageTable("Generation [%]", headings, align, id="generation")
    tasks_by_isolation: dict[str, list[str]] = {}
    for row in rows:
        measure = row.shown.metric.replace("_", " ")
        table.rows.append([row.name, measure, row.overlap, *row.score_cells()])
        isolation = row.shown.isolation
        if isolation:
            tasks_by_isolation.setdefault(isolation, []).append(row.name)
    table.notes.append("± one standard error over examples; none where all of them score the same.")
    for isolation, tasks in tasks_by_isolation.items():
        names = ", ".join(tasks)
        table.notes.append(f"Programs of {names} ran in: {isolation}.")
    return table


def _averages_table(columns: Columns) -> PageTable:
    """The paper's averages; a partial one has a star and the tasks that it lacks."""
    headings = ["average", *columns, "absent tasks"]
    align = "l" + "r" * len(columns) + "l"
    table = PageTable("Averages as in the paper [%]", headings, align, id="averages")
    is_partial = False
    for key, label in AVERAGES.items():
        by_heading = [
            [result.averages[key] for result in results if key in result.averages]
            for results in columns.values()
        ]
        every_average = [average for averages in by_heading for average in averages]
        if every_average:
            absent = sorted({task for average in every_average for task in average.absent})
            cells = [_average_text(averages) for averages in by_heading]
            table.rows.append([label, *cells, ", ".join(absent) or "none"])
            is_partial |= any(average.is_partial for average in every_average)
    if is_partial:
        table.notes.append(
            "* : a partial mean, because tasks are absent or a `limit` cut them short; "
            "do not compare it with the paper's."
        )
    return table


def largest_overlap(overlaps: Iterable[float | None]) -> float | None:
    """The largest share of overlapping texts; None when none was measured."""
    measured = present(overlaps)
    return max(measured, default=None)


def present(values: Iterable[float | None]) -> list[float]:
    """The values that there are."""
    known = []
    for value in values:
        if value is not None:
            known.append(value)
    return known


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that there are; None where there are none."""
    known = present(values)
    if not known:
        return None
    return sum(known) / len(known)


def mean_text(values: Iterable[float | None], digits: int = 4) -> str:
    """The mean of what there is, a dash where there is nothing."""
    value = mean(values)
    if value is None:
        return "–"
    return f"{value:.{digits}f}"


def _score_text(seeds: Sequence[TaskScore], chance: float | None = None) -> str:
    """A score [%] with its standard error, the mean over seeds; centred where there is a chance level."""
    score = mean(seed.score for seed in seeds)
    if score is None:
        return "–"
    error = mean(seed.stderr for seed in seeds)
    if chance is None:
        return f"{score * 100:.1f}{_error_text(error)}"
    scale = 1 - chance
    centred = (score - chance) / scale
    sign_and_digits = f"{centred * 100:+.1f}".replace("-", "−")
    return sign_and_digits + _error_text(error, scale)


def _error_text(error: float | None, scale: float = 1) -> str:
    if not error:
        return ""
    percent_points = error / scale * 100
    return f" ± {percent_points:.1f}"


def _average_text(seeds: Sequence[Average]) -> str:
    value = mean(seed.value for seed in seeds)
    if value is None:
        return "–"
    error = mean(seed.stderr for seed in seeds)
    is_partial = any(seed.is_partial for seed in seeds)
    error_share = None if error is None else error / 100
    star = "*" if is_partial else ""
    return f"{value:.1f}{_error_text(error_share)}{star}"
