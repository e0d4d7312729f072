"""Python source taken apart into code and prose: docstrings removed with formatting and comments kept, and
their paragraphs."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass

_WithDocstring = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_NOT_PROSE = re.compile(r"^\s*(>>>|\.\.\. |:\w+|@\w+|[-*+|=#~^_]{2,}|\$ )", re.MULTILINE)


def decode(data: bytes) -> str:
    """The text of a Python file in the encoding it declares, with plain newlines. Raises SyntaxError or
    UnicodeDecodeError."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    text = data.decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse(source: str) -> ast.Module:
    """The syntax tree, without the warnings that old code draws. Raises SyntaxError for whatever does not
    parse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (
            ValueError,
            RecursionError,
            MemoryError,
        ) as error:  # a zero byte, or nesting beyond the parser
            raise SyntaxError(str(error)) from error


@dataclass(frozen=True)
class _Docstring:
    """The statement that is a docstring, and what it documents."""

    owner: _WithDocstring
    statement: ast.Expr

    @property
    def text(self) -> str:
        return ast.get_docstring(self.owner) or ""

    @property
    def is_whole_body(self) -> bool:
        if isinstance(self.owner, ast.Module):
            return False
        return len(self.owner.body) == 1


def _docstrings(tree: ast.Module) -> list[_Docstring]:
    """The docstrings of a tree, in the order of the file."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, _WithDocstring) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and _is_text(first.value):
                found.append(_Docstring(node, first))
    return sorted(found, key=lambda docstring: docstring.statement.lineno)


def _is_text(value: ast.expr) -> bool:
    if not isinstance(value, ast.Constant):
        return False
    return isinstance(value.value, str)


def docstrings(source: str) -> list[str]:
    """Every docstring, indentation cleaned, in the order of the file."""
    tree = parse(source)
    return [docstring.text for docstring in _docstrings(tree)]


def without_docstrings(source: str) -> str:
    """The same program without its docstrings; comments, blank lines and layout stay. A body that was only a
    docstring becomes `pass`. Raises SyntaxError when the source, or the result, does not parse.
    """
    # the tree counts columns in UTF-8 bytes, and form feeds inside lines
    lines = [line.encode() for line in source.split("\n")]
    for docstring in reversed(_docstrings(parse(source))):
        _cut_out(docstring, lines)
    result = b"\n".join(lines).decode().lstrip("\n")
    remaining = _docstrings(parse(result))  # parsing also proves that it is still a program
    return without_docstrings(result) if remaining else result  # a string after the docstring moved up


def _cut_out(docstring: _Docstring, lines: list[bytes]) -> None:
    statement = docstring.statement
    assert statement.end_lineno is not None  # the parser always sets it
    first = statement.lineno - 1
    stop = statement.end_lineno
    before = lines[first][: statement.col_offset]
    after = lines[stop - 1][statement.end_col_offset :]
    next_statement = after.lstrip().removeprefix(b";").lstrip()
    if docstring.is_whole_body:
        lines[first:stop] = [before + b"pass" + after]
    elif before.strip():  # `def f(): "doc"; return 1`
        lines[first:stop] = [before + next_statement]
    elif next_statement:
        lines[first:stop] = [before + next_statement.rstrip()]
    else:
        is_blank_line_next = stop < len(lines) and not lines[stop].strip()
        lines[first : stop + is_blank_line_next] = []


def prose_paragraphs(text: str, *, min_words: int = 12, min_frac_letters: float = 0.75) -> list[str]:
    """Paragraphs of a docstring that read as prose: no doctests, field lists, tables or code; long enough;
    mostly letters."""
    kept = []
    for paragraph in re.split(r"\n\s*\n", text):
        paragraph = paragraph.strip("\n")
        flat = " ".join(paragraph.split())
        if (
            len(flat.split()) < min_words
            or paragraph.startswith((" ", "\t"))
            or _NOT_PROSE.search(paragraph)
            or "\n    " in paragraph
        ):
            continue
        if sum(map(str.isalpha, flat)) >= min_frac_letters * len(flat) and flat[-1] in ".!?:)\"'":
            kept.append(paragraph)
    return kept
