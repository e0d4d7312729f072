"""A source: files of comma-separated values, one document per row."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Unreadable, row_of
from codemix.data.inputs.frozen_inputs import Part
from codemix.data.inputs.locations import expand
from codemix.data.inputs.opener import Opener
from codemix.data.interfaces import DocumentReader


class Csv(DocumentReader):
    """CSV files with a header, one document per row."""

    kind: Literal["csv"] = "csv"
    paths: str = Field(description="files or patterns below the data root")
    text: str = Field("text", description="the column that holds the text")

    EXAMPLES: ClassVar = ({"kind": "csv", "paths": "posts/*.csv", "text": "body"},)

    def inputs(self, root: Path) -> list[str]:
        return expand((self.paths,), root, (".csv",))

    def read(self, part: Part, opener: Opener) -> Iterator[Document | Unreadable]:
        name = part.input.path
        try:
            content = opener.whole(part.input).decode()
        except UnicodeDecodeError as error:
            yield Unreadable("bad_utf8", name, str(error), rest_lost=True)
            return
        rows = csv.DictReader(io.StringIO(content, newline=""))
        for number, row in enumerate(rows):
            text = row.get(self.text)
            if text is None:
                yield Unreadable("missing_text", row_of(name, number), f"it has no column `{self.text}`")
            else:
                yield Document(f"{name}#{number}", text)
