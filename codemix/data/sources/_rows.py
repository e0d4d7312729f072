"""What sources over files and over rows share: which files, which field is the text, what is known of it,
which rows count."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from pydantic import Field

from codemix.data.document import Document, Drop, Item, Unreadable, row_of
from codemix.data.hash_rank import is_sampled
from codemix.data.inputs.conditions import MISSING, Where, compiled, field_getter
from codemix.data.inputs.decompression import MAX_EXPANSION, Damaged
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.locations import expand
from codemix.data.inputs.opener import Opener
from codemix.data.inputs.packages import needed_for
from codemix.data.inputs.values import SURE, id_text, plain
from codemix.data.interfaces import DocumentReader
from codemix.data.sources._row_files import ROW_SUFFIXES, Convert, Wanted, is_parquet, read_rows, row_parts
from codemix.errors import did_you_mean
from codemix.recipe.language.requirements import Requirement

Row = dict[str, Any]
Texter = Callable[[Row], str | Drop]


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
        if isinstance(self.paths, str):
            return (self.paths,)
        return tuple(self.paths or ())

    def requirements(self) -> Iterator[Requirement]:
        return needed_for(self.patterns())

    def inputs(self, root: Path) -> list[str]:
        return expand(self.patterns(), root, self.SUFFIXES)

    def may_hold(self, given: Input, document_id: str) -> bool:
        begin = f"{given.path}#"
        return document_id.startswith(begin)

    def bounded(self, opener: Opener) -> Opener:
        return Opener(
            opener.root,
            max_expansion=self.max_expansion,
            max_line_bytes=opener.max_line_bytes,
            first_row=opener.first_row,
        )


class RowSource(FileSource):
    """A source whose files hold rows with named fields. A field is named by its path: `meta.set` is `set`
    inside `meta`."""

    SUFFIXES: ClassVar = ROW_SUFFIXES
    id: str | None = Field(
        None, description="field that holds a stable id; default: the file's path and the row's number"
    )
    where: Where = Field(
        {},
        description="conditions on fields of the row, e.g. {meta.set: {not_in: [Github]}}; "
        "the rest is dropped, and counted",
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
        if self.id is not None:
            return True
        return super().may_hold(given, document_id)

    def texter(self) -> Texter:
        """A function that makes a row's text. It raises Damaged for a row of which none can be made."""
        raise NotImplementedError

    def parts(self, given: Input, opener: Opener, part_bytes: int) -> list[Part]:
        return row_parts(given, opener, part_bytes)

    def sampled(self, part: Part, opener: Opener, share: Fraction) -> Iterator[Item]:
        if self.id is not None:  # it is in the row, so the row must be read
            return super().sampled(part, opener, share)
        name = part.input.path

        def wanted(number: int) -> bool:
            document_id = f"{name}#{number}"
            return is_sampled(document_id, share)

        return self._rows(part, opener, wanted)

    def read(self, part: Part, opener: Opener) -> Iterator[Item]:
        return self._rows(part, opener, None)

    def _rows(self, part: Part, opener: Opener, wanted: Wanted | None) -> Iterator[Item]:
        fields = list(self.text_fields())
        if self.id:
            fields.append(self.id)
        fields += self.metadata.values()
        for field, condition in self.where.items():
            if condition.missing == "error":
                fields.append(field)
        needed = list(dict.fromkeys(fields))
        optional = [*self.optional_fields(), *self.where]
        convert = self.converter(part.input.path)
        return read_rows(part, self.bounded(opener), convert, needed, optional, wanted)

    def converter(self, name: str) -> Convert:
        """A function of (row, its number) for the rows of the input `name`; made once, since it runs a
        billion times.

        It raises Rounded for a row of JSON that must be read exactly.
        """
        rounded = not is_parquet(name)
        id_field = self.id or ""
        get_id = field_getter(id_field) if id_field else None
        known = [(key, path, field_getter(path)) for key, path in self.metadata.items()]
        passes = compiled(self.where, rounded=rounded) if self.where else None
        text_of = self.texter()

        def own_id(row: Row) -> str:
            """The id that the row itself holds, or an empty string."""
            given = get_id(row) if get_id is not None else MISSING
            if given.__class__ is str:
                return given
            if given is MISSING or given is None:
                return ""
            return id_text(given, id_field, rounded=rounded)

        def dropped(reason: str, row: Row, number: int) -> Drop:
            try:
                return Drop(reason, own_id(row) or f"{name}#{number}")
            except Damaged:  # it is dropped, whatever its id
                return Drop(reason, f"{name}#{number}")

        def document(row: Row, number: int) -> Document | Drop:
            if passes is not None:
                passed, missing = passes(row)
                if missing:
                    raise Damaged(
                        "missing_field",
                        f"`where` looks at `{missing}`, which is missing or null; "
                        f"{fields_here(row, missing)}",
                    )
                if not passed:
                    return dropped("where", row, number)
            text = text_of(row)
            if isinstance(text, Drop):
                return dropped(text.reason, row, number)
            identity = f"{name}#{number}" if get_id is None else get_id(row)
            if identity.__class__ is not str or identity == "":
                identity = own_id(row)
                if not identity:
                    raise Damaged("missing_id", f"no `{id_field}`; {fields_here(row, id_field)}")
            meta = {}
            for key, path, get in known:
                value = get(row)
                if value is not MISSING and value is not None:
                    meta[key] = value if value.__class__ in SURE else plain(value, path, rounded=rounded)
            return Document(identity, text, meta)

        def convert(row: Any, number: int) -> Item:
            if not isinstance(row, dict):
                kind = type(row).__name__
                return Unreadable(
                    "not_a_row", row_of(name, number), f"expected a mapping with fields, found {kind}"
                )
            try:
                return document(row, number)
            except Damaged as damage:
                return Unreadable(damage.reason, row_of(name, number), damage.detail)

        return convert


