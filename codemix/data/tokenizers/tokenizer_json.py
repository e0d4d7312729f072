"""A ready `tokenizer.json`, as the Hugging Face hub has it. Its post-processor (such as a BOS token) is not used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codemix.data.tokenizer import Tokenizer
from codemix.errors import CodemixError

if TYPE_CHECKING:
    import tokenizers


class TokenizerJson(Tokenizer):
    """A ready tokenizer.json (Hugging Face `tokenizers`)."""

    kind: Literal["tokenizer_json"] = "tokenizer_json"
    path: str = Field(min_length=1, description="the file, below the data root")
    eos: str | None = Field(None, description="the special token that ends a document; default: the usual names are tried")
    EXAMPLES: ClassVar = ({"kind": "tokenizer_json", "path": "tokenizer.json"}, {"kind": "tokenizer_json", "path": "t/x.json", "eos": "</s>"})

    def files(self) -> tuple[str, ...]:
        return (self.path,)

    def end_token(self) -> str | None:
        return self.eos

    def make(self, files: tuple[Path, ...], texts: Callable[[], Iterator[str]]) -> tokenizers.Tokenizer:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(files[0]))
        except Exception as error:  # the package raises bare Exception
            raise CodemixError(
                f"{self.path} is not a tokenizer.json: {error}", hints=["it is the file of that name in a model's repository"], rule="bad-tokenizer"
            ) from None
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer
