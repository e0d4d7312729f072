"""Hints that can be applied: each is tried, and offered only where its problem is gone afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codemix.errors import Problem, Where
from codemix.recipe.editor.open_file import OpenFile
from codemix.recipe.language import yaml_text
from codemix.recipe.language.yaml_text import Mark, YamlFile

_CODE = re.compile(r"`([^`\n]+)`")
_PAIR = re.compile(r"([\w.+-]+): (\S.*)")


@dataclass(frozen=True)
class Edit:
    """New text for a stretch of one line; with `whole_line`, in place of the line and its end."""

    mark: Mark
    text: str
    whole_line: bool = False


@dataclass(frozen=True)
class Fix:
    """An edit that takes a problem away."""

    title: str
    problem: Problem
    edit: Edit


def fixes(file: OpenFile, problem: Problem) -> list[Fix]:
    """What the hints of a problem offer, as far as it helps."""
    where = problem.where
    document = file.document
    if where is None or document is None or where.file != file.file:
        return []
    found = []
    for hint in problem.hints:
        for edit in _edits(document, where, hint):
            if _helps(file, problem, edit):
                title = "delete this line" if edit.whole_line else f"write `{edit.text}`"
                found.append(Fix(title, problem, edit))
    return found


def _edits(document: YamlFile, where: Where, hint: str) -> Iterator[Edit]:
    at = Mark(where.line, where.column, where.length)
    if hint == "delete this line":
        yield Edit(at, "", whole_line=True)
    for text in _CODE.findall(hint):
        pair = _PAIR.fullmatch(text)
        if pair is None:
            yield Edit(at, text)
            continue
        for path, mark in document.marks.items():
            is_meant = path and path[-1] == pair[1] and _is_inside(path, where.path)
            if is_meant:
                yield Edit(mark, pair[2])


def _is_inside(path: tuple, shown: str) -> bool:
    """Whether a path is the one that a problem shows, or right below it."""
    here = yaml_text.show_path(path)
    around = yaml_text.show_path(path[:-1])
    return shown in (here, around)


def _helps(file: OpenFile, problem: Problem, edit: Edit) -> bool:
    """Whether the problem is gone and the text is still YAML; what it hid until now may come to light."""
    changed = OpenFile(file.file, applied(file.text, edit))
    if changed.document is None:
        return False
    left = [(other.rule, other.what) for other in changed.checked.problems]
    return (problem.rule, problem.what) not in left


def applied(text: str, edit: Edit) -> str:
    """A text with one edit in it."""
    lines = text.split("\n")
    number = edit.mark.line - 1
    if edit.whole_line:
        del lines[number]
        return "\n".join(lines)
    start = edit.mark.column - 1
    end = start + edit.mark.length
    line = lines[number]
    lines[number] = line[:start] + edit.text + line[end:]
    return "\n".join(lines)
