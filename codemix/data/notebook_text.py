"""Jupyter notebooks as text: cells in order, outputs by policy."""

from __future__ import annotations

from typing import Any

from codemix.data.decompress import Damaged


def notebook_text(raw: str | bytes, *, style: str, outputs: str, max_output_chars: int) -> str:
    """The text of a notebook in nbformat 3 or 4. `style`: `script` or `markdown`; `outputs`: `none` or `text`.

    script: code cells as they are, everything else as comments. markdown: code and output in fences, everything else as
    it is. Cells stand apart by one blank line; empty cells, images and rich outputs are left out. Raises Damaged.
    """
    import orjson

    try:
        notebook = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Damaged("bad_notebook", f"not JSON: {str(error)[:200]}") from None
    cells = _cells(notebook)
    language = _language(notebook)
    blocks = []
    for cell in cells:
        if not isinstance(cell, dict):
            raise Damaged("bad_notebook", "a cell is not a mapping")
        kind = cell.get("cell_type")
        source = _joined(cell.get("source", cell.get("input"))).strip("\n")
        if kind == "code":
            shown = _output_text(cell.get("outputs"), max_output_chars) if outputs == "text" else ""
            if source.strip():
                blocks.append(source if style == "script" else f"```{language}\n{source}\n```")
            if shown:
                blocks.append(_commented(shown) if style == "script" else f"```\n{shown}\n```")
        elif source.strip():
            blocks.append(_commented(source) if style == "script" else source)
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _cells(notebook: Any) -> list:
    if isinstance(notebook, dict):
        if isinstance(notebook.get("cells"), list):
            return notebook["cells"]
        if isinstance(sheets := notebook.get("worksheets"), list):  # nbformat 3
            return [cell for sheet in sheets if isinstance(sheet, dict) for cell in sheet.get("cells") or []]
    raise Damaged("bad_notebook", "no list of `cells`")


def _language(notebook: dict) -> str:
    metadata = notebook.get("metadata")
    for section, key in (("language_info", "name"), ("kernelspec", "language")):
        found = (metadata.get(section) or {}).get(key) if isinstance(metadata, dict) and isinstance(metadata.get(section), dict) else None
        if isinstance(found, str) and found:
            return found.lower()
    return "python"


def _joined(value: Any) -> str:
    """nbformat writes a text as a string or as a list of lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    if value is None:
        return ""
    raise Damaged("bad_notebook", "a cell's source is neither text nor lines")


def _output_text(outputs: Any, max_chars: int) -> str:
    """Streams and plain-text results, cut at `max_chars`; tracebacks, images and HTML are left out."""
    texts = []
    for output in outputs if isinstance(outputs, list) else ():
        if isinstance(output, dict) and output.get("output_type") in ("stream", "execute_result", "display_data", "pyout"):
            data = output.get("data") if isinstance(output.get("data"), dict) else {}
            found = output.get("text", data.get("text/plain"))
            if isinstance(found, (str, list)):
                texts.append(_joined(found).strip("\n"))
    text = "\n".join(t for t in texts if t.strip())
    return text if len(text) <= max_chars else text[:max_chars].rsplit("\n", 1)[0] + "\n..."


def _commented(text: str) -> str:
    return "\n".join(f"# {line}" if line else "#" for line in text.split("\n"))
