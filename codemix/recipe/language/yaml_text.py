"""YAML text -> plain values with the place of each. The only module that imports yaml.

Stricter than PyYAML, because a recipe is shared between strangers and must mean what it shows: scalars follow
YAML 1.2 (`1e-4` is a number, `no` is a word), equal keys are refused rather than the last one kept, object
tags never run code, and aliases, depth and size are bounded."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from codemix.errors import CodemixError, Problem, Where
from codemix.files import write_whole
from codemix.recipe.language.secrets import hidden, secret_in

MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_DIGITS = 4_000_000, 48, 100_000, 40
SAFE_OPENERS = 2000  # fewer openings than this cannot nest deeply enough to hurt
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = {f"tag:yaml.org,2002:{t}" for t in ("str", "map", "seq", "int", "float", "bool", "null")}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # where YAML ends a line
_WORD = re.compile(r"(?!(?i:null|true|false|yes|no|on|off|y|n)\Z)[A-Za-z_][\w./ %-]*(?<! )")
_OTHER_BASES = re.compile(r"(0[xX][0-9a-fA-F]+|0[oO][0-7]+)\Z")


class _Loader(_LOADER):
    """Composes nodes without deciding what a plain scalar means; `_Reader` decides."""

    yaml_implicit_resolvers: dict = {}


@dataclass
class YamlFile:
    """The value of a YAML file, and where each part of it stands. Paths are tuples of keys and indices."""

    file: str
    text: str
    value: Any = None
    marks: dict[tuple, tuple[int, int, int]] = field(
        default_factory=dict
    )  # path -> (line, column, length) of the value
    keys: dict[tuple, tuple[int, int, int]] = field(
        default_factory=dict
    )  # path -> (line, column, length) of the key

    def where(self, path: tuple, *, key: bool = False) -> Where:
        """The place of a value (or of its key), or of the nearest thing around it that exists."""
        path = tuple(path)
        for n in range(len(path), -1, -1):
            first, second = (self.keys, self.marks) if key and n == len(path) else (self.marks, self.keys)
            mark = first.get(path[:n]) or second.get(path[:n])
            if mark:
                return self._at(mark, path)
        return self._at((1, 1, 1), path)

    def _at(self, mark: tuple[int, int, int], path: tuple) -> Where:
        lines = self._lines
        text = hidden(lines[mark[0] - 1]) if mark[0] <= len(lines) else ""
        return Where(
            self.file, *mark, path=show_path(path), text=text if len(text) <= 200 else text[:197] + "..."
        )

    @property
    def _lines(self) -> list[str]:
        if not hasattr(self, "_split"):
            self._split = _BREAK.split(self.text)
        return self._split


def show_path(path: tuple) -> str:
    """`stages[1].mixture.code` from ("stages", 1, "mixture", "code")."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


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
    try:
        if (
            len(text) > MAX_NODES
            or sum(text.count(opener) for opener in ("[", "{", "- ", "? ")) > SAFE_OPENERS
        ):
            _check_size(text, document)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = document._at((mark.line + 1, mark.column + 1, 1), ()) if mark else None
        hints = (
            ["indent with spaces, not tabs"]
            if mark and "\t" in where.text[: mark.column + 1]
            else [h for h in [error.context] if h]
        )
        raise CodemixError(
            Problem(f"this is not YAML: {error.problem or error.context}", where, tuple(hints), "yaml-syntax")
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        position = getattr(error, "position", None)
        where = None
        if isinstance(position, int):
            head = text[:position]
            where = document._at((head.count("\n") + 1, position - (head.rfind("\n") + 1) + 1, 1), ())
        reason = getattr(error, "reason", None) or (
            "it nests too deeply" if isinstance(error, RecursionError) else str(error).split("\n")[0]
        )
        raise CodemixError(
            Problem(f"this is not YAML: {reason}", where or Where(file, 1, 1), (), "yaml-syntax")
        ) from None
    if node is None:
        raise CodemixError(
            Problem(
                "the file is empty",
                Where(file, 1, 1),
                ("`codemix init` writes a recipe to start from",),
                "yaml-syntax",
            )
        )
    reader = _Reader(document)
    document.value = reader.value(node, (), 0)
    if reader.problems:
        raise CodemixError(*sorted(reader.problems, key=lambda p: (p.where.line, p.where.column))[:50])
    return document


def _check_size(text: str, document: YamlFile) -> None:
    """Refuse what would overflow the C stack of the composer, which recurses, or take it long; events do
    neither."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_Loader):
        nodes += isinstance(event, yaml.NodeEvent)
        if nodes > MAX_NODES:
            where = document._at((event.start_mark.line + 1, event.start_mark.column + 1, 1), ())
            hint = "a recipe is a page of YAML; name many files by a pattern, for example `data/**/*.jsonl`"
            raise CodemixError(
                Problem(f"the file holds more than {MAX_NODES:,} values", where, (hint,), "yaml-size")
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH + 1:
            where = document._at((event.start_mark.line + 1, event.start_mark.column + 1, 1), ())
            raise CodemixError(
                Problem(f"nested more than {MAX_DEPTH} deep", where, ("flatten it",), "yaml-size")
            )


class _Reader:
    def __init__(self, document: YamlFile):
        self.document, self.problems, self.nodes, self.open = document, [], 0, []

    def problem(
        self, node: yaml.Node, path: tuple, what: str, *hints: str, rule: str = "yaml-strict"
    ) -> None:
        if not any(p.rule == rule == "yaml-size" for p in self.problems):
            self.problems.append(Problem(what, self.document._at(_mark(node), path), hints, rule))

    def value(self, node: yaml.Node, path: tuple, depth: int) -> Any:
        self.nodes += 1
        self.document.marks.setdefault(path, _mark(node))
        if node in self.open:
            return self.problem(
                node,
                path,
                "an alias refers to something that holds it",
                "write the value out",
                rule="yaml-size",
            )
        if depth > MAX_DEPTH:
            return self.problem(
                node, path, f"nested more than {MAX_DEPTH} deep", "flatten it", rule="yaml-size"
            )
        if self.nodes > MAX_NODES:
            return self.problem(
                node,
                path,
                f"aliases make this more than {MAX_NODES:,} values",
                "write fewer aliases",
                rule="yaml-size",
            )
        if node.tag not in _PLAIN_TAGS:
            plain = node.tag.replace("tag:yaml.org,2002:", "!!")
            return self.problem(
                node,
                path,
                f"the tag `{plain}` is not allowed",
                "a recipe holds plain values only; delete the tag",
                rule="yaml-tag",
            )
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        self.open.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, i), depth + 1) for i, item in enumerate(node.value)]
            return self.mapping(node, path, depth)
        finally:
            self.open.pop()

    def mapping(self, node: yaml.MappingNode, path: tuple, depth: int) -> dict:
        out: dict = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.problem(key_node, path, "a key must be a plain word", rule="yaml-strict")
                continue
            key = key_node.value
            if secret_in(key):
                self.scalar(key_node, path)  # says so
                continue
            if key == "<<":
                self.problem(
                    key_node,
                    path,
                    "merge keys (`<<`) are not part of YAML 1.2",
                    "write the values out, or use a study's variations",
                )
                continue
            if key in out:
                first = self.document.keys[(*path, key)][0]
                self.problem(
                    key_node,
                    (*path, key),
                    f"`{key}` is given twice (first on line {first})",
                    "keep one of the two",
                    rule="yaml-duplicate-key",
                )
                continue
            self.document.keys[(*path, key)] = _mark(key_node)
            out[key] = self.value(value_node, (*path, key), depth + 1)
        return out

    def scalar(self, node: yaml.ScalarNode, path: tuple) -> Any:
        text = node.value
        if secret := secret_in(text):
            advice = (
                "take them out of the recipe, and revoke them if it was shared",
                "give them through the environment (AWS_PROFILE, HF_TOKEN, ...)",
            )
            return self.problem(node, path, secret, *advice, rule="credentials-in-url")
        if node.style not in (None, ""):  # quoted or block: the author says it is text
            return text
        if text in ("", "~", "null", "Null", "NULL"):
            return None
        if text in ("true", "True", "TRUE"):
            return True
        if text in ("false", "False", "FALSE"):
            return False
        if _INT.match(text):
            if len(text) > MAX_DIGITS:
                return self.problem(
                    node,
                    path,
                    f"a number of {len(text)} digits",
                    "nothing in a recipe is that large",
                    rule="yaml-number",
                )
            if len(text.lstrip("+-")) > 1 and text.lstrip("+-").startswith("0"):
                return self.problem(
                    node,
                    path,
                    f"`{text}` begins with 0: octal to some readers, decimal to others",
                    f"write `{int(text)}`, or quote it",
                    rule="yaml-number",
                )
            return int(text)
        if _FLOAT.match(text):
            number = float(text) if len(text) <= 400 else math.inf
            if not math.isfinite(number):
                return self.problem(
                    node, path, f"`{text[:40]}` is beyond what a number can hold", rule="yaml-number"
                )
            return number
        if _OTHER_BASES.match(text):
            return self.problem(
                node,
                path,
                f"`{text[:40]}` is not decimal",
                f"write `{int(text[:60], 0)}`, or quote it",
                rule="yaml-number",
            )
        if text.lower() in (".inf", "-.inf", "+.inf", ".nan"):
            return self.problem(node, path, f"`{text}` is not a finite number", rule="yaml-number")
        return text


def _mark(node: yaml.Node) -> tuple[int, int, int]:
    start, end = node.start_mark, node.end_mark
    length = end.column - start.column if end.line == start.line else 1
    return start.line + 1, start.column + 1, max(1, length)


class _Dumper(yaml.SafeDumper):
    """Quotes every string that is not plainly a word, so that no reader takes it for anything else."""


def _write_text(dumper: yaml.Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if _WORD.fullmatch(text) else '"'
    )


_Dumper.add_representer(str, _write_text)


def dump(value: Any) -> str:
    """YAML text of plain values; `parse` reads it back to the same."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def name_text(name: str) -> str:
    """A name as YAML text that stays a name: `"2024"`, where a bare 2024 is a number."""
    return name if _WORD.fullmatch(name) else f'"{name}"'


def write(path: Path, content: str) -> None:
    """Write a text file, whole or not at all; its folder is made. Raises CodemixError when it cannot be
    written."""
    try:
        write_whole(path, content)
    except OSError as error:
        hint = "check that its folder can be made and written to"
        raise CodemixError(f"cannot write {path}: {error.strerror}", hints=[hint], rule="file") from None
