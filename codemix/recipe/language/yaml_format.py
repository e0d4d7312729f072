"""One form for a YAML text: indentation by two, one space between tokens, no trailing spaces, single blank
lines, double quotes. Where lines break, the order of keys, comments and anchors are the author's and stay.

It works on YAML's tokens. ruamel.yaml, which keeps block comments, loses those inside `{...}` and `[...]`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from codemix.errors import CodemixError, Problem
from codemix.recipe.language.yaml_layout import CLOSING, INDENT, OPENING, Layout
from codemix.recipe.language.yaml_text import YAML_LOADER, YamlFile, load, parse
from codemix.recipe.language.yaml_text import write as write_text

_ODD_BREAKS = re.compile("[\x85\u2028\u2029]")
_STREAM = (yaml.StreamStartToken, yaml.StreamEndToken)
_BLOCK = (yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken, yaml.BlockEndToken)


def formatted(document: YamlFile) -> str:
    """The document's text in the one form. Raises CodemixError where it would not say the same."""
    before = document.text
    if _ODD_BREAKS.search(before):
        what = "a line ends in U+0085, U+2028 or U+2029, which some readers take for a line break"
        raise CodemixError(Problem(what, document.where(()), ("end lines with a newline",), "format"))
    after = _Writer(before.replace("\r\n", "\n").replace("\r", "\n")).written()
    try:
        same_value = parse(after, document.file).value == document.value
        is_whole = same_value and _said(before) == _said(after)
    except (CodemixError, yaml.YAMLError):
        is_whole = False
    if is_whole:
        return after
    where = document.where(())
    what = "the form would change what this file says; it is left as it is"
    hint = "write what is unusual in it more plainly, and please report this"
    raise CodemixError(Problem(what, where, (hint,), "format"))


def format_file(path: Path, *, write: bool) -> bool:
    """Whether a file is not in the form; with `write`, it is then. Raises CodemixError as `formatted` does.

    A link stays a link, and the file keeps its mode."""
    document = load(path)
    text = formatted(document)
    differs = text.encode("utf-8") != path.read_bytes()
    if differs and write:
        target = path.resolve()
        mode = target.stat().st_mode
        write_text(target, text)
        target.chmod(mode)
    return differs


def _said(text: str) -> list[Any]:
    """All that a text says: values and whether they are quoted, anchors, aliases, tags, then its comments."""
    said: list[Any] = []
    for event in yaml.parse(text, Loader=YAML_LOADER):
        anchor = getattr(event, "anchor", None)
        tag = getattr(event, "tag", None)
        value = getattr(event, "value", None)
        is_plain = getattr(event, "style", None) is None
        said.append((type(event), anchor, tag, value, is_plain))
    return said + list(_comments(text))


def _comments(text: str) -> Iterator[str]:
    """The words of each comment: what lies between tokens, and beside the header of a block scalar."""
    place = 0
    for token in yaml.scan(text, Loader=YAML_LOADER):
        start = token.start_mark.index
        yield from _words(text[place:start])
        place = max(place, token.end_mark.index)
        if getattr(token, "style", None) in ("|", ">"):
            header = text[start:place].split("\n", 1)[0]
            yield from _words(header[1:].lstrip("+-0123456789"))
    yield from _words(text[place:])


def _words(between: str) -> Iterator[str]:
    for line in between.splitlines():
        if line.strip().startswith("#"):
            yield line.strip().lstrip("#").strip()


