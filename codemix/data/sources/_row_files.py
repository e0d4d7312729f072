"""Files of rows: JSON lines and Parquet, read strictly, handed row by row to a function that makes documents
of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from codemix.data.document import NOT_SAMPLED, Drop, Item, Unreadable, row_of
from codemix.data.inputs.decompression import EXPANSION_FREE, Damaged, found_compression
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.opener import Opener
from codemix.data.inputs.packages import PARQUET_SUFFIXES
from codemix.data.inputs.values import Rounded, read_exactly
from codemix.data.text.binary import NO_TEXT, is_lfs_line, is_wide, no_text

JSON_SUFFIXES = tuple(f".{s}{c}" for s in ("jsonl", "json", "ndjson") for c in ("", ".gz", ".zst", ".zstd"))
ROW_SUFFIXES = JSON_SUFFIXES + PARQUET_SUFFIXES
_BATCH_ROWS = 256

Convert = Callable[[Any, int], Item]
Wanted = Callable[[int], bool]  # whether the row of this number is in the sample


def is_parquet(name: str) -> bool:
    """Whether a file is Parquet by its name."""
    return name.lower().endswith(PARQUET_SUFFIXES)


def row_parts(given: Input, opener: Opener, part_bytes: int) -> list[Part]:
    """Parts of about `part_bytes`: whole lines of JSON lines, row groups of Parquet; of a compressed file a few
    large ones."""
    if not is_parquet(given.path):
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
    part: Part,
    opener: Opener,
    convert: Convert,
    fields: list[str],
    optional: list[str] | None = None,
    wanted: Wanted | None = None,
) -> Iterator[Item]:
    """`convert(row, number)` of every row of a part, in order; of Parquet only the columns that hold `fields`
    (all must be there, the first with text) and `optional` ones are read. Rows that are not `wanted` are not
    decoded: they are dropped."""
    return (
        _parquet(part, opener, convert, fields, optional or [], wanted)
        if is_parquet(part.input.path)
        else _json_lines(part, opener, convert, wanted)
    )


def _json_lines(part: Part, opener: Opener, convert: Convert, wanted: Wanted | None) -> Iterator[Item]:
    from orjson import JSONDecodeError, loads

    name = part.input.path
    for number, line in opener.lines(part):
        if isinstance(line, Unreadable):
            yield line
        elif wanted is not None and not line.isspace() and not wanted(number):
            yield Drop(NOT_SAMPLED, f"{name}#{number}")
        elif line != b"\n":  # a blank line holds no document
            if number == 0:
                line = line.removeprefix(b"\xef\xbb\xbf")  # a byte order mark is not part of the JSON
            try:
                row = loads(line)
            except JSONDecodeError as error:
                if not line.isspace():
                    yield _broken(line, row_of(name, number), error)
            else:
                try:
                    yield convert(row, number)
                except Rounded:
                    yield _exactly(line, name, number, convert)


def _exactly(line: bytes, name: str, number: int, convert: Convert) -> Item:
    try:
        return convert(read_exactly(line), number)
    except Damaged as damage:
        return Unreadable(damage.reason, row_of(name, number), damage.detail)


def _broken(line: bytes, where: str, error: Exception) -> Unreadable:
    if is_lfs_line(line):
        return Unreadable("lfs_pointer", where, NO_TEXT["lfs_pointer"])
    if contents := found_compression(line):
        return Unreadable(
            "bad_utf8", where, f"it holds {contents} data: is it compressed twice, or an archive?"
        )
    if is_wide(line):
        return Unreadable("utf16", where, "every other byte is zero, as in UTF-16")
    try:
        line.decode()
    except UnicodeDecodeError as bad:
        return Unreadable("bad_utf8", where, f"byte {line[bad.start]:#04x} at byte {bad.start} of the line")
    return Unreadable("bad_json", where, f"{str(error)[:200]}{_likely_form(line)}")


def _likely_form(line: bytes) -> str:
    """What the file probably is, if its line looks like something that is not JSON lines."""
    if line.lstrip()[:1] == b"[":
        return "; is this one JSON array instead of JSON lines?"
    if b"\r{" in line:
        return "; do its lines end with carriage returns alone?"
    if line.startswith(b"\x1e"):
        return "; is this a JSON text sequence (RFC 7464) instead of JSON lines?"
    return ""


def _parquet_file(file: Any, *, in_pieces: bool = False) -> Any:
    """A file of Parquet that is open; `in_pieces` reads page by page, not a row group's columns at once."""
    import pyarrow.parquet

    how = {"buffer_size": 1 << 16, "pre_buffer": False} if in_pieces else {}
    return pyarrow.parquet.ParquetFile(file, **how)


def _arrow_errors() -> tuple[type[Exception], ...]:
    import pyarrow

    return (pyarrow.ArrowException, OSError, EOFError)


