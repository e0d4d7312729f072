"""Our own .jsonl.zst files: one row per line, written whole or not at all, damage reported when read."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from codemix.data.store.used_files import note_use
from codemix.errors import CodemixError
from codemix.files import move_into_place, temporary_path


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a .jsonl.zst of ours. Raises CodemixError when it is damaged or missing."""
    import orjson
    import zstandard

    note_use(path)
    try:
        with (
            open(path, "rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as stream,
        ):
            for line in io.BufferedReader(stream, 2**20):
                if line[-1:] != b"\n":
                    raise ValueError("it ends inside a line")
                yield orjson.loads(line)
    except (zstandard.ZstdError, ValueError, OSError) as error:
        what = "missing" if isinstance(error, FileNotFoundError) else f"damaged: {error}"
        raise CodemixError(
            f"{path} is {what}", hints=["delete its folder and build the data again"], rule="store-damaged"
        ) from error


def removed_rows(lists: Iterable[Path]) -> set[int]:
    """Row numbers that dedup's lists name; a file of documents of which nothing is removed has no list."""
    rows: set[int] = set()
    for path in lists:
        if path.exists():
            rows.update(row["row"] for row in read_lines(path))
    return rows


class LineWriter:
    """Writes rows to a .jsonl.zst, which is at its path when it is closed whole."""

    def __init__(self, path: Path):
        import orjson
        import zstandard

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rows = 0
        self._temporary = temporary_path(path)
        self._dumps = functools.partial(orjson.dumps, option=orjson.OPT_APPEND_NEWLINE)
        self._file = open(self._temporary, "wb")  # noqa: SIM115 - closed in close()
        compressed = zstandard.ZstdCompressor(level=1).stream_writer(self._file, closefd=False)
        # rows are small, and each write to zstandard costs a buffer
        self._stream = io.BufferedWriter(cast(io.RawIOBase, compressed), 2**18)

    def write(self, row: dict[str, Any]) -> None:
        self._stream.write(self._dumps(row))
        self.rows += 1

    def close(self) -> None:
        self._stream.close()
        self._file.close()
        move_into_place(self._temporary, self.path)
