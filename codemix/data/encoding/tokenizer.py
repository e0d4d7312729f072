"""Tokenizers: the family, and the folder in the store that holds a finished one.

Every kind ends as one `tokenizer.json` (the format of the `tokenizers` package) with an end-of-document token
that text can never produce. Standard library and pydantic only at import.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_core import PydanticCustomError

from codemix.data.encoding.tokenizer_faults import ids_of_spellings
from codemix.data.store.digests import is_as_finished
from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError
from codemix.files import digest
from codemix.recipe.language.component import Component

if TYPE_CHECKING:
    import tokenizers

# Their encodings are kept in every manifest, so that two tokenizers that differ can be told apart by looking.
PROBES = (
    "def f(x):\n    return x + 1\n",
    "The quick brown fox, 1234 times.",
    "naïve café — 東京 🦊\t\r\n",
    "<|endoftext|>",
    "",
)


TokenizerFiles = tuple[Path, ...]  # what `Tokenizer.files` names, as paths that can be opened
Texts = Callable[[], Iterator[str]]  # a function that yields the training documents


class Tokenizer(Component):
    """What turns text into token ids."""

    family: ClassVar[str] = "tokenizer"

    def files(self) -> tuple[str, ...]:
        """Paths, relative to the data root, of files that decide the result; their content hashes are
        identity."""
        return ()

    def trains_on(self, sources: tuple[str, ...]) -> dict[str, Fraction]:
        """The sources whose documents this tokenizer is trained on, with their shares; empty for a ready
        one."""
        return {}

    def train_bytes(self) -> int:
        """How much text it is trained on [bytes]."""
        return 0

    def make(self, files: TokenizerFiles, texts: Texts) -> tokenizers.Tokenizer:
        """The tokenizer. `texts()` yields training documents; ready tokenizers never call it."""
        raise NotImplementedError

    def declared_vocab_size(self) -> int | None:
        """The vocabulary size that the recipe asks for; None where only the tokenizer's file knows it."""
        return None

    def end_token(self) -> str | None:
        """The end-of-document token, or None to look for the usual names."""
        return None


@dataclass(frozen=True)
class TokenizerFile:
    """A finished tokenizer in the store: `folder/tokenizer.json` and what the manifests say about it."""

    folder: Path
    meta: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> TokenizerFile:
        """Raises CodemixError (`tokenizer-changed`) when the file is not the one that was stored."""
        self = cls(folder, read_json(folder / "meta.json"))
        state = _state(self.path)
        if state not in _content_hashes and is_as_finished(self.path):
            _content_hashes[state] = self.meta["sha256"]
        if content_hash(self.path) != self.meta["sha256"]:
            raise CodemixError(
                f"{self.path} is not the file that was stored: its content hash differs",
                hints=["delete its folder and build the data again"],
                rule="tokenizer-changed",
            )
        return self

    @property
    def path(self) -> Path:
        return self.folder / "tokenizer.json"


def stored_tokenizer(store: Store, sha256: str) -> TokenizerFile:
    """The stored tokenizer with this content hash. Raises CodemixError when the store does not hold it."""
    for meta in sorted((store.root / "tokenizers").glob("*/meta.json")):
        if read_json(meta).get("sha256") == sha256:
            return TokenizerFile.load(meta.parent)
    raise CodemixError(
        f"the store has no tokenizer {sha256[:12]}, with which the shards were made",
        hints=["run `codemix build-data` with the same recipe and store"],
        rule="tokenizer-missing",
    )


# made once for each state of a file: every task asks, and a vocabulary of 256,000 takes seconds
_content_hashes: dict[tuple[int, ...], str] = {}


def content_hash(path: Path) -> str:
    """SHA-256 of the canonical JSON of a tokenizer.json: layout of the file does not matter, content does."""
    state = _state(path)
    if state not in _content_hashes:
        content = json.loads(path.read_text(encoding="utf-8"))
        content.pop("truncation", None)
        content.pop("padding", None)
        _content_hashes[state] = digest(content)
    return _content_hashes[state]


def _state(path: Path) -> tuple[int, ...]:
    """Of a file; the same after it was moved into the store."""
    stat = path.stat()
    inode = (stat.st_dev, stat.st_ino)
    return (*inode, stat.st_size, stat.st_mtime_ns)


_CUT_INSIDE = re.compile(r"[A-Za-z0-9][!-&(-/:-@\[-`{-~]")
END_TOKENS = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOS_TOKEN>",
    "<|END_OF_TURN_TOKEN|>",
    "</s>",
    "<eos>",
    "<|im_end|>",
)


def check_special_names(names: tuple[str, ...]) -> None:
    """Raises PydanticCustomError for names of special tokens that are not distinct, or that training or ranks
    could make of text.

    Every pattern cuts text between an ASCII letter or digit and the punctuation after it (except an
    apostrophe), so a name that has such a place is never one piece; nor is one with a character that
    byte-level vocabularies do not know.
    """
    from codemix.data.encoding.merges import bytes_to_unicode

    known = set(bytes_to_unicode().values())
    for i, name in enumerate(names):
        if name in names[:i]:
            raise PydanticCustomError(
                "special",
                "the special token {name} is named twice",
                {"name": repr(name), "hints": ["name it once"]},
            )
        if known.issuperset(name) and not _CUT_INSIDE.search(name):
            hints = [f"a name that is cut, such as `<|{name.strip('<>|') or 'name'}|>`"]
            raise PydanticCustomError(
                "special", "text could produce the special token {name}", {"name": repr(name), "hints": hints}
            )


def describe(tokenizer: tokenizers.Tokenizer, path: Path, end_token: str | None) -> dict[str, Any]:
    """What manifests record of a tokenizer: hash, vocabulary size, special tokens, probes. Refuses one
    without a safe EOS."""
    special = {
        added.content: i for i, added in sorted(tokenizer.get_added_tokens_decoder().items()) if added.special
    }
    names = [end_token] if end_token else [name for name in END_TOKENS if name in special]
    eos = names[0] if names else None
    eos_id = tokenizer.token_to_id(eos) if eos else None
    if eos is None or eos_id is None:
        known = ", ".join(list(special)[:8]) or "(it has none)"
        raise CodemixError(
            f"the tokenizer has no end-of-document token{f' {end_token!r}' if end_token else ''}",
            hints=[f"name one of its special tokens with `eos:`: {known}"],
            rule="tokenizer-eos",
        )
    tokenizer.encode_special_tokens = True  # text that spells a special token stays text
    if eos_id in ids_of_spellings(tokenizer, eos, eos_id):
        raise CodemixError(
            f"text can produce the end-of-document token {eos!r} (id {eos_id})",
            hints=["mark it `special` in the tokenizer.json, or name another token with `eos:`"],
            rule="tokenizer-eos",
        )
    probes = [[text, tokenizer.encode(text, add_special_tokens=False).ids] for text in PROBES]
    vocab_size = (
        max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    )  # ids may have gaps: rows of the embedding, not entries
    return {
        "sha256": content_hash(path),
        "vocab_size": vocab_size,
        "eos_id": eos_id,
        "eos_token": eos,
        "bos": None,
        "special": special,
        "probe": probes,
    }
