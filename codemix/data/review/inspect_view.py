"""The tables of `codemix inspect`. Names, reasons and documents are strangers' text: shown as it is, never as
markup."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from codemix.data.review.inspect import AttritionRow, Inspection, LanguageRow, Sample

SHOWN_LINES = 14  # of a sample
SHOWN_CHARS = 900
SHOWN_LANGUAGES = 30


def render(inspections: Mapping[str, Inspection]) -> None:
    """Print what `inspect` gave."""
    console = Console(markup=False, emoji=False, highlight=False)
    for name, inspection in inspections.items():
        for part in _parts(name, inspection):
            console.print(part)


def _parts(name: str, inspection: Inspection) -> Iterator[Text | Table]:
    languages = inspection["languages"]
    yield _headline(name, inspection["funnel"])
    if inspection["attrition"]:
        yield _attrition_table(inspection["attrition"])
    if len(languages) > 1:
        yield _languages_table(languages[:SHOWN_LANGUAGES])
    for key, dropped in inspection["dropped"].items():
        yield _samples_table(key, dropped, inspection["kept"])


def _headline(name: str, funnel: Mapping[str, Any]) -> Text:
    read = funnel["read"]
    kept = funnel["kept"]
    dropped = sum(funnel["dropped"].values())
    unreadable = funnel["unreadable"]
    counts = f"  {read:,} read = {kept:,} kept + {dropped:,} dropped + {unreadable:,} unreadable"
    return Text.assemble((name, "bold"), counts)


def _attrition_table(rows: Sequence[AttritionRow]) -> Table:
    table = Table(
        _column("op"),
        _column("reason"),
        _numbers("in"),
        _numbers("dropped"),
        _numbers("share"),
        _numbers("bytes"),
        title=_text("Attrition"),
    )
    for row in rows:
        table.add_row(
            _text(row["op"]),
            _text(row["reason"]),
            f"{row['in']:,}",
            f"{row['dropped']:,}",
            f"{row['share']:.2%}",
            f"{row['bytes']:,}",
        )
    return table


def _languages_table(rows: Sequence[LanguageRow]) -> Table:
    table = Table(
        _column("language"),
        _numbers("read"),
        _numbers("kept"),
        _numbers("share kept"),
        _column("dropped by op"),
        title=_text("Languages"),
    )
    for row in rows:
        dropped = [f"{op} {documents:,}" for op, documents in row["dropped"].items()]
        table.add_row(
            _text(row["language"]),
            f"{row['read']:,}",
            f"{row['kept']:,}",
            f"{row['share_kept']:.1%}",
            _text(", ".join(dropped)),
        )
    return table


def _samples_table(key: str, dropped: Sequence[Sample], kept: Sequence[Sample]) -> Table:
    """Samples that were dropped beside some that were kept, or beside what each duplicates."""
    table = Table(
        _column("kept"),
        _column(f"dropped by {key}"),
        title=_text(key),
        expand=True,
        show_lines=True,
    )
    beside = kept[: len(dropped)]
    for sample, other in itertools.zip_longest(dropped, beside):
        if "kept_text" in sample:
            other = {"id": sample["kept_id"], "text": sample["kept_text"]}
        table.add_row(_sample(other), _sample(sample))
    return table


def _column(header: str) -> Column:
    return Column(_text(header))


def _numbers(header: str) -> Column:
    return Column(_text(header), justify="right")


def _sample(sample: Sample | None) -> Text:
    if sample is None:
        return Text()
    text = sample["text"]
    lines = plain(text[:SHOWN_CHARS]).split("\n")
    is_cut = len(lines) > SHOWN_LINES or len(text) > SHOWN_CHARS
    shown = "\n".join(lines[:SHOWN_LINES])
    more = " ..." if is_cut else ""
    return Text.assemble((plain(sample["id"]), "bold"), f"\n{shown}{more}")


def _text(text: str) -> Text:
    """Text that rich shows as it is: a `str` in a table's cell, header or title would be read as markup."""
    return Text(plain(text))


def plain(text: str) -> str:
    """Text that cannot move a terminal's cursor: other characters than printable ones are spelled out."""
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    code = ord(character)
    return f"\\x{code:02x}"
