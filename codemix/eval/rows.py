"""Files of examples, read as rows. Standard library at import; pyarrow only where a file needs it."""

from __future__ import annotations

import collections
import csv
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from codemix.errors import CodemixError


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file: JSON Lines (also .gz), CSV, Arrow or Parquet. Raises CodemixError (`task-data`) when it is none of them."""
    name = path.name.lower()
    try:
        if name.endswith((".arrow", ".parquet")):
            return _table(path).to_pylist()
        import gzip

        with gzip.open(path, "rt", encoding="utf-8", newline="") if name.endswith(".gz") else open(path, encoding="utf-8", newline="") as f:
            rows = list(csv.DictReader(f)) if name.endswith(".csv") else [json.loads(line) for line in f if line.strip()]
    except (OSError, EOFError, ValueError, RecursionError, csv.Error, zlib.error) as error:
        raise CodemixError(f"{path} cannot be read: {error}", hints=["fetch or write it again"], rule="task-data") from None
    if not all(isinstance(row, dict) for row in rows):
        raise CodemixError(f"{path} holds lines that are no JSON objects", hints=["one example a line: {...}"], rule="task-data")
    if name.endswith(".csv") and (wide := [number for number, row in enumerate(rows) if None in row]):
        raise CodemixError(f"{path}, row {wide[0]} has more fields than the header", hints=["quote fields that hold a comma"], rule="task-data")
    return rows


def _table(path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.name.lower().endswith(".parquet"):
        return pq.read_table(path)
    with pa.memory_map(str(path)) as source:
        try:
            return pa.ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            return pa.ipc.open_file(source).read_all()


def json_lines(records: Iterable[dict[str, Any]]) -> str:
    """Records as JSON Lines."""
    return "".join(json.dumps(r, ensure_ascii=False, sort_keys=True) + "\n" for r in records)


def records(path: Path) -> list[dict[str, Any]]:
    """What `json_lines` wrote to a file of the store. Raises CodemixError (`store-damaged`)."""
    try:
        # not splitlines(): a text may hold U+0085 or U+2028, which end no line of JSON
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except ValueError as error:
        hint = "delete its folder in the store's `evals`, and run `codemix eval` again"
        raise CodemixError(f"{path} is damaged: {error}", hints=[hint], rule="store-damaged") from None


def identities(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What each row calls itself, else a hash of its content: examples of two runs are paired by it. Copies of a row are numbered."""
    found, seen = [], collections.Counter()
    for row in rows:
        given = next((row[key] for key in ("id", "task_id", "question_id") if isinstance(row.get(key), (str, int)) and row[key] != ""), None)
        name = str(given) if given is not None else digest(json.dumps(row, sort_keys=True, default=str, ensure_ascii=False))[:16]
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found


def digest(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
