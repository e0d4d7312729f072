"""One small table, drawn in a terminal or as Markdown."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


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
        lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in row) + " |" for row in self.rows]
        return "\n".join(lines + [""] + [f"{note}  " for note in self.notes]).rstrip() + "\n"

    def print(self) -> None:
        """Draw the table on standard output."""
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        console = Console()
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = 140  # a pipe has no width; a table should not be squeezed into eighty columns
        drawn = RichTable(title=self.title or None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
        for column in self.columns:
            drawn.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold", no_wrap=column.startswith(">"))
        for row in self.rows:
            drawn.add_row(*(Text(cell) for cell in row))
        console.print(drawn)
        for note in self.notes:
            console.print(Text(f"  {note}"), soft_wrap=True)
