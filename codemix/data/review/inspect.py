"""What each op kept and dropped: samples side by side, and attrition by op, reason and language."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.store import Store
from codemix.errors import CodemixError, did_you_mean
from codemix.recipe.language import schema

if TYPE_CHECKING:
    from codemix.data.build.inventory import SourceState
    from codemix.data.store.manifest import Manifest

SHOWN_LINES, SHOWN_CHARS = 14, 900


def inspect(
    recipe: schema.Recipe,
    store: Store,
    found: dict[str, SourceState],
    *,
    source: str | None = None,
    samples: int = 2,
) -> dict[str, Any]:
    """By source: `funnel`, `attrition` (rows by op and reason), `languages` (rows), `kept` and `dropped` samples.

    Raises CodemixError for an unknown source, or when nothing that was asked for is built.
    """
    if source is not None and source not in recipe.sources:
        raise CodemixError(
            f"the recipe has no source `{source}`",
            hints=did_you_mean(source, recipe.sources),
            rule="unknown-source",
        )
    asked = [source] if source else list(recipe.sources)
    built = [name for name in asked if found[name].built]
    if not built:
        raise CodemixError(
            f"not built yet: {', '.join(asked)}",
            hints=[f"{n}: {found[n].reason}" for n in asked] + ["run `codemix build-data`"],
            rule="not-built",
        )
    return {name: inspect_source(store, found[name], samples) for name in built}


def inspect_source(store: Store, found: SourceState, samples: int) -> dict[str, Any]:
    from codemix.data.build.samples import sample_path
    from codemix.data.store.jsonl_zst import read_lines

    manifest, funnel = found.manifest, found.funnel
    folder = (
        store.path("documents", manifest.source, manifest.identity["documents"])
        if manifest is not None
        else found.documents.folder
    )

    def first(path: Path) -> list[dict[str, Any]]:
        return list(itertools.islice(read_lines(path), samples)) if path.exists() else []

    keys = [f"unreadable/{reason}" for reason in funnel["unreadable_by_reason"]]
    keys += [key for key in funnel["dropped"] if not key.startswith("dedup")]
    dropped = {key: first(sample_path(folder, key)) for key in keys}
    if manifest is not None:
        dropped |= {
            key: _duplicates(store, manifest.source, removing, samples)
            for key, removing in _dedup_folders(manifest, store)
        }
    return {
        "fingerprint": found.fingerprint,
        "funnel": funnel,
        "attrition": attrition(funnel),
        "languages": languages(funnel),
        "kept": first(folder / "kept.jsonl.zst"),
        "dropped": {key: rows for key, rows in dropped.items() if rows},
    }


def attrition(funnel: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each op and reason, in the order in which the ops run: documents in, dropped, share of those in, bytes."""
    rows, left = [], funnel["read"] - funnel["unreadable"]
    if funnel["unreadable"]:
        rows.append(
            {
                "op": "read",
                "reason": "unreadable",
                "in": funnel["read"],
                "dropped": funnel["unreadable"],
                "share": funnel["unreadable"] / funnel["read"],
                "bytes": 0,
            }
        )
    for step, keys in itertools.groupby(
        sorted(funnel["dropped"], key=_order), key=lambda key: key.split("/")[0]
    ):
        entered = left
        for key in keys:
            n = funnel["dropped"][key]
            rows.append(
                {
                    "op": step,
                    "reason": key.partition("/")[2],
                    "in": entered,
                    "dropped": n,
                    "share": n / entered if entered else 0.0,
                    "bytes": funnel["dropped_bytes"].get(key, 0),
                }
            )
            left -= n
    return rows


def _order(key: str) -> tuple[bool, int, str]:
    return key.startswith("dedup"), len(key.partition("-")[0]), key  # dedup10 comes after dedup9


