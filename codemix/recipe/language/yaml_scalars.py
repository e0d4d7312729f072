"""What a plain YAML scalar means: YAML 1.2, and nothing that one reader takes for a word and another for a
number."""

from __future__ import annotations

import math
import re

MAX_DIGITS = 40
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_OTHER_BASES = re.compile(r"(0[xX][0-9a-fA-F]+|0[oO][0-7]+)\Z")
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NOT_FINITE = (".inf", "-.inf", "+.inf", ".nan")


class BadNumber(Exception):
    """A scalar that looks like a number and cannot be one. `hints` say what to write instead."""

    def __init__(self, what: str, *hints: str):
        super().__init__(what)
        self.what = what
        self.hints = hints


def read_scalar(text: str) -> None | bool | int | float | str:
    """The value of an unquoted scalar. Raises BadNumber."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.match(text):
        return _whole_number(text)
    if _FLOAT.match(text):
        return _decimal_number(text)
    if _OTHER_BASES.match(text):
        number = int(text[:60], 0)
        raise BadNumber(f"`{text[:40]}` is not decimal", f"write `{number}`, or quote it")
    if text.lower() in _NOT_FINITE:
        raise BadNumber(f"`{text}` is not a finite number")
    return text


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise BadNumber(f"a number of {len(text)} digits", "nothing in a recipe is that large")
    digits = text.lstrip("+-")
    if digits.startswith("0") and len(digits) > 1:
        what = f"`{text}` begins with 0: octal to some readers, decimal to others"
        raise BadNumber(what, f"write `{int(text)}`, or quote it")
    return int(text)


def _decimal_number(text: str) -> float:
    number = float(text) if len(text) <= 400 else math.inf
    if not math.isfinite(number):
        raise BadNumber(f"`{text[:40]}` is beyond what a number can hold")
    return number
