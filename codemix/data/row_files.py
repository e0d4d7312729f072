"""Files of rows: JSON lines and Parquet, read strictly, handed row by row to a function that makes documents of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from codemix.data.document import Document, Drop, Unreadable
from codemix.data.inputs import Input, Part
from codemix.data.locations import redacted
from codemix.data.opening import Opener

JSON_SUFFIXES = tuple(f".{s}{c}" for s in ("jsonl", "json", "ndjson") for c in ("", ".gz", ".zst", ".zstd"))
PARQUET_SUFFIXES = (".parquet", ".pq")
ROW_SUFFIXES = JSON_SUFFIXES + PARQUET_SUFFIXES
_BATCH_ROWS = 256

Convert = Callable[[Any, int], Document | Unreadable | Drop]


def _is_parquet(name: str) -> bool:
    return name.lower().endswith(PARQUET_SUFFIXES)


def row_parts(given: Input, opener: Opener, part_bytes: int) -> list[Part]:
    """Parts of about `part_bytes`: whole lines of plain JSON lines, row groups of Parquet; a compressed file is one part."""
    if not _is_parquet(given.path):
        return opener.line_parts(given, part_bytes)
    if given.bytes <= 2 * part_bytes:
        return [Part(given)]
    with opener.open(given) as file:
        try:
            groups = _parquet_file(file).metadata
        except _arrow_errors():
            return [Part(given)]  # reading it will say what is wrong
        parts, start, first_row, row, size = [], 0, 0, 0, 0
        for index in range(groups.num_row_groups):
            group = groups.row_group(index)
            row += group.num_rows
            size += sum(group.column(c).total_compressed_size for c in range(group.num_columns))
            if size >= part_bytes or index == groups.num_row_groups - 1:
                parts.append(Part(given, start, index + 1, first_row, size))
                start, first_row, size = index + 1, row, 0
    return parts or [Part(given)]


def read_rows(
    part: Part, opener: Opener, convert: Convert, fields: list[str], optional: list[str] | None = None
) -> Iterator[Document | Unreadable | Drop]:
    """`convert(row, number)` of every row of a part, in order; of Parquet only the columns that hold `fields` (all must be
    there, the first with text) and `optional` ones are read."""
    return _parquet(part, opener, convert, fields, optional or []) if _is_parquet(part.input.path) else _json_lines(part, opener, convert)


def _json_lines(part: Part, opener: Opener, convert: Convert) -> Iterator[Document | Unreadable | Drop]:
    from orjson import JSONDecodeError, loads

    name = redacted(part.input.path)
    number = part.first_row
    for line in opener.lines(part):
        if line.__class__ is not bytes:
            yield line
        elif line != b"\n":  # a blank line holds no document
            if number == 0:
                line = line.removeprefix(b"\xef\xbb\xbf")  # a byte order mark is not part of the JSON
            try:
                row = loads(line)
            except JSONDecodeError as error:
                if not line.isspace():
                    yield _broken(line, f"{name}#{number}", error)
            else:
                yield convert(row, number)
        number += 1


def _broken(line: bytes, where: str, error: Exception) -> Unreadable:
    try:
        line.decode()
    except UnicodeDecodeError as bad:
        return Unreadable("bad_utf8", where, f"byte {line[bad.start]:#04x} at byte {bad.start} of the line")
    hint = "; is this one JSON array instead of JSON lines?" if line.lstrip()[:1] == b"[" else ""
    return Unreadable("bad_json", where, f"{str(error)[:200]}{hint}")


def _parquet_file(file: Any) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(file)


def _arrow_errors() -> tuple[type[Exception], ...]:
    import pyarrow

    return (pyarrow.ArrowException, OSError, EOFError)


def _parquet(part: Part, opener: Opener, convert: Convert, fields: list[str], optional: list[str]) -> Iterator[Document | Unreadable | Drop]:
    name, number = redacted(part.input.path), part.first_row

    def lost(reason: str, detail: str) -> Unreadable:
        return Unreadable(reason, f"{name}#{number}", detail, rest_lost=True)

    with opener.open(part.input) as file:
        head = file.read(4)
        if head != b"PAR1":
            yield lost("wrong_suffix" if head else "truncated", "by its name it is Parquet, but it does not begin as Parquet does")
            return
        file.seek(0)
        try:
            table = _parquet_file(file)
        except _arrow_errors() as error:
            yield lost("damaged", f"Parquet: {error}")
            return
        metadata, schema = table.metadata, table.schema_arrow
        groups = range(part.start, metadata.num_row_groups if part.stop is None else part.stop)
        unpacked = sum(metadata.row_group(g).total_byte_size for g in range(metadata.num_row_groups))
        if unpacked > max(1 << 26, opener.max_expansion * part.input.bytes):
            yield lost("expands_too_much", f"{part.input.bytes:,} bytes hold {unpacked:,}; `max_expansion` allows more")
            return
        columns = []
        for field in [*fields, *optional]:
            column = field if field in schema.names else field.split(".")[0]
            if column not in schema.names:
                if field in optional:
                    continue
                yield lost("missing_column", f"there is no column `{field}`; columns here: {', '.join(schema.names[:50])}")
                return
            columns.append(column)
        if kind := _not_text(schema.field(columns[0]).type):
            yield lost("column_type", f"the column `{fields[0]}` holds {kind}, not text")
            return
        try:
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, row_groups=list(groups), columns=list(dict.fromkeys(columns))):
                for row in _python_rows(batch):
                    yield Unreadable("bad_utf8", f"{name}#{number}", str(row)) if isinstance(row, UnicodeDecodeError) else convert(row, number)
                    number += 1
        except _arrow_errors() as error:
            yield lost("damaged", f"Parquet: {str(error)[:200]}")


def _not_text(kind: Any) -> str:
    """The name of a column's type when nothing in it can be a text (binary, null, numbers); empty when it may."""
    import pyarrow.types as t

    value = kind.value_type if t.is_dictionary(kind) else kind  # dictionaries of strings come out as strings
    may = t.is_string(value) or t.is_large_string(value) or t.is_string_view(value) or t.is_nested(value)
    return "" if may else str(kind)


def _python_rows(batch: Any) -> Iterator[dict | UnicodeDecodeError]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # Parquet promises UTF-8 and does not check; find the rows that break the promise
        for index in range(batch.num_rows):
            try:
                row = batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                row = error
            yield row
