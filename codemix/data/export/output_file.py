"""Files of an export: written whole or not at all, and hashed while they are written."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codemix.data.export.token_sets import RawFile
from codemix.files import replacing, temporary_path


@dataclass(frozen=True)
class WrittenFile:
    """A finished file of an export."""

    path: str  # in the export's folder
    bytes: int
    sha256: str
    linked: bool = False  # one file with the store's, not a copy

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class OutputFile:
    """Bytes on their way to a file. The hash of one block is made while the next is written."""

    def __init__(self, file: Any, thread: ThreadPoolExecutor):
        self.bytes = 0
        self._file = file
        self._sha256 = hashlib.sha256()
        self._thread = thread
        self._hashing: Future[None] | None = None

    def write(self, block: Any) -> None:
        """Write bytes, or an array's."""
        view = memoryview(block).cast("B") if len(block) else memoryview(b"")
        previous = self._hashing
        self._hashing = self._thread.submit(self._sha256.update, view)
        self._file.write(view)
        self.bytes += len(view)
        if previous is not None:
            previous.result()

    def sha256(self) -> str:
        if self._hashing is not None:
            self._hashing.result()
        return self._sha256.hexdigest()


class ExportFolder:
    """Where an export is written. Every file that it finishes is in `written`."""

    def __init__(self, root: Path):
        self.root = root
        self.written: list[WrittenFile] = []

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[OutputFile]:
        """A file to write to; it appears under its name when all of it is on disk."""
        with (
            ThreadPoolExecutor(1) as thread,
            replacing(self.root / name) as temporary,
            open(temporary, "wb") as file,
        ):
            output = OutputFile(file, thread)
            yield output
            sha256 = output.sha256()
        self.written.append(WrittenFile(name, output.bytes, sha256))

    def text(self, name: str, content: str) -> None:
        with self.file(name) as file:
            file.write(content.encode())

    def add_written(self, name: str, sha256: str) -> None:
        """Note a file that a library has written in the folder."""
        path = self.root / name
        size = path.stat().st_size
        file = WrittenFile(name, size, sha256)
        self.written.append(file)

    def link(self, name: str, raw: RawFile) -> bool:
        """Make a file one with a file of the store; False where the file system cannot."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_path(path)
        try:
            temporary.unlink(missing_ok=True)
            os.link(raw.path, temporary)
            os.replace(temporary, path)
        except OSError:
            return False
        finally:
            temporary.unlink(missing_ok=True)  # a link onto its own file is left where it was
        self.written.append(WrittenFile(name, path.stat().st_size, raw.sha256, linked=True))
        return True
