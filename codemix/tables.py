"""One small table, drawn in a terminal or as Markdown."""

from __future__ import annotations

import html
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

from codemix.errors import printable

PIPE_WIDTH = 140  # a pipe has no width; a table should not be squeezed into eighty columns
NARROWEST_TEXT = 20  # columns of text are wrapped down to this before columns move below

Widths = dict[int, int]  # column -> its width


def terminal_width() -> int:
    """Columns of the terminal, or of COLUMNS, or of a pipe."""
    return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns


@dataclass
class Table:
    """Rows of text under `columns`; a column whose name begins with `>` is aligned to the right."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def headers(self) -> list[str]:
        """The names of the columns, as they are shown."""
        return [column.lstrip(">") for column in self.columns]

    @property
    def n_keys(self) -> int:
        """The columns before the first of numbers, by which rows are told apart; at least one."""
        for i, column in enumerate(self.columns):
            if column.startswith(">"):
                return max(i, 1)
        return 1

    def markdown(self) -> str:
        """GitHub-flavoured Markdown, for pull requests."""
        lines = [f"**{self.title}**", ""] if self.title else []
        rules = [" ---: " if column.startswith(">") else " --- " for column in self.columns]
        lines.append(_markdown_row(self.headers))
        lines.append(f"|{'|'.join(rules)}|")
        for row in self.rows:
            lines.append(_markdown_row(map(_markdown_cell, row)))
        lines.append("")
        lines += [f"{note}  " for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"

    def html(self) -> str:
        """An HTML table, for notebooks."""
        names = [column.lstrip(">") for column in self.columns]
        lines = [f"<p><strong>{_html(self.title)}</strong></p>"] if self.title else []
        lines += ["<table>", self._html_row("th", names)]
        for row in self.rows:
            lines.append(self._html_row("td", row))
        lines.append("</table>")
        for note in self.notes:
            lines.append(f"<p>{_html(note)}</p>")
        return "\n".join(lines) + "\n"

    def _html_row(self, tag: str, row: list[str]) -> str:
        cells = []
        for column, text in zip(self.columns, row, strict=True):
            align = "right" if column.startswith(">") else "left"
            style = f"text-align: {align}"
            cells.append(f'<{tag} style="{style}">{_html(text)}</{tag}>')
        return f"<tr>{''.join(cells)}</tr>"

    def print(self) -> None:
        """Draw the table on standard output, as wide as the terminal."""
        print(self.text(terminal_width()))

    def text(self, width: int = PIPE_WIDTH) -> str:
        """The table in lines of at most `width`, nothing cut off.

        Headers and text wrap; columns that still do not fit follow below, after the first columns once more.
        """
        lines = [self.title] if self.title else []
        for widths in _blocks(self, width - 1):
            lines += [*self._draw(widths), ""]
        for note in self.notes:
            lines += textwrap.wrap(
                note,
                max(width, 40),
                initial_indent="  ",
                subsequent_indent="    ",
            )
        if self.notes:
            lines.append("")
        return printable("\n".join(lines))

    def _draw(self, widths: Widths) -> list[str]:
        rule = " " + "─" * _side_by_side(widths)
        lines = [*self._row(self.headers, widths), rule]
        for row in self.rows:
            lines += self._row(row, widths)
        return lines

    def _row(self, row: list[str], widths: Widths) -> list[str]:
        """The lines of one row: each cell wraps to the width of its column."""
        wrapped = []
        for column, width in widths.items():
            align = _right if self.columns[column].startswith(">") else _left
            cell_lines = _wrap_lines(row[column], width)
            aligned = [align(line, width) for line in cell_lines]
            wrapped.append(aligned)
        lines = []
        for pieces in zip_longest(*wrapped):
            line = "  "
            for piece, width in zip(pieces, widths.values(), strict=True):
                line += (piece or " " * width) + "  "
            lines.append(line.rstrip())
        return lines


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")


def _html(text: str) -> str:
    return html.escape(printable(text)).replace("\n", "<br>")


def _blocks(table: Table, width: int) -> list[Widths]:
    """The columns drawn side by side, and their widths; blocks follow below each other."""
    natural, narrow = _natural_widths(table), _narrow_widths(table)
    if _side_by_side(natural) <= width:
        return [natural]
    _wrap_texts(table, narrow, width)
    keys = {column: narrow[column] for column in range(table.n_keys)}
    blocks = [dict(keys)]
    for column in range(table.n_keys, len(table.columns)):
        wider = blocks[-1] | {column: narrow[column]}
        has_room = _side_by_side(wider) <= width
        if has_room or len(blocks[-1]) <= len(keys):
            blocks[-1] = wider
        else:
            blocks.append(keys | {column: narrow[column]})
    for block in blocks:
        _use_room(block, natural, width)
    return blocks


def _cell_widths(table: Table, column: int) -> Iterator[int]:
    for row in table.rows:
        yield from map(cell_width, row[column].split("\n"))


def _natural_widths(table: Table) -> Widths:
    """Nothing wraps."""
    widths = {}
    for column, header in enumerate(table.headers):
        widths[column] = max(cell_width(header), *_cell_widths(table, column), 0)
    return widths


def _narrow_widths(table: Table) -> Widths:
    """Only headers wrap."""
    widths = {}
    for column, header in enumerate(table.headers):
        words = map(cell_width, header.split())
        widths[column] = max(0, *words, *_cell_widths(table, column))
    return widths


def _wrap_texts(table: Table, widths: Widths, width: int) -> None:
    """Narrow the widest columns of text until the table fits, or none can be narrower."""
    least = {}
    for column, name in enumerate(table.columns):
        if not name.startswith(">"):
            least[column] = min(_longest_word(table, column), width // 2)
    for _ in range(_side_by_side(widths) - width):
        wide = [column for column in least if widths[column] > least[column]]
        if not wide:
            return
        widest = max(wide, key=widths.__getitem__)
        widths[widest] -= 1


def _use_room(widths: Widths, natural: Widths, width: int) -> None:
    """Widen columns that wrap, from the left, by what their block leaves free."""
    free = max(width - _side_by_side(widths), 0)
    for column, narrow in widths.items():
        more = min(free, natural[column] - narrow)
        widths[column] += more
        free -= more


def _longest_word(table: Table, column: int) -> int:
    longest = NARROWEST_TEXT
    for row in table.rows:
        words = row[column].split()
        longest = max(longest, *map(cell_width, words), 0)
    return longest


def _side_by_side(widths: Widths) -> int:
    gaps = 2 * len(widths)
    return sum(widths.values()) + gaps


def _left(text: str, width: int) -> str:
    return text + " " * (width - cell_width(text))


def _right(text: str, width: int) -> str:
    return " " * (width - cell_width(text)) + text


def _wrap_lines(text: str, width: int) -> list[str]:
    lines = []
    for line in text.split("\n"):
        lines += _wrap(line, width)
    return lines


def _wrap(text: str, width: int) -> list[str]:
    if cell_width(text) <= width:
        return [text]
    if text.isascii():
        return textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    from rich.cells import chop_cells

    lines = [""]  # textwrap takes a wide character for one column
    for word in text.split():
        first, *more = chop_cells(word, width)
        joined = f"{lines[-1]} {first}".lstrip()
        lines[-1:] = [joined] if cell_width(joined) <= width else [lines[-1], first]
        lines += more
    return lines


def cell_width(text: str) -> int:
    """Columns of a terminal that a text takes: two for a wide character."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
