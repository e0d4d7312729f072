"""Components that other packages offer, found through their entry points.

A package says in its pyproject.toml which of its classes is a component, under the component's `kind`:

    [project.entry-points."codemix.ops"]
    max_todos = "codemix_example.ops:MaxTodos"

Nothing of a package is imported before a recipe uses one of its components.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from codemix.errors import CodemixError, Problem

T = TypeVar("T")

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

GROUPS = {  # family -> the group of entry points that offers components of it
    "source": "codemix.sources",
    "op": "codemix.ops",
    "tokenizer": "codemix.tokenizers",
    "schedule": "codemix.schedules",
    "task": "codemix.tasks",
}


@dataclass(frozen=True)
class Offer:
    """A component that an installed package offers: what its entry point says, nothing of it imported."""

    family: str
    kind: str
    entry_point: EntryPoint
    package: str
    version: str
    folder: str  # where the package is installed

    @property
    def provider(self) -> str:
        """The package and its version: part of the identity of what its components make."""
        return f"{self.package} {self.version}"

    def problem(self, what: str) -> CodemixError:
        """The error for an offer that cannot be used."""
        group = GROUPS[self.family]
        declared = f"{self.kind} = {self.entry_point.value}"
        return CodemixError(
            Problem(
                f"the {self.family} `{self.kind}` of the package {self.provider} {what}",
                hints=(
                    f'it is declared by `{declared}` in [project.entry-points."{group}"], '
                    f"installed in {self.folder}",
                    f"repair or update that package, or remove it: `pip uninstall {self.package}`",
                ),
                rule="plugin",
            )
        )


@functools.cache
def offers(family: str) -> tuple[Offer, ...]:
    """Every component of a family that installed packages offer. Reads the metadata of all packages, once."""
    from importlib.metadata import entry_points

    offered = []
    for entry_point in entry_points(group=GROUPS[family]):
        package = entry_point.dist
        if package is not None:
            offered.append(_offer(family, entry_point, package))
    offered.sort(key=lambda offer: (offer.kind, offer.package))
    return tuple(offered)


def _offer(family: str, entry_point: EntryPoint, package: Distribution) -> Offer:
    metadata = package.metadata
    return Offer(
        family,
        entry_point.name,
        entry_point,
        package=metadata["Name"] or "of no name",
        version=metadata["Version"] or "of no version",
        folder=str(package.locate_file("")),
    )


def offer_of(family: str, kind: str) -> Offer | None:
    """Who offers a kind, or None. Raises CodemixError (`plugin`) when two packages do."""
    found: Offer | None = None
    for offer in offers(family):
        if offer.kind != kind:
            continue
        if found is not None:
            raise offer.problem(f"has the same kind as one of the package {found.provider}")
        found = offer
    return found


def refuse_clashes(family: str, built_in: frozenset[str]) -> None:
    """Raises CodemixError (`plugin`) for each offer that codemix or another package has a component for
    already."""
    problems: list[Problem] = []
    for error in _clashes(family, built_in):
        problems += error.problems
    if problems:
        raise CodemixError(*problems)


def _clashes(family: str, built_in: frozenset[str]) -> Iterator[CodemixError]:
    others: dict[str, Offer] = {}
    for offer in offers(family):
        if offer.kind in built_in:
            yield offer.problem(f"has the same kind as {family} `{offer.kind}` of codemix itself")
        elif offer.kind in others:
            yield offer.problem(f"has the same kind as one of the package {others[offer.kind].provider}")
        others[offer.kind] = offer


def load(offer: Offer, component: type[T]) -> type[T]:
    """The class that an offer names. Raises CodemixError (`plugin`) when it is not a `component` of its
    kind."""
    if not offer.kind.isidentifier() or offer.kind.startswith("_"):
        raise offer.problem(
            "has a name that a recipe cannot use: a kind is a Python name, such as `max_todos`"
        )
    try:
        cls = offer.entry_point.load()
    except Exception as error:  # a stranger's code, which may raise anything while it is imported
        raise offer.problem(f"cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(cls, type) or not issubclass(cls, component):
        raise offer.problem("is not a component: its entry point must name a class derived from one")
    family = getattr(cls, "family", None)
    if family != offer.family:
        raise offer.problem(f"is a {family}: it belongs in another group of entry points")
    if _kind(cls) != offer.kind:
        needed = f'kind: Literal["{offer.kind}"] = "{offer.kind}"'
        raise offer.problem(f"does not call itself that: its class needs the field `{needed}`")
    return cls


def _kind(cls: Any) -> str | None:
    """The kind that a component's class calls itself."""
    field = cls.model_fields.get("kind")
    return None if field is None else field.default


def provider_of(cls: Any) -> str:
    """The package and version that offer a component's class; empty for the components of codemix itself."""
    return "" if cls.__module__.startswith("codemix.") else _provider_of(cls)


@functools.cache
def _provider_of(cls: Any) -> str:
    for offer in offers(cls.family):
        if offer.kind == _kind(cls) and offer.entry_point.load() is cls:
            return offer.provider
    return ""


def forget() -> None:
    """Read the metadata of packages again when it is next asked for, after a package was installed."""
    offers.cache_clear()
    _provider_of.cache_clear()
