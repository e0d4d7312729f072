"""How tasks reach the nodes of a cluster, and what they make comes back: by one file system that all of them see, or as
the place behind a store has it."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from codemix.data.execution.task import WorkUnit
from codemix.data.store.sharing import place_behind
from codemix.data.store.store import Store


class JobFiles(Protocol):
    """Small files of a job, for the nodes and for the machine that waits; it is pickled."""

    def write(self, name: str, content: bytes) -> None: ...
    def read(self, name: str) -> bytes: ...
    def names(self) -> list[str]: ...
    def delete(self) -> None: ...

    @property
    def node_command(self) -> str:
        """The command that runs a task on a node, but for the task's number; empty where a node finds the folder of
        the executor."""
        ...


class Nodes(Protocol):
    """The nodes, as a store reaches them."""

    @property
    def folder(self) -> Path:
        """Of this machine, for what executors write themselves."""
        ...

    def files(self, job: str) -> JobFiles: ...

    def sent(self, tasks: Sequence[WorkUnit]) -> list[bytes]:
        """The tasks, pickled as a node runs them."""
        ...

    def collect(self, tasks: Sequence[WorkUnit]) -> None:
        """Have here what is made of these tasks, each one's mark last."""
        ...


@dataclass(frozen=True)
class FolderFiles:
    """A folder that the nodes see."""

    folder: Path
    node_command: str = ""

    def __str__(self) -> str:
        return str(self.folder)

    def write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def names(self) -> list[str]:
        names = []
        for path in self.folder.rglob("*"):
            inside = path.relative_to(self.folder)
            names.append(inside.as_posix())
        return names

    def delete(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class SharedFolder:
    """Nodes that see the same files under the same paths."""

    folder: Path

    def files(self, job: str) -> FolderFiles:
        return FolderFiles(self.folder / job)

    def sent(self, tasks: Sequence[WorkUnit]) -> list[bytes]:
        sent = map(pickle.dumps, tasks)
        return list(sent)

    def collect(self, tasks: Sequence[WorkUnit]) -> None:
        """They are here."""


def nodes_of(store: Store) -> Nodes:
    """The nodes of a cluster that builds in a store."""
    behind = place_behind(store.root)
    if behind is not None:
        return behind.nodes()
    return SharedFolder(store.jobs)
