"""A tokenizer: one token per byte."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from codemix.data.encoding.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers


class Bytes(Tokenizer):
    """One token per byte of UTF-8, and one that ends a document."""

    kind: Literal["bytes"] = "bytes"

    EXAMPLES: ClassVar = ({"kind": "bytes"},)

    def end_token(self) -> str:
        return "<|endoftext|>"

    def make(self, files: tuple[Path, ...], texts: Callable[[], Iterator[str]]) -> "tokenizers.Tokenizer":
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {character: number for number, character in enumerate(alphabet)}
        tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(self.end_token(), special=True)])
        return tokenizer
