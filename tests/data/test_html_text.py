"""HTML as text, in a time that grows as its length does."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemix.data.text.html_text import html_to_text, visible_text
from codemix.data.text.markdown import backquoted, fenced

TEXTS = [
    (
        "<p>How to <b>sum</b> &lt;x&gt;?</p><pre><code>a &amp; b\n  c</code></pre>",
        "How to sum <x>?\n\n```\na & b\n  c\n```",
    ),
    ("a<!-- <p>no</p> > -->b<!-->c<!--->d<!--x--!>e<!-- open", "abcde"),
    ("a<script>if (x < 1) { y = '<p>' }</script><STYLE type='x'>p > a {}</Style >b", "ab"),
    ("a<script>never closed", "a"),
    (
        "x<sup>2</sup> 10<sup>n+1</sup> [1]<sup>[1]</sup> x<sup>-1</sup> H<sub>2</sub>O x<sup></sup>",
        "x^2 10^(n+1) [1]^[1] x^-1 H_2O x",
    ),
    (
        "<p>t:</p>\n<table>\n<thead><tr>\n<th>a</th>\n<th><p>b</p></th></tr></thead>\n<tr><td>1</td><td></td>\n</tr></table><p>u</p>",
        "t:\n\na | b\n1 |\n\nu",
    ),
    ("<table><tr><td>1</td></tr></table><table><tr><td>2</td></tr></table>", "1\n\n2"),
    (
        "x<ol>\n<li>one</li>\n<li><p>two</p>\n<ul><li>in</li><li><code>c</code></li></ul></li></ol><ol><li>y</li></ol>",
        "x\n\n1. one\n2. two\n- in\n- `c`\n\n1. y",
    ),
    ("<li>alone", "- alone"),
    ("<code>a`b</code> <code>`</code> <code></code>", "``a`b`` `` ` ``"),
    ("<pre>```\nx\n\n\n\ny\n```</pre>tail", "````\n```\nx\n\n\n\ny\n```\n````\n\ntail"),
    ("<pre>a<br>b <p>c</p> <sup>d</sup>", "```\na\nb c d\n```"),
    ("a<pre></pre>b", "a\n\nb"),
    ("<code>open<p>closed</p>", "`open`\nclosed"),
    ("a < b && c > d, e <3, f<g", "a < b && c > d, e <3, f<g"),
    ('<a title="x > y">link</a> <p class=it\'s>k</p>', "link\nk"),
    ("&#x41;&#00000066;&eacute;&nbsp;&nosuch; &lt;script&gt;&amp;amp;", "AB\xe9\xa0&nosuch; <script>&amp;"),
    ("&#" + "1" * 6000 + "; &#x110000; &#xD800;", "\ufffd \ufffd \ufffd"),
    ("one<br>two<hr/>three<dl><dt>t</dt><dd>d</dd></dl>", "one\ntwo\nthree\n\nt\n\nd"),
    ("<!DOCTYPE html><html><head><title>t</title></head><body>b</body></html>", "b"),
    ("<head><title>t</title><body>b", "b"),
    ("<?xml version='1.0'?><![CDATA[x]]></ p>y", "y"),
    ("a\0b", "ab"),
    ("", ""),
    ("</p></code></ul></table></pre>", ""),
]


@pytest.mark.parametrize(("source", "expected"), TEXTS)
def test_html_to_text(source, expected):
    assert html_to_text(source) == expected


def test_visible_text():
    assert (
        visible_text("<head><title>t</title><body><p>a<p>b<script>x</script> c&nbsp;&amp;<!-- d --> e")
        == "a b c & e"
    )


TAGS = ["code", "div", "head", "li", "ol", "pre", "script", "sup", "table", "td", "tr", "ul"]
html = st.lists(
    st.sampled_from(
        [
            *(f"<{t}>" for t in TAGS),
            *(f"</{t}>" for t in TAGS),
            "word",
            "`",
            "\n",
            " ",
            "<br>",
            "<!--",
            "-->",
            "&amp;",
            "<",
            '"',
        ]
    )
)


@given(html.map("".join))
def test_no_word_is_lost_but_in_what_is_hidden(source):
    found = html_to_text(source)
    assert re.findall("word", found) == re.findall("word", visible_text(source))
    assert found == found.strip()


PATHOLOGICAL = [
    "<",
    "</",
    "<!",
    "<!--",
    "<a",
    "<a ",
    "<a '",
    '<a "',
    "<a>",
    "</a>",
    "<p>",
    "<div><p>",
    "<code>",
    "<sup>",
    "<sub>x",
    "<pre>",
    "</pre>",
    "<ul>",
    "<ul><li>",
    "<table>",
    "<tr>",
    "<td>",
    "<td> ",
    "<script",
    "<script>",
    "</script",
    "<head>",
    "<style></style>",
    "&",
    "&#",
    "&#0",
    "&#x1",
    "&amp",
    "`",
    "<code>`</code>",
    " ",
    "\n",
    " \n",
    "<br> ",
    "<li> ",
    "-->",
    "x<!-",
]


@pytest.mark.parametrize("piece", PATHOLOGICAL)
@pytest.mark.parametrize("convert", [html_to_text, visible_text])
def test_time_grows_as_length(convert, piece):
    def cost(n):
        """The least of three times: a collection of garbage over a large heap falls into one."""
        times = []
        for _ in range(3):
            begun = time.process_time()
            convert(piece * n)
            times.append(time.process_time() - begun)
        return min(times)

    n = 20_000
    if cost(4 * n) > 0.2:  # too fast to tell below that
        assert cost(4 * n) < 10 * max(cost(n), 0.02)


@given(st.text("`a \n"))
def test_a_fence_ends_where_it_should(code):
    first, *inside, last = fenced(code, "python").split("\n")
    assert "\n".join(inside) == code and first == last + "python" and last not in code and len(last) >= 3


@given(st.text("`ab", min_size=1))
def test_backquotes_hold_what_they_hold(code):
    quotes = (
        re.match("`+", backquoted(code))[0] if not code.startswith("`") else backquoted(code).split(" ")[0]
    )
    inside = backquoted(code)[len(quotes) : -len(quotes)]
    assert inside.strip(" ") == code and quotes not in code
