"""Byte-level BPE trained on the recipe's own sources.

Text is first cut as Qwen2's tokenizer cuts it, by its pattern to the letter, which fast encoders know: words
with one leading punctuation mark or space, runs of punctuation with their newlines, runs of spaces, and each
digit by itself, since numbers in code are not words. Any text can be encoded; none is changed. Training sees about `train.bytes` of the documents that are
trained on, chosen by hash: none that is held out, none that dedup removes. It cuts longer pieces (base64,
genomes, fixed-width tables) every 256 characters; encoding does not.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from codemix.data.encoding import fim_tokens, patterns
from codemix.data.encoding.merges import bytes_to_unicode
from codemix.data.encoding.tokenizer import Texts, Tokenizer, TokenizerFiles, check_special_names
from codemix.recipe.language.component import Spec
from codemix.recipe.language.quantities import Bytes, Share
from codemix.recipe.language.schema import Name

if TYPE_CHECKING:
    import tokenizers

PATTERN = patterns.QWEN2
FIM_TOKENS = (fim_tokens.PREFIX, fim_tokens.MIDDLE, fim_tokens.SUFFIX)  # in the order of their ids


class Train(Spec):
    """What a tokenizer is trained on."""

    bytes: Bytes = Field(100_000_000, ge=1000, description="text to train on, about [bytes]")
    mixture: dict[Name, Share] = Field(
        {}, description="sources and their shares of the training text; default equal shares of all"
    )

    @model_validator(mode="after")
    def _whole(self):
        if self.mixture and sum(self.mixture.values()) != 1:
            total = float(sum(self.mixture.values()) * 100)
            raise PydanticCustomError(
                "mixture",
                f"the shares sum to {total:g}%, not 100%",
                {"hints": ["change one of them, or leave `mixture:` out"]},
            )
        return self


class Bpe(Tokenizer):
    """Byte-level BPE trained on the recipe's own sources."""

    kind: Literal["bpe"] = "bpe"
    vocab_size: int = Field(
        ge=257, le=262144, description="ids, special tokens included; the paper uses 256,000"
    )
    train: Train = Field(Train(), description="what it is trained on")
    special: tuple[str, ...] = Field(
        FIM_TOKENS, description="further special tokens; text never produces them"
    )
    version: ClassVar[int] = 3  # 2: long pieces are cut for training; 3: the pattern is Qwen2's to the letter
    EXAMPLES: ClassVar = (
        {"kind": "bpe", "vocab_size": 4096, "train": {"bytes": "4MB"}},
        {
            "kind": "bpe",
            "vocab_size": 256000,
            "train": {"bytes": "2GB", "mixture": {"text": "50%", "code": "50%"}},
        },
    )

    @model_validator(mode="after")
    def _room(self):
        check_special_names((self.end_token(), *self.special))
        if self.vocab_size < 257 + len(self.special):
            raise PydanticCustomError(
                "vocabulary",
                f"vocab_size {self.vocab_size} does not hold 256 bytes "
                f"and {len(self.special) + 1} special tokens",
                {"hints": [f"at least {257 + len(self.special)}"]},
            )
        return self

    def trains_on(self, sources: tuple[str, ...]) -> dict[str, Fraction]:
        if self.train.mixture:
            return dict(self.train.mixture)
        share = Fraction(1, len(sources))
        return dict.fromkeys(sources, share)

    def train_bytes(self) -> int:
        return self.train.bytes

    def declared_vocab_size(self) -> int:
        return self.vocab_size

    def end_token(self) -> str:
        return "<|endoftext|>"

    def make(self, files: TokenizerFiles, texts: Texts) -> tokenizers.Tokenizer:
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

        from codemix.data.encoding.merge_training import learn_merges
        from codemix.data.encoding.word_counts import count_words

        spelling = bytes_to_unicode()
        alphabet = sorted(spelling, key=spelling.__getitem__)
        special = [self.end_token(), *self.special]
        words = count_words(texts())
        learned = learn_merges(words, alphabet, self.vocab_size - len(special), min_count=2)

        def spelled(token: bytes) -> str:
            return "".join(map(spelling.__getitem__, token))

        entries = [*special, *map(spelled, learned.tokens)]
        vocab = {entry: number for number, entry in enumerate(entries)}
        merges = [(spelled(left), spelled(right)) for left, right in learned.pairs]
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
        cut = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, as_bytes])
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(special)
        return tokenizer
