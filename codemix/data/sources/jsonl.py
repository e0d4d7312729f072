"""JSON lines, plain or compressed, with a field path for the text and conditions on the others.

SlimPajama's text files, The Stack's jsonl, and most published corpora. `.jsonl`, `.ndjson` or `.json`, each
alone or with `.gz`, `.zst` or `.zstd`. Reading is strict: a truncated file, a byte that is not UTF-8, a
broken line, a missing text or a wrong suffix is reported with its place, never skipped silently. Blank lines
hold no document.

Workers share a large file: a plain one by stretches of lines; a compressed one that is an eighth or more of what the
source reads, from 128 MiB, by eight stretches of its content, for each of which a worker decompresses what is before.
"""

from typing import ClassVar, Literal

from codemix.data.sources._row_files import JSON_SUFFIXES
from codemix.data.sources._rows import TextRows


class Jsonl(TextRows):
    """JSON lines (.jsonl, .json, .ndjson; .gz, .zst, .zstd), one document a line."""

    kind: Literal["jsonl"] = "jsonl"
    SUFFIXES: ClassVar = JSON_SUFFIXES
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
