"""A page of findings as a value, and its three forms: self-contained HTML, Markdown, JSON.

A `Page` is text, tables, figures and notices; the templates know nothing about recipes. The HTML needs no network and no
script: its Content-Security-Policy forbids both.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codemix import tables
from codemix.data.store.store import Store, write_text
from codemix.files import digest, file_digest


@dataclass(frozen=True)
class Mark:
    """A table cell that carries more than text: a tone ("good", "bad", "muted", "strong") or a source's colour."""

    text: str
    tone: str = ""
    swatch: str = ""


Cell = str | Mark


@dataclass
class PageTable:
    """Rows under `columns`; `align` has one letter a column (l, r). The first cell of a row is its header."""

    title: str
    columns: Sequence[str]
    align: str
    rows: list[Sequence[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    id: str = ""

    def plain(self) -> tables.Table:
        """The same for a terminal."""
        columns = [
            (">" if letter == "r" else "") + name
            for letter, name in zip(self.align, self.columns, strict=True)
        ]
        rows = [[cell.text if isinstance(cell, Mark) else cell for cell in row] for row in self.rows]
        return tables.Table(self.title, columns, rows, [note.replace("`", "") for note in self.notes])


@dataclass(frozen=True)
class Figure:
    """An inline SVG, what it shows in words, and the same numbers as a table."""

    title: str
    svg: str
    description: str
    table: PageTable
    open: bool = False  # the table stands below the figure, unfolded


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


@dataclass
class Section:
    id: str
    title: str
    lead: str = ""
    blocks: list[PageTable | Figure | Note | Code | Fold] = field(default_factory=list)


@dataclass
class Page:
    """`answer` is what a hurried reader takes away; `tiles` are (label, value, remark)."""

    kind: str
    title: str
    answer: list[str]
    remark: str = ""
    tiles: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    footer: str = ""


def signed(share: float) -> str:
    """A relative change as people print it: `−4.1%`, and `−0.012%` where one digit would make it nothing."""
    return f"{share * 100:+.{3 if 0 < abs(share) < 0.0005 else 1}f}%".replace("-", "−")


def percent(share: float | None) -> str:
    """A share as people print it, a dash where there is none."""
    return "–" if share is None else f"{share * 100:.1f}%"


def look_digest() -> str:
    """A hash of everything that decides how a page looks and reads, so that a new look gets a new place.

    That is every file of the folders that make pages, and of `recipe/language/quantities.py`, which prints their numbers.
    """
    eval_folder = Path(__file__).parents[1]
    files = {
        file
        for room in ("pages", "report", "compare")
        for file in (eval_folder / room).rglob("*")
        if file.suffix in _LOOK
    }
    files |= {eval_folder / "stats.py", eval_folder.parent / "recipe" / "language" / "quantities.py"}
    return digest(
        {file.relative_to(eval_folder.parent).as_posix(): file_digest(file) for file in sorted(files)}
    )


def publish(store: Store, name: str, facts: Mapping[str, Any], make, stem: str = "report") -> Path:
    """The HTML page of `facts`; made by `make() -> Page` unless a page of equal facts and look is there already."""
    folder = store.path("reports", name, digest({"facts": tidy(facts), "look": look_digest()}))
    if not (folder / f"{stem}.html").is_file():
        page = make()
        shutil.rmtree(folder, ignore_errors=True)  # somebody took the page out: what is left is no report
        with store.building(folder, keep=False) as work:
            write_text(work / f"{stem}.md", markdown(page))
            write_text(
                work / f"{stem}.json",
                json.dumps(
                    tidy({**facts, "answer": page.answer}), indent=1, ensure_ascii=False, sort_keys=True
                )
                + "\n",
            )
            write_text(work / f"{stem}.html", html(page))
    return folder / f"{stem}.html"


def tidy(value: Any) -> Any:
    """JSON that every reader accepts: numbers that are not finite become null, fractions floats."""
    if isinstance(value, Mapping):
        return {str(k): tidy(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [tidy(v) for v in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def html(page: Page) -> str:
    """One file that opens anywhere: styles and figures inside, light and dark, printable."""
    from codemix.eval.pages import plots

    environment = _environment(autoescape=True)
    css = environment.loader.get_source(environment, "page.css")[0]
    text = environment.get_template("page.html").render(page=page, css=css, palette=plots.stylesheet())
    return without_controls(re.sub(r"\n\s*\n+", "\n", text)) + "\n"


def markdown(page: Page) -> str:
    """The same page for a terminal or a pull request; figures become their tables."""
    text = _environment(autoescape=False).get_template("page.md").render(page=page)
    return without_controls(re.sub(r"\n{3,}", "\n\n", text)).strip() + "\n"


_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000), *_BIDI), "\ufffd")
del _CONTROLS[ord("\n")], _CONTROLS[ord("\t")]


def without_controls(text: str) -> str:
    """The text with U+FFFD for what moves a terminal's cursor or turns a line around; joiners of letters and emoji stay."""
    return text.translate(_CONTROLS)


def _environment(autoescape: bool):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "inline": _inline,
        "md": _markdown_text,
        "cell": _markdown_cell,
        "listing": _listing,
        "rule": _rule,
        "slug": slug,
    }
    environment.tests |= {
        name.lower(): (lambda block, cls=cls: isinstance(block, cls)) for name, cls in _BLOCKS.items()
    }
    return environment


_LOOK = (".py", ".css", ".html", ".md")  # of files that make a page
_BLOCKS = {"Table": PageTable, "Figure": Figure, "Note": Note, "Code": Code, "Fold": Fold, "Mark": Mark}


def _inline(text: str):
    """Escaped text whose `backticks` become code and whose **stars** become strong."""
    from markupsafe import Markup, escape

    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", marked))


_MARKDOWN = re.compile(r"[\\`<&]|\](?=[(\[:]|$)")  # a bracket alone, as around an interval, makes no link
_BLOCK_START = re.compile(r"^(?:[#>]|[-+*=~|_](?!\*))")
_ITEM_START = re.compile(r"^(\d+)([.)]\s)")


def _markdown_text(text: str) -> str:
    """A paragraph of one line, and nothing else."""
    return _ITEM_START.sub(r"\1\\\2", _BLOCK_START.sub(r"\\\g<0>", _markdown_line(text).lstrip()))


def _markdown_line(text: str) -> str:
    """Markdown whose `backticks` and **stars** keep their meaning; HTML, links and images have none."""
    pieces = re.split(r"(`[^`]+`)", " ".join(text.split("\n")))
    pieces[::2] = [_MARKDOWN.sub(_escaped, piece) for piece in pieces[::2]]
    return "".join(pieces)


def _escaped(match: re.Match) -> str:
    return {"<": "&lt;", "&": "&amp;"}.get(match[0], "\\" + match[0])


def _markdown_cell(cell: Cell) -> str:
    text = _markdown_line(cell.text if isinstance(cell, Mark) else cell).replace("|", "\\|")
    return f"**{text}**" if isinstance(cell, Mark) and cell.tone in ("strong", "bad") and text else text


def _listing(text: str) -> str:
    """A fenced block that nothing inside it can end."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{text}\n{fence}"


def _rule(align: str) -> str:
    return "|" + "|".join(" ---: " if letter == "r" else " --- " for letter in align) + "|"


def slug(text: str) -> str:
    """A name that can be an id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
