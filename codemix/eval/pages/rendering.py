"""The two readable forms of a page: self-contained HTML, and Markdown.

The HTML needs no network, and no script but for finding samples: its Content-Security-Policy forbids all
others.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.eval.pages import palette
from codemix.eval.pages.page import (
    Cell,
    Code,
    Figure,
    Fold,
    Mark,
    Note,
    Page,
    PageTable,
    Samples,
    plain_text,
)

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def html(page: Page) -> str:
    """One file that opens anywhere: styles and figures inside, light and dark, printable."""
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "samples.js").read_text(encoding="utf-8") if page.has_samples else ""
    template = _environment(autoescape=True).get_template("page.html")
    text = template.render(
        page=page, css=css, palette=palette.stylesheet(), script=script, script_hash=_csp_hash(script)
    )
    return without_controls(text) + "\n"


def _csp_hash(script: str) -> str:
    """By which a Content-Security-Policy allows this script and no other."""
    digest = hashlib.sha256(script.encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode()


_LISTING_OR_BLANKS = re.compile(r"(^(`{3,})yaml\n.*?^\2$)|\n{3,}", re.MULTILINE | re.DOTALL)


def markdown(page: Page) -> str:
    """The same page for a terminal or a pull request; figures become their tables."""
    template = _environment(autoescape=False).get_template("page.md")
    text = template.render(page=page)
    paragraphs = _LISTING_OR_BLANKS.sub(lambda match: match[1] or "\n\n", text)
    return without_controls(paragraphs).strip() + "\n"


_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000), *_BIDI), "\ufffd")
del _CONTROLS[ord("\n")]
del _CONTROLS[ord("\t")]


def without_controls(text: str) -> str:
    """The text with U+FFFD for characters that move a terminal's cursor or reverse a line; joiners stay."""
    return text.translate(_CONTROLS)


def _environment(*, autoescape: bool) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
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
    }
    environment.tests |= {
        "table": lambda block: isinstance(block, PageTable),
        "figure": lambda block: isinstance(block, Figure),
        "note": lambda block: isinstance(block, Note),
        "code": lambda block: isinstance(block, Code),
        "fold": lambda block: isinstance(block, Fold),
        "samples": lambda block: isinstance(block, Samples),
        "mark": lambda cell: isinstance(cell, Mark),
    }
    return environment


def _inline(text: str) -> Markup:
    """Escaped text whose `backticks` become code and whose **stars** become strong."""
    from markupsafe import Markup, escape

    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", marked))


_MARKDOWN = re.compile(r"[\\`<&]|\](?=[(\[:]|$)")  # a bracket alone, as around an interval, is not a link
_BLOCK_START = re.compile(r"^(?:[#>]|[-+*=~|_](?!\*))")
_ITEM_START = re.compile(r"^(\d+)([.)]\s)")
ENTITIES = {"<": "&lt;", "&": "&amp;"}


def _markdown_text(text: str) -> str:
    """A paragraph of one line, and nothing else."""
    line = _markdown_line(text).lstrip()
    return _ITEM_START.sub(r"\1\\\2", _BLOCK_START.sub(r"\\\g<0>", line))


def _markdown_line(text: str) -> str:
    """Markdown whose `backticks` and **stars** keep their meaning; HTML, links and images have none."""
    line = text.replace("\n", " ")
    pieces = re.split(r"(`[^`]+`)", line)
    for i in range(0, len(pieces), 2):
        pieces[i] = _MARKDOWN.sub(_escaped, pieces[i])
    return "".join(pieces)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    return ENTITIES.get(character, f"\\{character}")


def _markdown_cell(cell: Cell) -> str:
    text = _markdown_line(plain_text(cell))
    escaped = text.replace("|", "\\|")
    if not escaped or not isinstance(cell, Mark):
        return escaped
    is_strong = cell.tone in ("strong", "bad")
    return f"**{escaped}**" if is_strong else escaped


def _listing(text: str) -> str:
    """A fenced block that nothing inside it can end."""
    ticks = re.findall(r"`+", text)
    longest = max(map(len, ticks), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{text}\n{fence}"


def _rule(align: str) -> str:
    rules = {"r": " ---: ", "l": " --- "}
    cells = "|".join(rules[letter] for letter in align)
    return f"|{cells}|"
