"""What sources over trees of files share: which paths belong, and a document of one file's bytes."""

from __future__ import annotations

import fnmatch
from typing import Any, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Drop, Item, Unreadable
from codemix.data.interfaces import DocumentReader
from codemix.data.sources.text import document
from codemix.data.text import languages
from codemix.data.text.binary import mostly_control
from codemix.recipe.language.quantities import Bytes


class TreeSource(DocumentReader):
    """A source over the files of a tree whose names tell a known language.

    What is not text is dropped and counted: pointers of Git LFS (`lfs_pointer`), files with zero bytes
    (`binary`). `not_utf8` decides about text in other encodings; it can be Latin-1 only without zero bytes
    and with few control characters.
    """

    version: ClassVar[int] = 2
    include: tuple[str, ...] = Field(
        (),
        description="patterns a path in the tree must match, e.g. [src/*]; `*` matches `/` too; default: all",
    )
    exclude: tuple[str, ...] = Field((), description="patterns a path must not match, e.g. ['*/tests/*']")
    languages: tuple[str, ...] = Field((), description="languages read; default: every known one")
    max_bytes: Bytes | None = Field(
        10_000_000, description="larger files are dropped and counted; null for no limit [bytes]"
    )
    not_utf8: Literal["error", "drop", "latin-1"] = Field(
        "error",
        description="a file that is not UTF-8: unreadable, dropped, or read as Latin-1; UTF-16 is never Latin-1",
    )
    licence: str | None = Field(None, description="SPDX name noted for every document")
    repo: str | None = Field(
        None, description="repository noted for every document; default: the folder's name"
    )

    def wanted(self, inside: str) -> bool:
        """Whether a path inside the tree is part of the source."""
        language = languages.of_path(inside)
        allowed = tuple(map(languages.canonical, self.languages))
        if not language or (allowed and language not in allowed):
            return False
        if self.include and not any(fnmatch.fnmatchcase(inside, pattern) for pattern in self.include):
            return False
        return not any(fnmatch.fnmatchcase(inside, pattern) for pattern in self.exclude)

    def document_of(self, data: bytes, name: str, inside: str, folder: str) -> Item:
        """The document of one file's bytes, or what became of it."""
        if self.max_bytes is not None and len(data) > self.max_bytes:
            return Drop("too_large", f"{name}#0")
        meta = {"path": inside, "language": languages.of_path(inside), "size": len(data)}
        if self.licence:
            meta["licence"] = self.licence
        repo = self.repo or folder
        if repo:
            meta["repo"] = repo
        outcome = document(data, name, 0, meta)
        if not isinstance(outcome, Unreadable):
            return outcome
        if outcome.reason in ("lfs_pointer", "binary"):
            return Drop(outcome.reason, f"{name}#0")
        return self._not_utf8(outcome, data, name, meta)

    def _not_utf8(self, made: Unreadable, data: bytes, name: str, meta: dict[str, Any]) -> Item:
        if self.not_utf8 == "error":
            return made
        if made.reason == "utf16":
            return Drop("utf16", f"{name}#0")
        if self.not_utf8 == "drop":
            return Drop("not_utf8", f"{name}#0")
        if mostly_control(data):
            return Drop("binary", f"{name}#0")
        return document(data.decode("latin-1").encode(), name, 0, meta)
