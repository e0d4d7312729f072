"""Quantities as people write them, read exactly: `200B` tokens, `1325 steps`, `90%`, `4MiB`.

Nothing here goes through binary floats: `0.1` percent of a whole must be a whole number's business.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

_SI = {
    "": 1,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "B": 10**9,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_PLAIN_UNITS: dict[str, int | Fraction] = {**_SI, "%": Fraction(1, 100)}
_NUMBER = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z%]*)\s*([a-z]*)\s*\Z")
_LARGE = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
LARGEST = 10**16  # beyond any corpus; keeps one typo from becoming a plan of a million years


def _refuse(what: str, *hints: str) -> PydanticCustomError:
    opened = what.replace("{", "{{")
    template = opened.replace("}", "}}")  # pydantic fills in braces
    context = {"hints": list(hints)}
    return PydanticCustomError("quantity", template, context)


def _scaled(value: Any, noun: str, example: str, units: dict[str, int]) -> int:
    hint = f"for example `{example}`"
    if isinstance(value, bool) or not isinstance(value, (int, str, float)):
        raise _refuse(f"expected a number of {noun}", hint)
    if isinstance(value, float):
        if value != int(value):
            raise _refuse(f"`{value}` is not a whole number of {noun}", hint)
        value = int(value)
    text = str(value)
    match = _NUMBER.match(text[:64])
    unit = match[2] + match[3] if match else ""
    if not match or unit not in units:
        short = [name for name in units if 0 < len(name) <= 3 and name != "tok"]
        listed = ", ".join(short)
        what = f"cannot read `{text[:40]}` as a number of {noun}"
        raise _refuse(what, f"{hint}; units: {listed}")
    exact = _digits(match[1]) * units[unit]
    if exact.denominator != 1:
        nearest = round(exact)
        raise _refuse(f"`{value}` is not a whole number of {noun}", f"nearest: {nearest:_}")
    if exact > LARGEST:
        raise _refuse(f"`{text[:40]}` is more than {LARGEST:.0e} {noun}")
    return int(exact)


def plain_number(value: Any) -> str | None:
    """`8k` or `10%` as a plain number, `8000` or `0.1`, for advice where only those are taken; None for
    anything else."""
    is_short = isinstance(value, str) and len(value) < 64
    match = _NUMBER.match(value) if is_short else None
    if match is None or match[3]:
        return None
    factor = _PLAIN_UNITS.get(match[2])
    if factor is None:
        return None
    exact = _digits(match[1]) * factor
    return str(exact) if exact.denominator == 1 else f"{float(exact):g}"


def _digits(text: str) -> Fraction:
    """`1_000.5`"""
    return Fraction(text.replace("_", ""))


_TOKEN_UNITS = {f"{si}{noun}": factor for noun in ("", "tokens", "tok") for si, factor in _SI.items()}
_BYTE_UNITS = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def read_tokens(value: Any) -> int:
    """Tokens [tokens] from `200B`, `1.2M`, `600k`, `4Mi`, or a whole number."""
    return _scaled(value, "tokens", "200B", _TOKEN_UNITS)


def read_bytes(value: Any) -> int:
    """Bytes [bytes] from `4MiB`, `200kB`, or a whole number."""
    return _scaled(value, "bytes", "4MiB", _BYTE_UNITS)


def read_share(value: Any) -> Fraction:
    """An exact share of a whole from `90%`, `33.3%` or `1/3`. A bare number is refused: 0.5 and 50 are each
    other's typo."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        percent = f"{value * 100:g}%" if 0 < value <= 1 else f"{value:g}%"
        raise _refuse(f"`{value}` has no unit", f"write `{percent}`")
    text = str(value).strip()[:64]
    if match := re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*%", text):
        share = _digits(match[1]) / 100
    elif match := re.fullmatch(r"([0-9]{1,15})\s*/\s*([0-9]{1,15})", text):
        if int(match[2]) == 0:
            raise _refuse(f"`{text}` divides by zero")
        share = Fraction(int(match[1]), int(match[2]))
    else:
        raise _refuse(f"cannot read `{text[:40]}` as a share", "for example `90%` or `1/3`")
    if share > 1:
        raise _refuse(f"`{text}` is more than the whole", "a share lies between 0% and 100%")
    return share


def _refuse_nothing(share: Fraction) -> Fraction:
    if not share:
        raise _refuse("a share of nothing", "for example `1/16`")
    return share


@dataclass(frozen=True)
class Length:
    """A stretch of training: whole `steps`, whole `tokens`, or a `share` of the stage. Exactly one is set."""

    steps: int | None = None
    tokens: int | None = None
    share: Fraction | None = None

    def __str__(self) -> str:
        if self.steps is not None:
            return f"{self.steps} steps"
        if self.tokens is not None:
            return f"{self.tokens} tokens"
        assert self.share is not None  # one of the three is set
        return show_share(self.share)


