"""Python source taken apart into code and prose: docstrings removed with formatting and comments kept, and their paragraphs."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator

_HAS_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_NOT_PROSE = re.compile(r"^\s*(>>>|\.\.\. |:\w+|@\w+|[-*+|=#~^_]{2,}|\$ )", re.MULTILINE)


def decode(data: bytes) -> str:
    """The text of a Python file in the encoding it declares, with plain line ends. Raises SyntaxError or UnicodeDecodeError."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def parse(source: str) -> ast.Module:
    """The syntax tree, without the warnings that old code draws. Raises SyntaxError for whatever does not parse."""
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


def _docstring_statements(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.Expr]]:
    for node in ast.walk(tree):
        if isinstance(node, _HAS_DOCSTRING) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                yield node, first


def docstrings(source: str) -> list[str]:
    """Every docstring, indentation cleaned, in the order of the file."""
    found = sorted(_docstring_statements(parse(source)), key=lambda pair: pair[1].lineno)
    return [ast.get_docstring(node) or "" for node, _ in found]


def without_docstrings(source: str) -> str:
    """The same program without its docstrings; comments, blank lines and layout stay. A body that was only a docstring
    becomes `pass`. Raises SyntaxError when the source, or the result, does not parse.
    """
    tree = parse(source)
    lines = [
        line.encode() for line in source.split("\n")
    ]  # the tree counts columns in UTF-8 bytes, and form feeds inside lines
    for node, docstring in sorted(_docstring_statements(tree), key=lambda pair: -pair[1].lineno):
        first, last = docstring.lineno - 1, docstring.end_lineno - 1
        before, after = lines[first][: docstring.col_offset], lines[last][docstring.end_col_offset :]
        if len(node.body) == 1 and not isinstance(node, ast.Module):
            lines[first : last + 1] = [before + b"pass" + after]
        elif before.strip():  # `def f(): "doc"; return 1`
            lines[first : last + 1] = [before + after.lstrip().removeprefix(b";").lstrip()]
        elif rest := after.strip().removeprefix(b";").strip():
            lines[first : last + 1] = [before + rest]
        else:
            following = lines[last + 1] if last + 1 < len(lines) else b""
            lines[first : last + 1 + (not following.strip() and last + 1 < len(lines))] = []
    result = b"\n".join(lines).decode().lstrip("\n")
    left = parse(result)  # also the proof that it still is a program
    return (
        without_docstrings(result) if next(_docstring_statements(left), None) else result
    )  # a string after the docstring moved up


def prose_paragraphs(text: str, *, min_words: int = 12, min_frac_letters: float = 0.75) -> list[str]:
    """Paragraphs of a docstring that read as prose: no doctests, field lists, tables or code; long enough; mostly letters."""
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
