"""SPDX licence expressions (SPDX specification 2.3, annex D): `MIT OR (Apache-2.0 WITH LLVM-exception AND BSD-3-Clause)`.

AND binds closer than OR, WITH closer than both; operators count without regard to case. An exception only adds
permissions, so `X WITH Y` is allowed where X is. `X+` is X or a later version, so it is allowed where X is. A
slash is what Cargo wrote for OR.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_TOKEN = re.compile(r"[()/]|[^\s()/]+")
_OPERATORS = frozenset({"and", "or", "with"})
_MAX_DEPTH = 50  # of brackets; nobody's licence has three


class NotAnExpression(ValueError):
    """A text that is a name at most."""


def is_allowed(expression: str, allowed: Collection[str]) -> bool:
    """Whether licences of `allowed`, in lower case, satisfy an expression. A text that is none counts as one
    name."""
    lower = expression.strip().lower()
    if lower in allowed:
        return True
    try:
        return _Evaluation(lower, allowed).value()
    except NotAnExpression:
        return False


class _Evaluation:
    """One reading of an expression's tokens, from left to right."""

    def __init__(self, expression: str, allowed: Collection[str]):
        self._tokens = ["or" if token == "/" else token for token in _TOKEN.findall(expression)]
        self._allowed = allowed
        self._at = 0
        if self._tokens.count("(") > _MAX_DEPTH:
            raise NotAnExpression

    def value(self) -> bool:
        result = self._any()
        if self._at < len(self._tokens):
            raise NotAnExpression
        return result

    def _any(self) -> bool:
        result = self._all()
        while self._take("or"):
            other = self._all()
            result = result or other
        return result

    def _all(self) -> bool:
        result = self._one()
        while self._take("and"):
            other = self._one()
            result = result and other
        return result

    def _one(self) -> bool:
        if self._take("("):
            result = self._any()
            if not self._take(")"):
                raise NotAnExpression
            return result
        name = self._name()
        if self._take("with"):
            exception = self._name()
            if f"{name} with {exception}" in self._allowed:
                return True
        return name in self._allowed or name.removesuffix("+") in self._allowed

    def _name(self) -> str:
        if self._at == len(self._tokens):
            raise NotAnExpression
        token = self._tokens[self._at]
        if token in _OPERATORS or token in ("(", ")"):
            raise NotAnExpression
        self._at += 1
        return token

    def _take(self, token: str) -> bool:
        """Whether that token is next, which is then read."""
        is_next = self._tokens[self._at : self._at + 1] == [token]
        self._at += is_next
        return is_next
