"""The values of a row's fields as JSON holds them, exactly: what `id`, `where:` and `metadata:` see. Standard
library only."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import date, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from codemix.data.inputs.decompression import Damaged

SCALARS = frozenset({str, int, float, bool, type(None)})  # what JSON holds unchanged
SURE = SCALARS - {float}  # of these, what the fast JSON reader never rounds
MAX_DEPTH = 100  # of lists and mappings inside each other; writing JSON has a limit too, of 254
_INT_DIGITS = 18  # as many always fit 64 bits
_DATES = (date, time, timedelta, UUID)
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", re.ASCII)


class Rounded(Exception):
    """A value that was asked for holds a float of the fast JSON reader, which rounds: `read_exactly` reads
    the row again."""


class Digits(str):
    """A number of a JSON text, as it was written there."""

    __slots__ = ()


def strings_in(value: Any) -> Iterator[str]:
    """Every string inside a JSON value, in order; not the names of fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings_in(inner)


def read_exactly(line: bytes) -> Any:
    """A line of JSON, with `Digits` for each number that is not a short integer. Raises Damaged when it is
    nested too deep."""
    try:
        return json.loads(
            line,
            parse_float=Digits,
            parse_int=lambda text: int(text) if len(text) <= _INT_DIGITS else Digits(text),
        )
    except RecursionError:
        raise _too_deep("the row") from None


def plain(value: Any, field: str, *, rounded: bool = False, depth: int = 0) -> Any:
    """A value as JSON has it, without a change: numbers that JSON readers would round and dates are given as
    their text.

    `rounded` says that floats come from a reader that may have rounded. Raises Rounded for such a float, and
    Damaged for what is neither a text nor a value of JSON: bytes that are not UTF-8, and what is nested more
    than MAX_DEPTH deep.
    """
    kind = value.__class__
    if kind in SURE:
        return value
    if kind is float:
        if rounded:
            raise Rounded
        return value if math.isfinite(value) else str(value)
    if kind is Digits or isinstance(value, Decimal):
        return _number(str(value))
    if isinstance(value, (dict, list, tuple)):
        if depth == MAX_DEPTH:
            raise _too_deep(f"`{field}`")
        deeper = depth + 1
        if isinstance(value, dict):
            return {str(k): plain(v, field, rounded=rounded, depth=deeper) for k, v in value.items()}
        return [plain(inner, field, rounded=rounded, depth=deeper) for inner in value]
    return _text(value, field)


def id_text(value: Any, field: str, *, rounded: bool = False) -> str:
    """A document's id from the value of a field, digit by digit. Raises Rounded, and Damaged for what names
    nothing."""
    kind = value.__class__
    if kind is str or kind is int:
        return str(value)
    if kind is float and rounded:
        raise Rounded
    if kind is Digits or isinstance(value, Decimal) or (kind is float and math.isfinite(value)):
        return str(value)
    if isinstance(value, (bytes, Damaged, *_DATES)):
        return _text(value, field)
    raise Damaged("bad_id", f"`{field}` holds {kind.__name__}, not a text or a number")


def number(value: Any) -> int | float | Decimal | None:
    """The number that a value of `plain` is: itself, or what the text says of one that JSON readers would
    round; None for anything else."""
    if value.__class__ is int or value.__class__ is float:
        return value
    if not isinstance(value, str) or not _NUMBER.fullmatch(value) or _number(value) != value:
        return None
    try:
        return Decimal(value)
    except InvalidOperation:  # an exponent of twenty digits
        return None


def _number(text: str) -> int | float | str:
    """The number that every reader of JSON makes of these digits if it is exactly that number, else the
    digits."""
    if text.lstrip("-").isdigit():
        return int(text) if len(text) <= 20 and -(2**63) <= int(text) < 2**64 else text
    number = float(text)
    try:
        same = math.isfinite(number) and Decimal(repr(number)) == Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        same = False
    return number if same else text


def _text(value: Any, field: str) -> str:
    if isinstance(
        value, Damaged
    ):  # what a reader found and could not hold; it matters only if it is asked for
        raise Damaged(value.reason, f"`{field}`: {value.detail}")
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError as bad:
        raise Damaged(
            "bad_utf8",
            f"`{field}` holds bytes that are not UTF-8: {value[bad.start]:#04x} at byte {bad.start}",
        ) from None


def _too_deep(what: str) -> Damaged:
    return Damaged(
        "nested_too_deep", f"{what} holds lists or mappings inside each other more than {MAX_DEPTH} deep"
    )
