"""A git repository at a revision: every file in a known language, read from git's objects without a checkout.

A branch or tag is resolved to its commit, and the commit is what identifies the data: when the branch moves, the source
is another one. Symbolic links and submodules are not read; what is no text is dropped and counted as by `source_tree`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop, Unreadable
from codemix.data.inputs import Input, Part
from codemix.data.locations import escaped_name, locate
from codemix.data.opening import Opener
from codemix.data.trees import TreeSource
from codemix.errors import CodemixError
from codemix.recipe.requirements import Requirement


class Git(TreeSource):
    """A git repository at a revision, one document a file in a known language."""

    kind: Literal["git"] = "git"
    path: str = Field(min_length=1, description="the repository (a checkout or a bare one) under the data root")
    revision: str = Field("HEAD", min_length=1, description="branch, tag or commit; a commit never changes")
    EXAMPLES: ClassVar = (
        {"kind": "git", "path": "repos/project", "revision": "v1.2.0"},
        {"kind": "git", "path": "repos/project.git", "revision": "main", "languages": ["Go"], "exclude": ["vendor/*"]},
    )

    def requirements(self) -> tuple[Requirement, ...]:
        return (Requirement("reading a git repository", "git", "install git and put it on the PATH", program=True),)

    def inputs(self, root: Path) -> list[str]:
        from codemix.data.git_objects import commit_of, files_of

        repository = self._repository(root)
        commit = commit_of(repository, self.revision)
        size = sum(entry.bytes for entry in files_of(repository, commit) if self.wanted(entry.path))
        if not size:
            raise CodemixError(f"no file of {self.path} at {self.revision} is in one of the languages asked for", rule="glob-no-match")
        return [f"git:{os.path.normpath(self.path)}@{commit}~{size}"]

    def parts(self, given: Input, opener: Opener, part_bytes: int) -> list[Part]:
        from codemix.data.git_objects import files_of

        parts, start, size = [], 0, 0
        wanted = [e for e in files_of(self._repository(opener.root), _commit(given.path)) if self.wanted(e.path)]
        for index, entry in enumerate(wanted, 1):
            size += entry.bytes
            if size >= part_bytes or index == len(wanted):
                parts.append(Part(given, start, index, start, size))
                start, size = index, 0
        return parts

    def read(self, part: Part, opener: Opener) -> Iterator[Document | Unreadable | Drop]:
        from codemix.data.git_objects import contents, files_of

        repository, commit = self._repository(opener.root), _commit(part.input.path)
        entries = [e for e in files_of(repository, commit) if self.wanted(e.path)][part.start : part.stop]
        small = [e for e in entries if self.max_bytes is None or e.bytes <= self.max_bytes]
        data = contents(repository, (e.object for e in small))
        name = f"git:{os.path.normpath(self.path)}@{commit[:12]}"
        for entry in entries:
            inside = escaped_name(entry.path)
            if self.max_bytes is not None and entry.bytes > self.max_bytes:
                yield Drop("too_large")
            else:
                yield self.document_of(next(data), f"{name}/{inside}", inside, Path(self.path).name.removesuffix(".git"))
        data.close()

    def _repository(self, root: Path) -> Path:
        found = locate(self.path, root)
        if not found.is_dir():
            raise CodemixError(f"{self.path} is not a folder, so no git repository", rule="input-not-folder")
        return found


def _commit(name: str) -> str:
    return name.rsplit("@", 1)[1].split("~")[0]
