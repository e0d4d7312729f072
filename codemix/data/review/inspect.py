"""What each op kept and dropped: samples side by side, and attrition by op, reason and language."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from codemix.data.build.funnel import SUBSAMPLE_KEY
from codemix.data.build.inventory import SourceState
from codemix.data.build.samples import SAMPLE_CHARS, sample_path
from codemix.data.review.stored_documents import DedupEntry, dedup_entries
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.errors import CodemixError, did_you_mean
from codemix.recipe.language import schema

Sample = dict[str, Any]  # "id", "text", "meta"; of a duplicate also "kept_id" and "kept_text"
# by op and reason: documents that came in and were dropped, the share of those in, bytes dropped
AttritionRow = TypedDict(
    "AttritionRow", {"op": str, "reason": str, "in": int, "dropped": int, "share": float, "bytes": int}
)


class LanguageRow(TypedDict):
    language: str
    read: int
    kept: int
    share_kept: float
    dropped: dict[str, int]  # by op


class Inspection(TypedDict):
    """What is known about one source, as its JSON."""

    fingerprint: str | None
    funnel: dict[str, Any]
    attrition: list[AttritionRow]
    languages: list[LanguageRow]
    kept: list[Sample]
    dropped: dict[str, list[Sample]]  # by the funnel's key


def inspect(
    recipe: schema.Recipe,
    store: Store,
    inventory: Mapping[str, SourceState],
    *,
    source: str | None = None,
    samples: int = 2,
) -> dict[str, Inspection]:
    """What is known about each source that is built, or about `source` alone.

    Raises CodemixError for an unknown source, or when nothing that was asked for is built.
    """
    if source is not None and source not in recipe.sources:
        hints = did_you_mean(source, recipe.sources)
        raise CodemixError(f"the recipe has no source `{source}`", hints=hints, rule="unknown-source")
    names = [source] if source else list(recipe.sources)
    built = [name for name in names if inventory[name].built]
    if not built:
        reasons = [f"{name}: {inventory[name].reason}" for name in names]
        raise CodemixError(
            f"not built yet: {', '.join(names)}",
            hints=[*reasons, "run `codemix build-data`"],
            rule="not-built",
        )
    return {name: _inspect_source(name, store, inventory[name], samples) for name in built}


def _inspect_source(name: str, store: Store, state: SourceState, n_samples: int) -> Inspection:
    funnel = state.funnel
    samples = _Samples(store, state.documents_folder(store, name), n_samples)
    dropped = samples.dropped(funnel)
    if state.manifest is not None:
        dropped |= samples.duplicates(state.manifest)
    return Inspection(
        fingerprint=state.fingerprint,
        funnel=funnel,
        attrition=attrition(funnel),
        languages=languages(funnel),
        kept=samples.kept(),
        dropped={key: rows for key, rows in dropped.items() if rows},
    )


def attrition(funnel: Mapping[str, Any]) -> list[AttritionRow]:
    """One row for each op and reason, in the order in which the ops run."""
    rows: list[AttritionRow] = []
    left = funnel["read"]
    if funnel["unreadable"]:
        rows.append(_attrition_row("read", "unreadable", left, funnel["unreadable"], 0))
        left -= funnel["unreadable"]
    entered = Counter[str]()  # documents, by op
    for key in sorted(funnel["dropped"], key=_order):
        op, _, reason = key.partition("/")
        if op not in entered:
            entered[op] = left
        documents = funnel["dropped"][key]
        dropped_bytes = funnel["dropped_bytes"].get(key, 0)
        rows.append(_attrition_row(op, reason, entered[op], documents, dropped_bytes))
        left -= documents
    return rows


def _attrition_row(op: str, reason: str, entered: int, dropped: int, dropped_bytes: int) -> AttritionRow:
    return {
        "op": op,
        "reason": reason,
        "in": entered,
        "dropped": dropped,
        "share": dropped / entered if entered else 0.0,
        "bytes": dropped_bytes,
    }


def _order(key: str) -> tuple[bool, bool, int, str]:
    """Keys of the funnel in the order of the steps: dedup after the ops, dedup10 after dedup9, then the
    subsample."""
    position = key.partition("-")[0]
    is_dedup = key.startswith("dedup")
    is_last = key == SUBSAMPLE_KEY
    return is_last, is_dedup, len(position), key


def languages(funnel: Mapping[str, Any]) -> list[LanguageRow]:
    """One row per language, most documents first."""
    rows: list[LanguageRow] = []
    by_name = funnel["languages"]
    for name in sorted(by_name):
        counts = by_name[name]
        rows.append(_language_row(name, counts))
    rows.sort(key=lambda row: row["read"], reverse=True)
    return rows


def _language_row(language: str, counts: Mapping[str, int]) -> LanguageRow:
    by_op: dict[str, int] = {}
    for key, documents in counts.items():
        if key in ("read", "kept"):
            continue
        op = key.split("/")[0]
        by_op[op] = by_op.get(op, 0) + documents
    read = counts.get("read", 0)
    kept = counts.get("kept", 0)
    return LanguageRow(
        language=language,
        read=read,
        kept=kept,
        share_kept=kept / read if read else 0.0,
        dropped=by_op,
    )


@dataclass(frozen=True)
class _Samples:
    """The first few samples of each kind."""

    store: Store
    folder: Path  # of the source's documents
    n: int

    def kept(self) -> list[Sample]:
        return self._read(self.folder / "kept.jsonl.zst")

    def _read(self, path: Path) -> list[Sample]:
        if not path.exists():
            return []
        rows = read_lines(path)
        return list(itertools.islice(rows, self.n))

    def dropped(self, funnel: Mapping[str, Any]) -> dict[str, list[Sample]]:
        """Of what was unreadable or dropped by an op, by the funnel's key."""
        keys = [f"unreadable/{reason}" for reason in funnel["unreadable_by_reason"]]
        for key in funnel["dropped"]:
            if not key.startswith("dedup") and key != SUBSAMPLE_KEY:
                keys.append(key)
        samples: dict[str, list[Sample]] = {}
        for key in keys:
            path = sample_path(self.folder, key)
            samples[key] = self._read(path)
        return samples

    def duplicates(self, manifest: Manifest) -> dict[str, list[Sample]]:
        """Of what dedup removed, by the funnel's key; nothing when an entry is not in the store any more."""
        fingerprints = manifest.identity["dedup"]
        entries = dedup_entries(self.store, fingerprints)
        if not all(entry.folder.exists() for entry in entries):
            return {}
        source = manifest.source
        keys = [key for key in manifest.funnel["dropped"] if key.startswith("dedup")]
        keys.sort(key=_order)  # as the entries are
        removing = [entry for entry in entries if entry.removed_documents(source)]
        samples: dict[str, list[Sample]] = {}
        for key, entry in zip(keys, removing, strict=True):
            samples[key] = self._duplicates(entry, source)
        return samples

    def _duplicates(self, entry: DedupEntry, source: str) -> list[Sample]:
        """Documents of a source that an entry removed and, where known, the one that was kept in their
        place."""
        samples: list[Sample] = []
        for place, line in itertools.islice(entry.removals(source), self.n):
            row = entry.row(place)
            sample = {"id": row["id"], "text": row["text"][:SAMPLE_CHARS], "meta": row["meta"]}
            survivor = entry.kept_place(line)
            if survivor is not None:
                kept = entry.row(survivor)
                sample |= {"kept_id": kept["id"], "kept_text": kept["text"][:SAMPLE_CHARS]}
            samples.append(sample)
        return samples