def languages(funnel: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a language, most documents first: read, kept, share kept, and drops by op."""
    rows = []
    for name, counts in funnel["languages"].items():
        by_op: dict[str, int] = {}
        for key, n in counts.items():
            if key not in ("read", "kept"):
                by_op[key.split("/")[0]] = by_op.get(key.split("/")[0], 0) + n
        read = counts.get("read", 0)
        rows.append(
            {
                "language": name,
                "read": read,
                "kept": counts.get("kept", 0),
                "share_kept": counts.get("kept", 0) / read if read else 0.0,
                "dropped": by_op,
            }
        )
    return sorted(rows, key=lambda row: (-row["read"], row["language"]))


def _dedup_folders(manifest: Manifest, store: Store) -> Iterable[tuple[str, Path]]:
    """The funnel's keys for what dedup removed from a source, each with the folder of the entry that did; none when one is gone."""
    from codemix.data.store.store import read_json

    folders = [store.path("dedup", fingerprint[:12]) for fingerprint in manifest.identity["dedup"]]
    if not all(folder.exists() for folder in folders):
        return ()
    keys = sorted((key for key in manifest.funnel["dropped"] if key.startswith("dedup")), key=_order)
    removing = [
        folder
        for folder in folders
        if read_json(folder / "manifest.json")["removed"][manifest.source]["documents"]
    ]
    return zip(keys, removing, strict=True)  # both in the order of the entries


def _duplicates(store: Store, name: str, entry: Path, samples: int) -> list[dict[str, Any]]:
    """Documents of a source that an entry removed and, where known, the one that was kept in their place."""
    from codemix.data.store.jsonl_zst import read_lines
    from codemix.data.store.store import read_json

    documents_of = dict(read_json(entry / "manifest.json")["identity"]["documents"])

    def row_of(source: str, file: str, number: int) -> dict[str, Any]:
        where = store.path("documents", source, documents_of[source]) / "docs" / file
        return next(itertools.islice(read_lines(where), number, None))

    rows = []
    for path in sorted((entry / "removed" / name).glob("*.jsonl.zst")):
        for row in itertools.islice(read_lines(path), samples - len(rows)):
            gone = row_of(name, path.name, row["row"])
            kept = row["kept"] and row_of(row["kept"]["source"], row["kept"]["file"], row["kept"]["row"])
            rows.append(
                {"id": gone["id"], "text": gone["text"][:20_000], "meta": gone["meta"]}
                | ({"kept_id": kept["id"], "kept_text": kept["text"][:20_000]} if kept else {})
            )
        if len(rows) >= samples:
            break
    return rows


def render(found: dict[str, Any]) -> None:
    """Print what `inspect` found."""
    from rich.console import Console
    from rich.text import Text

    console = Console(
        markup=False, emoji=False, highlight=False
    )  # names, reasons and documents are other people's text
    for name, one in found.items():
        f = one["funnel"]
        counts = (
            f"{f['kept']:,} kept + {sum(f['dropped'].values()):,} dropped + {f['unreadable']:,} unreadable"
        )
        console.print(Text.assemble((name, "bold"), f"  {f['read']:,} read = {counts}"))
        if one["attrition"]:
            table = _table("Attrition", ("op", "reason"), ("in", "dropped", "share", "bytes"))
            for row in one["attrition"]:
                numbers = (
                    f"{row['in']:,}",
                    f"{row['dropped']:,}",
                    f"{row['share']:.2%}",
                    f"{row['bytes']:,}",
                )
                table.add_row(_plain(row["op"]), _plain(row["reason"]), *numbers)
            console.print(table)
        if len(one["languages"]) > 1:
            table = _table("Languages", ("language",), ("read", "kept", "share kept"), ("dropped by op",))
            for row in one["languages"][:30]:
                dropped = ", ".join(f"{k} {v:,}" for k, v in row["dropped"].items())
                numbers = (f"{row['read']:,}", f"{row['kept']:,}", f"{row['share_kept']:.1%}")
                table.add_row(_plain(row["language"]), *numbers, _plain(dropped))
            console.print(table)
        for key, rows in one["dropped"].items():
            pairs = _table(key, ("kept", f"dropped by {key}"), expand=True, show_lines=True)
            for row, kept in itertools.zip_longest(rows, one["kept"][: len(rows)]):
                if "kept_text" in row:
                    kept = {"id": row["kept_id"], "text": row["kept_text"]}
                pairs.add_row(_shown(kept), _shown(row))
            console.print(pairs)


def _table(
    title: str, texts: Sequence[str], numbers: Sequence[str] = (), more: Sequence[str] = (), **style: bool
) -> Any:
    """A table whose title and headers are plain text, with columns of text, of numbers, and of text again."""
    from rich.table import Column, Table

    left = [Column(_plain(header)) for header in texts]
    right = [Column(_plain(header), justify="right") for header in numbers]
    return Table(*left, *right, *(Column(_plain(header)) for header in more), title=_plain(title), **style)


def _plain(text: str) -> Any:
    """Text that rich shows as it is: a `str` in a table's cell, header or title would be read as markup."""
    from rich.text import Text

    return Text(plain(text))


def _shown(row: dict[str, Any] | None) -> Any:
    from rich.text import Text

    if row is None:
        return ""
    lines = plain(row["text"][:SHOWN_CHARS]).split("\n")
    more = " ..." if len(lines) > SHOWN_LINES or len(row["text"]) > SHOWN_CHARS else ""
    return Text.assemble((plain(row["id"]), "bold"), "\n", "\n".join(lines[:SHOWN_LINES]) + more)


def plain(text: str) -> str:
    """Text that cannot move a terminal's cursor: documents are other people's bytes."""
    return "".join(c if c in "\n\t" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)
