"""A mypy plugin: a number that may be None has no format, such as `:.1%`.

mypy reads `f"{share:.1%}"` as `"{:{}}".format(share, ".1%")` and does not look at what is formatted; where
`share` is None it raises, and only then.
"""

from collections.abc import Callable

from mypy.nodes import Expression, StrExpr
from mypy.plugin import MethodContext, Plugin
from mypy.types import NoneType, Type, UnionType, get_proper_type


class FormattedNumbers(Plugin):
    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        return _refuse_none if fullname == "builtins.str.format" else None


def _refuse_none(call: MethodContext) -> Type:
    kinds, values = sum(call.arg_types, []), sum(call.args, [])
    if len(values) == 2 and _is_format(values[1]) and _may_be_none(kinds[0]):
        call.api.fail("a value that may be None has no number format", values[0])
    return call.default_return_type


def _is_format(spec: Expression) -> bool:
    return not (isinstance(spec, StrExpr) and spec.value == "")


def _may_be_none(kind: Type) -> bool:
    kind = get_proper_type(kind)
    if isinstance(kind, UnionType):
        return any(map(_may_be_none, kind.items))
    return isinstance(kind, NoneType)


def plugin(version: str) -> type[Plugin]:
    return FormattedNumbers
