"""A page of findings as a value: text, tables, figures and notices. It knows nothing about recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from codemix import tables
from codemix.eval.pages.palette import Shade

KEPT = "kept"


@dataclass(frozen=True)
class Mark:
    """A table cell with more than text: a tone ("good", "bad", "muted", "strong") or a source's shade."""

    text: str
    tone: str = ""
    swatch: Shade | None = None


Cell = str | Mark


@dataclass
class PageTable:
    """Rows under `columns`; `align` has a letter per column (l, r). The first cell of a row is its header."""

    title: str
    columns: Sequence[str]
    align: str
    rows: list[Sequence[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    id: str = ""

    @classmethod
    def of(cls, table: tables.Table, id: str = "") -> PageTable:
        """A table of the terminal."""
        return cls(
            title=table.title,
            columns=table.headers,
            align="".join("r" if name.startswith(">") else "l" for name in table.columns),
            rows=[list(row) for row in table.rows],
            notes=list(table.notes),
            id=id,
        )

    def plain(self) -> tables.Table:
        """The same for a terminal."""
        columns = []
        for name, letter in zip(self.columns, self.align, strict=True):
            columns.append(f">{name}" if letter == "r" else name)
        notes = [note.replace("`", "") for note in self.notes]
        table = tables.Table(self.title, columns, notes=notes)
        for row in self.rows:
            table.rows.append([plain_text(cell) for cell in row])
        return table


def plain_text(cell: Cell) -> str:
    """A cell without its tone."""
    return cell.text if isinstance(cell, Mark) else cell


@dataclass(frozen=True)
class Figure:
    """An inline SVG, what it shows in words, and the same numbers as a table."""

    title: str
    svg: str
    description: str
    table: PageTable
    open: bool = False  # whether the table is shown below the figure, unfolded


@dataclass(frozen=True)
class Note:
    """A sentence that must not be missed. `tone`: "good", "warn", "bad" or "plain"."""

    tone: str
    text: str


@dataclass(frozen=True)
class Code:
    """A folded listing, such as a recipe."""

    title: str
    text: str


@dataclass(frozen=True)
class Fold:
    """Tables that only some readers want, under one line."""

    title: str
    tables: Sequence[PageTable]


@dataclass(frozen=True)
class PageSample:
    """A document for a person to judge. `numbers` are those of its metadata, to order by."""

    id: str
    text: str
    source: str
    reason: str = KEPT  # or the op and the reason that dropped it
    language: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""
    kept_instead: PageSample | None = None  # of a duplicate


@dataclass(frozen=True)
class Samples:
    """Documents that were kept beside documents that were dropped."""

    kept: list[PageSample]
    dropped: list[PageSample]


Block = PageTable | Figure | Note | Code | Fold | Samples


@dataclass
class Section:
    """Blocks under a heading that the page's index links to."""

    id: str
    title: str
    lead: str = ""
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Tile:
    """A number that a hurried reader looks for."""

    label: str
    value: str
    remark: str = ""


@dataclass
class Page:
    """`answer` is what a hurried reader takes away."""

    kind: str
    title: str
    answer: list[str]
    remark: str = ""
    tiles: list[Tile] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    footer: str = ""

    @property
    def has_samples(self) -> bool:
        blocks: list[Block] = []
        for section in self.sections:
            blocks += section.blocks
        return any(isinstance(block, Samples) for block in blocks)


def signed(share: float) -> str:
    """A relative change as people print it: `−4.1%`, and `−0.012%` where one digit would make it nothing."""
    digits = 3 if 0 < abs(share) < 0.0005 else 1
    return f"{share:+.{digits}%}".replace("-", "−")


def percent(share: float | None) -> str:
    """A share as people print it, a dash where there is none."""
    if share is None:
        return "–"
    return f"{share * 100:.1f}%"
