"""The tables of `codemix inspect`. Names, reasons and documents are strangers' text: shown as it is, never as markup."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
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
        console.print(_headline(name, inspection["funnel"]))
        if inspection["attrition"]:
            console.print(_attrition_table(inspection["attrition"]))
        if len(inspection["languages"]) > 1:
            console.print(_languages_table(inspection["languages"][:SHOWN_LANGUAGES]))
        for key, dropped in inspection["dropped"].items():
            console.print(_samples_table(key, dropped, inspection["kept"]))


def _headline(name: str, funnel: Mapping[str, Any]) -> Text:
    dropped = sum(funnel["dropped"].values())
    counts = f"{funnel['kept']:,} kept + {dropped:,} dropped + {funnel['unreadable']:,} unreadable"
    return Text.assemble((name, "bold"), f"  {funnel['read']:,} read = {counts}")


def _attrition_table(rows: Sequence[AttritionRow]) -> Table:
    columns = [_column("op"), _column("reason"), *map(_numbers, ("in", "dropped", "share", "bytes"))]
    table = Table(*columns, title=_text("Attrition"))
    for row in rows:
        numbers = (f"{row['in']:,}", f"{row['dropped']:,}", f"{row['share']:.2%}", f"{row['bytes']:,}")
        table.add_row(_text(row["op"]), _text(row["reason"]), *numbers)
    return table


def _languages_table(rows: Sequence[LanguageRow]) -> Table:
    numbers = map(_numbers, ("read", "kept", "share kept"))
    table = Table(_column("language"), *numbers, _column("dropped by op"), title=_text("Languages"))
    for row in rows:
        counts = (f"{row['read']:,}", f"{row['kept']:,}", f"{row['share_kept']:.1%}")
        dropped = [f"{op} {documents:,}" for op, documents in row["dropped"].items()]
        table.add_row(_text(row["language"]), *counts, _text(", ".join(dropped)))
    return table


def _samples_table(key: str, dropped: Sequence[Sample], kept: Sequence[Sample]) -> Table:
    """Samples that were dropped beside some that were kept, or beside what each duplicates."""
    columns = (_column("kept"), _column(f"dropped by {key}"))
    table = Table(*columns, title=_text(key), expand=True, show_lines=True)
    for sample, other in itertools.zip_longest(dropped, kept[: len(dropped)]):
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