@dataclass
class _Writer:
    """Writes the tokens of a text line by line."""

    text: str
    lines: list[str] = field(default_factory=list)
    layout: Layout = field(default_factory=Layout)
    line: str = ""  # the one that is being written
    indent: int = 0  # of that one
    last: yaml.Token | None = None  # the token before, on this line
    end: tuple[int, int] = (-1, 0)  # line and column of the source after the last token

    def __post_init__(self) -> None:
        self.source = self.text.split("\n")

    def written(self) -> str:
        for token in yaml.scan(self.text, Loader=YAML_LOADER):
            if isinstance(token, _STREAM):
                continue
            self.layout.before(token)
            has_text = token.start_mark.index < token.end_mark.index
            if has_text and not isinstance(token, _BLOCK):
                self._write(token)
        self._end_line()
        self._between(len(self.source), None)
        while self.lines and not self.lines[-1]:
            self.lines.pop()
        return "\n".join(self.lines) + "\n"

    def _write(self, token: yaml.Token) -> None:
        start = token.start_mark
        end = token.end_mark
        if start.line > self.end[0]:
            self._begin_line(token)
        self.line += _space(self.last, token)
        raw = self.text[start.index : end.index]
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            self._write_block_scalar(start.line, start.column)
            self.last = None
        else:
            self._write_raw(_requoted(raw))
            self.end = (end.line, end.column)
            self.last = token
        self.layout.after(token, self.indent)

    def _begin_line(self, token: yaml.Token) -> None:
        """End the line before, take over what lies between, and indent for a token."""
        self._end_line()
        self._between(token.start_mark.line, token)
        self.indent = self.layout.column(token)
        self.line = " " * self.indent
        self.last = None

    def _end_line(self) -> None:
        """Put the line away, with the comment that follows it."""
        number, column = self.end
        if number < 0 or self.last is None:
            return
        rest = self.source[number][column:].strip()
        comment = _comment(rest)
        if comment:
            self.line += f" {comment}"
        self.lines.append(self.line.rstrip())
        self.last = None

    def _between(self, end: int, token: yaml.Token | None) -> None:
        """The lines up to `end`: comments of their own, and blank lines, at most one in a row."""
        after_last = self.end[0] + 1
        for line in self.source[after_last:end]:
            text = line.strip()
            if text:
                was = _indentation(line)
                column = self.layout.comment_column(was, token)
                margin = " " * column
                self.lines.append(margin + _comment(text))
                continue
            last = self.lines[-1] if self.lines else ""
            if last:
                self.lines.append("")

    def _write_raw(self, raw: str) -> None:
        """The text of a token; where it has several lines, the later ones are indented again."""
        first, *more = raw.split("\n")
        begins_line = not self.line.strip()
        column = self.indent if begins_line else self.indent + INDENT
        self.line += first
        for piece in more:
            self.lines.append(self.line.rstrip())
            self.line = " " * column + piece.lstrip()

    def _write_block_scalar(self, number: int, column: int) -> None:
        """The header and the lines of a `|` or `>`, which keep what they have beyond their indentation."""
        header, sign, words = self.source[number][column:].partition("#")
        self.line += header.strip()
        if sign:
            comment = _comment(sign + words)
            self.line += f" {comment.rstrip()}"
        self.lines.append(self.line)
        around = self.layout.innermost
        digits = [int(character) for character in header if character.isdigit()]
        own = self._first_indentation(number + 1)
        indent = INDENT
        for digit in digits:
            own = around.was + digit
            indent = digit
        margin = " " * (around.column + indent)
        content = self._content(number + 1, own)
        for line in content:
            inside = line[own:]
            self.lines.append(margin + inside if inside else "")
        self.end = (number + len(content), 0)

    def _first_indentation(self, first: int) -> int:
        for line in self.source[first:]:
            if line.strip():
                return _indentation(line)
        return 0

    def _content(self, first: int, own: int) -> list[str]:
        """The lines of a block scalar, without empty ones at its end."""
        around = self.layout.innermost
        least = max(own, around.was + 1)
        content: list[str] = []
        n_filled = 0
        for line in self.source[first:]:
            is_blank = not line.strip()
            if not is_blank and _indentation(line) < least:
                break
            content.append(line)
            if not is_blank or line[own:]:
                n_filled = len(content)
        return content[:n_filled]


def _comment(text: str) -> str:
    """A comment as it is written: with a space behind the `#` of a sentence."""
    if text.startswith("#") and text[1:2].isalnum():
        return f"# {text[1:]}"
    return text


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _space(last: yaml.Token | None, token: yaml.Token) -> str:
    """What stands between two tokens of a line."""
    if last is None or isinstance(last, OPENING):
        return ""
    if isinstance(token, (yaml.FlowEntryToken, *CLOSING)):
        return " " if isinstance(last, yaml.ValueToken) else ""
    if isinstance(token, yaml.ValueToken):
        return "" if isinstance(last, (yaml.ScalarToken, *CLOSING)) else " "
    return " "


def _requoted(raw: str) -> str:
    """A text in double quotes instead of single ones, where nothing in it has to change for that."""
    inside = raw[1:-1]
    if not raw.startswith("'") or set(inside) & set("\"'\\"):
        return raw
    return f'"{inside}"'
