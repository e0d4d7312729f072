"""YAML text -> plain values with the place of each. The only module that imports yaml.

Stricter than PyYAML, because a recipe is shared between strangers and must mean what it shows: scalars follow
YAML 1.2 (`1e-4` is a number, `no` is a word), equal keys are refused rather than the last one kept, object
tags never run code, and aliases, depth and size are bounded."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from codemix.errors import CodemixError, Problem, Where, in_file_order
from codemix.files import write_whole
from codemix.recipe.language.secrets import hidden, secret_in
from codemix.recipe.language.yaml_scalars import BadNumber, read_scalar

MAX_BYTES = 4_000_000
MAX_DEPTH = 48
MAX_NODES = 100_000
MAX_PROBLEMS = 50  # shown of one file
SAFE_OPENERS = 2000  # fewer openings than this cannot nest deeply enough to hurt
if TYPE_CHECKING:
    YAML_LOADER = yaml.SafeLoader
else:
    YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = {f"tag:yaml.org,2002:{t}" for t in ("str", "map", "seq", "int", "float", "bool", "null")}
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # where YAML ends a line
_SHOWN = 200  # characters of a longer line
_WORD = re.compile(r"(?!(?i:null|true|false|yes|no|on|off|y|n)\Z)[A-Za-z_][\w./ %-]*(?<! )")
_RELATIVE_SCHEMA = re.compile(r"\A# yaml-language-server: \$schema=(?!/|[a-z]+:)(?P<path>\S+)")


class _Loader(YAML_LOADER):
    """Composes nodes without deciding what a plain scalar means; `_Reader` decides."""

    yaml_implicit_resolvers: dict = {}


class Mark(NamedTuple):
    """Where something is in a text; line and column count from 1."""

    line: int
    column: int
    length: int = 1


@dataclass
class YamlFile:
    """The value of a YAML file, and where each part of it is. Paths are tuples of keys and indices."""

    file: str
    text: str
    value: Any = None
    marks: dict[tuple, Mark] = field(default_factory=dict)  # path -> of the value
    keys: dict[tuple, Mark] = field(default_factory=dict)  # path -> of the key

    def where(self, path: tuple, *, key: bool = False) -> Where:
        """The place of a value (or of its key), or of the nearest thing around it that exists."""
        path = tuple(path)
        if key and path in self.keys:
            return self.at(self.keys[path], path)
        for n in range(len(path), -1, -1):
            around = path[:n]
            mark = self.marks.get(around) or self.keys.get(around)
            if mark is not None:
                return self.at(mark, path)
        return self.at(Mark(1, 1), path)

    def at(self, mark: Mark, path: tuple = ()) -> Where:
        """A place in the file, with its line as it may be shown."""
        line = ""
        if mark.line <= len(self._lines):
            line = hidden(self._lines[mark.line - 1])
        first = 0
        if len(line) > _SHOWN:
            first = max(0, mark.column - 1 - _SHOWN // 2)
        text = _stretch(line, first)
        shown_path = show_path(path)
        return Where(self.file, *mark, path=shown_path, text=text, text_column=first + 1)

    @functools.cached_property
    def _lines(self) -> list[str]:
        return _BREAK.split(self.text)


def _stretch(line: str, first: int) -> str:
    """What is shown of a line, from an index on; dots stand for the rest."""
    stop = first + _SHOWN
    text = line[first:stop]
    if first > 0:
        text = "..." + text[3:]
    if stop < len(line):
        text = text[:-3] + "..."
    return text


def show_path(path: tuple) -> str:
    """`stages[1].mixture.code` from ("stages", 1, "mixture", "code")."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += f".{part}" if shown else str(part)
    return shown