class TextRows(RowSource):
    """A row source with one field that is the text."""

    text: str = Field("text", min_length=1, description="field that holds the text")

    def text_fields(self) -> list[str]:
        return [self.text]

    def texter(self) -> Texter:
        return string_getter(self.text)

    def converter(self, name: str) -> Convert:
        convert_any = super().converter(name)
        field = self.text
        has_more = self.id or self.where or self.metadata or "." in field
        if has_more or type(self).texter is not TextRows.texter:
            return convert_any

        def convert(row: Any, number: int) -> Item:
            """Text alone: the common case, at a lower cost per row."""
            text = row.get(field) if row.__class__ is dict else None
            if text.__class__ is not str:
                return convert_any(row, number)
            return Document(f"{name}#{number}", text)

        return convert


def not_text(row: Row, field: str, value: Any) -> NoReturn:
    """Raises Damaged: what was found where the text should be."""
    if isinstance(value, Damaged):
        raise Damaged(value.reason, f"`{field}`: {value.detail}")
    if value is MISSING or value is None:
        state = "null" if value is None else "not there"
        here = fields_here(row, field)
        raise Damaged("missing_text", f"`{field}` is {state}; {here}")
    kind = type(value).__name__
    raise Damaged("bad_text", f"`{field}` holds {kind}, not a text")


def string_getter(field: str, *, optional: bool = False) -> Callable[[Row], str]:
    """A function that finds a string field. It raises Damaged where there is none, or gives an empty string
    if `optional`."""
    get = field_getter(field)

    def text(row: Row) -> str:
        value = get(row)
        if value.__class__ is str:
            return value
        if optional and (value is MISSING or value is None):
            return ""
        not_text(row, field, value)

    return text


def fields_here(row: Row, wanted: str) -> str:
    """The fields that a row has, for the message about the one that it lacks."""
    names = [str(name) for name in row]
    for name, value in row.items():
        if isinstance(value, dict):
            names += [f"{name}.{inner}" for inner in value]
    if len(names) > 20:
        close = did_you_mean(wanted, names)
        if close:
            return close[0]
    return f"fields here: {', '.join(names[:20])}"
