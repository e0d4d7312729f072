"""A ready SentencePiece model (`tokenizer.model`), as a tokenizer.json with the same ids. Needs
`codemix[sentencepiece]`.

Only models that can give text back are taken: BPE with byte fallback, no normalization, runs of spaces kept.
A space before the text (the dummy prefix) is fine, since decoding takes it away. Others are refused, with
what they would change. When it is loaded, both packages encode pathological texts and every piece, and must
agree.

As in SentencePiece, the character U+2581 comes back as a space, and control pieces never come from text. Nor
do user-defined pieces that are markers (`<tool_call>`, not words or runs of spaces); under a dummy prefix, no
user-defined piece does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from codemix.data.encoding.tokenizer import Texts, Tokenizer, TokenizerFiles
from codemix.data.encoding.tokenizer_faults import PATHOLOGICAL, is_control_word
from codemix.errors import CodemixError
from codemix.recipe.language.requirements import Requirement, package

if TYPE_CHECKING:
    import tokenizers

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # kinds of pieces in the model's file
MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
SPACE_MARK = "\u2581"


class SentencePiece(Tokenizer):
    """A ready SentencePiece model (BPE with byte fallback)."""

    kind: Literal["sentencepiece"] = "sentencepiece"
    path: str = Field(min_length=1, description="the .model file, below the data root")
    eos: str | None = Field(
        None, description="the control piece that ends a document; default: the usual names are tried"
    )
    version: ClassVar[int] = 2  # markers are not made from text
    EXAMPLES: ClassVar = (
        {"kind": "sentencepiece", "path": "tokenizer.model"},
        {"kind": "sentencepiece", "path": "t/x.model", "eos": "</s>"},
    )

    def requirements(self) -> Iterator[Requirement]:
        for name, module in (("sentencepiece", "sentencepiece"), ("protobuf", "google.protobuf")):
            yield package("reading a SentencePiece model", name, '"codemix[sentencepiece]"', module)

    def files(self) -> tuple[str, ...]:
        return (self.path,)

    def end_token(self) -> str | None:
        return self.eos

    def make(self, files: TokenizerFiles, texts: Texts) -> tokenizers.Tokenizer:
        model = _read(files[0], self.path)
        if why := losses(model):
            raise _refused(self.path, f"cannot give text back: {'; '.join(why)}")
        tokenizer = converted(model)
        difference = _disagreement(tokenizer, model)
        if difference:
            raise _refused(self.path, f"is not the same as a tokenizer.json: the two differ on {difference}")
        return tokenizer


def _refused(name: str, why: str) -> CodemixError:
    hints = (
        "train it with --model_type=bpe --byte_fallback=true --normalization_rule_name=identity "
        "--remove_extra_whitespaces=false",
        "or give a tokenizer.json of your own making: `{kind: tokenizer_json, path: ...}`",
    )
    return CodemixError(f"the SentencePiece model {name} {why}", hints=hints, rule="bad-tokenizer")


def _read(path: Path, name: str) -> Any:
    """The model's protocol buffer."""
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        raise CodemixError(
            f"reading a SentencePiece model needs a package that is not installed: {error}",
            hints=['install it with `pip install "codemix[sentencepiece]"`'],
            rule="package-missing",
        ) from None
    model = sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception:  # protobuf's own DecodeError
        model.Clear()
    if not model.pieces:
        raise CodemixError(
            f"{name} is not a SentencePiece model",
            hints=["give the .model file, not the .vocab file"],
            rule="bad-tokenizer",
        )
    return model


def losses(model: Any) -> list[str]:
    """What a model does to text that decoding cannot undo, or that a tokenizer.json cannot do as well."""
    trained, normal = model.trainer_spec, model.normalizer_spec
    why = []
    if (kind := MODEL_TYPES.get(trained.model_type, "unknown")) != "bpe":
        why.append(f"its type is {kind}, and control pieces could come from text")
    if not trained.byte_fallback:
        why.append("without byte fallback, characters outside its vocabulary are lost")
    if normal.precompiled_charsmap or normal.normalization_rule_tsv:
        why.append(f"it normalizes text ({normal.name or 'by rules of its own'})")
    if normal.remove_extra_whitespaces:
        why.append("it removes runs of spaces, such as the indentation of code")
    if not normal.escape_whitespaces or trained.treat_whitespace_as_suffix:
        why.append("it marks spaces differently from U+2581 before a word")
    return why


def converted(model: Any) -> tokenizers.Tokenizer:
    """The tokenizer.json that merges as the model does: the piece with the highest score first."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    ids = {piece.piece: i for i, piece in enumerate(model.pieces)}
    normal = [p for p in model.pieces if p.type == NORMAL]  # others never come from merging text
    whole = {piece.piece for piece in normal}
    merges = []
    for piece in sorted(normal, key=lambda p: -p.score):
        text = piece.piece
        cuts = [(text[:i], text[i:]) for i in range(1, len(text))]
        pairs = [pair for pair in cuts if whole.issuperset(pair)]
        merges += sorted(pairs, key=lambda pair: (ids[pair[0]], ids[pair[1]]))
    unknown = next(p.piece for p in model.pieces if p.type == UNKNOWN)
    made = Tokenizer(
        models.BPE(vocab=ids, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    prefix = model.normalizer_spec.add_dummy_prefix
    forth: list[normalizers.Normalizer] = [normalizers.Replace(" ", SPACE_MARK)]
    back: list[decoders.Decoder] = [
        decoders.Replace(SPACE_MARK, " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
    ]
    if prefix:
        forth.insert(0, normalizers.Prepend(SPACE_MARK))
        back.append(decoders.Strip(" ", 1, 0))
    made.normalizer = normalizers.Sequence(forth)
    made.decoder = decoders.Sequence(back)
    defined = [p.piece for p in model.pieces if p.type == USER_DEFINED]
    never = {
        piece for piece in defined if prefix or is_control_word(piece)
    }  # with a prefix, each cut would get one
    names = [p.piece for p in model.pieces if p.type in (UNKNOWN, CONTROL) or p.piece in never]
    special = [AddedToken(name, special=True, normalized=False) for name in names]
    made.add_special_tokens(special)
    ordinary = [AddedToken(name, special=False, normalized=False) for name in defined if name not in never]
    made.add_tokens(ordinary)
    return made


def _disagreement(made: tokenizers.Tokenizer, model: Any) -> str:
    """The first text that the two encode differently, or that does not come back; empty when there is
    none."""
    from sentencepiece import SentencePieceProcessor

    theirs = SentencePieceProcessor(model_proto=model.SerializeToString())
    made.encode_special_tokens = True
    pieces = [p.piece.replace(SPACE_MARK, " ") for p in model.pieces if p.type == NORMAL]
    joined = ["".join(pieces[i : i + 200]) for i in range(0, len(pieces), 200)]
    for text in (
        *PATHOLOGICAL,
        "  two blanks,\n\ttab\r\n    indent  ",
        " ",
        "<0x0A> </s> <s> <unk>",
        *joined,
    ):
        ids = made.encode(text, add_special_tokens=False).ids
        if ids != theirs.encode(text) or made.decode(ids, skip_special_tokens=False) != text:
            return repr(text[:40])
    return ""
