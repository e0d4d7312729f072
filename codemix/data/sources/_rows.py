"""What sources over files and over rows share: which files, which field is the text, what is known of it, which rows count."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from pydantic import Field

from codemix.data.document import Document, Drop, Unreadable, row_of
from codemix.data.inputs.conditions import MISSING, Where, compiled, field_getter
from codemix.data.inputs.decompression import MAX_EXPANSION, Damaged
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.locations import expand
from codemix.data.inputs.opener import Opener
from codemix.data.inputs.packages import needed_for
from codemix.data.inputs.values import SURE, id_text, plain
from codemix.data.interfaces import DocumentReader
from codemix.data.sources._row_files import ROW_SUFFIXES, is_parquet, read_rows, row_parts
from codemix.errors import did_you_mean
from codemix.recipe.language.requirements import Requirement


class FileSource(DocumentReader):
    """A source over files named by paths and patterns."""

    SUFFIXES: ClassVar[tuple[str, ...]] = ()
    paths: str | tuple[str, ...] = Field(
        description="files or patterns (`**` allowed) under the data root, or s3://, gs://, hf:// addresses"
    )
    max_expansion: float = Field(
        MAX_EXPANSION,
        ge=1,
        description="a compressed file may become this many times as large; more is refused as a bomb",
    )

    def patterns(self) -> tuple[str, ...]:
        """The files and patterns, as whole paths or addresses."""
        return (self.paths,) if isinstance(self.paths, str) else tuple(self.paths or ())

    def requirements(self) -> Iterator[Requirement]:
        return needed_for(self.patterns())

    def inputs(self, root: Path) -> list[str]:
        return expand(self.patterns(), root, self.SUFFIXES)

    def may_hold(self, given: Input, document_id: str) -> bool:
        return document_id.startswith(f"{given.path}#")

    def bounded(self, opener: Opener) -> Opener:
        limits = {"max_expansion": self.max_expansion, "max_line_bytes": opener.max_line_bytes}
        return Opener(opener.root, **limits, first_row=opener.first_row)


class RowSource(FileSource):
    """A source whose files hold rows with named fields. A field is named by its path: `meta.set` is `set` inside `meta`."""

    SUFFIXES: ClassVar = ROW_SUFFIXES
    id: str | None = Field(
        None, description="field that holds a stable id; default: the file's path and the row's number"
    )
    where: Where = Field(
        {},
        description="conditions on fields of the row, e.g. {meta.set: {not_in: [Github]}}; the rest is dropped, and counted",
    )
    metadata: dict[str, str] = Field(
        {}, description="what to keep of the row: name -> field, e.g. {language: lang, licence: licenses}"
    )

    def text_fields(self) -> list[str]:
        """Paths of the fields that the text is made of."""
        raise NotImplementedError

    def optional_fields(self) -> list[str]:
        """Paths of fields that the text uses where they are, and does without where they are not."""
        return []

    def may_hold(self, given: Input, document_id: str) -> bool:
        return self.id is not None or super().may_hold(given, document_id)

    def texter(self) -> Callable[[dict], str | Drop]:
        """A function that makes a row's text. It raises Damaged for a row of which none can be made."""
        raise NotImplementedError

    def parts(self, given: Input, opener: Opener, part_bytes: int) -> list[Part]:
        return row_parts(given, opener, part_bytes)

    def read(self, part: Part, opener: Opener) -> Iterator[Document | Unreadable | Drop]:
        asked = [*self.text_fields(), *([self.id] if self.id else []), *self.metadata.values()]
        needed = [*asked, *(field for field, condition in self.where.items() if condition.missing == "error")]
        optional = [*self.optional_fields(), *self.where]
        yield from read_rows(
            part, self.bounded(opener), self.converter(part.input.path), list(dict.fromkeys(needed)), optional
        )

    def converter(self, name: str) -> Callable[[Any, int], Document | Unreadable | Drop]:
        """A function of (row, its number) for the rows of the input `name`; made once, since it runs a billion times.

        It raises Rounded for a row of JSON that must be read exactly.
        """
        rounded = not is_parquet(name)
        get_id = field_getter(self.id) if self.id else None
        known = [(key, path, field_getter(path)) for key, path in self.metadata.items()]
        passes = compiled(self.where, rounded=rounded) if self.where else None
        text_of = self.texter()

        def named(drop: Drop, row: Any, identity: str) -> Drop:
            given = get_id(row) if get_id is not None else MISSING
            if given is MISSING or given is None or given == "":
                return Drop(drop.reason, identity)
            try:
                return Drop(
                    drop.reason, given if given.__class__ is str else id_text(given, self.id, rounded=rounded)
                )
            except Damaged:  # it is dropped, whatever its id
                return Drop(drop.reason, identity)

        def made(row: Any, number: int) -> Document | Unreadable | Drop:
            identity = f"{name}#{number}"
            if passes is not None:
                passed, missing = passes(row)
                if missing:
                    raise Damaged(
                        "missing_field",
                        f"`where` looks at `{missing}`, which is missing or null; {fields_here(row, missing)}",
                    )
                if not passed:
                    return named(Drop("where"), row, identity)
            text = text_of(row)
            if text.__class__ is Drop:
                return named(text, row, identity)
            if get_id is not None:
                given = get_id(row)
                if given is MISSING or given is None or given == "":
                    raise Damaged("missing_id", f"no `{self.id}`; {fields_here(row, self.id)}")
                identity = given if given.__class__ is str else id_text(given, self.id, rounded=rounded)
            meta = {}
            for key, path, get in known:
                if (found := get(row)) is not MISSING and found is not None:
                    meta[key] = found if found.__class__ in SURE else plain(found, path, rounded=rounded)
            return Document(identity, text, meta)

        def convert(row: Any, number: int) -> Document | Unreadable | Drop:
            if not isinstance(row, dict):
                return Unreadable(
                    "not_a_row",
                    row_of(name, number),
                    f"expected a mapping with fields, found {type(row).__name__}",
                )
            try:
                return made(row, number)
            except Damaged as damage:
                return Unreadable(damage.reason, row_of(name, number), damage.detail)

        return convert


