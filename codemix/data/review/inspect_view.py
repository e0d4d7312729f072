"""What `codemix inspect` prints. Names, reasons and documents are strangers' text: shown as it is, never as
markup."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codemix.data.review.inspect import AttritionRow, Inspection, LanguageRow, Sample
from codemix.tables import Table, terminal_width

SHOWN_LINES = 14  # of a sample, in a terminal; elsewhere all
SHOWN_CHARS = 900
SHOWN_LANGUAGES = 30


@dataclass(frozen=True)
class _View:
    """For whom it is written: a terminal shows the start of a document, a pipe gets all of it."""

    width: int
    is_whole: bool

    def lines(self, name: str, inspection: Inspection) -> Iterator[str]:
        """Everything about one source."""
        yield _headline(name, inspection["funnel"])
        yield ""
        if inspection["attrition"]:
            yield attrition_table(inspection["attrition"]).text(self.width)
        languages = inspection["languages"]
        if len(languages) > 1:
            shown = languages if self.is_whole else languages[:SHOWN_LANGUAGES]
            yield languages_table(shown).text(self.width)
        yield from self.samples("kept", inspection["kept"])
        for key, dropped in inspection["dropped"].items():
            yield from self.samples(f"dropped by {plain(key)}", dropped)

    def samples(self, title: str, samples: Sequence[Sample]) -> Iterator[str]:
        """Documents one below the other, each under its id; of a duplicate, also the one that was kept."""
        if not samples:
            return
        yield title
        for sample in samples:
            yield from self.sample("  ", sample["id"], sample["text"])
            if "kept_text" in sample:
                yield "  duplicates, in the one that was kept:"
                yield from self.sample("  ", sample["kept_id"], sample["kept_text"])

    def sample(self, margin: str, name: str, text: str) -> Iterator[str]:
        """The id alone in its line, to be copied, then the text behind a bar."""
        yield margin + plain(name)
        shown = text if self.is_whole else _start(text)
        for line in plain(shown).split("\n"):
            yield f"{margin}│ {line}".rstrip()
        if shown != text:
            more = len(text) - len(shown)
            yield f"{margin}└ {more:,} more characters: all in a pipe, `codemix inspect ... | less`"
        yield ""


def render(inspections: Mapping[str, Inspection]) -> None:
    """Print what `inspect` gave."""
    view = _View(terminal_width(), is_whole=not sys.stdout.isatty())
    for name, inspection in inspections.items():
        for line in view.lines(name, inspection):
            print(line)


def _start(text: str) -> str:
    """As much of a text as a terminal shows."""
    lines = text[:SHOWN_CHARS].split("\n")
    return "\n".join(lines[:SHOWN_LINES])


def _headline(name: str, funnel: Mapping[str, Any]) -> str:
    read = funnel["read"]
    kept = funnel["kept"]
    dropped = sum(funnel["dropped"].values())
    unreadable = funnel["unreadable"]
    counts = f"{read:,} read = {kept:,} kept + {dropped:,} dropped + {unreadable:,} unreadable"
    return f"{plain(name)}  {counts}"


def attrition_table(rows: Sequence[AttritionRow]) -> Table:
    table = Table("Attrition", ["op", "reason", ">in", ">dropped", ">share", ">bytes"])
    for row in rows:
        cells = [
            plain(row["op"]),
            plain(row["reason"]),
            f"{row['in']:,}",
            f"{row['dropped']:,}",
            f"{row['share']:.2%}",
            f"{row['bytes']:,}",
        ]
        table.rows.append(cells)
    return table


def languages_table(rows: Sequence[LanguageRow]) -> Table:
    table = Table("Languages", ["language", ">read", ">kept", ">share kept", "dropped by op"])
    for row in rows:
        dropped = [f"{op} {documents:,}" for op, documents in row["dropped"].items()]
        cells = [
            plain(row["language"]),
            f"{row['read']:,}",
            f"{row['kept']:,}",
            f"{row['share_kept']:.1%}",
            plain(", ".join(dropped)),
        ]
        table.rows.append(cells)
    return table


def plain(text: str) -> str:
    """Text that cannot move a terminal's cursor: other characters than printable ones are spelled out."""
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    code = ord(character)
    return f"\\x{code:02x}"
