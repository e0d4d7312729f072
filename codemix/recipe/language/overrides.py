"""Changing a recipe's plain values while remembering which file each value came from.

A study is a base recipe and overrides. An override is a mapping laid over the base:

- a key may be a dotted path: `stages.cooldown.tokens: 40B` is `stages: {cooldown: {tokens: 40B}}`;
- stages are named, not numbered; a whole new stage under a new name is added, at the end or `before:`
  another;
- mappings merge, everything else replaces. A mixture and a group replace whole, for their shares only mean
  something together, and so does a component when its `kind` changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.language.layered_file import Layered, Origin, copied, get
from codemix.recipe.language.yaml_text import YamlFile, show_path

_WHOLE_STAGE = ({"mixture", "learning_rate", "tokens"}, {"mixture", "learning_rate", "steps"})


def layered(base: YamlFile, file: str) -> Layered:
    """A copy of `base` that can be overridden; `file` is the name of the whole."""
    value = copied(base.value)
    whole = Origin(base, ())
    return Layered(file, base.text, value, origins={(): whole})


def override(target: Layered, change: dict[str, Any], source: YamlFile, at: tuple) -> None:
    """Lay `change`, given at path `at` of `source`, over `target`. Raises CodemixError for a path that leads
    nowhere."""
    origin = Origin(source, at)
    whole = target.value
    _merge(target, (), whole, change, origin)


def remove(target: Layered, name: str, source: YamlFile, at: tuple) -> None:
    """Delete what the dotted path `name` leads to: a stage, a source, a task."""
    path = _resolve(target, (), target.value, name, Origin(source, at))
    *around, last = path
    holder = get(target.value, tuple(around))
    if isinstance(holder, list):
        later = {i: i - 1 for i in range(last + 1, len(holder))}
        earlier = {i: i for i in range(last)}
        target.renumber(tuple(around), earlier | later)
    else:
        target.forget(path)
    del holder[last]


def put(target: Layered, path: tuple, value: Any, source: YamlFile, at: tuple) -> None:
    """Set one value, whose place is `at` in `source`."""
    origin = Origin(source, at)
    target.put(path, value, origin)


def stage_index(target: Layered, name: str, source: YamlFile, at: tuple) -> int:
    """The number of the stage called `name`. Raises CodemixError when there is none."""
    dotted = f"stages.{name}"
    path = _resolve(target, (), target.value, dotted, Origin(source, at))
    return path[1]


def _merge(target: Layered, path: tuple, value: Any, change: dict, origin: Origin) -> None:
    for key, new in change.items():
        here = origin.inside(key)
        new_stage = _name_of_new_stage(target, path, str(key), new)
        if new_stage is not None:
            _add_stage(target, new_stage, new, here)
            continue
        inner = _resolve(target, path, value, str(key), here, missing=True)
        old = _value_or_none(target.value, inner)
        if _merges(inner, old, new):
            _merge(target, inner, old, new, here)
        elif isinstance(new, dict) and inner == ("stages",):
            what = "the base recipe has no stages to change"
            raise CodemixError(Problem(what, here.where(key=True), rule="override-path"))
        else:
            target.put(inner, new, here)


def _value_or_none(value: Any, path: tuple) -> Any:
    try:
        return get(value, path)
    except (KeyError, TypeError):
        return None


def _name_of_new_stage(target: Layered, path: tuple, key: str, new: Any) -> str | None:
    """The name under which a key adds a whole stage that the base does not have; None where it does not."""
    is_dotted = path == () and key.startswith("stages.")
    if not is_dotted and path != ("stages",):
        return None
    stages = target.value.get("stages")
    if not isinstance(stages, list) or not _is_stage(new):
        return None
    name = key.removeprefix("stages.") if is_dotted else key
    is_new = _find_stage(stages, name) is None
    return name if is_new else None


def _add_stage(target: Layered, name: str, new: dict, origin: Origin) -> None:
    """A whole new stage, at the end or before the one that it names; the stages after it keep their
    origins."""
    stages = target.value["stages"]
    place = len(stages)
    if "before" in new:
        following = _find_stage(stages, new["before"])
        if following is None:
            raise _nowhere(str(new["before"]), _stage_names(stages), ("stages",), origin.inside("before"))
        place = following
    moves = {i: i if i < place else i + 1 for i in range(len(stages))}
    target.renumber(("stages",), moves)
    stages.insert(place, {})
    stage = {"name": name, **new}
    stage.pop("before", None)
    target.put(("stages", place), stage, origin)


def _merges(path: tuple, old: Any, new: Any) -> bool:
    """Whether a mapping is laid over what is there, rather than put in its place."""
    if not isinstance(new, dict):
        return False
    if isinstance(old, list):
        return path == ("stages",)
    is_mixture = path[-1] in ("mixture", "fim") or (path[0] == "groups" and len(path) > 1)
    if is_mixture or not isinstance(old, dict):
        return False
    return "kind" not in new or new["kind"] == old.get("kind")


@dataclass(frozen=True)
class _Step:
    """One part of a dotted key resolved, and what is left of the key."""

    part: str | int
    rest: str


def _resolve(
    target: Layered,
    path: tuple,
    value: Any,
    key: str,
    origin: Origin,
    *,
    missing: bool = False,
) -> tuple:
    """The path that a dotted key leads to from `path`; its last part may be new in a mapping when
    `missing`."""
    while True:
        if isinstance(value, dict):
            step = _step_into_mapping(value, path, key, origin, missing)
        elif isinstance(value, list) and path == ("stages",):
            step = _step_into_stages(value, key, origin)
        else:
            raise _no_names_inside(value, path, key, origin)
        path = (*path, step.part)
        key = step.rest
        if not key:
            return path
        is_new = isinstance(value, dict) and step.part not in value
        value = {} if is_new else value[step.part]


def _step_into_mapping(value: dict, path: tuple, key: str, origin: Origin, missing: bool) -> _Step:
    # Names may hold dots themselves (`fineweb2.en`), so the longest name that exists wins.
    for head in _heads(key):
        if head in value:
            return _Step(head, key[len(head) + 1 :])
    if missing and "." not in key:
        return _Step(key, "")
    first = key.split(".")[0]
    raise _nowhere(first, value, path, origin)


def _step_into_stages(stages: list, key: str, origin: Origin) -> _Step:
    for head in _heads(key):
        index = _find_stage(stages, head)
        if index is not None:
            return _Step(index, key[len(head) + 1 :])
    first = key.split(".")[0]
    raise _nowhere(first, _stage_names(stages), ("stages",), origin)


def _no_names_inside(value: Any, path: tuple, key: str, origin: Origin) -> CodemixError:
    inside = f"`{show_path(path)}`" if path else "the base recipe"
    hint = "give its new value instead"
    if isinstance(value, list):
        hint = "lists are replaced whole: give the whole list"
    what = f"`{key}` leads into {inside}, which has no names inside"
    return CodemixError(Problem(what, origin.where(key=True), (hint,), "override-path"))


def _nowhere(name: str, known: Iterable[Any], path: tuple, origin: Origin) -> CodemixError:
    inside = f" in `{show_path(path)}`" if path else ""
    what = f"the base recipe has no `{name}`{inside}"
    words = [word for word in known if isinstance(word, str)]
    hints = did_you_mean(name, words)
    where = origin.where(key=True)
    problem = Problem(what, where, hints, "override-path")
    return CodemixError(problem)


def _heads(dotted: str) -> list[str]:
    """`a.b.c`, `a.b` and `a` of `a.b.c`."""
    heads = [dotted]
    while "." in dotted:
        dotted = dotted.rpartition(".")[0]
        heads.append(dotted)
    return heads


def _find_stage(stages: list, name: Any) -> int | None:
    for i, stage in enumerate(stages):
        if isinstance(stage, dict) and stage.get("name") == name:
            return i
    return None


def _stage_names(stages: list) -> list[Any]:
    names = []
    for stage in stages:
        if isinstance(stage, dict):
            name = stage.get("name", "")
            names.append(name)
    return names


def _is_stage(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return any(keys <= value.keys() for keys in _WHOLE_STAGE)
