"""A lock against a store: every locked shard is there and hashes to what was locked, and so do the inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from codemix.data.inputs.locations import scheme_of
from codemix.data.store.store import Store
from codemix.errors import Problem
from codemix.files import file_digest
from codemix.recipe.diffs.lock_diff import compare, compare_recipes, difference
from codemix.recipe.lock import Lock, LockedSource


def verify(lock: Lock, current: Lock, store: Store, data_root: Path) -> list[Problem]:
    """Everything that differs: the recipe and the components, then files, hashed one by one, then what the
    recipe now asks of the store."""
    recipe = list(compare_recipes(lock, current))
    files = check(lock, store, data_root)
    if files:
        return recipe + files
    moved = list(_moved(lock, current))
    differences = []
    for problem in compare(lock, current):
        if problem not in recipe and problem.rule != "lock-source-missing":
            differences.append(problem)
    return recipe + moved + differences


def _moved(lock: Lock, current: Lock) -> Iterator[Problem]:
    """Sources that are in the store as locked, but that the recipe no longer leads to."""
    hint = "different files match its `paths`, or, for data of the running Python, a different version runs"
    for name, then in sorted(lock["sources"].items()):
        if then is not None and current["sources"].get(name) is None:
            what = f"`{name}` is in the store as locked, but the recipe now leads to different data"
            yield difference(what, f"{hint}; lock again to accept that", rule="lock-inputs")


def check(
    lock: Lock,
    store: Store,
    data_root: Path | None = None,
    *,
    digests: Mapping[Path, str] | None = None,
) -> list[Problem]:
    """What a store lacks of a lock, file by file: shards are hashed, and inputs too where `data_root` is
    given.

    `digests`: of files that were hashed a moment ago.
    """
    problems: list[Problem] = []
    for name, locked in sorted(lock["sources"].items()):
        if locked is None:
            continue
        folder = store.path("data", name, locked["fingerprint"])
        if not (folder / "manifest.json").is_file():
            what = f"`{name}` is not in the store: there is no {folder.name}"
            hint = "`codemix build-data` makes it"
            problems.append(difference(what, hint, rule="lock-source-missing"))
            continue
        problems += _check_shards(name, locked, folder, digests or {})
        if data_root is not None:
            problems += _check_inputs(name, locked, data_root)
    return problems


def _check_shards(
    name: str,
    locked: LockedSource,
    folder: Path,
    digests: Mapping[Path, str],
) -> Iterator[Problem]:
    for split in locked["splits"].values():
        for shard in split["shards"]:
            path = folder / shard["path"]
            what = f"shard {shard['path']} of `{name}`"
            yield from _check_file(path, shard["sha256"], what, digests.get(path))


def _check_inputs(name: str, locked: LockedSource, data_root: Path) -> Iterator[Problem]:
    """Of the inputs that are local files: neither URIs nor what ships with Python."""
    for given in locked["inputs"]:
        path = given["path"]
        if "://" in path or scheme_of(path) in ("stdlib", "installed"):
            continue
        what = f"input {path} of `{name}`"
        yield from _check_file(data_root / path, given["sha256"], what)


def _check_file(path: Path, sha256: str, what: str, measured: str | None = None) -> Iterator[Problem]:
    try:
        measured = measured or file_digest(path)
    except OSError as error:
        yield difference(f"{what} cannot be read: {error.strerror}", rule="lock-file-missing")
        return
    if measured != sha256:
        yield difference(f"{what} has different content from what was locked", rule="lock-file-changed")
