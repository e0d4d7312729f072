"""JSON lines, plain or compressed, with a field path for the text and conditions on the others.

SlimPajama's text files, The Stack's jsonl, and most published corpora. `.jsonl`, `.ndjson` or `.json`, each alone or
with `.gz`, `.zst` or `.zstd`. Reading is strict: a truncated file, a byte that is not UTF-8, a broken line, a missing
text or a suffix that lies is reported with its place, never skipped in silence. Blank lines hold no document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from codemix.data.document import Document, Drop, Unreadable
from codemix.data.inputs import Input, Part
from codemix.data.locations import redacted
from codemix.data.opening import Opener
from codemix.data.rows import RowSource


class Jsonl(RowSource):
    """JSON lines (.jsonl, .json, .ndjson; .gz, .zst, .zstd), one document a line."""

    kind: Literal["jsonl"] = "jsonl"
    SUFFIXES: ClassVar = tuple(f".{s}{c}" for s in ("jsonl", "json", "ndjson") for c in ("", ".gz", ".zst", ".zstd"))
    EXAMPLES: ClassVar = (
        {
            "kind": "jsonl",
            "paths": "text/*.jsonl.zst",
            "where": {"meta.redpajama_set_name": {"not_in": ["RedPajamaGithub", "RedPajamaStackExchange"]}},
        },
        {
            "kind": "jsonl",
            "paths": ["a.jsonl", "b/**/*.json.gz"],
            "text": "content",
            "id": "hexsha",
            "metadata": {"language": "lang", "path": "max_stars_repo_path"},
        },
    )

    def parts(self, given: Input, opener: Opener, part_bytes: int) -> list[Part]:
        return opener.line_parts(given, part_bytes)

    def read(self, part: Part, opener: Opener) -> Iterator[Document | Unreadable | Drop]:
        import orjson

        name = redacted(part.input.path)
        convert, loads = self.converter(name), orjson.loads
        for first, lines in self.bounded(opener).lines(part):
            if isinstance(lines, Unreadable):
                yield lines
                continue
            for number, line in enumerate(lines, first):
                try:
                    row = loads(line)
                except orjson.JSONDecodeError as error:
                    if number == 0 and line.startswith(b"\xef\xbb\xbf"):  # a byte order mark is not part of the JSON
                        try:
                            row = loads(line[3:])
                        except orjson.JSONDecodeError as error:
                            yield _broken(line, f"{name}#{number}", error)
                            continue
                    elif line.strip():
                        yield _broken(line, f"{name}#{number}", error)
                        continue
                    else:
                        continue
                yield convert(row, number)


def _broken(line: bytes, where: str, error: Exception) -> Unreadable:
    try:
        line.decode()
    except UnicodeDecodeError as bad:
        return Unreadable("bad_utf8", where, f"byte {line[bad.start]:#04x} at byte {bad.start} of the line")
    hint = "; is this one JSON array instead of JSON lines?" if line.lstrip()[:1] == b"[" else ""
    return Unreadable("bad_json", where, f"{str(error)[:200]}{hint}")
