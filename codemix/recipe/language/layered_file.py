"""A YAML document whose parts come from several files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codemix.errors import Where
from codemix.recipe.language.yaml_text import YamlFile


@dataclass(frozen=True)
class Origin:
    """A path in the file that says it."""

    document: YamlFile
    path: tuple

    def inside(self, *parts: Any) -> Origin:
        path = (*self.path, *parts)
        return Origin(self.document, path)

    def where(self, *, key: bool = False) -> Where:
        return self.document.where(self.path, key=key)


@dataclass
class Layered(YamlFile):
    """A document whose parts come from several files; `origins` says which path of which file a path is."""

    origins: dict[tuple, Origin] = field(default_factory=dict)

    def origin(self, path: tuple) -> Origin | None:
        """Where a path comes from, by the nearest part around it that is known."""
        for n in range(len(path), -1, -1):
            around, more = path[:n], path[n:]
            if around in self.origins:
                return self.origins[around].inside(*more)
        return None

    def where(self, path: tuple, *, key: bool = False) -> Where:
        origin = self.origin(tuple(path))
        if origin is None:
            return super().where(path, key=key)
        return origin.where(key=key)

    def put(self, path: tuple, value: Any, origin: Origin) -> None:
        """Set one value."""
        holder = get(self.value, path[:-1])
        holder[path[-1]] = copied(value)
        self.forget(path)
        self.origins[path] = origin

    def forget(self, path: tuple) -> None:
        """Drop what is known of the origins of a path and of all inside it."""
        n = len(path)
        for known in list(self.origins):
            if known[:n] == path:
                del self.origins[known]

    def renumber(self, path: tuple, moves: Mapping[int, int]) -> None:
        """Let the origins follow the items of the list at `path`: old index -> new; an item that is not there
        is forgotten."""
        n = len(path)
        moved: dict[tuple, Origin] = {}
        for known, origin in self.origins.items():
            is_inside = len(known) > n and known[:n] == path
            if not is_inside:
                moved[known] = origin
                continue
            old = known[n]
            if old in moves:
                more = known[n + 1 :]
                moved[(*path, moves[old], *more)] = origin
        for old, new in moves.items():
            origin_before = self.origin((*path, old))
            if old != new and origin_before is not None:  # what came straight from the base moves as well
                moved.setdefault((*path, new), origin_before)
        self.origins = moved


def get(value: Any, path: tuple) -> Any:
    """The value at a path of plain values."""
    for part in path:
        value = value[part]
    return value


def copied(value: Any) -> Any:
    """A copy that shares no mapping and no list."""
    if isinstance(value, dict):
        return {key: copied(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [copied(inside) for inside in value]
    return value
