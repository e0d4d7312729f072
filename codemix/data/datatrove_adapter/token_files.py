"""Files of tokens in datatrove's format, which stay readable by what reads that: `<name>` and
`<name>.index`."""

from __future__ import annotations

from pathlib import Path

from datatrove.pipeline.tokens.tokenizer import TokenizedFile


def open_token_file(path: Path, token_bytes: int) -> TokenizedFile:
    """A file to write documents of tokens to; `close` writes its index of the documents' ends."""
    folder = str(path.parent)
    return TokenizedFile(folder, path.name, token_size=token_bytes)