def _parquet(
    part: Part,
    opener: Opener,
    convert: Convert,
    fields: list[str],
    optional: list[str],
    wanted: Wanted | None,
) -> Iterator[Item]:
    number = part.first_row
    where = part.input.path  # until there are rows
    with opener.open(part.input) as file:
        try:
            for batch in _batches(file, part, opener, fields, optional):
                yield from _of_batch(batch, part.input.path, number, convert, wanted)
                number += batch.num_rows
                where = row_of(part.input.path, number)
        except Damaged as damage:
            yield Unreadable(damage.reason, where, damage.detail, rest_lost=True)
        except _arrow_errors() as error:
            yield Unreadable("damaged", where, f"Parquet: {str(error)[:200]}", rest_lost=True)


def _of_batch(batch: Any, name: str, first: int, convert: Convert, wanted: Wanted | None) -> Iterator[Item]:
    """What becomes of the rows of a batch, the first of which has the number `first`."""
    from codemix.data.sources._arrow_values import python_rows

    numbers = range(first, first + batch.num_rows)
    if wanted is None:
        for number, row in zip(numbers, python_rows(batch), strict=True):
            yield convert(row, number)
        return
    import pyarrow

    chosen = [wanted(number) for number in numbers]
    rows = iter(python_rows(batch.filter(pyarrow.array(chosen, pyarrow.bool_()))))
    for number, is_wanted in zip(numbers, chosen, strict=True):
        yield convert(next(rows), number) if is_wanted else Drop(NOT_SAMPLED, f"{name}#{number}")


def _batches(file: Any, part: Part, opener: Opener, fields: list[str], optional: list[str]) -> Iterator[Any]:
    """Arrow batches of a part's row groups, with the columns that are asked for. Raises Damaged and what
    Arrow raises."""
    head = file.read(1024)
    if no_text(head) == "lfs_pointer":
        raise Damaged("lfs_pointer", NO_TEXT["lfs_pointer"])
    if not head.startswith(b"PAR1"):
        raise Damaged(
            "wrong_suffix" if head else "truncated",
            "by its name it is Parquet, but it does not begin as Parquet does",
        )
    file.seek(0)
    table = _parquet_file(file, in_pieces=opener.first_row)
    metadata = table.metadata
    most = max(EXPANSION_FREE, opener.max_expansion * part.input.bytes)

    def bounded(unpacked: int) -> None:
        if unpacked > most:
            what = f"{part.input.bytes:,} bytes hold {unpacked:,}"
            raise Damaged("expands_too_much", f"{what}; `max_expansion` allows more")

    bounded(sum(metadata.row_group(g).total_byte_size for g in range(metadata.num_row_groups)))
    columns = _columns(table.schema_arrow, fields, optional)
    groups = range(part.start, metadata.num_row_groups if part.stop is None else part.stop)
    unpacked = 0
    for batch in table.iter_batches(batch_size=_BATCH_ROWS, row_groups=list(groups), columns=columns):
        unpacked += sum(
            map(_unpacked, batch.columns)
        )  # a dictionary in the file may expand to far more than its metadata says
        bounded(unpacked)
        yield batch


def _unpacked(column: Any) -> int:
    """Size of a column once its values are written out [bytes]."""
    import pyarrow.types as t

    return column.dictionary_decode().nbytes if t.is_dictionary(column.type) else column.nbytes


def _columns(schema: Any, fields: list[str], optional: list[str]) -> list[str]:
    """The columns that hold `fields` (all must be there, the first with text) and `optional` ones. Raises
    Damaged."""
    names = schema.names
    columns = []
    for field in [*fields, *optional]:
        column = field if field in names else field.split(".")[0]
        if names.count(column) > 1:
            raise Damaged(
                "duplicate_column",
                f"{names.count(column)} columns are called `{column}`, so it is unknown which is meant",
            )
        if column in names and (column == field or _holds(schema.field(column).type, field.split(".")[1:])):
            columns.append(column)
        elif field in fields:
            raise Damaged(
                "missing_column",
                f"there is no column `{field}`; columns here: {', '.join(_paths(schema)[:50])}",
            )
    if kind := _not_text(schema.field(columns[0]).type):
        raise Damaged("column_type", f"the column `{fields[0]}` holds {kind}, not text")
    return list(dict.fromkeys(columns))


def _holds(kind: Any, steps: list[str]) -> bool:
    """Whether a type has the fields `steps`, one inside the other."""
    import pyarrow.types as t

    if not steps:
        return True
    index = kind.get_field_index(steps[0]) if t.is_struct(kind) else -1
    return index >= 0 and _holds(kind.field(index).type, steps[1:])


def _paths(schema: Any) -> list[str]:
    """Names of a schema's columns, and of the fields in those that are structs."""
    import pyarrow.types as t

    found = []
    for column in schema:
        inside = [f"{column.name}.{field.name}" for field in column.type] if t.is_struct(column.type) else []
        found += [column.name, *inside]
    return found


def _not_text(kind: Any) -> str:
    """The name of a column's type when nothing in it can be a text (binary, null, numbers); empty when it
    may."""
    import pyarrow.types as t

    value = kind.value_type if t.is_dictionary(kind) else kind  # dictionaries of strings come out as strings
    is_text = (t.is_string, t.is_large_string, t.is_string_view, t.is_nested)
    if any(is_kind(value) for is_kind in is_text):
        return ""
    return str(kind)
