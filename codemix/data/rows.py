"""What sources over files and over rows share: which files, which field is the text, what is known of it, which rows count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from codemix.data.conditions import MISSING, Where, compiled, field_getter
from codemix.data.decompress import MAX_EXPANSION
from codemix.data.document import Document, Drop, Source, Unreadable
from codemix.data.locations import expand
from codemix.data.opening import Opener
from codemix.errors import did_you_mean


class FileSource(Source):
    """A source over files named by paths and patterns."""

    SUFFIXES: ClassVar[tuple[str, ...]] = ()
    paths: str | tuple[str, ...] = Field(description="files or patterns (`**` allowed) under the data root, or s3://, gs://, hf:// addresses")
    max_expansion: float = Field(MAX_EXPANSION, ge=1, description="a compressed file may become this many times as large; more is refused as a bomb")

    def inputs(self, root: Path) -> list[str]:
        return expand(self.paths, root, self.SUFFIXES)

    def bounded(self, opener: Opener) -> Opener:
        return Opener(opener.root, max_expansion=self.max_expansion, max_line_bytes=opener.max_line_bytes)


class RowSource(FileSource):
    """A source whose files hold rows with named fields. A field is named by its path: `meta.set` is `set` inside `meta`."""

    text: str = Field("text", min_length=1, description="field that holds the text")
    id: str | None = Field(None, description="field that holds a stable id; default: the file's path and the row's number")
    where: Where = Field({}, description="conditions on fields of the row, e.g. {meta.set: {not_in: [Github]}}; the rest is dropped, and counted")
    metadata: dict[str, str] = Field({}, description="what to keep of the row: name -> field, e.g. {language: lang, licence: licenses}")

    def fields(self) -> list[str]:
        """Paths of every field that is read, each once."""
        return list(dict.fromkeys([self.text, *([self.id] if self.id else []), *self.where, *self.metadata.values()]))

    def to_text(self, value: Any) -> str | None:
        """The text in the text field's value; None when it cannot be one. Kinds with structured texts override it."""
        return value if isinstance(value, str) else None

    def converter(self, name: str) -> Callable[[Any, int], Document | Unreadable | Drop]:
        """A function of (row, its number) for the rows of the input `name`; compiled once, since it runs a billion times."""
        plain = self.id is None and not self.where and not self.metadata and type(self).to_text is RowSource.to_text
        return self._text_alone(name) if plain and "." not in self.text else self._any_row(name)

    def _any_row(self, name: str) -> Callable[[Any, int], Document | Unreadable | Drop]:
        get_text, get_id = field_getter(self.text), field_getter(self.id) if self.id else None
        known = [(key, field_getter(path)) for key, path in self.metadata.items()]
        passes = compiled(self.where) if self.where else None
        to_text = self.to_text

        def convert(row: Any, number: int) -> Document | Unreadable | Drop:
            if not isinstance(row, dict):
                return Unreadable("not_a_row", f"{name}#{number}", f"expected a mapping with `{self.text}`, found {type(row).__name__}")
            if passes is not None:
                passed, missing = passes(row)
                if missing:
                    return Unreadable("missing_field", f"{name}#{number}", f"`where` looks at `{missing}`; {_fields(row, missing)}")
                if not passed:
                    return Drop("where")
            value = get_text(row)
            if value is MISSING or value is None:
                state = "null" if value is None else "not there"
                return Unreadable("missing_text", f"{name}#{number}", f"`{self.text}` is {state}; {_fields(row, self.text)}")
            if (text := to_text(value)) is None:
                return Unreadable("bad_text", f"{name}#{number}", f"`{self.text}` holds {type(value).__name__}, not a text")
            identity = f"{name}#{number}"
            if get_id is not None:
                given = get_id(row)
                if given is MISSING or given is None or given == "":
                    return Unreadable("missing_id", identity, f"no `{self.id}`; {_fields(row, self.id)}")
                identity = str(given)
            meta = {}
            for key, get in known:
                if (found := get(row)) is not MISSING and found is not None:
                    meta[key] = found
            return Document(identity, text, meta)

        return convert

    def _text_alone(self, name: str) -> Callable[[Any, int], Document | Unreadable | Drop]:
        """The common case, text alone, at less cost a row; anything unusual goes the long way."""
        field, slowly = self.text, self._any_row(name)

        def convert(row: Any, number: int) -> Document | Unreadable | Drop:
            try:
                text = row[field]
            except (KeyError, TypeError, IndexError):
                return slowly(row, number)
            if text.__class__ is str and row.__class__ is dict:
                return Document(f"{name}#{number}", text)
            return slowly(row, number)

        return convert


def _fields(row: dict, wanted: str) -> str:
    """The fields a row has, for the message about the one it has not."""
    names = [*row, *(f"{k}.{inner}" for k, v in row.items() if isinstance(v, dict) for inner in v)]
    close = did_you_mean(wanted, names) if len(names) > 20 else ()
    return close[0] if close else f"fields here: {', '.join(names[:20])}"
