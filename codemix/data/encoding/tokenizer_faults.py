"""What no tokenizer may do, whatever its kind: lose, change or swell text, draw at random, make control
tokens of it.

It is found out when a tokenizer is made, before it is saved: by its structure where that says it, and by
encoding and decoding every assigned code point, pathological texts, and each string that its own steps name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from codemix.data.inputs.values import strings_in
from codemix.errors import CodemixError, Problem

if TYPE_CHECKING:
    import tokenizers

MAX_GROWTH = 16  # how many times longer the steps before or after the model may make a text
SPARE_IDS = 65_536  # ids without an entry that a vocabulary may have beyond as many as it has entries
SPACE_MARK = "\u2581"  # a space in SentencePiece's vocabularies
REVERSIBLE = {"Sequence", "Replace", "Prepend", "ByteLevel"}  # normalizers that a decoder can undo
PLANES = (range(0xD800), range(0xE000, 0x40000), range(0xE0000, 0xE1000))  # no other holds a character
_SIGN = re.compile(rf"[^\w\s{SPACE_MARK}]")
PATHOLOGICAL = (
    "a" * 30_000,
    " " * 30_000,
    "\n" * 20_000,
    "\t \r\n" * 5_000,
    "=" * 20_000 + "\n",
    "0123456789" * 2_000,
    "é" * 9_000,
    "🦊\u200d" * 3_000,
    "don't DON'T we'LL x'",
    "\u0301e\u0301 ﬁ ½ Ⅷ ٣ 東京タワー \u00a0\u2003\u3000x",
    "<|endoftext|> <|fim_prefix|>",
    "\x00\x01\x7f\ufeff\ufffd\U0010fffd",
    "",
)
_LAYOUT = (
    "  two blanks,\n\ttab\r\n    indent  ",
    " a",
    "   ",
    "\n",
    "a .  b , c ! d ? do n't I 'm it 's",
    "<0x0A><0xE2> ## @@ Ġ Ċ",
    "Straße İ ǅ ﬁ Å e\u0301 \u0301e が \u0344 क़",
    "x" * 1_000,
    "x" * 3_000 + " " + "+" * 3_000,
)


def is_control_word(added: str) -> bool:
    """Whether an added token looks like a marker (`<tool_call>`, `[MASK]`), not a word or a run of spaces."""
    return _SIGN.search(added) is not None


class Panicked(Exception):
    """The `tokenizers` package gave up, for instance on a regular expression that backtracks."""


@contextlib.contextmanager
def panics() -> Iterator[None]:
    """Raises Panicked for a Rust panic: a BaseException of a class that cannot be imported."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise Panicked(str(error)) from None


def refuse_unfaithful(tokenizer: tokenizers.Tokenizer, name: str) -> None:
    """Raises CodemixError with everything that is wrong with the tokenizer `name`."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # text that spells a special token stays text
    faults = _ids(tokenizer.get_vocab(with_added_tokens=True))
    if not faults:  # saving an absurd id would take gigabytes
        content = json.loads(tokenizer.to_str())
        faults = _growth(content)
        if not faults:
            faults = [*_structure(content), *_behaviour(tokenizer, content)]
    if faults:
        raise CodemixError(
            *(Problem(f"{name}: {what}", hints=(hint,), rule="bad-tokenizer") for what, hint in faults)
        )


Faults = list[tuple[str, str]]  # what, and what to do about it


def _ids(vocab: dict[str, int]) -> Faults:
    names: dict[int, str] = {}
    for token, number in vocab.items():
        if (other := names.setdefault(number, token)) != token:
            both = sorted((other, token))
            return [
                (
                    f"two entries have the id {number}: {both[0]!r} and {both[1]!r}",
                    "give each an id of its own",
                )
            ]
    if vocab and max(names) >= 2 * len(vocab) + SPARE_IDS:
        last = max(names)
        what = f"the entry {names[last]!r} has the id {last:,}, in a vocabulary of {len(vocab):,} entries"
        return [(what, "number the entries without large gaps: every id is a row of the model's embedding")]
    return []


def _steps(part: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The steps of a normalizer, pre-tokenizer or decoder, those of sequences one by one."""
    if part:
        inner = next((part[key] for key in ("normalizers", "pretokenizers", "decoders") if key in part), None)
        if inner is None:
            yield part
        for step in inner or ():
            yield from _steps(step)


def _growth(content: dict[str, Any]) -> Faults:
    for where in ("normalizer", "decoder"):
        growth = 1.0
        for step in _steps(content.get(where)):
            pattern = step.get("pattern") or {}
            replaced = (
                len(pattern.get("String", "")) or 1
            )  # a regular expression may match one character, or none
            growth *= max(1.0, len(step.get("content", "")) / replaced) + len(step.get("prepend", ""))
        if growth > MAX_GROWTH:
            return [
                (
                    f"its {where} can make a text {growth:,.0f} times longer",
                    f"at most {MAX_GROWTH} times is taken",
                )
            ]
    return []


