"""Specs and components: frozen pydantic models that *are* their YAML.

A component is one file: `codemix/data/sources/jsonl.py` holds the class whose `kind` is `jsonl`. Nothing
registers anything; the file's name is the registration. Other packages offer theirs through entry points
(recipe/language/plugins.py). Only the kinds that a recipe uses are imported, so `validate` stays fast."""

from __future__ import annotations

import importlib
import pkgutil
import types
import typing
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from codemix.errors import CodemixError, did_you_mean, nearest
from codemix.recipe.language import plugins

if TYPE_CHECKING:
    from codemix.errors import Problem
    from codemix.recipe.language.requirements import Requirement
    from codemix.recipe.language.schema import Recipe

FAMILIES = {  # family -> the package whose modules are its kinds
    "source": "codemix.data.sources",
    "op": "codemix.data.ops",
    "tokenizer": "codemix.data.tokenizers",
    "schedule": "codemix.train.schedules",
    "task": "codemix.eval.tasks",
}


class Spec(BaseModel):
    """A frozen piece of a recipe. Unknown keys are refused; fields in `NOT_IDENTITY` never change what is
    built."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"name", "notes", "description"})
    # added after outputs had been named without it: at its default a field changes no name
    ADDED_LATER: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """`z_loss: true` would otherwise be a weight of 1."""
        if not isinstance(value, bool) or info.field_name is None:
            return value
        annotation = cls.model_fields[info.field_name].annotation
        wanted = _types_in(annotation)
        if bool in wanted or wanted.isdisjoint({int, float}):
            return value
        raise PydanticKnownError("int_type" if int in wanted else "float_type")


def _types_in(annotation: Any) -> set[Any]:
    """The types that a field takes: those of `X | None` and `Annotated[X, ...]`, not what is inside a
    list."""
    origin = typing.get_origin(annotation)
    inside = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _types_in(inside[0])
    if origin not in (typing.Union, types.UnionType):
        return {annotation}
    return set().union(*map(_types_in, inside))


class Component(Spec):
    """A spec with behaviour. Subclasses add `kind: Literal["<file name>"] = "<file name>"`, `EXAMPLES`, and
    bump `version` whenever the same YAML would produce other output."""

    if TYPE_CHECKING:
        kind: str  # each subclass has it as a field
    family: ClassVar[str]
    version: ClassVar[int] = 1
    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = ()

    def requirements(self) -> Iterable[Requirement]:
        """The packages and programs beyond a plain install without which this component cannot work."""
        return ()

    def check(self, recipe: Recipe, at: tuple) -> Iterable[tuple[tuple, Problem]]:
        """What is wrong with this component, at path `at` of this recipe; each problem with its place."""
        return ()

    @classmethod
    def reference(cls) -> str:
        """Markdown for the end of its section in the docs: a table that the code itself holds."""
        return ""


def built_in_kinds(family: str) -> list[str]:
    """Every kind of a family that codemix itself has, sorted, without importing any."""
    package = importlib.import_module(FAMILIES[family])
    names = []
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            names.append(module.name)
    return sorted(names)


def kinds(family: str) -> list[str]:
    """Every kind of a family, those of installed packages included. Raises CodemixError when two are called
    the same."""
    names = built_in_kinds(family)
    plugins.refuse_clashes(family, frozenset(names))
    names += [offer.kind for offer in plugins.offers(family)]
    return sorted(names)


def refuse_clashes() -> None:
    """Raises CodemixError when an installed package offers a kind that exists already."""
    for family in FAMILIES:
        plugins.refuse_clashes(family, frozenset(built_in_kinds(family)))


def component_class(family: str, kind: str) -> type[Component]:
    """The class of one kind. Raises KeyError for a kind that does not exist, CodemixError for one that is
    broken."""
    if not kind.isidentifier() or kind.startswith("_"):
        raise KeyError(kind)
    try:
        module = importlib.import_module(f"{FAMILIES[family]}.{kind}")
    except ModuleNotFoundError as error:
        if error.name != f"{FAMILIES[family]}.{kind}":
            raise
    else:
        return _component_in(module, kind)
    offer = plugins.offer_of(family, kind)
    if offer is None:
        raise KeyError(kind)
    return plugins.load(offer, Component)


def _component_in(module: types.ModuleType, kind: str) -> type[Component]:
    for value in vars(module).values():
        if not isinstance(value, type) or not issubclass(value, Component):
            continue
        field = value.model_fields.get("kind")
        if field is not None and field.default == kind:
            return value
    raise TypeError(f"{module.__name__} holds no component whose kind is {kind!r}")


def _load(family: str, value: Any) -> Component:
    if isinstance(value, Component):
        if value.family != family:
            raise PydanticCustomError(
                "wrong_family", f"a {value.family} cannot stand where a {family} is wanted"
            )
        return value
    if not isinstance(value, dict):
        raise PydanticCustomError(
            "component",
            "expected a mapping with `kind:`",
            {"hints": [f"write `{{kind: {kinds(family)[0]}}}`"]},
        )
    if "kind" not in value:
        raise PydanticCustomError(
            "component", "`kind` is missing", {"hints": [f"one of: {', '.join(kinds(family))}"]}
        )
    try:
        cls = component_class(family, str(value["kind"]))
    except KeyError:
        name = str(value["kind"])
        message = f"there is no {family} of kind `{name}`"
        raise _error("component_kind", message, _hints_for_unknown(family, name)) from None
    except CodemixError as error:  # of an installed package; the recipe's line says who asked for it
        [problem] = error.problems
        raise _error("plugin", problem.what, list(problem.hints)) from None
    if value.keys() == {"kind"} and _needs_no_validator(cls):
        return cls.model_construct(**value)
    try:
        return cls.model_validate(value)
    except (
        ValidationError
    ) as error:  # carried out whole: recipe/language/recipe_file.py gives each its own place in the file
        raise PydanticCustomError(
            "nested", "invalid component", {"errors": error.errors(), "fields": list(cls.model_fields)}
        ) from None


def _error(kind: str, message: str, hints: list[str]) -> PydanticCustomError:
    """An error at a component's `kind`. The message comes last in the context: pydantic fills in braces in
    order."""
    context = {"hints": hints, "at": ["kind"], "message": message}
    return PydanticCustomError(kind, "{message}", context)


def _hints_for_unknown(family: str, kind: str) -> list[str]:
    known = kinds(family)
    hints = list(did_you_mean(kind, known))
    if not nearest(kind, known):
        hints.append(f"or install the package that offers it (entry points `{plugins.GROUPS[family]}`)")
    return hints


def _needs_no_validator(cls: type[Component]) -> bool:
    """Whether a component may be all defaults; to build its validator would take longer than everything
    else."""
    fields = cls.model_fields.values()
    required = [field for field in fields if field.is_required()]
    validators = cls.__pydantic_decorators__.model_validators
    return not required and not validators


def field(family: str) -> Any:
    """The pydantic field type for "one component of this family"."""
    return Annotated[
        SerializeAsAny[Component],
        BeforeValidator(lambda value: _load(family, value)),
        WithJsonSchema(
            {"component": family}
        ),  # recipe/reference/json_schema.py puts the schema of all kinds here
    ]


def _fields_of_identity(spec: Spec) -> dict[str, Any]:
    content = {}
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        is_new_default = name in spec.ADDED_LATER and value == field.default
        if name not in spec.NOT_IDENTITY and not is_new_default:
            content[name] = identity(value)
    return content


def identity(value: Any) -> Any:
    """The JSON-able content that decides what is built: everything but `NOT_IDENTITY`, plus component
    versions."""
    if isinstance(value, Spec):
        content = _fields_of_identity(value)
        if isinstance(value, Component):
            content["version"] = value.version
            if provider := plugins.provider_of(type(value)):
                content["package"] = provider
        return content
    if isinstance(value, dict):
        return {str(k): identity(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [identity(v) for v in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):  # `100` and `100.0` are one number, whichever a field's default spells
        return int(value) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value)  # Fraction, Length: their text is exact
