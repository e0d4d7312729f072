"""One small table, drawn in a terminal or as Markdown."""

from __future__ import annotations

import html
import shutil
import textwrap
from dataclasses import dataclass, field

from codemix.errors import printable

PIPE_WIDTH = 140  # a pipe has no width; a table should not be squeezed into eighty columns
NARROWEST_TEXT = 20  # columns of text are wrapped down to this before columns move below


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

    def markdown(self) -> str:
        """GitHub-flavoured Markdown, for pull requests."""
        names = [c.lstrip(">") for c in self.columns]
        lines = [f"**{self.title}**", ""] if self.title else []
        lines.append("| " + " | ".join(names) + " |")
        lines.append("|" + "|".join(" ---: " if c.startswith(">") else " --- " for c in self.columns) + "|")
        lines += [
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in row) + " |"
            for row in self.rows
        ]
        return "\n".join(lines + [""] + [f"{note}  " for note in self.notes]).rstrip() + "\n"

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
        """The table in lines of at most `width`, nothing cut off: headers and text wrap, and columns that still do not fit
        follow below, after the first columns once more."""
        lines = [self.title] if self.title else []
        for block in self._blocks(width - 1):
            lines += [*self._draw(block), ""]
        notes = [
            line
            for note in self.notes
            for line in textwrap.wrap(note, max(width, 40), initial_indent="  ", subsequent_indent="    ")
        ]
        return printable("\n".join([*lines, *notes, ""] if notes else lines))

    def _blocks(self, width: int) -> list[dict[int, int]]:
        """Column -> its width, for each block of columns drawn side by side."""
        columns = range(len(self.columns))
        cells = {
            c: max([0, *(cell_width(line) for row in self.rows for line in row[c].split("\n"))])
            for c in columns
        }
        headers = {c: self.columns[c].lstrip(">") for c in columns}
        full = {c: max(cells[c], cell_width(headers[c])) for c in columns}
        if _side_by_side(full) <= width:
            return [full]
        narrow = {c: max([cells[c], *map(cell_width, headers[c].split())]) for c in columns}
        texts = [c for c in columns if not self.columns[c].startswith(">")]
        words = {
            c: max([NARROWEST_TEXT, *(cell_width(word) for row in self.rows for word in row[c].split())])
            for c in texts
        }
        for _ in range(_side_by_side(narrow) - width):
            widest = max(
                (c for c in texts if narrow[c] > min(words[c], width // 2)),
                key=narrow.__getitem__,
                default=None,
            )
            if widest is None:
                break
            narrow[widest] -= 1
        n_keys = next((c for c in columns if self.columns[c].startswith(">")), 1)
        keys = {c: narrow[c] for c in columns[:n_keys]}
        blocks = [dict(keys)]
        for c in columns[n_keys:]:
            if _side_by_side(blocks[-1] | {c: narrow[c]}) > width and len(blocks[-1]) > n_keys:
                blocks.append(dict(keys))
            blocks[-1][c] = narrow[c]
        return blocks

    def _draw(self, widths: dict[int, int]) -> list[str]:
        header = [self.columns[c].lstrip(">") for c in range(len(self.columns))]
        rule = " " + "─" * _side_by_side(widths)
        return [
            *self._row(header, widths),
            rule,
            *(line for row in self.rows for line in self._row(row, widths)),
        ]

    def _row(self, row: list[str], widths: dict[int, int]) -> list[str]:
        wrapped = {
            c: [piece for line in row[c].split("\n") for piece in _wrap(line, w)] for c, w in widths.items()
        }
        lines = []
        for i in range(max(map(len, wrapped.values()))):
            pieces = ((c, w, wrapped[c][i] if i < len(wrapped[c]) else "") for c, w in widths.items())
            padded = (
                " " * (w - cell_width(p)) + p
                if self.columns[c].startswith(">")
                else p + " " * (w - cell_width(p))
                for c, w, p in pieces
            )
            lines.append(f"  {'  '.join(padded)}".rstrip())
        return lines


def _html(text: str) -> str:
    return html.escape(printable(text)).replace("\n", "<br>")


def _side_by_side(widths: dict[int, int]) -> int:
    return sum(widths.values()) + 2 * len(widths)


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
