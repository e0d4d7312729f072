"""Files of examples, read as rows. Standard library at import; pyarrow only where a file needs it."""

from __future__ import annotations

import collections
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.store import read_bytes
from codemix.errors import CodemixError
from codemix.files import text_digest as digest

if TYPE_CHECKING:
    import pyarrow


Row = dict[str, Any]  # one example: columns that its data set's authors chose
NAME_COLUMNS = ("id", "task_id", "question_id")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file: JSON Lines (also .gz), CSV, Arrow or Parquet. Raises CodemixError (`task-data`)
    when it is none of them.
    """
    check_regular(path)
    name = path.name.lower()
    try:
        if name.endswith((".arrow", ".parquet")):
            return _table(path).to_pylist()
        with gzip.open(path, "rb") if name.endswith(".gz") else open(path, "rb") as raw:
            # A byte order mark is not a part of the first column's name.
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
            return list(_csv_rows(text) if name.endswith(".csv") else _json_rows(text))
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise CodemixError(
            f"{path} cannot be read: {error}",
            hints=["correct that place, or fetch the file again"],
            rule="task-data",
        ) from None


def check_regular(path: Path) -> None:
    """Raises CodemixError (`file`) for a pipe, socket or device, from which reading may never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        hint = "save what it gives to a file, and name that"
        raise CodemixError(f"{path} is a pipe, a socket or a device, not a file", hints=[hint], rule="file")


def _json_rows(lines: Iterable[str]) -> Iterator[Row]:
    """Raises ValueError, with the line, for one that is not a JSON object or not text."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if "\\u" in line:  # UTF-8 cannot hold half of a surrogate pair, an escape can
                json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ord(error.object[error.start])
            raise ValueError(
                f"line {number} holds half of a surrogate pair (U+{half:04X}), which is not text"
            ) from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object: one example per line, {{...}}")
        yield row


def _csv_rows(lines: Iterable[str]) -> Iterator[Row]:
    """Raises ValueError or csv.Error for a header that names a column twice,
    and for a row that does not fit it.
    """
    reader = csv.DictReader(lines, strict=True)
    header = reader.fieldnames or ()
    if twice := [name for name, n in collections.Counter(header).items() if n > 1]:
        raise ValueError(f"the header names `{twice[0]}` twice")
    for number, row in enumerate(reader, 1):
        if None in row:
            raise ValueError(f"row {number} has more fields than the header: quote fields that hold a comma")
        yield row


def _table(path: Path) -> pyarrow.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.name.lower().endswith(".parquet"):
        return pq.read_table(path)
    with pa.memory_map(str(path)) as source:
        try:
            return pa.ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            return pa.ipc.open_file(source).read_all()


def json_lines(records: Iterable[Row]) -> str:
    """Records as JSON Lines."""
    lines = []
    for record in records:
        line = json.dumps(record, ensure_ascii=False, sort_keys=True)
        lines.append(f"{line}\n")
    return "".join(lines)


def records(path: Path) -> list[Row]:
    """What `json_lines` wrote to a file of the store. Raises CodemixError (`store-damaged`)."""
    content = read_bytes(path)
    try:
        # not splitlines(): a text may hold U+0085 or U+2028, which end no line of JSON
        return [json.loads(line) for line in content.decode().split("\n") if line]
    except ValueError as error:
        hint = "delete its folder in the store's `evals`, and run `codemix eval` again"
        raise CodemixError(f"{path} is damaged: {error}", hints=[hint], rule="store-damaged") from None


def identities(rows: Sequence[Row]) -> list[str]:
    """What each row calls itself, else a hash of its content: examples of two runs are paired by it. Copies
    of a row are numbered.
    """
    names: list[str] = []
    copies: collections.Counter[str] = collections.Counter()
    for row in rows:
        name = _name(row)
        copies[name] += 1
        names.append(name if copies[name] == 1 else f"{name}#{copies[name]}")
    return names


def _name(row: Row) -> str:
    for column in NAME_COLUMNS:
        given = row.get(column)
        if isinstance(given, (str, int)) and given != "":
            return str(given)
    content = json.dumps(row, sort_keys=True, default=str, ensure_ascii=False)
    return digest(content)[:16]
