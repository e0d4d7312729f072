"""pygls's server around recipe/editor. An error in an answer is an empty answer: the server stays."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from lsprotocol import types
from pygls.lsp.server import LanguageServer

import codemix
from codemix.errors import CodemixError, Problem
from codemix.recipe.editor import completion, fixes, hover, names
from codemix.recipe.editor.open_file import OpenFile, Place
from codemix.recipe.language import yaml_format, yaml_text
from codemix.recipe.language.yaml_text import Mark
from codemix.recipe.planning.plan import Plan

log = logging.getLogger(__name__)
_BREAK = re.compile("\r\n|[\r\n]")  # where the protocol ends a line


class RecipeServer(LanguageServer):
    """The open files, and the last plan of each that had one."""

    def __init__(self) -> None:
        super().__init__("codemix", codemix.__version__)
        self.files: dict[str, OpenFile] = {}
        self.plans: dict[str, Plan] = {}

    def file(self, uri: str) -> OpenFile:
        """A file as the editor has it now."""
        text = self.workspace.get_text_document(uri).source.removeprefix("\ufeff")
        known = self.files.get(uri)
        if known is None or known.text != text:
            known = OpenFile(_path(uri), text)
            self.files[uri] = known
        return known

    def check(self, uri: str) -> None:
        """Show the problems of a file."""
        file = self.file(uri)
        problems: tuple[Problem, ...] = ()
        if file.is_recipe:
            problems = file.checked.problems
            for plan in file.checked.plans.values():
                self.plans[uri] = plan
        shown = [_diagnostic(file, problem) for problem in problems]
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, shown))

    def place(self, uri: str, position: types.Position) -> Place | None:
        file = self.file(uri)
        line = position.line + 1
        column = _column(file.text, position)
        return file.place(line, column)


def new_server() -> RecipeServer:
    """A server that knows every request it answers."""
    server = RecipeServer()
    answers: dict[str, Callable[[RecipeServer, Any], Any]] = {
        types.TEXT_DOCUMENT_DID_OPEN: _check,
        types.TEXT_DOCUMENT_DID_CHANGE: _check,
        types.TEXT_DOCUMENT_DID_CLOSE: _close,
        types.TEXT_DOCUMENT_HOVER: _hover,
        types.TEXT_DOCUMENT_COMPLETION: _completion,
        types.TEXT_DOCUMENT_DEFINITION: _definition,
        types.TEXT_DOCUMENT_CODE_ACTION: _code_actions,
        types.TEXT_DOCUMENT_FORMATTING: _formatting,
    }
    for request, answer in answers.items():
        feature = server.feature(request)
        feature(_surely(server, answer))
    return server


def _surely(server: RecipeServer, answer: Callable[[RecipeServer, Any], Any]) -> Callable[[Any], Any]:
    """The answer to a request; where it fails, the log says why and the editor gets none."""

    def safe(params: Any) -> Any:
        try:
            return answer(server, params)
        except Exception:
            log.exception("a bug in codemix: please report it")
            return None

    return safe


def _check(server: RecipeServer, params: Any) -> None:
    server.check(params.text_document.uri)


def _close(server: RecipeServer, params: types.DidCloseTextDocumentParams) -> None:
    uri = params.text_document.uri
    server.files.pop(uri, None)
    server.plans.pop(uri, None)
    nothing = types.PublishDiagnosticsParams(uri, [])
    server.text_document_publish_diagnostics(nothing)


def _hover(server: RecipeServer, params: types.HoverParams) -> types.Hover | None:
    uri = params.text_document.uri
    file = server.file(uri)
    place = server.place(uri, params.position)
    if place is None or not file.is_recipe:
        return None
    text = hover.hover(file, place, server.plans.get(uri))
    if not text:
        return None
    content = types.MarkupContent(types.MarkupKind.Markdown, text)
    return types.Hover(content, _range(file.text, place.mark))


def _completion(server: RecipeServer, params: types.CompletionParams) -> list[types.CompletionItem] | None:
    file = server.file(params.text_document.uri)
    if not file.is_recipe:
        return None
    column = _column(file.text, params.position)
    items = []
    for found in completion.completions(file.text, params.position.line + 1, column):
        item = types.CompletionItem(found.label, insert_text=found.insert, documentation=found.detail)
        items.append(item)
    return items


def _definition(server: RecipeServer, params: types.DefinitionParams) -> types.Location | None:
    uri = params.text_document.uri
    file = server.file(uri)
    place = server.place(uri, params.position)
    if place is None or file.document is None:
        return None
    found = names.named(file, place)
    if found is None:
        return None
    if found.kind == "file":
        return _other_file(file, found.name)
    marks = file.document.marks if found.kind == "stage" else file.document.keys
    span = _range(file.text, marks[found.path])
    return types.Location(uri, span)


def _other_file(file: OpenFile, name: str) -> types.Location | None:
    other = names.file_named(file, name)
    if other is None:
        return None
    start = types.Position(0, 0)
    uri = other.resolve().as_uri()
    return types.Location(uri, types.Range(start, start))


def _code_actions(server: RecipeServer, params: types.CodeActionParams) -> list[types.CodeAction]:
    uri = params.text_document.uri
    file = server.file(uri)
    actions: list[types.CodeAction] = []
    if not file.is_recipe:
        return actions
    first = params.range.start.line + 1
    last = params.range.end.line + 1
    for problem in file.checked.problems:
        line = problem.where.line if problem.where else 0
        if first <= line <= last:
            for fix in fixes.fixes(file, problem):
                action = _action(uri, file, fix)
                actions.append(action)
    return actions


def _action(uri: str, file: OpenFile, fix: fixes.Fix) -> types.CodeAction:
    span = _range(file.text, fix.edit.mark)
    if fix.edit.whole_line:
        line = fix.edit.mark.line - 1
        span = types.Range(types.Position(line, 0), types.Position(line + 1, 0))
    edit = types.WorkspaceEdit(changes={uri: [types.TextEdit(span, fix.edit.text)]})
    return types.CodeAction(
        title=fix.title,
        kind=types.CodeActionKind.QuickFix,
        diagnostics=[_diagnostic(file, fix.problem)],
        edit=edit,
    )


def _formatting(server: RecipeServer, params: types.DocumentFormattingParams) -> list[types.TextEdit] | None:
    file = server.file(params.text_document.uri)
    try:
        text = yaml_format.formatted(yaml_text.parse(file.text, file.file))
    except CodemixError:
        return None
    n_lines = len(_BREAK.split(file.text))
    whole = types.Range(types.Position(0, 0), types.Position(n_lines, 0))
    return [types.TextEdit(whole, text)]


def _diagnostic(file: OpenFile, problem: Problem) -> types.Diagnostic:
    """A problem as editors show it; one in another file, such as a study's base, is shown on the first
    line."""
    mark = Mark(1, 1)
    said = [problem.what]
    where = problem.where
    if where is not None and where.file == file.file:
        mark = Mark(where.line, where.column, where.length)
    elif where is not None:
        said.append(f"in {where}")
    said += [f"hint: {hint}" for hint in problem.hints]
    is_error = problem.severity == "error"
    severity = types.DiagnosticSeverity.Error if is_error else types.DiagnosticSeverity.Warning
    return types.Diagnostic(
        range=_range(file.text, mark),
        message="\n".join(said),
        severity=severity,
        code=problem.rule,
        source="codemix",
    )


def _path(uri: str) -> str:
    """The file of a URI; an unsaved buffer has none, and is named after its URI."""
    parsed = urlparse(uri)
    if parsed.scheme != "file":
        return uri.replace("/", "_")
    return str(Path(unquote(parsed.path)))


def _units(text: str) -> int:
    """The length of a text as the protocol counts: UTF-16."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _line(text: str, number: int) -> str:
    lines = _BREAK.split(text)
    return lines[number] if number < len(lines) else ""


def _column(text: str, position: types.Position) -> int:
    """A position's column in characters, from 1."""
    line = _line(text, position.line)
    left = position.character
    for column, character in enumerate(line, 1):
        if left <= 0:
            return column
        left -= _units(character)
    return len(line) + 1


def _range(text: str, mark: Mark) -> types.Range:
    number = mark.line - 1
    line = _line(text, number)
    first = mark.column - 1
    last = first + mark.length
    start = _units(line[:first])
    length = _units(line[first:last])
    end = start + max(1, length)
    return types.Range(
        types.Position(number, start),
        types.Position(number, end),
    )
