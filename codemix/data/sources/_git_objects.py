"""Reading a git repository at a commit through git itself: no checkout, no hooks, no filters, no network."""

from __future__ import annotations

import os
import selectors
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from codemix.data.inputs.locations import outside_data_root
from codemix.errors import CodemixError

SILENCE_S = 300.0  # git is given up when it says nothing for so long
MAX_FILES = 10_000_000  # of one commit; trees that name each other can expand to more than any disk holds

# replaced objects, lazily fetched ones and prompts would make the same commit read differently, or reach out
_SET = {
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",  # the last for git before 2.45, which knows no other way
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_UNSET = {
    f"GIT_{name}"
    for name in (
        "DIR",
        "WORK_TREE",
        "COMMON_DIR",
        "OBJECT_DIRECTORY",
        "ALTERNATE_OBJECT_DIRECTORIES",
        "SHALLOW_FILE",
        "GRAFT_FILE",
        "NAMESPACE",
    )
}


def _environment(repository: Path) -> dict[str, str]:
    """Git looks in this folder alone: not in a repository around it, nor in one that a hook around us has
    named."""
    environment = {name: value for name, value in os.environ.items() if name not in _UNSET}
    environment |= _SET
    environment["GIT_CEILING_DIRECTORIES"] = str(repository.parent)
    return environment


@dataclass(frozen=True)
class Entry:
    """A file in a commit: its path, the id of its content, its size [bytes]."""

    path: str
    object: str
    bytes: int


def commit_of(repository: Path, revision: str) -> str:
    """The id of the commit that a branch, tag or id names. Raises CodemixError when there is none."""
    try:
        return (
            _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
            .decode()
            .strip()
        )
    except CodemixError as error:
        if _NO_OUTPUT not in str(error):
            raise
        known = (
            _git(repository, "for-each-ref", "--count=8", "--sort=-creatordate", "--format=%(refname:short)")
            .decode()
            .split()
        )
        hints = [f"it has: {', '.join(known)}"] if known else ["it has no branches and no tags"]
        raise CodemixError(
            f"the repository {repository.name} has no revision `{revision}`",
            hints=hints,
            rule="git-no-revision",
        ) from None


def files_of(repository: Path, commit: str) -> Iterator[Entry]:
    """Every plain file of a commit, one by one, in git's order (bytes of the path). Links and submodules are
    not files."""
    seen = 0
    with _running(repository, "ls-tree", "-r", "-l", "-z", "--full-tree", commit) as git:
        while line := git.until(b"\0"):
            head, _, path = line.removesuffix(b"\0").partition(b"\t")
            mode, _, object_id, size = head.split()
            if mode not in (b"100644", b"100755"):
                continue
            if not size.isdigit():
                raise _lacks(repository, object_id.decode())
            seen += 1
            if seen > MAX_FILES:
                raise CodemixError(
                    f"the repository {repository.name} holds more than {MAX_FILES:,} files at {commit[:12]}",
                    hints=[
                        "trees that name each other many times look like that; "
                        "read a checkout of what you need with `source_tree`"
                    ],
                    rule="git-too-many-files",
                )
            yield Entry(path.decode("utf-8", "surrogateescape"), object_id.decode(), int(size))
        git.finish()


class Contents:
    """The contents of a repository's objects, asked for one by one, through one `git cat-file`."""

    def __init__(self, repository: Path, git: _Git):
        self._repository, self._git = repository, git

    def of(self, wanted: str) -> bytes:
        """The content of an object. Raises CodemixError when the repository lacks it."""
        head = self._git.ask(f"{wanted}\n".encode()).until(b"\n").split()
        if len(head) != 3 or head[1] != b"blob":
            raise _lacks(self._repository, wanted)
        data = self._git.exactly(int(head[2]) + 1)[:-1]
        if len(data) != int(head[2]):
            raise CodemixError(
                f"git ended while reading {self._repository.name}",
                hints=["check it with `git fsck`"],
                rule="git-failed",
            )
        return data


@contextmanager
def contents(repository: Path) -> Iterator[Contents]:
    with _running(repository, "cat-file", "--batch") as git:
        yield Contents(repository, git)


def check_inside(repository: Path, root: Path) -> None:
    """Raises CodemixError when git would read objects or references of a repository from outside the data
    root.

    A `.git` file, `commondir`, alternates and symbolic links can each lead anywhere.
    """
    root = root.resolve()
    git = _git_folder(repository)
    if not os.path.lexists(git / "HEAD") and git.resolve().is_relative_to(root):
        return  # not a repository, as git will say
    todo, seen = [repository / ".git", git], set()
    while todo:
        named = todo.pop()
        real = Path(os.path.realpath(named))
        if not real.is_relative_to(root):
            raise outside_data_root(
                f"the repository {repository.name} refers to {named}, which is outside the data root"
            )
        if real not in seen and real.is_dir():
            seen.add(real)
            todo += _leads_to(real)


def _leads_to(folder: Path) -> list[Path]:
    """Where git may read on from a folder of a repository's."""
    found = _named_in(folder / "commondir", folder) + _named_in(
        folder / "info" / "alternates", folder
    )  # the second of a folder of objects
    try:
        with os.scandir(folder) as entries:
            return found + [
                Path(e.path) for e in entries if e.is_symlink() or (e.is_dir() and e.name not in _NOT_READ)
            ]
    except OSError as error:
        raise CodemixError(
            f"cannot look into {folder}: {error.strerror}",
            hints=["check its permissions"],
            rule="input-unreadable",
        ) from error


_NOT_READ = frozenset(
    {"hooks", "lfs", "logs", "modules", "worktrees"}
)  # they hold none of a repository's own objects and references


def _git_folder(repository: Path) -> Path:
    """Where git keeps a repository: `.git` in it, where a `.git` file points, or the repository itself when
    it is bare."""
    inner = repository / ".git"
    if inner.is_file():
        with open(inner, "rb") as file:
            pointer = file.read(4096).decode("utf-8", "surrogateescape").strip()
        return repository / pointer.removeprefix("gitdir:").strip()
    return inner if inner.exists() or inner.is_symlink() else repository


def _named_in(file: Path, base: Path) -> list[Path]:
    """The folders that a file of git's names, a line each."""
    try:
        with open(file, "rb") as stream:
            content = stream.read(2**20)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return []
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    return [base / line.strip('"') for line in lines if line and not line.startswith("#")]


_NO_OUTPUT = "(it printed nothing)"


def _lacks(repository: Path, wanted: str) -> CodemixError:
    hints = [
        "it may be a shallow or partial clone: fetch it whole "
        "(`git fetch --refetch --no-filter`, `git fetch --unshallow`)"
    ]
    return CodemixError(
        f"the repository {repository.name} lacks the content {wanted}", hints=hints, rule="git-failed"
    )


class _Git:
    """A running git: asked through a pipe, and given up when it says nothing for `SILENCE_S`."""

    def __init__(self, process: subprocess.Popen[bytes], repository: Path, errors: IO[bytes]):
        assert process.stdin is not None and process.stdout is not None  # both are pipes
        self._process = process
        self._questions = process.stdin
        self._answers = process.stdout
        self._repository = repository
        self._errors = errors
        self._buffer = bytearray()
        self._ended = False

    def close(self) -> None:
        self._process.kill()
        self._answers.close()
        with suppress(BrokenPipeError):
            self._questions.close()
        self._process.wait()

    def ask(self, question: bytes) -> _Git:
        with suppress(BrokenPipeError):  # what it says, or does not, tells the rest
            self._questions.write(question)
            self._questions.flush()
        return self

    def until(self, end: bytes) -> bytes:
        """What it says up to and with `end`, or what is left when it says no more."""
        looked = 0
        while (at := self._buffer.find(end, looked)) < 0:
            looked = len(self._buffer)
            if not self._more():
                break
        return self._taken(at + 1 if at >= 0 else len(self._buffer))

    def exactly(self, n: int) -> bytes:
        """The next `n` bytes that it says, or what is left when it says no more."""
        while len(self._buffer) < n and self._more():
            pass
        return self._taken(min(n, len(self._buffer)))

    def finish(self) -> None:
        """Raises CodemixError, with what git says, when it failed."""
        try:
            failed = self._process.wait(SILENCE_S) != 0
        except subprocess.TimeoutExpired:
            raise self._silent() from None
        if failed:
            self._errors.seek(0)
            output = self._errors.read(2**16).decode("utf-8", "replace")
            lines = output.strip().splitlines() or [_NO_OUTPUT]
            if any("lazy fetch" in line or "promisor" in line for line in lines):
                raise _lacks(self._repository, "of some file")
            hints = [line.strip() for line in lines[1:4] if line.strip()]
            raise CodemixError(
                f"git cannot read {self._repository.name}: {lines[0]}", hints=hints, rule="git-failed"
            )

    def _silent(self) -> CodemixError:
        hints = ["see whether its disk answers, and check it with `git fsck`"]
        return CodemixError(
            f"git printed nothing about {self._repository.name} for {SILENCE_S:.0f} s",
            hints=hints,
            rule="git-failed",
        )

    def _taken(self, n: int) -> bytes:
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken

    def _more(self) -> bool:
        if self._ended:
            return False
        if not _readable_within(SILENCE_S, self._answers):
            raise self._silent()
        piece = os.read(self._answers.fileno(), 2**20)
        self._buffer += piece
        self._ended = not piece
        return not self._ended


def _readable_within(seconds: float, file: IO[bytes]) -> bool:
    with selectors.DefaultSelector() as waiting:  # select() itself knows no descriptor above 1023
        waiting.register(file, selectors.EVENT_READ)
        return bool(waiting.select(seconds))


@contextmanager
def _running(repository: Path, *arguments: str) -> Iterator[_Git]:
    command = [
        "git",
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.hooksPath=/dev/null",
        "-C",
        str(repository),
        *arguments,
    ]
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(repository),
            )
        except FileNotFoundError:
            raise CodemixError(
                "git is not installed",
                hints=["install git, or read a checkout with `source_tree`"],
                rule="package-missing",
            ) from None
        with closing(_Git(process, repository, errors)) as git:
            yield git


def _git(repository: Path, *arguments: str) -> bytes:
    """All that a short call prints. Raises CodemixError when it fails."""
    with _running(repository, *arguments) as git:
        output = git.exactly(2**24)
        git.finish()
        return output
