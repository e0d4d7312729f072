"""A git repository at a revision: every file in a known language, read from git's objects without a checkout.

A branch or tag is resolved to its commit, and the commit is what identifies the data: when the branch moves,
the source is a different one. Nothing is fetched, and nothing outside the data root is read. Symbolic links
and submodules are not read; what is not text is dropped and counted as by `source_tree`.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codemix.data.document import NOT_SAMPLED, Drop, Item
from codemix.data.hash_rank import is_sampled
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.locations import escaped_name, locate
from codemix.data.inputs.opener import Opener
from codemix.data.sources._file_trees import TreeSource
from codemix.errors import CodemixError
from codemix.recipe.language.requirements import Requirement
from codemix.recipe.language.subsample import ALL

if TYPE_CHECKING:
    from codemix.data.sources._git_objects import Entry


class Git(TreeSource):
    """A git repository at a revision, one document a file in a known language."""

    kind: Literal["git"] = "git"
    path: str = Field(
        min_length=1, description="the repository (a checkout or a bare one) under the data root"
    )
    revision: str = Field("HEAD", min_length=1, description="branch, tag or commit; a commit never changes")
    EXAMPLES: ClassVar = (
        {"kind": "git", "path": "repos/project", "revision": "v1.2.0"},
        {
            "kind": "git",
            "path": "repos/project.git",
            "revision": "main",
            "languages": ["Go"],
            "exclude": ["vendor/*"],
        },
    )

    def requirements(self) -> tuple[Requirement, ...]:
        return (
            Requirement(
                "reading a git repository", "git", "install git and put it on the PATH", program=True
            ),
        )

    def inputs(self, root: Path) -> list[str]:
        from codemix.data.sources._git_objects import commit_of

        repository = self._repository(root)
        commit = commit_of(repository, self.revision)
        size = sum(entry.bytes for entry in self._entries(repository, commit))
        if not size:
            raise CodemixError(
                f"no file of {self.path} at {self.revision} is in one of the languages asked for",
                rule="glob-no-match",
            )
        return [f"git:{os.path.normpath(self.path)}@{commit}~{size}"]

    def parts(self, given: Input, opener: Opener, part_bytes: int) -> list[Part]:
        repository = self._repository(opener.root)
        entries = self._entries(repository, _commit(given.path))
        parts = []
        start = stop = size = 0
        for stop, entry in enumerate(entries, 1):
            size += entry.bytes
            if size >= part_bytes:
                parts.append(Part(given, start, stop, start, size))
                start = stop
                size = 0
        if start < stop:
            parts.append(Part(given, start, stop, start, size))
        return parts

    def read(self, part: Part, opener: Opener) -> Iterator[Item]:
        return self.sampled(part, opener, ALL)

    def sampled(self, part: Part, opener: Opener, share: Fraction) -> Iterator[Item]:
        from codemix.data.sources._git_objects import contents

        repository = self._repository(opener.root)
        commit = _commit(part.input.path)
        name = self._name(commit)
        project = Path(self.path).name.removesuffix(".git")
        with closing(self._entries(repository, commit)) as entries, contents(repository) as content:
            for entry in islice(entries, part.start, part.stop):
                inside = escaped_name(entry.path)
                file_name = f"{name}/{inside}"
                if not is_sampled(f"{file_name}#0", share):
                    yield Drop(NOT_SAMPLED, f"{file_name}#0")
                elif self.max_bytes is not None and entry.bytes > self.max_bytes:
                    yield Drop("too_large", f"{file_name}#0")
                else:
                    data = content.of(entry.object)
                    yield self.document_of(data, file_name, inside, project)

    def may_hold(self, given: Input, document_id: str) -> bool:
        name = self._name(_commit(given.path))
        return document_id.startswith(f"{name}/")

    def _name(self, commit: str) -> str:
        path = os.path.normpath(self.path)
        return f"git:{path}@{commit[:12]}"

    def _entries(self, repository: Path, commit: str) -> Generator["Entry", None, None]:
        from codemix.data.sources._git_objects import files_of

        files = files_of(repository, commit)
        return (entry for entry in files if self.wanted(entry.path))

    def _repository(self, root: Path) -> Path:
        from codemix.data.sources._git_objects import check_inside

        repository = locate(self.path, root)
        if not repository.is_dir():
            raise CodemixError(
                f"{self.path} is not a folder, so it is not a git repository", rule="input-not-folder"
            )
        check_inside(repository, root)
        return repository


def _commit(name: str) -> str:
    return name.rsplit("@", 1)[1].split("~")[0]
