"""`recipe.lock`: what a recipe was built from and came to, so that years later one can tell whether a store still is it.

A lock pins the hash of each input, the shards and token counts of each source, the tokenizer and the versions of the
components. It holds no paths of a machine: inputs are named as the recipe names them. JSON, for its diff in git.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import codemix
from codemix.errors import CodemixError, Problem
from codemix.recipe.language import yaml_text
from codemix.recipe.language.component import Component
from codemix.recipe.language.fingerprint import FORMAT, fingerprint
from codemix.recipe.language.schema import Recipe
from codemix.recipe.planning.source_identity import spec_fingerprints

LOCK = 2  # of this file's format
_SPLIT_COUNTS = ("tokens", "documents", "bytes")
_PARTS, _SOURCE_PARTS = (
    {"codemix", "data", "components", "sources"},
    {"fingerprint", "tokenizer", "inputs", "splits", "environment"},
)


def make(recipe: Recipe, found: Mapping[str, Any]) -> dict[str, Any]:
    """The lock of a recipe: `found` maps sources to what the store has of them (objects with `manifest`, which may be None)."""
    sources = {}
    for name in recipe.sources:
        manifest = getattr(found.get(name), "manifest", None)
        sources[name] = None if manifest is None else _source(manifest)
    tokenizers = {json.dumps(s["tokenizer"], sort_keys=True): s["tokenizer"] for s in sources.values() if s}
    return {
        "lock": LOCK,
        "codemix": codemix.__version__,
        "format": FORMAT,
        "recipe": recipe.name,
        "data": fingerprint(spec_fingerprints(recipe)),
        "components": dict(sorted(_versions(recipe))),
        "tokenizer": next(iter(tokenizers.values())) if len(tokenizers) == 1 else None,
        "sources": sources,
    }


def _source(manifest: Any) -> dict[str, Any]:
    splits = {}
    for split, content in sorted(manifest.splits.items()):
        shards = [
            {k: s[k] for k in ("path", "tokens", "sha256", "index_sha256", "docs_sha256") if k in s}
            for s in content.get("shards", ())
        ]
        splits[split] = {k: content.get(k, 0) for k in _SPLIT_COUNTS} | {"shards": shards}
    tokenizer = {k: manifest.tokenizer.get(k) for k in ("sha256", "vocab_size", "eos_token", "eos_id")}
    inputs = [{k: i[k] for k in ("path", "bytes", "sha256") if k in i} for i in manifest.inputs]
    return {
        "fingerprint": manifest.fingerprint,
        "dtype": manifest.dtype,
        "tokenizer": tokenizer,
        "inputs": inputs,
        "splits": splits,
        "environment": manifest.environment,
    }


def _versions(recipe: Recipe) -> Iterator[tuple[str, int]]:
    placed: list[Any] = [
        recipe.tokenizer,
        *(s.learning_rate for s in recipe.stages),
        *recipe.evaluation.tasks,
    ]
    for source in recipe.sources.values():
        placed += [source.read, *source.ops]
    for part in placed:
        if isinstance(part, Component):
            yield f"{part.family} {part.kind}", part.version


def write(path: Path, lock: Mapping[str, Any]) -> None:
    """Write a lock, whole or not at all."""
    yaml_text.write(path, json.dumps(lock, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def read(path: Path) -> dict[str, Any]:
    """A lock from its file. Raises CodemixError when it is missing, damaged or of another format."""
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CodemixError(
            f"there is no lock {path}",
            hints=["`codemix lock RECIPE` writes one once the data is built"],
            rule="lock-missing",
        ) from None
    except (OSError, ValueError) as error:
        raise CodemixError(
            f"{path} is damaged: {error}", hints=["restore it from version control"], rule="lock-damaged"
        ) from None
    if not isinstance(lock, dict) or lock.get("lock") != LOCK:
        given = lock.get("lock") if isinstance(lock, dict) else None
        raise CodemixError(
            f"{path} has lock format {given}, this codemix reads {LOCK}",
            hints=["check it with the codemix that wrote it, or write it again"],
            rule="lock-format",
        )
    whole = set(lock) >= _PARTS and isinstance(lock["sources"], dict)
    if not whole or any(
        s is not None and not (isinstance(s, dict) and set(s) >= _SOURCE_PARTS)
        for s in lock["sources"].values()
    ):
        raise CodemixError(
            f"{path} is damaged: parts of it are missing",
            hints=["restore it from version control"],
            rule="lock-damaged",
        )
    return lock


def compare(lock: Mapping[str, Any], current: Mapping[str, Any]) -> list[Problem]:
    """What `current` (see `make`) has missing or different from a lock; empty when it is the same data."""
    problems = []
    if lock["data"] != current["data"]:
        problems.append(
            _problem(
                "the recipe's sources, ops, dedup or tokenizer are not those that were locked",
                "`codemix diff` against the locked revision says what changed",
                rule="lock-recipe",
            )
        )
    for part, version in lock["components"].items():
        now = current["components"].get(part)
        if now is not None and now != version:
            problems.append(
                _problem(
                    f"{part} is version {now} here and was version {version}: it makes other output from the same input",
                    f"use codemix {lock['codemix']}",
                    rule="lock-version",
                )
            )
    for name in sorted({*lock["sources"], *current["sources"]}):
        problems += _compare_source(name, lock["sources"].get(name), current["sources"].get(name))
    return problems


def _compare_source(name: str, then: Any, now: Any) -> list[Problem]:
    if then is None:
        return []  # was not built when it was locked, so nothing was pinned
    if now is None:
        return [
            _problem(
                f"`{name}` is not in the store",
                f"it was {then['splits']['train']['tokens']:,} tokens from {len(then['inputs']):,} inputs; `codemix build-data` makes it",
                rule="lock-source-missing",
            )
        ]
    if then["fingerprint"] == now["fingerprint"] and then["splits"] == now["splits"]:
        return []
    problems = []
    before, after = ({i["path"]: i for i in side["inputs"]} for side in (then, now))
    if gone := sorted(set(before) - set(after)):
        problems.append(
            _problem(
                f"`{name}` lacks {len(gone):,} of {len(before):,} inputs: {_some(gone)}",
                "restore the files, or lock again",
                rule="lock-input-missing",
            )
        )
    if new := sorted(set(after) - set(before)):
        problems.append(
            _problem(
                f"`{name}` has {len(new):,} inputs that were not locked: {_some(new)}",
                "narrow its `paths`, or lock again",
                rule="lock-input-new",
            )
        )
    if changed := sorted(p for p in before if p in after and before[p]["sha256"] != after[p]["sha256"]):
        problems.append(
            _problem(
                f"{len(changed):,} inputs of `{name}` have other content: {_some(changed)}",
                "restore the files, or lock again",
                rule="lock-input-changed",
            )
        )
    if then["tokenizer"]["sha256"] != now["tokenizer"]["sha256"]:
        problems.append(
            _problem(
                f"`{name}` was tokenized by {str(then['tokenizer']['sha256'])[:12]}, here by {str(now['tokenizer']['sha256'])[:12]}",
                "use the locked tokenizer",
                rule="lock-tokenizer",
            )
        )
    for split, counts in then["splits"].items():
        here = now["splits"].get(split, {})
        if different := [
            f"{counts[k]:,} {k} (here {here.get(k, 0):,})"
            for k in _SPLIT_COUNTS
            if counts[k] != here.get(k, 0)
        ]:
            problems.append(
                _problem(f"the {split} split of `{name}` was {', '.join(different)}", rule="lock-counts")
            )
        elif [s["sha256"] for s in counts["shards"]] != [s["sha256"] for s in here.get("shards", ())]:
            problems.append(
                _problem(
                    f"the {split} shards of `{name}` have the locked counts but other content",
                    rule="lock-shards",
                )
            )
    if not problems:
        problems.append(
            _problem(
                f"`{name}` was made by another pipeline from the same inputs, to the same shards",
                f"environment then: {then['environment']}",
                rule="lock-fingerprint",
            )
        )
    return problems


def verify(
    lock: Mapping[str, Any], current: Mapping[str, Any], store: Path, data_root: Path
) -> list[Problem]:
    """Everything that differs: the recipe and the components, then files, hashed one by one, then what the recipe now asks of the store."""
    differences = compare(lock, current)
    recipe = [p for p in differences if p.rule in ("lock-recipe", "lock-version")]
    if files := check(lock, store, data_root):
        return recipe + files
    hint = "other files match its `paths`, or, for data of the running Python, another version runs; lock again to accept that"
    stale = {
        name
        for name, then in lock["sources"].items()
        if then is not None and current["sources"].get(name) is None
    }
    moved = [
        _problem(
            f"`{n}` is in the store as locked, but the recipe now leads to other data",
            hint,
            rule="lock-inputs",
        )
        for n in sorted(stale)
    ]
    return recipe + moved + [p for p in differences if p not in recipe and p.rule != "lock-source-missing"]


def fingerprints(lock: Mapping[str, Any]) -> set[str]:
    """The fingerprints of the sources that were built when a lock was written."""
    return {then["fingerprint"] for then in lock["sources"].values() if then is not None}


def check(
    lock: Mapping[str, Any],
    store: Path,
    data_root: Path | None = None,
    *,
    digests: Mapping[Path, str] | None = None,
) -> list[Problem]:
    """What a store (its folder) lacks of a lock, file by file: shards are hashed, and inputs too where `data_root` is given.

    `digests`: of files that were hashed a moment ago.
    """
    problems, digests = [], digests or {}
    for name, then in sorted(lock["sources"].items()):
        if then is None:
            continue
        folder = store / "data" / f"{name}-{then['fingerprint'][:12]}"
        if not (folder / "manifest.json").is_file():
            problems.append(
                _problem(
                    f"`{name}` is not in the store: there is no {folder.name}",
                    "`codemix build-data` makes it",
                    rule="lock-source-missing",
                )
            )
            continue
        for shard in (s for split in then["splits"].values() for s in split["shards"]):
            path, what = folder / shard["path"], f"shard {shard['path']} of `{name}`"
            problems += _check_file(path, shard["sha256"], what, digests.get(path))
        for given in then["inputs"] if data_root is not None else ():
            if "://" not in given["path"] and not given["path"].startswith(("stdlib:", "installed:")):
                problems += _check_file(
                    data_root / given["path"], given["sha256"], f"input {given['path']} of `{name}`"
                )
    return problems


def _check_file(path: Path, sha256: str, what: str, measured: str | None = None) -> list[Problem]:
    try:
        if measured is None:
            with open(path, "rb") as f:
                measured = hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as error:
        return [_problem(f"{what} cannot be read: {error.strerror}", rule="lock-file-missing")]
    return (
        []
        if measured == sha256
        else [_problem(f"{what} has other content than was locked", rule="lock-file-changed")]
    )


def _problem(what: str, *hints: str, rule: str) -> Problem:
    return Problem(what, hints=hints, rule=rule)


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