def read_length(value: Any) -> Length:
    """A `Length` from `1325 steps`, `5.56B tokens` or `10%`; 0 is the empty length. A bare number has no unit
    and is refused."""
    if isinstance(value, Length):
        return value
    if value == 0 and not isinstance(value, bool):
        return Length(steps=0)
    if isinstance(value, str):
        text = value.strip()
        if text.endswith("%") or "/" in text:
            return Length(share=read_share(text))
        if match := re.fullmatch(r"([0-9][0-9_]{0,15})\s*steps?", text):
            return Length(steps=int(match[1].replace("_", "")))
        if re.search(r"tok(ens)?\Z", text) or re.search(r"[A-Za-z]\Z", text):
            return Length(tokens=read_tokens(text))
    raise _refuse(
        f"cannot read `{str(value)[:40]}` as a length of training",
        "for example `1325 steps`, `2B tokens` or `10%`",
    )


def show_tokens(n: int) -> str:
    """A short form that never hides what matters: `419.4B`, `1.2M`, `950`."""
    for factor, unit in _LARGE:
        if n >= factor:
            return f"{n / factor:.4g}{unit}" if n < 1000 * factor else f"{n // factor}{unit}"
    return str(n)


def show_count(n: int, noun: str) -> str:
    """A number of things: `1 stage`, `2 stages`."""
    plural = "" if n == 1 else "s"
    return f"{n} {noun}{plural}"


def tokens_at_most(n: int) -> str:
    """Four digits of `n` that, read back, are not above it: for advice that must hold when it is followed."""
    return _four_digits(n, up=False)


def tokens_at_least(n: int) -> str:
    """Four digits of `n` that, read back, are not below it."""
    return _four_digits(n, up=True)


def _four_digits(n: int, *, up: bool) -> str:
    unit = 10 ** max(0, len(str(n)) - 4)
    whole, remainder = divmod(n, unit)
    if up and remainder:
        whole += 1
    n = whole * unit
    for factor, letter in _LARGE:
        if n >= factor:
            return f"{Decimal(n) / factor:f}{letter}"
    return str(n)


def share_at_most(share: Fraction) -> str:
    """A percentage that, read back, is not above `share`."""
    return _percentage(share, up=False)


def share_at_least(share: Fraction) -> str:
    """A percentage that, read back, is not below `share`."""
    return _percentage(share, up=True)


def _percentage(share: Fraction, *, up: bool) -> str:
    places = 2
    while 0 < share * 100 < Fraction(100, 10**places):  # at least three digits that count
        places += 1
    exact = share * 100 * 10**places
    n = math.ceil(exact) if up else math.floor(exact)
    text = f"{Decimal(n).scaleb(-places):f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text}%"


def show_share(share: Fraction) -> str:
    """A percentage, exact where four decimals can say it, else as a fraction's nearest with `~`."""
    percent = share * 100
    text = f"{float(percent):.4f}".rstrip("0").rstrip(".")
    is_exact = Fraction(text) == percent
    about = "" if is_exact else "~"
    return f"{about}{text}%"


def exact_share(share: Fraction) -> str:
    """Text that `read_share` reads back to the same fraction."""
    percent = share * 100
    text = f"{float(percent):.6f}".rstrip("0").rstrip(".")
    is_exact = Fraction(text) == percent
    if is_exact:
        return f"{text}%"
    return f"{share.numerator}/{share.denominator}"


def exact_tokens(n: int) -> str:
    """Text that `read_tokens` reads back to the same number: `12.5B` where a few digits can say it."""
    for factor, unit in _LARGE:
        short = f"{Decimal(n) / factor:f}"
        if n >= factor and len(short) <= 8:
            return f"{short}{unit}"
    return str(n)


def tokens_value(n: int) -> int | str:
    """The same as a value of YAML: a number where no unit helps."""
    text = exact_tokens(n)
    return n if text.isdecimal() else text


_QUANTITY = {"type": ["string", "integer"]}
Tokens = Annotated[
    int,
    BeforeValidator(read_tokens),
    WithJsonSchema(_QUANTITY | {"format": "tokens", "description": "tokens, e.g. 200B"}),
]
Bytes = Annotated[
    int,
    BeforeValidator(read_bytes),
    WithJsonSchema(_QUANTITY | {"format": "bytes", "description": "bytes, e.g. 4MiB"}),
]
Share = Annotated[
    Fraction,
    BeforeValidator(read_share),
    PlainSerializer(exact_share, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "share",
            "pattern": r"^[0-9._]+\s*%$|^[0-9]+\s*/\s*[0-9]+$",
            "description": "a share, e.g. 90%",
        }
    ),
]
PositiveShare = Annotated[Share, AfterValidator(_refuse_nothing)]
LengthField = Annotated[
    Length,
    BeforeValidator(read_length),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "format": "length",
            "description": "a length of training, e.g. `1325 steps`, `2B tokens`, `10%`",
        }
    ),
]
