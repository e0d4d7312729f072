"""Where the comments of a program are, by its language: one expression reads strings and comments in turn, so that
neither is taken for the other.

Python's strings in three quotes count: nearly all of them are docstrings. What is not closed runs to the end of its
line or, where it may hold newlines, of the program: so no program is read twice. A language that is not in the table
has no comments.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_DOUBLE = r'"(?:\\.|[^"\\\n])*+"?'
_SINGLE = r"'(?:\\.|[^'\\\n])*+'?"
_CHARACTER = r"'(?:\\[^'\n]{1,10}|[^'\\\n])'"  # `'a` alone is a lifetime of Rust, a label of Kotlin
_BACKTICK = r"`(?:\\.|[^`\\])*+`?"
_SLASHES = r"//[^\n]*+|/\*.*?(?:\*/|\Z)"
_HASH = r"(?<![^\s;])#[^\n]*+"  # `$#` and `a#b` of a shell are none
_TRIPLE = r"\"\"\".*?(?:\"\"\"|\Z)|'''.*?(?:'''|\Z)"
_MARKUP = r"<!--.*?(?:-->|\Z)"

# languages -> their strings, and their comments
_TABLE: dict[str, tuple[str, str]] = {
    "C, C++, C#, CUDA, Java, Kotlin, Rust, Scala, Swift, Zig, Objective-C, Protocol Buffer, Verilog, Solidity": (
        f"{_DOUBLE}|{_CHARACTER}",
        _SLASHES,
    ),
    "Go": (f"{_DOUBLE}|{_CHARACTER}|`[^`]*+`?", _SLASHES),
    "JavaScript, TypeScript, JSX, Vue, Dart, Groovy, Less, SCSS, Sass": (
        f"{_DOUBLE}|{_SINGLE}|{_BACKTICK}",
        f"{_SLASHES}|{_MARKUP}",
    ),
    "CSS": (f"{_DOUBLE}|{_SINGLE}", r"/\*.*?(?:\*/|\Z)"),
    "PHP": (f"{_DOUBLE}|{_SINGLE}", f"{_SLASHES}|{_HASH}|{_MARKUP}"),
    "Python": (f"{_DOUBLE}|{_SINGLE}", f"{_TRIPLE}|{_HASH}"),
    "Ruby, Perl, Shell, R, YAML, TOML, Makefile, CMake, Dockerfile, PowerShell, Julia, Elixir, Tcl, INI": (
        f"{_DOUBLE}|{_SINGLE}",
        _HASH,
    ),
    "SQL": (f"{_DOUBLE}|{_SINGLE}", r"--[^\n]*+|/\*.*?(?:\*/|\Z)"),
    "Lua": (f"{_DOUBLE}|{_SINGLE}", r"--\[\[.*?(?:\]\]|\Z)|--[^\n]*+"),
    "Haskell, Elm": (_DOUBLE, r"\{-.*?(?:-\}|\Z)|--[^\n]*+"),
    "VHDL": (_DOUBLE, r"--[^\n]*+"),
    "Common Lisp, Scheme, Clojure": (r'"(?:\\.|[^"\\])*+"?', r";[^\n]*+|#\|.*?(?:\|#|\Z)"),
    "Assembly": (_DOUBLE, r"[;#][^\n]*+|/\*.*?(?:\*/|\Z)"),
    "TeX, Erlang": (r"\\%", r"%[^\n]*+"),
    "HTML, XML, XSLT": (r"(?!)", _MARKUP),
    "OCaml, F#, Pascal": (_DOUBLE, r"\(\*.*?(?:\*\)|\Z)|//[^\n]*+"),
    "Fortran": (f"{_DOUBLE}|{_SINGLE}", r"![^\n]*+"),
    "M4": (r"(?!)", r"\bdnl\b[^\n]*+|#[^\n]*+"),
    "Visual Basic": (_DOUBLE, r"'[^\n]*+"),
    "Batchfile": (r"(?!)", r"(?im:^\s*(?:rem\b|::)[^\n]*+)"),
}


def _compiled() -> dict[str, re.Pattern[str]]:
    by_language: dict[str, re.Pattern[str]] = {}
    for names, (strings, comments) in _TABLE.items():
        # a comment is tried first: docstrings begin as strings do
        pattern = re.compile(f"(?P<comment>{comments})|{strings}", re.DOTALL)
        for name in names.split(", "):
            by_language[name] = pattern
    return by_language


_PATTERNS = _compiled()
LANGUAGES = tuple(sorted(_PATTERNS))


def with_comments(text: str, language: str, change: Callable[[str], str]) -> str:
    """The program with each of its comments changed."""
    pattern = _PATTERNS.get(language)
    if pattern is None:
        return text

    def one(match: re.Match[str]) -> str:
        if match["comment"] is None:
            return match[0]
        return change(match[0])

    return pattern.sub(one, text)