def read_text(path: str | Path) -> str:
    """The text of a recipe file. Raises CodemixError when it cannot be one."""
    path = Path(path)
    try:
        if path.is_dir():
            inside = ", ".join(sorted(p.name for p in path.glob("*.y*ml"))[:5])
            raise CodemixError(
                f"{path} is a folder, not a recipe",
                hints=[f"give one of its files: {inside}" if inside else "give a .yaml file"],
                rule="file",
            )
        with open(path, "rb") as f:
            raw = f.read(MAX_BYTES + 1)
    except OSError as error:
        near = sorted(p.name for p in path.parent.glob("*.y*ml"))[:8] if path.parent.is_dir() else []
        raise CodemixError(
            f"cannot read {path}: {error.strerror}",
            hints=[f"files there: {', '.join(near)}"] if near else ["check the path"],
            rule="file",
        ) from None
    if len(raw) > MAX_BYTES:
        raise CodemixError(
            f"{path} is larger than {MAX_BYTES:,} bytes",
            hints=["a recipe is a page of YAML; is this the right file?"],
            rule="file",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise CodemixError(
            Problem(
                "the file is not UTF-8 text",
                Where(str(path), line, column),
                ("save it as UTF-8",),
                "yaml-syntax",
            )
        ) from None


def load(path: str | Path) -> YamlFile:
    """The document in a file. Raises CodemixError with every problem of the YAML itself."""
    return parse(read_text(path), str(path))


def parse(text: str, file: str) -> YamlFile:
    """The document in `text`. Raises CodemixError with every problem of the YAML itself, in file order."""
    document = YamlFile(file, text)
    problems = _read_into(document)
    if problems:
        raise CodemixError(*problems[:MAX_PROBLEMS])
    return document


def parse_leniently(text: str, file: str) -> YamlFile | None:
    """The document in a text that may hold bad values, for an editor; None where it is not YAML at all."""
    document = YamlFile(file, text)
    try:
        _read_into(document)
    except CodemixError:
        return None
    return document


def _read_into(document: YamlFile) -> list[Problem]:
    """Fill in the value and the places; the problems of single values, in file order. Raises CodemixError for
    what is not YAML."""
    node = _composed(document)
    if node is None:
        hint = "`codemix init` writes a recipe to start from"
        raise CodemixError(Problem("the file is empty", Where(document.file, 1, 1), (hint,), "yaml-syntax"))
    reader = _Reader(document)
    document.value = reader.value(node, (), 0)
    return in_file_order(reader.problems)


def _composed(document: YamlFile) -> yaml.Node | None:
    """The nodes of a document, not yet values. Raises CodemixError for what is not YAML, or too much of
    it."""
    text = document.text
    try:
        openers = sum(text.count(opener) for opener in ("[", "{", "- ", "? "))
        if openers > SAFE_OPENERS or len(text) > MAX_NODES:
            _check_size(document)
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise CodemixError(_syntax_problem(error, document)) from None
    except RecursionError:
        raise CodemixError(_unreadable("it nests too deeply", None, document)) from None
    except (yaml.YAMLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error).split("\n")[0]
        position = getattr(error, "position", None)
        raise CodemixError(_unreadable(reason, position, document)) from None


def _syntax_problem(error: yaml.MarkedYAMLError, document: YamlFile) -> Problem:
    what = f"this is not YAML: {error.problem or error.context}"
    hints = (error.context,) if error.context else ()
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(what, None, hints, "yaml-syntax")
    where = document.at(Mark(mark.line + 1, mark.column + 1))
    if "\t" in where.text[: mark.column + 1]:
        hints = ("indent with spaces, not tabs",)
    return Problem(what, where, hints, "yaml-syntax")


def _unreadable(reason: str, position: int | None, document: YamlFile) -> Problem:
    """The problem of a text that has a character, or a depth, that YAML cannot have."""
    where = Where(document.file, 1, 1)
    if isinstance(position, int):
        before = document.text[:position]
        line = before.count("\n") + 1
        line_start = before.rfind("\n") + 1
        column = position - line_start + 1
        where = document.at(Mark(line, column))
    return Problem(f"this is not YAML: {reason}", where, (), "yaml-syntax")


def _check_size(document: YamlFile) -> None:
    """Refuse what would overflow the C stack of the composer, which recurses, or keep it busy for long;
    events do neither."""
    depth = 0
    nodes = 0
    for event in yaml.parse(document.text, Loader=_Loader):
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if nodes > MAX_NODES:
            hint = "a recipe is a page of YAML; name many files by a pattern, for example `data/**/*.jsonl`"
            what = f"the file holds more than {MAX_NODES:,} values"
        elif depth > MAX_DEPTH + 1:
            hint = "flatten it"
            what = f"nested more than {MAX_DEPTH} deep"
        else:
            continue
        where = document.at(_mark(event))
        raise CodemixError(Problem(what, replace(where, length=1), (hint,), "yaml-size"))


class _Reader:
    """Makes plain values of nodes, and notes where each is; problems are collected."""

    def __init__(self, document: YamlFile):
        self.document = document
        self.problems: list[Problem] = []
        self.nodes = 0
        self.open: list[yaml.Node] = []  # the collections around the node that is read

    def problem(self, node: yaml.Node, path: tuple, what: str, *hints: str, rule: str) -> None:
        if rule == "yaml-size" and self._has(rule):
            return
        mark = _mark(node)
        where = self.document.at(mark, path)
        problem = Problem(what, where, hints, rule)
        self.problems.append(problem)

    def _has(self, rule: str) -> bool:
        rules = [known.rule for known in self.problems]
        return rule in rules

    def value(self, node: yaml.Node, path: tuple, depth: int) -> Any:
        self.nodes += 1
        self.document.marks.setdefault(path, _mark(node))
        if self._is_too_large(node, path, depth):
            return None
        if node.tag not in _PLAIN_TAGS:
            plain = node.tag.replace("tag:yaml.org,2002:", "!!")
            advice = "a recipe holds plain values only; delete the tag"
            self.problem(node, path, f"the tag `{plain}` is not allowed", advice, rule="yaml-tag")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        self.open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, path, depth)
            return [self.value(item, (*path, i), depth + 1) for i, item in enumerate(node.value)]
        finally:
            self.open.pop()

    def _is_too_large(self, node: yaml.Node, path: tuple, depth: int) -> bool:
        if node in self.open:
            what, hint = "an alias refers to something that holds it", "write the value out"
        elif depth > MAX_DEPTH:
            what, hint = f"nested more than {MAX_DEPTH} deep", "flatten it"
        elif self.nodes > MAX_NODES:
            what, hint = f"aliases make this more than {MAX_NODES:,} values", "write fewer aliases"
        else:
            return False
        self.problem(node, path, what, hint, rule="yaml-size")
        return True

    def mapping(self, node: yaml.MappingNode, path: tuple, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if self._is_bad_key(key_node, path, values):
                continue
            key = key_node.value
            inner = (*path, key)
            self.document.keys[inner] = _mark(key_node)
            values[key] = self.value(value_node, inner, depth + 1)
        return values

    def _is_bad_key(self, node: yaml.Node, path: tuple, values: Mapping[str, Any]) -> bool:
        """Whether a key cannot be one of a recipe; the problem is noted."""
        if not isinstance(node, yaml.ScalarNode):
            self.problem(node, path, "a key must be a plain word", rule="yaml-strict")
            return True
        key = node.value
        if secret_in(key):
            self._refuse_secret(node, path, secret_in(key))
        elif key == "<<":
            what = "merge keys (`<<`) are not part of YAML 1.2"
            hint = "write the values out, or use a study's variations"
            self.problem(node, path, what, hint, rule="yaml-strict")
        elif key in values:
            first = self.document.keys[(*path, key)].line
            what = f"`{key}` is given twice (first on line {first})"
            self.problem(node, (*path, key), what, "keep one of the two", rule="yaml-duplicate-key")
        else:
            return False
        return True

    def scalar(self, node: yaml.ScalarNode, path: tuple) -> Any:
        secret = secret_in(node.value)
        if secret:
            self._refuse_secret(node, path, secret)
            return None
        if node.style not in (None, ""):  # quoted or block: the author says it is text
            return node.value
        try:
            return read_scalar(node.value)
        except BadNumber as bad:
            self.problem(node, path, bad.what, *bad.hints, rule="yaml-number")
            return None

    def _refuse_secret(self, node: yaml.Node, path: tuple, what: str) -> None:
        advice = (
            "take them out of the recipe, and revoke them if it was shared",
            "give them through the environment (AWS_PROFILE, HF_TOKEN, ...)",
        )
        self.problem(node, path, what, *advice, rule="credentials-in-url")


def _mark(part: yaml.Node | yaml.Event) -> Mark:
    start, end = part.start_mark, part.end_mark
    assert start is not None and end is not None  # the loader marks everything
    line = start.line + 1
    column = start.column + 1
    is_one_line = end.line == start.line
    length = end.column - start.column if is_one_line else 1
    return Mark(line, column, max(1, length))


class _Dumper(yaml.SafeDumper):
    """Quotes every string that is not plainly a word, so that no reader takes it for anything else."""


def _write_text(dumper: _Dumper, text: str) -> yaml.Node:
    style = None if _WORD.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


def dump(value: Any) -> str:
    """YAML text of plain values; `parse` reads it back to the same."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def name_text(name: str) -> str:
    """A name as YAML text that stays a name: `"2024"`, where a bare 2024 is a number."""
    return name if _WORD.fullmatch(name) else f'"{name}"'


def moved(text: str, before: Path, after: Path) -> str:
    """A text of the folder `before` for the folder `after`: the schema that its first line names is the same
    file."""
    line = _RELATIVE_SCHEMA.match(text)
    if line is None:
        return text
    schema = before.resolve() / line["path"]
    path = os.path.relpath(schema, after.resolve())
    start, end = line.span("path")
    return text[:start] + path + text[end:]


def with_header(text: str, header: str) -> str:
    """A text with whole lines of comment before it; a line that names its schema stays the first."""
    if not text.startswith("# yaml-language-server:"):
        return header + text
    first, newline, rest = text.partition("\n")
    return first + newline + header + rest


def write(path: Path, content: str) -> None:
    """Write a text file, whole or not at all; its folder is made. Raises CodemixError when it cannot be
    written."""
    try:
        write_whole(path, content)
    except OSError as error:
        hint = "check that its folder can be made and written to"
        raise CodemixError(f"cannot write {path}: {error.strerror}", hints=[hint], rule="file") from None
