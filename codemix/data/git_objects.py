"""Reading a git repository at a commit through git itself: no checkout, no hooks, no filters, no network."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codemix.errors import CodemixError

# replaced objects, lazily fetched ones and prompts would make the same commit read differently, or reach out
_SET = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
_UNSET = {
    f"GIT_{name}"
    for name in ("DIR", "WORK_TREE", "COMMON_DIR", "OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES", "SHALLOW_FILE", "GRAFT_FILE", "NAMESPACE")
}


def _environment(repository: Path) -> dict[str, str]:
    """Git looks in this folder alone: not in a repository around it, nor in one that a hook around us has named."""
    kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
    return kept | _SET | {"GIT_CEILING_DIRECTORIES": str(repository.parent)}


@dataclass(frozen=True)
class Entry:
    """A file in a commit: its path, the id of its content, its size [bytes]."""

    path: str
    object: str
    bytes: int


def _git(repository: Path, *arguments: str) -> bytes:
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(repository), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, env=_environment(repository), stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise CodemixError("git is not installed", hints=["install git, or read a checkout with `source_tree`"], rule="package-missing") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["(it said nothing)"]
        hints = [line.strip() for line in said[1:4] if line.strip()]
        raise CodemixError(f"git cannot read {repository.name}: {said[0]}", hints=hints, rule="git-failed")
    return done.stdout


def commit_of(repository: Path, revision: str) -> str:
    """The id of the commit that a branch, tag or id names. Raises CodemixError when there is none."""
    try:
        return _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    except CodemixError as error:
        if "(it said nothing)" not in str(error):
            raise
        known = _git(repository, "for-each-ref", "--count=8", "--sort=-creatordate", "--format=%(refname:short)").decode().split()
        hints = [f"it has: {', '.join(known)}"] if known else ["it has no branches and no tags"]
        raise CodemixError(f"the repository {repository.name} has no revision `{revision}`", hints=hints, rule="git-no-revision") from None


def files_of(repository: Path, commit: str) -> list[Entry]:
    """Every plain file of a commit, in git's order (bytes of the path). Links and submodules are not files."""
    entries = []
    for line in _git(repository, "ls-tree", "-r", "-l", "-z", "--full-tree", commit).split(b"\0"):
        head, _, path = line.partition(b"\t")
        if len(fields := head.split()) == 4 and fields[0] in (b"100644", b"100755") and fields[3] != b"-":
            entries.append(Entry(path.decode("utf-8", "surrogateescape"), fields[2].decode(), int(fields[3])))
    return entries


def contents(repository: Path, objects: Iterable[str]) -> Iterator[bytes]:
    """The content of each object, in order, through one `git cat-file --batch`. Raises CodemixError for one that is missing."""
    command = ["git", "-C", str(repository), "cat-file", "--batch"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(repository))
    try:
        for wanted in objects:
            process.stdin.write(f"{wanted}\n".encode())
            process.stdin.flush()
            head = process.stdout.readline().split()
            if len(head) != 3 or head[1] != b"blob":
                raise CodemixError(
                    f"the repository {repository.name} lacks the content {wanted}",
                    hints=["it may be a shallow or partial clone: fetch it whole"], rule="git-failed",
                )  # fmt: skip
            data = process.stdout.read(int(head[2]))
            process.stdout.read(1)
            if len(data) != int(head[2]):
                raise CodemixError(f"git ended while reading {repository.name}", hints=["check it with `git fsck`"], rule="git-failed")
            yield data
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()
