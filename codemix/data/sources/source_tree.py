r"""A folder of source code: every file in a known language, in the order of paths.

Files whose names tell no language (see the op `languages` for the table) are not part of the source, nor are
hidden folders and symbolic links. Text must be UTF-8 unless `not_utf8` says what to do with a file that is
not. Git LFS pointers (`lfs_pointer`) and files with a zero byte (`binary`) are dropped and counted. A byte of
a file name that is not UTF-8 appears in the id as `\xe9`.
"""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import NOT_SAMPLED, Drop, Item
from codemix.data.hash_rank import is_sampled
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.locations import escaped_name, locate
from codemix.data.inputs.opener import Opener
from codemix.data.sources._file_trees import TreeSource
from codemix.data.text import languages
from codemix.errors import CodemixError


class SourceTree(TreeSource):
    """A folder of source code, one document a file in a known language."""

    kind: Literal["source_tree"] = "source_tree"
    path: str = Field(min_length=1, description="folder under the data root")
    EXAMPLES: ClassVar = (
        {"kind": "source_tree", "path": "src"},
        {
            "kind": "source_tree",
            "path": "repo",
            "languages": ["Python", "C"],
            "exclude": ["*/third_party/*"],
            "not_utf8": "drop",
            "licence": "MIT",
        },
    )

    def inputs(self, root: Path) -> list[str]:
        base = locate(self.path, root)
        if not base.is_dir():
            raise CodemixError(
                f"{self.path} is not a folder",
                hints=["read single files with the kind `text`"],
                rule="input-not-folder",
            )

        def refuse(error: OSError) -> None:
            raise CodemixError(
                f"cannot look into {error.filename}: {error.strerror}",
                hints=["check its permissions"],
                rule="input-unreadable",
            )

        found = []
        for folder, folders, files in os.walk(base, onerror=refuse):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for name in files:
                path = Path(folder) / name
                inside = path.relative_to(base).as_posix()
                if self.wanted(inside) and not path.is_symlink():
                    found.append((Path(self._folder) / escaped_name(inside)).as_posix())
        if not found:
            endings = sorted(endings[0] for endings in languages.EXTENSIONS.values() if endings)
            hints = [f"known endings: {', '.join(endings)}"]
            raise CodemixError(
                f"no file under {self.path} is in one of the languages asked for",
                hints=hints,
                rule="glob-no-match",
            )
        return sorted(found)

    def may_hold(self, given: Input, document_id: str) -> bool:
        return document_id == f"{given.path}#0"

    @property
    def _folder(self) -> str:
        return os.path.normpath(self.path)

    def sampled(self, part: Part, opener: Opener, share: Fraction) -> Iterator[Item]:
        document_id = f"{part.input.path}#0"
        if is_sampled(document_id, share):
            return self.read(part, opener)
        return iter([Drop(NOT_SAMPLED, document_id)])

    def read(self, part: Part, opener: Opener) -> Iterator[Item]:
        enough = -1 if self.max_bytes is None else self.max_bytes + 1
        with opener.open(part.input) as file:
            data = file.read(enough)
        name = part.input.path
        folder = Path(self._folder)
        inside = Path(name).relative_to(folder).as_posix()
        project = folder.name
        yield self.document_of(data, name, inside, project)
