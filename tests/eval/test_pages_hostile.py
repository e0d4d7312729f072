"""What strangers wrote into a page stays text:
in its HTML, and in its Markdown as a Markdown reader sees it.
"""

import re
from html.parser import HTMLParser

import pytest

from codemix.eval.pages.page import (
    Code,
    Figure,
    Fold,
    Mark,
    Note,
    Page,
    PageSample,
    PageTable,
    Samples,
    Section,
    Tile,
)
from codemix.eval.pages.rendering import html, markdown

MarkdownIt = pytest.importorskip("markdown_it", reason="needs markdown-it-py (it comes with rich)").MarkdownIt

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- ",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "![x](http://tracker/x.png)",
    "[x][y]",
    "<http://evil>",
    "\\[x](javascript:alert(1))",
    "&lt;script&gt;",
    "a\n\n# heading\n\n<b>x</b>",
    "```\n<script>x</script>",
    "`` ` <script> ``",
    "`<script>",
    "a ` b <i> ` c <i>",
    "| a | <b> |",
    "</details><script>",
    "---",
    "1. <b>",
    "    <b>",
    "~~~\n<b>",
    "[y]: javascript:alert(1)",
    "x\n===\n<u>",
    "`a\\`<b>x`",
    "**<b>**",
    "`x` <b> `y",
    "``<b>``",
]
CONTROLS = "\x1b[2J\x07\x9b\x00\u202e\u2066\u200f\ud800"


def page_of(text):
    table = PageTable(
        text, [text, text], "lr", [[text, Mark(text, "bad")], [Mark(text), text]], [text], id="t"
    )
    kept = PageSample(text, text, text, remark=text)
    duplicate = PageSample(text, text, text, text, text, {text: 0.5}, text, kept)
    blocks = [
        table,
        Figure(text, "<svg></svg>", text, table),
        Note("bad", text),
        Note("plain", text),
        Code(text, text),
        Fold(text, [table]),
        Samples([kept], [duplicate]),
    ]
    return Page(
        "kind",
        text,
        [text, text],
        text,
        [Tile(text, text, text)],
        [Note("bad", text), Note("warn", text)],
        [Section("s", text, text, blocks)],
        text,
    )


class Tags(HTMLParser):
    def __init__(self, document):
        super().__init__()
        self.found = set()
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.found |= {tag, *(name for name, _ in attrs)}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_page_holds_no_markup_but_its_own(text):
    assert Tags(html(page_of(text))).found == Tags(html(page_of("x"))).found | (
        {"code"} if "`" in text else set()
    ) | ({"strong"} if "**" in text else set())
    shown = Tags(
        MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown(page_of(text)))
    ).found
    known = {
        "h1",
        "h2",
        "p",
        "blockquote",
        "ul",
        "li",
        "strong",
        "em",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "style",
        "details",
        "summary",
        "pre",
        "code",
        "class",
    }
    assert shown <= known


def test_tables_and_emphasis_are_still_ours():
    made = markdown(page_of("a `code` and **strong** [low, high] x < y & z"))
    shown = MarkdownIt("commonmark").enable("table").render(made)
    assert (
        "<code>code</code> and <strong>strong</strong> [low, high] x &lt; y &amp; z" in shown
        and shown.count("<table>") == 3
    )


def test_no_control_reaches_a_terminal_or_turns_a_line():
    for made in (html(page_of(f"a{CONTROLS}b")), markdown(page_of(f"a{CONTROLS}b"))):
        assert not set(CONTROLS) & set(re.sub(r"\[2J", "", made)) - {"[", "2", "J"} and "\ufffd" in made
    family = "\U0001f468\u200d\U0001f469 \u0645\u06cc\u200c\u062e"  # joiners belong to the text
    assert family in html(page_of(family)) and family in markdown(page_of(family))
