"""A ready `tokenizer.json`, as the Hugging Face hub has it. Its post-processor (such as a BOS token) is not
used.

One that loses or changes text is refused: a normalizer such as NFC (Qwen's files: remove it), WordPiece, a
space put before the text, dropout. So is one whose added tokens are control words that text can spell: mark
them `special` in the file. Where spaces are written as U+2581, that character comes back as a space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codemix.data.encoding.tokenizer import Texts, Tokenizer, TokenizerFiles
from codemix.data.encoding.tokenizer_faults import panics
from codemix.errors import CodemixError

if TYPE_CHECKING:
    import tokenizers


class TokenizerJson(Tokenizer):
    """A ready tokenizer.json (Hugging Face `tokenizers`)."""

    kind: Literal["tokenizer_json"] = "tokenizer_json"
    path: str = Field(min_length=1, description="the file, below the data root")
    eos: str | None = Field(
        None, description="the special token that ends a document; default: the usual names are tried"
    )
    version: ClassVar[int] = 2  # refuses what loses text
    EXAMPLES: ClassVar = (
        {"kind": "tokenizer_json", "path": "tokenizer.json"},
        {"kind": "tokenizer_json", "path": "t/x.json", "eos": "</s>"},
    )

    def files(self) -> tuple[str, ...]:
        return (self.path,)

    def end_token(self) -> str | None:
        return self.eos

    def make(self, files: TokenizerFiles, texts: Texts) -> tokenizers.Tokenizer:
        from tokenizers import Tokenizer

        try:
            with panics():
                return Tokenizer.from_file(str(files[0]))
        except Exception as error:  # the package raises bare Exception
            raise CodemixError(
                f"{self.path} is not a tokenizer.json: {error}",
                hints=["it is the file of that name in a model's repository"],
                rule="bad-tokenizer",
            ) from None