class TextRows(RowSource):
    """A row source with one field that is the text."""

    text: str = Field("text", min_length=1, description="field that holds the text")

    def text_fields(self) -> list[str]:
        return [self.text]

    def texter(self) -> Callable[[dict], str | Drop]:
        get, field = field_getter(self.text), self.text
        return lambda row: text if (text := get(row)).__class__ is str else not_text(row, field, text)

    def converter(self, name: str) -> Callable[[Any, int], Document | Unreadable | Drop]:
        slowly, field = super().converter(name), self.text
        if (
            self.id
            or self.where
            or self.metadata
            or "." in self.text
            or type(self).texter is not TextRows.texter
        ):
            return slowly

        def convert(
            row: Any, number: int
        ) -> Document | Unreadable | Drop:  # text alone: the common case, at less cost a row
            text = row.get(field) if row.__class__ is dict else None
            return Document(f"{name}#{number}", text) if text.__class__ is str else slowly(row, number)

        return convert


def not_text(row: dict, field: str, value: Any) -> NoReturn:
    """Raises Damaged: what was found where the text should be."""
    if isinstance(value, Damaged):
        raise Damaged(value.reason, f"`{field}`: {value.detail}")
    if value is MISSING or value is None:
        raise Damaged(
            "missing_text",
            f"`{field}` is {'null' if value is None else 'not there'}; {fields_here(row, field)}",
        )
    raise Damaged("bad_text", f"`{field}` holds {type(value).__name__}, not a text")


def string_getter(field: str, *, optional: bool = False) -> Callable[[dict], str]:
    """A function that finds a string field. It raises Damaged where there is none, or gives an empty string if `optional`."""
    get = field_getter(field)

    def text(row: dict) -> str:
        value = get(row)
        if value.__class__ is str:
            return value
        return "" if optional and (value is MISSING or value is None) else not_text(row, field, value)

    return text


def fields_here(row: dict, wanted: str) -> str:
    """The fields a row has, for the message about the one it has not."""
    names = [*row, *(f"{k}.{inner}" for k, v in row.items() if isinstance(v, dict) for inner in v)]
    close = did_you_mean(wanted, names) if len(names) > 20 else ()
    return close[0] if close else f"fields here: {', '.join(names[:20])}"
