"""Rows of Arrow batches as Python values. A value that Python cannot hold is reported by itself; it does not
end the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from codemix.data.inputs.decompression import Damaged


def python_rows(batch: Any) -> Iterator[dict]:
    """The rows of a batch. A value that Python cannot hold is replaced by a `Damaged`, which is raised if it
    is read."""
    if not any(_counts_nanoseconds(kind) for kind in batch.schema.types):
        try:
            rows = batch.to_pylist()
        except (
            ValueError,
            OverflowError,
        ):  # not UTF-8, a year after 9999, two fields of one name: find the rows
            rows = None
        if rows is not None:
            yield from rows
            return
    for index in range(batch.num_rows):
        yield {
            name: _value(column[index])
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }


def _counts_nanoseconds(kind: Any) -> bool:
    """Whether a type has nanoseconds in it, of which `to_pylist` makes other things where pandas is
    installed."""
    import pyarrow.types as t

    if t.is_dictionary(kind):
        return _counts_nanoseconds(kind.value_type)
    if t.is_nested(kind):
        return any(_counts_nanoseconds(kind.field(i).type) for i in range(kind.num_fields))
    return t.is_temporal(kind) and getattr(kind, "unit", "") == "ns"


def _value(scalar: Any) -> Any:
    """A value as `as_py` has it, or a `Damaged` that says why there is none."""
    import pyarrow as pa

    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.DictionaryScalar):
        return _value(scalar.value)
    if isinstance(scalar, pa.MapScalar):
        return [tuple(_value(entry[i]) for i in range(2)) for entry in scalar.values]
    if isinstance(scalar, pa.ListScalar):  # and its kinds: large lists, lists of one size
        return [_value(item) for item in scalar.values]
    if isinstance(scalar, pa.StructScalar):
        names = [scalar.type.field(i).name for i in range(scalar.type.num_fields)]
        if len(set(names)) < len(names):
            return Damaged("bad_value", f"two fields have one name: {', '.join(names[:20])}")
        return {name: _value(scalar[i]) for i, name in enumerate(names)}
    try:
        return _nanoseconds(scalar) if getattr(scalar.type, "unit", "") == "ns" else scalar.as_py()
    except UnicodeDecodeError as error:  # Parquet promises UTF-8 and does not check
        return Damaged("bad_utf8", str(error))
    except (ValueError, OverflowError):
        if not _has_known_zone(scalar.type):
            return Damaged("bad_value", f"the time zone of {scalar.type} is unknown")
        return Damaged("bad_value", f"{scalar.type} of {scalar.value:,} is outside the years 1 to 9999")


def _has_known_zone(kind: Any) -> bool:
    """Whether a type has no time zone, or one that Python finds."""
    import pyarrow as pa

    try:
        pa.scalar(0, kind).as_py()
    except ValueError:
        return False
    return True


def _nanoseconds(scalar: Any) -> Any:
    """A moment, a time of day or a duration of whole microseconds as Python has it, any other as text of nine
    digits."""
    import pyarrow as pa

    whole, rest = divmod(scalar.value, 1000)
    if pa.types.is_duration(scalar.type):
        in_microseconds = pa.duration("us")
    elif pa.types.is_time(scalar.type):
        in_microseconds = pa.time64("us")
    else:
        in_microseconds = pa.timestamp("us", scalar.type.tz)
    value = pa.scalar(whole, in_microseconds).as_py()
    if not rest:
        return value
    if pa.types.is_duration(scalar.type):
        return f"{scalar.value} ns"
    if pa.types.is_time(scalar.type):
        return f"{value.isoformat('microseconds')}{rest:03}"
    digits = value.isoformat(" ", "microseconds")
    end = len("2000-01-01 00:00:00.000000")
    return f"{digits[:end]}{rest:03}{digits[end:]}"
