"""Ranks in tiktoken's file format: lines of `<base64 of the bytes> <rank>`.

Ranks alone do not say how text is cut first, so the recipe names the pattern. The result is a tokenizer.json
with the same ids: each token's merge is found again by encoding its bytes with the ranks below its own.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from codemix.data.encoding import patterns
from codemix.data.encoding.merges import bytes_to_unicode, last_merge
from codemix.data.encoding.tokenizer import Texts, Tokenizer, TokenizerFiles, check_special_names
from codemix.errors import CodemixError

if TYPE_CHECKING:
    import tokenizers

PATTERNS = {"gpt2": patterns.GPT2, "cl100k": patterns.CL100K, "o200k": patterns.O200K}


class Tiktoken(Tokenizer):
    """A ready file of tiktoken ranks."""

    kind: Literal["tiktoken"] = "tiktoken"
    path: str = Field(min_length=1, description="the .tiktoken file, below the data root")
    pattern: Literal["gpt2", "cl100k", "o200k"] = Field(
        "cl100k", description="how text is cut before merging"
    )
    eos: str = Field(
        "<|endoftext|>",
        min_length=1,
        description="special token that ends a document; gets the first free id",
    )
    special: tuple[str, ...] = Field((), description="further special tokens, on the ids after it")
    EXAMPLES: ClassVar = (
        {"kind": "tiktoken", "path": "cl100k_base.tiktoken"},
        {"kind": "tiktoken", "path": "a.tiktoken", "pattern": "o200k"},
    )

    @model_validator(mode="after")
    def _special(self):
        check_special_names((self.eos, *self.special))
        return self

    def files(self) -> tuple[str, ...]:
        return (self.path,)

    def end_token(self) -> str:
        return self.eos

    def make(self, files: TokenizerFiles, texts: Texts) -> tokenizers.Tokenizer:
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

        ranks = read_ranks(files[0], self.path)
        shown = bytes_to_unicode()
        spell = lambda token: "".join(shown[b] for b in token)  # noqa: E731
        merges = []
        for token in sorted(ranks, key=ranks.__getitem__):
            if len(token) > 1 and len(pair := last_merge(token, ranks)) == 2:
                merges.append((spell(pair[0]), spell(pair[1])))
        # tiktoken takes a whole piece that is a token without merging it; `ignore_merges` is that rule
        tokenizer = Tokenizer(
            models.BPE(vocab={spell(t): i for t, i in ranks.items()}, merges=merges, ignore_merges=True)
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PATTERNS[self.pattern]), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(
            [AddedToken(name, special=True, normalized=False) for name in (self.eos, *self.special)]
        )
        return tokenizer


def read_ranks(path: Path, name: str) -> dict[bytes, int]:
    """Token bytes -> rank. Raises CodemixError unless ranks are 0, 1, 2, ... and every byte has one."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            try:
                token, rank = line.split()
                ranks[base64.b64decode(token, validate=True)] = int(rank)
            except (ValueError, binascii.Error):
                raise CodemixError(
                    f"{name}, line {number}, is not `<base64> <rank>`",
                    hints=["give a .tiktoken file"],
                    rule="bad-tokenizer",
                ) from None
    if sorted(ranks.values()) != list(range(len(ranks))) or any(bytes([b]) not in ranks for b in range(256)):
        raise CodemixError(
            f"{name} does not rank every byte and number its tokens 0, 1, 2, ...",
            hints=["give a .tiktoken file"],
            rule="bad-tokenizer",
        )
    return ranks