def _structure(content: dict[str, Any]) -> Faults:
    faults: Faults = []
    model = content["model"]
    if model.get("dropout"):
        dropout = f"`model.dropout: {model['dropout']:g}`"
        what = f"it drops merges at random ({dropout}), so one text gets different ids"
        faults.append((what, "set `dropout` to null: the merges stay as they are"))
    for step in _steps(content.get("normalizer")):
        if step["type"] not in REVERSIBLE or "Regex" in step.get("pattern", {}):
            what = f"its normalizer ({step['type']}) changes text, and decoding cannot undo that"
            hint = (
                "remove that normalizer from the file; the op `normalize_text` can do the same to documents"
            )
            faults.append((what, hint))
    for step in _steps(content.get("pre_tokenizer")):
        if step["type"] == "Split" and step["behavior"] == "Removed" and not step["invert"]:
            faults.append(
                ("its pre-tokenizer removes what it splits at", "let it keep that: `behavior: Isolated`")
            )
    if controls := [
        added["content"]
        for added in content["added_tokens"]
        if not added["special"] and is_control_word(added["content"])
    ]:
        faults.append(
            (
                f"text that spells {_listed(controls)} would become a control token",
                "mark it `special` in its `added_tokens`, then text never produces it; or remove it there",
            )
        )
    return faults


def _behaviour(tokenizer: tokenizers.Tokenizer, content: dict[str, Any]) -> Faults:
    """What encoding and decoding show."""
    try:
        with _stderr_closed(), panics():
            return [*_spelled(tokenizer, content), *_changed(tokenizer, content)]
    except Panicked as why:
        return [
            (
                f"it fails on some texts: {why}",
                "its regular expression backtracks without bound; give another",
            )
        ]


def _spelled(tokenizer: tokenizers.Tokenizer, content: dict[str, Any]) -> Faults:
    special = {added["content"]: added["id"] for added in content["added_tokens"] if added["special"]}
    made = {
        "".join(merge.split(" ") if isinstance(merge, str) else merge)
        for merge in content["model"].get("merges", ())
    }
    spelled = [
        name
        for name, number in special.items()
        if name in made or number in ids_of_spellings(tokenizer, name, number)
    ]
    hint = "give each a name that no text is cut to, such as `<|name|>`, and an id that the model never makes"
    return [(f"text can produce the special token {_listed(spelled)}", hint)] if spelled else []


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    more = len(names) - 5
    if more > 0:
        return f"{shown} and {more} more"
    return shown


def ids_of_spellings(tokenizer: tokenizers.Tokenizer, name: str, number: int) -> set[int]:
    """The ids of texts that could make the token `name`: its name, what it decodes to, both in a context."""
    spellings = {name, tokenizer.decode([number], skip_special_tokens=False)}
    texts = [
        before + spelling + after
        for spelling in spellings
        for before in ("", " ", "a")
        for after in ("", "b")
    ]
    return {i for encoding in tokenizer.encode_batch(texts, add_special_tokens=False) for i in encoding.ids}


def _changed(tokenizer: tokenizers.Tokenizer, content: dict[str, Any]) -> Faults:
    # as in SentencePiece, documented
    exempt = SPACE_MARK if _there_and_back(tokenizer, SPACE_MARK) == " " else ""
    for text in _probes(content):
        text = text.replace(exempt, "") if exempt else text
        back = _there_and_back(tokenizer, text)
        if back != text:
            what = f"it does not give text back: {_around(text, back)}"
            return [
                (
                    what,
                    "give one that encodes every text without loss, such as byte-level BPE",
                )
            ]
    return []


def _there_and_back(tokenizer: tokenizers.Tokenizer, text: str) -> str:
    encoding = tokenizer.encode(text, add_special_tokens=False)
    return tokenizer.decode(encoding.ids, skip_special_tokens=False)


def _around(text: str, back: str) -> str:
    """The place where two strings part, shown."""
    at = len(os.path.commonprefix([text, back]))
    first = max(0, at - 10)
    around = slice(first, at + 10)
    text_there = text[around]
    back_there = back[around]
    return f"{text_there!r} comes back as {back_there!r}"


def _probes(content: dict[str, Any]) -> Iterator[str]:
    yield from _LAYOUT
    named = set(strings_in([content.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")]))
    named |= {added["content"] for added in content["added_tokens"]}
    for string in sorted(named):
        yield f"a{string}b  {string}  {string}{string}c"
        yield f"{string}{string}d{string}{string}"
    assigned = assigned_characters()
    every_first_byte = "".join(map(chr, range(0x10000, 0x110000, 0x1000)))
    for i in range(0, len(assigned), 4096):
        yield assigned[i : i + 4096]
    yield every_first_byte
    yield from PATHOLOGICAL


def assigned_characters() -> str:
    """Every character that Unicode assigns, surrogates and private ones left out."""
    assigned: list[str] = []
    for code_points in PLANES:
        characters = map(chr, code_points)
        assigned += filter(_is_assigned, characters)
    return "".join(assigned)


def _is_assigned(character: str) -> bool:
    category = unicodedata.category(character)
    return category not in ("Cn", "Cs", "Co")


@contextlib.contextmanager
def _stderr_closed() -> Iterator[None]:
    """A panic prints a trace of its own, past Python."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
