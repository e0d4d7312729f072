"""What a source's token shards are: counts, hashes, tokenizer, provenance.

Written last, so a manifest means whole shards.

Standard library only: `plan` reads manifests.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codemix.data.store.store import read_json, write_json
from codemix.errors import CodemixError
from codemix.files import digest

FORMAT = 1
SPLITS = ("train", "held_out")
TOKEN_BYTES = {"uint16": 2, "uint32": 4}


def dtype_for(vocab_size: int) -> str:
    """The narrowest type that holds every id: 65,536 ids (0 to 65,535) still fit uint16."""
    return "uint16" if vocab_size <= 65536 else "uint32"


@dataclass(frozen=True)
class Shard:
    """One file of tokens. Paths are relative to the manifest's folder.

    `tokens` counts the EOS that ends each document; `bytes` is the UTF-8 length of the documents' text
    [bytes].
    """

    path: str  # little-endian tokens, nothing else
    tokens: int
    documents: int
    bytes: int
    sha256: str
    index_sha256: str  # of `<path>.index`: uint64 ends of the documents, in tokens
    docs: str  # one JSON line per document, in shard order
    docs_sha256: str
    checks_sha256: str = (
        ""  # of `<path>.checks` (see block_checksums.py); empty in shards built before there were any
    )

    def digests(self) -> dict[str, str]:
        """The SHA-256 of each of its files, by path."""
        by_path = {
            self.path: self.sha256,
            f"{self.path}.index": self.index_sha256,
            self.docs: self.docs_sha256,
        }
        if self.checks_sha256:
            by_path[f"{self.path}.checks"] = self.checks_sha256
        return by_path


@dataclass(frozen=True)
class Manifest:
    """The shards of one source, as the pipeline that made them left them."""

    source: str
    fingerprint: str
    identity: dict[str, Any]
    # sha256, vocab_size, eos_id, eos_token, special {token: id}, bos None, probe [[text, ids]]
    tokenizer: dict[str, Any]
    dtype: str
    splits: dict[str, dict[str, Any]]
    inputs: list[dict[str, Any]]
    environment: dict[str, Any]
    tags: dict[str, str]
    funnel: dict[str, Any]
    folder: Path = Path(".")

    @classmethod
    def load(cls, path: str | Path) -> Manifest:
        """The manifest at `path` (its folder, or the file).

        Raises CodemixError when it is damaged or of a different format.
        """
        path = Path(path)
        path = path / "manifest.json" if path.is_dir() else path
        content = read_json(path)
        try:
            written = content.pop("format")
            if written != FORMAT:
                raise CodemixError(
                    f"{path} has format {written}, this codemix reads format {FORMAT}",
                    hints=["delete that folder, or use a different `--store`, and build the data again"],
                    rule="manifest-format",
                )
            return cls(**content, folder=path.parent)
        except (TypeError, KeyError, AttributeError) as error:
            raise CodemixError(
                f"{path} is damaged: {error}",
                hints=["delete its folder and build the data again"],
                rule="store-damaged",
            ) from None

    def save(self, folder: Path) -> None:
        """Write `manifest.json` into a folder whose shards are whole."""
        content = asdict(self) | {"format": FORMAT}
        del content["folder"]
        write_json(folder / "manifest.json", content)

    @functools.cached_property
    def content(self) -> str:
        """The identity of what training reads: the training shards' tokens and ends of documents, and what
        ids mean.

        `fingerprint` names the pipeline that made them. A different pipeline that comes to the same tokens
        changes nothing for who reads them, so stages go by this, and are not trained again.
        """
        shards = self.shards("train")
        content = {
            "dtype": self.dtype,
            "tokenizer": {key: self.tokenizer.get(key) for key in ("sha256", "vocab_size", "eos_id")},
            "shards": [[shard.tokens, shard.sha256, shard.index_sha256] for shard in shards],
        }
        return digest(content)

    def shards(self, split: str) -> tuple[Shard, ...]:
        """The shards of a split ("train" or "held_out"), in order; empty when the split has no documents."""
        of_split = self.splits.get(split, {})
        contents = of_split.get("shards", ())
        shards = [Shard(**content) for content in contents]
        return tuple(shards)

    def tokens(self, split: str) -> int:
        return self.splits.get(split, {}).get("tokens", 0)

    def documents(self, split: str) -> int:
        return self.splits.get(split, {}).get("documents", 0)


def ids_file(split: str) -> str:
    """The file that tells which shard holds an id: for each shard its ids' hashes, sorted, uint64."""
    return f"{split}.ids"


def split_summary(shards: list[Shard]) -> dict[str, Any]:
    """Totals of a split and its shards, as the manifest holds them."""
    return {
        "tokens": sum(shard.tokens for shard in shards),
        "documents": sum(shard.documents for shard in shards),
        "bytes": sum(shard.bytes for shard in shards),
        "shards": [asdict(shard) for shard in shards],
    }
