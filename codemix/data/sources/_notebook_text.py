"""Jupyter notebooks as text: cells in order, outputs by policy."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from codemix.data.inputs.decompression import Damaged
from codemix.data.text.markdown import fenced

_HALF_PAIR = re.compile("[\ud800-\udfff]")  # half of an emoji that was cut in two, as a progress bar does
_MAX_HEADING = 6


@dataclass(frozen=True)
class Cell:
    """What is in a cell, and what it printed, as the file has it."""

    is_code: bool
    source: str
    language: str  # of a code cell, where it has its own
    outputs: Any


def notebook_text(raw: str | bytes, *, style: str, outputs: str, max_output_chars: int) -> str:
    """The text of a notebook in nbformat 1 to 4. `style`: `script` or `markdown`; `outputs`: `none` or
    `text`.

    script: code cells as they are, everything else as comments. markdown: code and output in fences,
    everything else as it is. One blank line separates cells; empty cells, images and rich outputs are left
    out. Raises Damaged.
    """
    notebook = _parsed(raw)
    language = _language(notebook)
    is_script = style == "script"
    blocks = []
    for cell in map(_cell, _cells(notebook)):
        if cell.source:
            blocks.append(_as_script(cell) if is_script else _as_markdown(cell, language))
        if cell.is_code and outputs == "text":
            output = _cut(_output(cell.outputs), max_output_chars)
            if output:
                blocks.append(_commented(output) if is_script else fenced(output))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _as_script(cell: Cell) -> str:
    return cell.source if cell.is_code else _commented(cell.source)


def _as_markdown(cell: Cell, language: str) -> str:
    if not cell.is_code:
        return cell.source
    return fenced(cell.source, cell.language or language)


def _parsed(raw: str | bytes) -> dict[str, Any]:
    """The notebook's JSON, as Jupyter reads it: with NaN and halves of surrogate pairs, which strict JSON has
    not."""
    import orjson

    try:
        notebook = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        notebook = _leniently_parsed(raw, error)
    if not isinstance(notebook, dict):
        raise Damaged("bad_notebook", "it is not a mapping")
    return notebook


def _leniently_parsed(raw: str | bytes, strict: Exception) -> Any:
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        raise Damaged("bad_notebook", f"not JSON: {str(strict)[:200]}") from None


def _cells(notebook: dict[str, Any]) -> list[Any]:
    if "cells" in notebook:
        return _listed(notebook, "cells")
    if "worksheets" in notebook:  # until nbformat 3
        return [
            cell
            for sheet in _listed(notebook, "worksheets")
            for cell in _listed(_mapping(sheet, "worksheet"), "cells")
        ]
    raise Damaged("bad_notebook", "no list of `cells`")


def _listed(mapping: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(mapping.get(key), list):
        raise Damaged("bad_notebook", f"`{key}` is not a list")
    return mapping[key]


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Damaged("bad_notebook", f"a {name} is not a mapping")
    return value


def _cell(value: Any) -> Cell:
    cell = _mapping(value, "cell")
    kind = cell.get("cell_type")
    # of prose and of nbformat 4; of code in 2 and 3; of code and of prose in 1
    fields = ("source", "input", "code", "text")
    source = _joined(next((cell[field] for field in fields if cell.get(field) is not None), "")).strip("\n")
    if not source.strip():
        source = ""
    elif kind == "heading":  # until nbformat 3
        source = f"{'#' * _heading_level(cell)} {' '.join(source.splitlines())}"
    return Cell(kind == "code", source, _language_name(cell.get("language")), cell.get("outputs"))


def _heading_level(cell: dict[str, Any]) -> int:
    level = cell.get("level")
    if not isinstance(level, int):
        return 1
    return min(max(level, 1), _MAX_HEADING)


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata")
    for section, key in (("language_info", "name"), ("kernelspec", "language")):
        named = metadata.get(section) if isinstance(metadata, dict) else None
        if isinstance(named, dict) and (found := _language_name(named.get(key))):
            return found
    return "python"


def _language_name(value: Any) -> str:
    """A name that may follow a fence, or an empty string."""
    if not isinstance(value, str) or not re.fullmatch(r"[^\s`]+", value):
        return ""
    return value.lower()


def _joined(value: Any) -> str:
    """nbformat writes a text as a string or as a list of lines."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "".join(value)
    if not isinstance(value, str):
        raise Damaged("bad_notebook", "a cell's source is neither text nor lines")
    if half := _HALF_PAIR.search(value):
        raise Damaged("lone_surrogate", f"character {half.start()} of a cell's source")
    return value


_TEXT_OUTPUTS = ("stream", "execute_result", "display_data", "pyout")


def _output(outputs: Any) -> str:
    """Streams and plain-text results; tracebacks, images and HTML are left out, and half of an emoji becomes
    U+FFFD."""
    texts = []
    for output in outputs if isinstance(outputs, list) else ():
        if isinstance(output, dict) and output.get("output_type") in _TEXT_OUTPUTS:
            text = _output_text(output)
            if text.strip():
                texts.append(text)
    return "\n".join(texts)


def _output_text(output: dict[str, Any]) -> str:
    data = output.get("data")
    in_data = data.get("text/plain") if isinstance(data, dict) else None
    text = output.get("text", in_data)
    if isinstance(text, list) and all(isinstance(line, str) for line in text):
        text = "".join(text)
    if not isinstance(text, str):
        return ""
    return _HALF_PAIR.sub("\ufffd", text).strip("\n")


def _cut(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    whole_lines = text[:max_chars].rsplit("\n", 1)[0]
    return f"{whole_lines}\n..."


def _commented(text: str) -> str:
    # Python ends a comment at each of these newlines; progress bars write the first
    lines = re.split(r"\r\n?|\n", text)
    return "\n".join(f"# {line}" if line else "#" for line in lines)
