"""HTML as text, in one pass: unclosed, crossed and misspelt elements cost no more than others.

A parser that builds the tree a browser builds looks through all open elements at each tag, which takes
quadratic time on deep nesting; and the standard library's takes quadratic time on unclosed tags in older
releases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from codemix.data.text.markdown import backquoted, fenced

# Each alternative ends at the next `<` at the latest, or reads on to the end once. A `>` may be quoted.
_MARKUP = re.compile(
    r"<!--(?:-?>|.*?(?:--!?>|\Z))"
    r"|<(?P<end>/?)(?P<name>[a-zA-Z][a-zA-Z0-9:-]*+)"
    r"(?:(?=[\s/>\"'])(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*+>|[^<>]*+>)"
    r"|<(?:[!?]|/(?=[^a-zA-Z]))[^<>]*+>",
    re.DOTALL,
)
_HIDDEN = ("head", "iframe", "noscript", "script", "style", "template", "title")
_HIDDEN_END = {name: re.compile(rf"</{name}(?![a-z0-9])[^<>]*+>?", re.IGNORECASE) for name in _HIDDEN}
_HIDDEN_END["head"] = re.compile(
    r"</head(?![a-z0-9])[^<>]*+>?|(?=<body(?![a-z0-9]))", re.IGNORECASE
)  # a head need not be closed
_REFERENCE_ZEROS = re.compile(r"(&#[xX]?)0++(?=[0-9a-fA-F])")
_LONG_REFERENCE = re.compile(r"&#(?:[0-9]{8,}+|[xX][0-9a-fA-F]{7,}+);?")  # beyond Unicode

_BLOCKS = frozenset(
    {
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "caption",
        "center",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "ul",
    }
)
_BLANKS_AROUND_NEWLINE = re.compile(r"(?:(?<![ \t])[ \t]++)?\n[ \t]*+")
_ONE_THING = re.compile(r"[-+\u2212]?\w+|\([^()]*\)|\[[^][]*\]")


@dataclass(frozen=True)
class Tag:
    """A start tag, or an end tag."""

    name: str
    ends: bool


def pieces(source: str) -> Iterator[str | Tag]:
    """The visible text of HTML, references resolved, and the tags within it; not comments, scripts, styles,
    heads."""
    at = 0
    while (found := _MARKUP.search(source, at)) is not None:
        if found.start() > at:
            yield resolved(source[at : found.start()])
        at = found.end()
        name = (found["name"] or "").lower()
        if name in _HIDDEN_END and not found["end"]:
            end = _HIDDEN_END[name].search(source, at)
            at = end.end() if end else len(source)
        elif name:
            yield Tag(name, bool(found["end"]))
    if at < len(source):
        yield resolved(source[at:])


def visible_text(source: str) -> str:
    """The text that a browser would show, whitespace folded."""
    shown = [" " if isinstance(piece, Tag) else piece for piece in pieces(source)]
    words = "".join(shown).split()
    return " ".join(words)


def html_to_text(source: str) -> str:
    """The text of a post in HTML: blocks on lines of their own, list items marked, a table's row a line,
    `<pre>` as fenced code, `<code>` in backquotes, `x<sup>2</sup>` as `x^2`, character references
    resolved."""
    writer = _Writer()
    for piece in pieces(source.replace("\0", "")):
        if isinstance(piece, str):
            writer.text(piece)
        elif writer.held == "pre":
            writer.tag_in_pre(piece)
        elif piece.name in _WRAPPED:
            writer.wrapped_tag(piece)
        elif piece.name in _BLOCKS:
            writer.block_tag(piece)
    return writer.finish()


@dataclass
class _List:
    numbered: bool
    items: int = 0


@dataclass
class _Writer:
    blocks: list[str] = field(default_factory=list)  # finished; a blank line goes between them
    said: list[str] = field(
        default_factory=list
    )  # of the block that is being written, or of the element that is held
    mark: int = -1  # the length of `said` just behind the mark of a list item, or where a cell begins
    held: str = ""  # the element whose text is kept apart until it ends; one at a time
    before: list[str] = field(default_factory=list)  # of the block, before that element
    lists: list[_List] = field(default_factory=list)  # the open ones
    rows: int = 0  # of the table so far
    cells: int = 0  # of the row so far

    def text(self, text: str) -> None:
        if len(self.said) == self.mark:
            text = text.lstrip()
        if text:
            self.said.append(text)

    def newline(self) -> None:
        if len(self.said) != self.mark:
            self.said.append("\n")

    def begin(self, between: str, mark: str = "") -> None:
        """Begin an item, row or cell, with `between` instead of whatever whitespace precedes it."""
        while len(self.said) > max(self.mark, 0):
            self.said[-1] = self.said[-1].rstrip()
            if self.said[-1]:
                break
            self.said.pop()
        self.said += [between, mark] if mark else [between]
        self.mark = len(self.said)

    def tag_in_pre(self, tag: Tag) -> None:
        if tag.name == "br":
            self.said.append("\n")
        elif tag.name == "pre" and tag.ends:
            self.release()

    def wrapped_tag(self, tag: Tag) -> None:
        if tag.ends and self.held == tag.name:
            self.release()
        elif not tag.ends and not self.held:
            self.hold(tag.name)

    def block_tag(self, tag: Tag) -> None:
        if self.held and tag.name != "br":
            self.release()
        if tag.name in ("ol", "ul"):
            self.list_tag(tag)
        elif tag.name in ("li", "tr", "td", "th"):
            if not tag.ends:
                self.item(tag.name)
        elif tag.name == "pre" and not tag.ends:
            self.close_block()
            self.hold("pre")
        else:
            if tag.name == "table":
                self.rows, self.mark = 0, -1
            self.newline()

    def list_tag(self, tag: Tag) -> None:
        self.mark = -1
        self.newline()
        if not tag.ends:
            self.lists.append(_List(numbered=tag.name == "ol"))
        elif self.lists:
            self.lists.pop()

    def item(self, name: str) -> None:
        if name == "li":
            inner = self.lists[-1] if self.lists else _List(numbered=False)
            inner.items += 1
            first = inner.items == 1 and len(self.lists) == 1
            self.begin("\n\n" if first else "\n", f"{inner.items}. " if inner.numbered else "- ")
        elif name == "tr":
            self.rows, self.cells = self.rows + 1, 0
            self.begin("\n\n" if self.rows == 1 else "\n")
        else:
            self.cells += 1
            self.begin(" | " if self.cells > 1 else "")

    def hold(self, name: str) -> None:
        self.held = name
        self.before = self.said
        self.said = []
        self.mark = -1

    def release(self) -> None:
        """Put the text of the element that is held where it belongs."""
        name = self.held
        text = "".join(self.said)
        self.held = ""
        self.said = self.before
        if name != "pre" and text.strip():
            self.said.append(_WRAPPED[name](text))
        elif text.strip("\n"):
            self.blocks.append(fenced(text.strip("\n")))

    def close_block(self) -> None:
        text = _BLANKS_AROUND_NEWLINE.sub("\n", "".join(self.said))
        text = re.sub(r"\n{3,}", "\n\n", text).strip()
        if text:
            self.blocks.append(text)
        self.said, self.mark = [], -1

    def finish(self) -> str:
        if self.held:
            self.release()
        self.close_block()
        return "\n\n".join(self.blocks)


def _raised(mark: str, text: str) -> str:
    """`^2`, `^-1`, `^[3]`, `_max`; what is more than one thing in parentheses."""
    text = text.strip()
    if _ONE_THING.fullmatch(text):
        return f"{mark}{text}"
    return f"{mark}({text})"


_WRAPPED = {
    "code": backquoted,
    "sub": lambda text: _raised("_", text),
    "sup": lambda text: _raised("^", text),
}


def resolved(text: str) -> str:
    """Text with its character references resolved; those beyond Unicode, however long, become U+FFFD."""
    import html  # its tables of entities take longer to load than a recipe to read

    if "&#" in text:
        text = _LONG_REFERENCE.sub("\ufffd", _REFERENCE_ZEROS.sub(r"\1", text))
    return html.unescape(text) if "&" in text else text
