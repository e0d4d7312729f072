"""A review as one Markdown comment of a pull request, and as the longer summary of a step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from codemix.recipe.ci import markdown, mixture_bars
from codemix.recipe.ci.effects import MEANINGS, listed
from codemix.recipe.ci.review import Point, Review, Reviewed
from codemix.recipe.ci.review_tables import change, cost_rows, headline, one_line, phrases, why
from codemix.recipe.diffs.diff import Diff, Move
from codemix.recipe.diffs.diff_tables import sentences
from codemix.recipe.language.quantities import show_tokens

MARKER = "<!-- codemix ci -->"  # by which the comment is found and written again
COMMENT_BYTES = 65_000  # GitHub refuses 65,536 characters
ROOM_FOR_NOTES = 1000  # the lines that say what is left out [bytes]
ROWS_HEAD = ["| recipe | why | effects |", "| --- | --- | --- |"]
SUMMARY_BYTES = 1_000_000  # GitHub refuses 1 MiB a step


def comment(review: Review, room: int = COMMENT_BYTES) -> str:
    """The review in less than `room` bytes: first what is gravest, at last how much was left out."""
    head = _text([MARKER, "### Recipes in this change", "", f"{headline(review)}.", ""])
    if not review.files:
        return head
    costs = _text(_cost_lines(review))
    fixed_size = markdown.size(head + costs) + ROOM_FOR_NOTES
    broken = [file for file in review.files if file.failed]
    whole = [file for file in review.files if not file.failed]
    room -= fixed_size
    rows = markdown.fitting([_file_row(file) for file in review.files], room // 2)
    room -= rows.size
    problems = markdown.fitting([_problems(file) for file in broken], room)
    room -= problems.size
    details = markdown.fitting([_details(file) for file in whole], room)
    parts = [
        head,
        _text(ROWS_HEAD),
        _text(rows.pieces),
        _left_out(rows.left_out, "recipes"),
        "\n",
        _text(problems.pieces),
        _left_out(problems.left_out, "recipes' problems"),
        costs,
        _text(details.pieces),
        _left_out(details.left_out, "recipes' details"),
    ]
    return "".join(parts)


def summary(review: Review) -> str:
    """The same with room for more."""
    return comment(review, SUMMARY_BYTES)


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _left_out(n: int, what: str) -> str:
    if not n:
        return ""
    limit = "to stay below GitHub's limit"
    where = "the step's summary and `codemix ci` hold more"
    return f"\n**{n:,} {what} are left out here, {limit};** {where}.\n\n"


def _file_row(file: Reviewed) -> str:
    effects = "\n".join(phrases(file))
    path = markdown.code(one_line(file.path))
    return markdown.row([path, why(file), effects])


def _cost_lines(review: Review) -> Iterator[str]:
    yield "| of these recipes | before | after | change | to make anew |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for cells in cost_rows(review):
        yield markdown.row(cells)
    yield ""
    yield (
        f"Estimated at {review.after.mfu:.0%} of a {review.after.chip}'s peak and its list price; "
        "a stage that several recipes share counts once."
    )
    yield ""
    categories = dict.fromkeys(effect.category for effect in review.effects)
    for category in categories:
        yield f"- `{category}`: {MEANINGS[category]}"
    yield ""


def _problems(file: Reviewed) -> str:
    path = markdown.code(one_line(file.path))
    rendered = [problem.render() for problem in file.problems]
    listing = "\n\n".join(rendered)
    lines = [f"**{path} cannot be planned**", ""]
    lines += markdown.block(listing)
    lines.append("")
    return "\n".join(lines)


def _details(file: Reviewed) -> str:
    """What differs, point by point, folded up."""
    lines = [f"<details><summary>{_html(file.path)}</summary>", ""]
    for warning in file.problems:
        lines += [*markdown.block(warning.render()), ""]
    for point in file.points:
        lines += _point(point)
    lines.append("</details>\n")
    return "\n".join(lines)


def _html(path: str) -> str:
    """A name in HTML, where Markdown does not act inside <code>."""
    import html

    return f"<code>{html.escape(one_line(path))}</code>"


def _point(point: Point) -> list[str]:
    lines = [f"#### `{point.name}`", ""]
    lines += [f"- {effect.what}" for effect in point.effects]
    lines.append("")
    if point.changes is None or point.changes.empty:
        return lines
    lines += [f"- {sentence}" for sentence in sentences(point.changes)]
    lines.append("")
    lines += _settings(point.changes)
    if point.changes.moves and point.after is not None:
        lines += mixture_bars.bars(point.before, point.after)
        lines += _moves(point.changes.moves)
    return lines


def _settings(changes: Diff) -> list[str]:
    if not changes.settings:
        return []
    lines = ["| what changed | before | after | what it moves |", "| --- | --- | --- | --- |"]
    for setting in changes.settings:
        before, after = setting.values
        cells = [
            _value(setting.path),
            _value(before),
            _value(after),
            moved_by(setting.path, changes),
        ]
        lines.append(markdown.row(cells))
    return [*lines, ""]


def _value(value: str | None) -> str:
    return "-" if value is None else markdown.code(one_line(value))


def moved_by(path: str, changes: Diff) -> str:
    """What a setting has to do with: the data and the stages that are made again on its account."""
    sources = [change.source for change in changes.sources if all(change.exists)]
    stages = [change.stage for change in changes.stages if all(change.exists)]
    part = path.split(".")[0].split("[")[0]
    if part in ("evaluation", "max_epochs"):
        return _made_again([], [])
    if part in ("tokenizer", "dedup"):
        return _made_again(sources, stages)
    if part == "sources":
        own = _owning(path, "sources", sources)
        return _made_again(own or sources, stages)
    for owner in _owning(path, "stages", stages):
        first = stages.index(owner)
        stages = stages[first:]
    return _made_again([], stages)


def _owning(path: str, part: str, names: Sequence[str]) -> list[str]:
    """The source or stage that a setting is one of; names may hold dots."""
    owning = []
    for name in names:
        if path.startswith(f"{part}.{name}."):
            owning.append(name)
    return owning


def _made_again(sources: Sequence[str], stages: Sequence[str]) -> str:
    made = []
    if sources:
        made.append(f"rebuilds {listed(sources)}")
    if stages:
        made.append(f"retrains {listed(stages)}")
    return ", ".join(made) or "nothing is made again"


def _moves(moves: Sequence[Move]) -> list[str]:
    lines = [
        "| stage | source | tokens before | after | change | epochs before | after |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for move in moves:
        cells = [
            move.stage,
            move.source,
            *map(_tokens, move.tokens),
            change(move.moved, show_tokens),
            *map(_epochs, move.epochs),
        ]
        lines.append(markdown.row(cells))
    return [*lines, ""]


def _tokens(tokens: int | None) -> str:
    return "-" if tokens is None else show_tokens(tokens)


def _epochs(epochs: Fraction | None) -> str:
    return "-" if epochs is None else f"{float(epochs):.3f}"
