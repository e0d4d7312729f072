"""A git repository: what is committed, what is checked out, and what differs. The only module that runs
git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codemix.errors import CodemixError, Problem

TIMEOUT_S = 120
_SHALLOW = (
    "this clone is shallow: fetch the whole history (GitHub: `fetch-depth: 0`, GitLab: `GIT_DEPTH: 0`)",
    "in a clone of your own: `git fetch --unshallow`",
)


@dataclass(frozen=True)
class FileChange:
    """A file that is not the same at both ends; None: it is not there. Paths are relative to the top."""

    before: str | None
    after: str | None


@dataclass(frozen=True)
class Repository:
    """A git repository by its top folder, and the files that are checked out there."""

    top: Path

    def commit(self, revision: str) -> str:
        """The full name of a commit. Raises CodemixError when git knows none of that name."""
        wanted = f"{revision}^{{commit}}"
        done = _run(self.top, "rev-parse", "--verify", "--quiet", "--end-of-options", wanted)
        if done.returncode:
            remote, _, branch = revision.rpartition("/")
            fetch = f"git fetch {remote or 'origin'} {branch}"
            hint = f"`{fetch}`, or give another `--base`"
            raise _refusal(f"git knows no `{revision}`", hint)
        return os.fsdecode(done.stdout).strip()

    def merge_base(self, revision: str) -> str:
        """The last commit that HEAD shares with a revision. Raises CodemixError when there is none."""
        hints = ["rebase on it, or compare with another `--base`"]
        if self._git("rev-parse", "--is-shallow-repository").strip() == b"true":
            hints = list(_SHALLOW)
        head = self.commit("HEAD")
        try:
            other = self.commit(revision)
        except CodemixError as error:
            problem = error.problems[0]
            raise _refusal(problem.what, *problem.hints, *hints) from None
        done = _run(self.top, "merge-base", other, head)
        if done.returncode:
            raise _refusal(f"`{revision}` and HEAD have no commit in common", *hints)
        return os.fsdecode(done.stdout).strip()

    def changes_since(self, commit: str) -> list[FileChange]:
        """What differs between a commit and the files that are checked out, new files included."""
        fields = _split(self._git("diff", "--name-status", "-z", "--find-renames", commit, "--"))
        changes = list(_name_status(fields))
        for path in self.new_files():
            changes.append(FileChange(None, path))
        return changes

    def new_files(self) -> list[str]:
        """Files that git neither holds nor ignores."""
        return _split(self._git("ls-files", "-z", "--others", "--exclude-standard"))

    def files(self) -> list[str]:
        """The files that are checked out."""
        held = _split(self._git("ls-files", "-z"))
        return held + self.new_files()

    def blobs(self, commit: str, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
        """The regular files of a commit whose names end so: path and content."""
        paths: list[str] = []
        blobs: list[str] = []
        listing = self._git("ls-tree", "-r", "-z", commit)
        for entry in _split(listing):
            about, path = entry.split("\t", 1)
            mode, _, blob = about.split(" ")
            is_regular = mode.startswith("100")
            name = path.lower()
            if is_regular and name.endswith(suffixes):
                paths.append(path)
                blobs.append(blob)
        contents = self._contents(blobs)
        return zip(paths, contents, strict=True)

    def _contents(self, blobs: Iterable[str]) -> Iterator[bytes]:
        """Of each blob; git answers `<blob> blob <size>`, a line, the content and a line break."""
        asked = "".join(f"{blob}\n" for blob in blobs)
        answer = self._git("cat-file", "--batch", given=asked.encode())
        place = 0
        while place < len(answer):
            start = answer.index(b"\n", place) + 1
            about = answer[place:start].split()
            end = start + int(about[-1])
            yield answer[start:end]
            place = end + 1

    def _git(self, *words: str, given: bytes = b"") -> bytes:
        done = _run(self.top, *words, given=given)
        if done.returncode:
            raise _refusal(f"git {words[0]} failed: {reason(done)}")
        return done.stdout


def repository(folder: Path) -> Repository:
    """The repository that a folder lies in. Raises CodemixError when it lies in none."""
    done = _run(folder, "rev-parse", "--show-toplevel")
    if done.returncode:
        what = f"{folder.resolve()} is not in a git repository that can be read: {reason(done)}"
        raise _refusal(what, "run this inside a clone of your recipes")
    return Repository(Path(os.fsdecode(done.stdout).rstrip("\n")))


def show(folder: Path, name: str) -> subprocess.CompletedProcess[bytes]:
    """What `git show` answers about an object, asked from a folder."""
    return _run(folder, "show", name)


def reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """The first line of what git complained of."""
    stderr = done.stderr.decode(errors="replace")
    first_line = stderr.strip().split("\n")[0]
    return first_line.removeprefix("fatal: ")


def _run(folder: Path, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", *words], cwd=folder, input=given, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        hint = "git must be installed to compare revisions"
        raise _refusal(f"cannot ask git: {error}", hint) from None


def _split(output: bytes) -> list[str]:
    """The fields of what git writes under `-z`, where each ends with a NUL."""
    fields = os.fsdecode(output)
    return fields.split("\0")[:-1]


def _name_status(fields: list[str]) -> Iterator[FileChange]:
    """`M path`, `A path`, `D path`, `R100 before after`, in one row of fields."""
    rest = iter(fields)
    for status in rest:
        path = next(rest)
        if status.startswith("R"):
            yield FileChange(path, next(rest))
        elif status == "A":
            yield FileChange(None, path)
        elif status == "D":
            yield FileChange(path, None)
        else:
            yield FileChange(path, path)


def _refusal(what: str, *hints: str) -> CodemixError:
    return CodemixError(Problem(what, hints=hints, rule="git"))
