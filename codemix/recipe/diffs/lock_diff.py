"""What two locks pin differently: the recipe, component versions, and source by source inputs, tokenizer,
counts, shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codemix.errors import Problem
from codemix.recipe.lock import SPLIT_COUNTS, Lock, LockedSource

RESTORE = "restore the files, or lock again"


def compare(lock: Lock, current: Lock) -> list[Problem]:
    """What `current` lacks or has different from a lock; empty when it is the same data."""
    problems = list(compare_recipes(lock, current))
    for name in sorted(lock["sources"].keys() | current["sources"].keys()):
        then = lock["sources"].get(name)
        if then is None:
            continue  # was not built when it was locked, so nothing was pinned
        problems += _compare_source(name, then, current["sources"].get(name))
    return problems


def compare_recipes(lock: Lock, current: Lock) -> Iterator[Problem]:
    """What differs in what the recipe asks for and in the components that make it."""
    if lock["data"] != current["data"]:
        yield difference(
            "the recipe's sources, ops, dedup or tokenizer are not those that were locked",
            "`codemix diff` against the locked revision says what changed",
            rule="lock-recipe",
        )
    for component, version in lock["components"].items():
        now = current["components"].get(component, version)
        if now != version:
            what = f"{component} is version {now} here and was version {version}"
            yield difference(
                f"{what}: it makes different output from the same input",
                f"use codemix {lock['codemix']}",
                rule="lock-version",
            )


def _compare_source(name: str, then: LockedSource, now: LockedSource | None) -> Iterator[Problem]:
    if now is None:
        tokens = then["splits"]["train"]["tokens"]
        was = f"it was {tokens:,} tokens from {len(then['inputs']):,} inputs"
        yield difference(
            f"`{name}` is not in the store",
            f"{was}; `codemix build-data` makes it",
            rule="lock-source-missing",
        )
        return
    if then["fingerprint"] == now["fingerprint"] and then["splits"] == now["splits"]:
        return
    problems = [
        *_compare_inputs(name, then, now),
        *_compare_tokenizers(name, then, now),
        *_compare_splits(name, then, now),
    ]
    yield from problems
    if not problems:
        yield difference(
            f"`{name}` was made by a different pipeline from the same inputs, to the same shards",
            f"environment then: {then['environment']}",
            rule="lock-fingerprint",
        )


def _compare_inputs(name: str, then: LockedSource, now: LockedSource) -> Iterator[Problem]:
    before = _input_digests(then)
    after = _input_digests(now)
    missing = sorted(before.keys() - after.keys())
    if missing:
        count = f"{len(missing):,} of {len(before):,} inputs"
        what = f"`{name}` lacks {count}"
        yield difference(f"{what}: {_first_few(missing)}", RESTORE, rule="lock-input-missing")
    added = sorted(after.keys() - before.keys())
    if added:
        count = f"{len(added):,} inputs"
        what = f"`{name}` has {count} that were not locked"
        remedy = "narrow its `paths`, or lock again"
        yield difference(f"{what}: {_first_few(added)}", remedy, rule="lock-input-new")
    in_both = before.keys() & after.keys()
    changed = [path for path in sorted(in_both) if before[path] != after[path]]
    if changed:
        count = f"{len(changed):,} inputs of `{name}`"
        what = f"{count} have different content"
        yield difference(f"{what}: {_first_few(changed)}", RESTORE, rule="lock-input-changed")


def _input_digests(source: LockedSource) -> dict[str, str]:
    digests = {}
    for given in source["inputs"]:
        digests[given["path"]] = given["sha256"]
    return digests


def _compare_tokenizers(name: str, then: LockedSource, now: LockedSource) -> Iterator[Problem]:
    before = then["tokenizer"]["sha256"]
    after = now["tokenizer"]["sha256"]
    if before != after:
        what = f"`{name}` was tokenized by {_short(before)}, here by {_short(after)}"
        yield difference(what, "use the locked tokenizer", rule="lock-tokenizer")


def _short(digest: str | None) -> str:
    return str(digest)[:12]


def _compare_splits(name: str, then: LockedSource, now: LockedSource) -> Iterator[Problem]:
    for split, before in then["splits"].items():
        after = now["splits"].get(split, {})
        counts = []
        for unit in SPLIT_COUNTS:
            here = after.get(unit, 0)
            if before[unit] != here:
                counts.append(f"{before[unit]:,} {unit} (here {here:,})")
        if counts:
            what = f"the {split} split of `{name}` was {', '.join(counts)}"
            yield difference(what, rule="lock-counts")
            continue
        shards = [shard["sha256"] for shard in before["shards"]]
        if shards != [shard["sha256"] for shard in after.get("shards", ())]:
            what = f"the {split} shards of `{name}` have the locked counts but different content"
            yield difference(what, rule="lock-shards")


def difference(what: str, *hints: str, rule: str) -> Problem:
    """A problem without a place: a lock is compared, not written."""
    return Problem(what, hints=hints, rule=rule)


def _first_few(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:3])
    more = len(paths) - 3
    return f"{shown} and {more} more" if more > 0 else shown
