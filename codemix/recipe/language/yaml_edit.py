"""New values in a YAML text whose comments, order of keys and spelling stay the author's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from codemix.errors import CodemixError, Problem
from codemix.recipe.language.yaml_scalars import BadNumber, read_scalar
from codemix.recipe.language.yaml_text import YAML_LOADER, YamlFile, dump, parse

_QUANTITY = re.compile(r"[0-9][\w./%]*( [a-z]+)?")


def edited(document: YamlFile, value: Any) -> str:
    """The document's text, changed as little as it takes to say `value`.

    Raises CodemixError where its anchors stand in the way: one text for two values that now differ."""
    edits = _Edits(document.text)
    node = yaml.compose(document.text, Loader=YAML_LOADER)
    assert node is not None  # the document holds something
    edits.compare(node, document.value, value)
    text = edits.applied()
    try:
        says_it = parse(text, document.file).value == value
    except CodemixError:
        says_it = False
    if says_it:
        return text
    what = "this file is written so that its values cannot be changed one by one"
    hint = "write out its aliases (`*name`), each where it is used"
    raise CodemixError(Problem(what, document.where(()), (hint,), "yaml-edit"))


def value_text(value: Any) -> str:
    """A value on one line; words and quantities without quotes."""
    if isinstance(value, str) and _QUANTITY.fullmatch(value) and _reads_as(value):
        return value
    if isinstance(value, Mapping):
        pairs = [f"{key}: {value_text(inside)}" for key, inside in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_text, value))}]"
    return dump([value]).removeprefix("- ").rstrip("\n")


def _reads_as(text: str) -> bool:
    try:
        return read_scalar(text) == text
    except BadNumber:
        return False


@dataclass
class _Edits:
    """Stretches of a text and what stands there instead."""

    text: str
    stretches: dict[tuple[int, int], str] = field(default_factory=dict)

    def applied(self) -> str:
        text = self.text
        for (start, end), new in sorted(self.stretches.items(), reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def compare(self, node: yaml.Node, old: Any, new: Any) -> None:
        """Note what has to change for `node`, which says `old`, to say `new`."""
        if old == new:
            return
        if isinstance(node, yaml.MappingNode) and isinstance(new, dict) and old.keys() & new.keys():
            self._compare_mapping(node, old, new)
        elif isinstance(node, yaml.SequenceNode) and isinstance(new, list):
            self._compare_list(node, old, new)
        else:
            self._replace(node, new)

    def _replace(self, node: yaml.Node, new: Any) -> None:
        text = value_text(new)
        is_scalar = isinstance(node, yaml.ScalarNode)
        if not is_scalar and not _is_on_one_line(node):
            text = f"  {text}"  # a block's dashes may stand right under its key
        start = node.start_mark.index
        end = _end(node)
        self._put(start, end, text)

    def _compare_list(
        self,
        node: yaml.SequenceNode,
        old: Sequence,
        new: Sequence,
    ) -> None:
        names = _names(new)
        if len(old) == len(new):
            self._compare_sequence(node, old, new)
        elif names and names == [name for name in _names(old) if name in names]:
            self._thin_out(node, old, new)
        else:
            self._replace(node, new)

    def _compare_sequence(self, node: yaml.SequenceNode, old: Sequence, new: Sequence) -> None:
        items = zip(node.value, old, new, strict=True)
        for inside, before, after in items:
            self.compare(inside, before, after)

    def _thin_out(self, node: yaml.SequenceNode, old: Sequence, new: Sequence) -> None:
        """Take out the lines of the named items that are not in `new`, and compare the others."""
        left = {item["name"]: item for item in new}
        for inside, before in zip(node.value, old, strict=True):
            name = before["name"]
            if name in left:
                self.compare(inside, before, left[name])
                continue
            start = self.text.rfind("\n", 0, inside.start_mark.index) + 1
            end = self._line_end(_end(inside)) + 1
            self._put(start, end, "")

    def _put(self, start: int, end: int, new: str) -> None:
        self.stretches[start, end] = new

    def _compare_mapping(self, node: yaml.MappingNode, old: Mapping, new: Mapping) -> None:
        for i, (key, value) in enumerate(node.value):
            if key.value not in new:
                self._remove(node, i)
            else:
                self.compare(value, old[key.value], new[key.value])
        added = [name for name in new if name not in old]
        if added:
            self._add(node, [f"{name}: {value_text(new[name])}" for name in added])

    def _remove(self, node: yaml.MappingNode, i: int) -> None:
        """Take out the i-th pair: its lines, or what lies between two of a `{...}`."""
        key, value = node.value[i]
        start = key.start_mark.index
        end = _end(value)
        if not node.flow_style:
            start = self.text.rfind("\n", 0, start) + 1
            end = self._line_end(end) + 1
        elif i + 1 < len(node.value):
            following, _ = node.value[i + 1]
            end = following.start_mark.index
        elif i:
            _, before = node.value[i - 1]
            start = _end(before)
        self._put(start, end, "")

    def _add(self, node: yaml.MappingNode, pairs: Sequence[str]) -> None:
        """Put pairs behind the first that is on one line, else before all."""
        key, _ = node.value[0]
        place = key.start_mark.index
        margin = " " * key.start_mark.column
        if node.flow_style:
            before, after = "", ", "
        else:
            before, after = "", f"\n{margin}"
            for _, value in node.value:
                if _is_on_one_line(value):
                    place = self._line_end(_end(value))
                    before, after = after, ""
                    break
        text = [before + pair + after for pair in pairs]
        self._put(place, place, "".join(text))

    def _line_end(self, place: int) -> int:
        end = self.text.find("\n", place)
        return len(self.text) if end < 0 else end


def _names(items: Sequence) -> list[str]:
    """Of items that all have one; else nothing."""
    names = []
    for item in items:
        name = item.get("name") if isinstance(item, dict) else None
        if name is None:
            return []
        names.append(name)
    return names


def _is_on_one_line(node: yaml.Node) -> bool:
    """A scalar, or `{...}` and `[...]`: its end is where its text ends."""
    if isinstance(node, yaml.CollectionNode):
        return bool(node.flow_style)
    assert isinstance(node, yaml.ScalarNode)
    return node.style not in ("|", ">")


def _end(node: yaml.Node) -> int:
    """Where the text of a node ends: of a block, where its last value does."""
    if _is_on_one_line(node) or isinstance(node, yaml.ScalarNode):
        return node.end_mark.index
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)
