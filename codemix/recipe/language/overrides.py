"""Changing a recipe's plain values while remembering which file each value came from.

A study is a base recipe and overrides. An override is a mapping laid over the base:

- a key may be a dotted path: `stages.cooldown.tokens: 40B` is `stages: {cooldown: {tokens: 40B}}`;
- stages are named, not numbered; a whole new stage under a new name is added, at the end or `before:`
  another;
- mappings merge, everything else replaces. A mixture and a group replace whole, for their shares only mean
  something
  together, and so does a component when its `kind` changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.language.yaml_text import YamlFile, show_path

_WHOLE_STAGE = ({"mixture", "learning_rate", "tokens"}, {"mixture", "learning_rate", "steps"})


@dataclass
class Layered(YamlFile):
    """A document whose parts come from several files; `origins` says which path of which file a path is."""

    origins: dict[tuple, tuple[YamlFile, tuple]] = field(default_factory=dict)

    def where(self, path: tuple, *, key: bool = False):
        path = tuple(path)
        for n in range(len(path), -1, -1):
            if path[:n] in self.origins:
                document, inner = self.origins[path[:n]]
                return document.where((*inner, *path[n:]), key=key)
        return super().where(path, key=key)


def layered(base: YamlFile, file: str) -> Layered:
    """A copy of `base` that can be overridden; `file` is the name of the whole."""
    return Layered(file, base.text, _copy(base.value), origins={(): (base, ())})


def override(target: Layered, change: dict[str, Any], source: YamlFile, at: tuple) -> None:
    """Lay `change`, which stands at path `at` of `source`, over `target`. Raises CodemixError for a path that
    leads nowhere."""
    _merge(target, (), target.value, change, source, at)


def remove(target: Layered, name: str, source: YamlFile, at: tuple) -> None:
    """Delete what the dotted path `name` leads to: a stage, a source, a task."""
    path = _resolve(target, (), target.value, name, source, at)
    holder = get(target.value, path[:-1])
    if isinstance(holder, list):
        del holder[path[-1]]
        n, moved = len(path), {}
        for old, origin in target.origins.items():
            if old[: n - 1] != path[:-1] or len(old) < n or old[n - 1] < path[-1]:
                moved[old] = origin
            elif old[n - 1] > path[-1]:
                moved[(*old[: n - 1], old[n - 1] - 1, *old[n:])] = origin
        for i in range(path[-1], len(holder)):  # what came straight from the base has moved up as well
            moved.setdefault((*path[:-1], i), _origin(target, (*path[:-1], i + 1)))
        target.origins = moved
    else:
        del holder[path[-1]]
        _forget(target, path)


def get(value: Any, path: tuple) -> Any:
    for part in path:
        value = value[part]
    return value


def put(target: Layered, path: tuple, value: Any, source: YamlFile, at: tuple) -> None:
    """Set one value, whose place is `at` in `source`."""
    get(target.value, path[:-1])[path[-1]] = _copy(value)
    _forget(target, path)
    target.origins[path] = (source, at)


def stage_index(target: Layered, name: str, source: YamlFile, at: tuple) -> int:
    """The number of the stage called `name`. Raises CodemixError when there is none."""
    return _resolve(target, (), target.value, f"stages.{name}", source, at)[1]


def _merge(target: Layered, path: tuple, value: Any, change: dict, source: YamlFile, at: tuple) -> None:
    for key, new in change.items():
        here = (*at, key)
        stages, name = (
            target.value.get("stages") if path == () else value,
            str(key).removeprefix("stages.") if path == () else str(key),
        )
        if (
            path in ((), ("stages",))
            and isinstance(stages, list)
            and (path or name != key)
            and _is_stage(new)
            and _stage(stages, name) is None
        ):
            _add_stage(target, stages, name, new, source, here)
            continue
        inner = _resolve(target, path, value, str(key), source, here, missing=True)
        try:
            old = get(target.value, inner)
        except (KeyError, TypeError):
            old = None
        if isinstance(new, dict) and isinstance(old, (dict, list)) and _merges(inner, old, new):
            _merge(target, inner, old, new, source, here)
        elif isinstance(new, dict) and inner == ("stages",):
            raise CodemixError(
                Problem(
                    "the base recipe has no stages to change",
                    source.where(here, key=True),
                    rule="override-path",
                )
            )
        else:
            put(target, inner, new, source, here)


def _add_stage(target: Layered, stages: list, name: str, new: dict, source: YamlFile, at: tuple) -> None:
    """A whole new stage, at the end or before the one that it names; the stages after it keep their
    origins."""
    place = len(stages)
    if "before" in new:
        place = _stage(stages, new["before"])
        if place is None:
            raise _nowhere(
                str(new["before"]), [s.get("name", "") for s in stages], ("stages",), source, (*at, "before")
            )
    for i in range(len(stages) - 1, place - 1, -1):
        moved = {("stages", i + 1, *p[2:]): o for p, o in target.origins.items() if p[:2] == ("stages", i)}
        moved.setdefault(("stages", i + 1), _origin(target, ("stages", i)))
        _forget(target, ("stages", i))
        target.origins.update(moved)
    stages.insert(place, {})
    put(
        target,
        ("stages", place),
        {"name": name} | {k: v for k, v in new.items() if k != "before"},
        source,
        at,
    )


def _merges(path: tuple, old: Any, new: dict) -> bool:
    if isinstance(old, list):
        return path == ("stages",)
    if path[-1] in ("mixture", "fim") or path[0] == "groups" and len(path) > 1:
        return False
    return "kind" not in new or new["kind"] == old.get("kind")


def _resolve(
    target: Layered, path: tuple, value: Any, key: str, source: YamlFile, at: tuple, *, missing: bool = False
) -> tuple:
    """The path that a dotted key leads to from `path`; its last part may be new in a mapping when
    `missing`."""
    rest = key
    while True:
        if isinstance(value, dict):
            # Names may hold dots themselves (`fineweb2.en`), so the longest name that exists wins.
            found = next((n for n in _heads(rest) if n in value), None)
            if found is None and (not missing or "." in rest):
                raise _nowhere(rest.split(".")[0], value, path, source, at)
            part, rest = (found, rest[len(found) + 1 :]) if found is not None else (rest, "")
        elif isinstance(value, list) and path == ("stages",):
            found = next((n for n in _heads(rest) if _stage(value, n) is not None), None)
            if found is None:
                raise _nowhere(
                    rest.split(".")[0],
                    [s.get("name", "") for s in value if isinstance(s, dict)],
                    path,
                    source,
                    at,
                )
            part, rest = _stage(value, found), rest[len(found) + 1 :]
        else:
            inside = f"`{show_path(path)}`" if path else "the base recipe"
            hint = (
                "lists are replaced whole: give the whole list"
                if isinstance(value, list)
                else "give its new value instead"
            )
            raise CodemixError(
                Problem(
                    f"`{rest}` leads into {inside}, which has no names inside",
                    source.where(at, key=True),
                    (hint,),
                    "override-path",
                )
            )
        path = (*path, part)
        if not rest:
            return path
        value = value[part] if not (isinstance(value, dict) and part not in value) else {}


def _nowhere(name: str, known: Any, path: tuple, source: YamlFile, at: tuple) -> CodemixError:
    inside = f" in `{show_path(path)}`" if path else ""
    return CodemixError(
        Problem(
            f"the base recipe has no `{name}`{inside}",
            source.where(at, key=True),
            did_you_mean(name, (k for k in known if isinstance(k, str))),
            "override-path",
        )
    )


def _heads(dotted: str) -> list[str]:
    parts = dotted.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def _stage(stages: list, name: Any) -> int | None:
    return next((i for i, s in enumerate(stages) if isinstance(s, dict) and s.get("name") == name), None)


def _is_stage(value: Any) -> bool:
    return isinstance(value, dict) and any(keys <= set(value) for keys in _WHOLE_STAGE)


def _origin(target: Layered, path: tuple) -> tuple[YamlFile, tuple]:
    for n in range(len(path), -1, -1):
        if path[:n] in target.origins:
            document, inner = target.origins[path[:n]]
            return document, (*inner, *path[n:])
    raise KeyError(path)


def _forget(target: Layered, path: tuple) -> None:
    for old in [p for p in target.origins if p[: len(path)] == path]:
        del target.origins[old]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value
