"""How a tokenizer.json cuts text before it merges, where a fast encoder is known to do the same.

Two structures are: byte-level BPE whose pieces come from regular expressions or runs of digits, and
SentencePiece's BPE with byte fallback, which cuts nothing. Everything else stays with `tokenizers`.
"""

from __future__ import annotations

import re
from typing import Any

from codemix.data.encoding import patterns

SPACE_MARK = "\u2581"  # a space in SentencePiece's vocabularies
_BYTE_LEVEL_REGEX = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
_MARKS_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK}
_STARTS_WITH_SPACE = {"type": "Prepend", "prepend": SPACE_MARK}

# What regular-expression engines read alike. They differ on anchors, `.`, nested and intersected sets,
# possessive repetition such as `{1,3}+`, escapes such as `\h`, and on folding the case of more than a letter.
_READ_ALIKE = re.compile(
    r"""(?x:
      \\[pP]\{\w+\} | \\[sSdDwWrnt] | \\[^A-Za-z0-9]
    | \[\^? (?: \\[pP]\{\w+\} | \\[sSdDwWrnt] | \\[^A-Za-z0-9] | [^\[\]\\&] | &(?!&) )+ \]
    | \(\?i:'s\|'t\|'re\|'ve\|'m\|'ll\|'d\)
    | \( (?: \?(?: : | <?[!=] ) | (?!\?) )
    | [)|]
    | (?: [?*+] | \{\d+(?:,\d*)?\} ) (?! [?*+{] )
    | [^\\\[\](){}|?*+.^$&]
    )*"""
)


class NotTheSame(Exception):
    """Why a fast encoder cannot replace `tokenizers` for a tokenizer.json."""


def cutting_patterns(content: dict[str, Any]) -> list[str]:
    """The regular expressions by which a tokenizer.json cuts text, in order; none for SentencePiece's.

    Raises NotTheSame for a structure that is not among those known to encode alike.
    """
    _require_plain_bpe(content["model"])
    if any(not added["special"] for added in content.get("added_tokens", ())):
        raise NotTheSame("it has added tokens that are not special")
    if content["model"].get("byte_fallback"):
        _require_sentencepiece(content)
        return []
    if content.get("normalizer"):
        raise NotTheSame("it normalizes text")
    *before, last = _steps(content)
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise NotTheSame("it is not byte-level")
    found = [_pattern(step) for step in before]
    if last.get("use_regex", True):
        found.append(patterns.GPT2)
    if not found:
        raise NotTheSame("it does not cut text")
    return found


def in_known_spelling(content: dict[str, Any]) -> dict[str, Any]:
    """The same tokenizer, with GPT-2's pattern as the option of ByteLevel that fast encoders know it by."""
    *before, last = _steps(content)
    cuts = [step.get("pattern") for step in before]
    by_gpt2 = [{"Regex": patterns.GPT2}]
    if cuts != by_gpt2:
        return content
    if last.get("use_regex", True):
        return content
    return content | {"pre_tokenizer": _BYTE_LEVEL_REGEX}


def entries_outside_alphabet(vocab: dict[str, int]) -> dict[str, int]:
    """The entries with a character that is not itself an entry, such as `</s>` where `/` falls back to its
    byte. No merge makes them, and a fast encoder that looks whole words up could make them of text."""
    alphabet = {entry for entry in vocab if len(entry) == 1}
    outside: dict[str, int] = {}
    for entry, number in vocab.items():
        if not alphabet.issuperset(entry):
            outside[entry] = number
    return outside


def _steps(content: dict[str, Any]) -> list[dict[str, Any]]:
    steps = content.get("pre_tokenizer") or {}
    if steps.get("type") == "Sequence":
        return steps["pretokenizers"]
    return [steps]


def _require_plain_bpe(model: dict[str, Any]) -> None:
    marks = ("continuing_subword_prefix", "end_of_word_suffix")
    if model.get("type") != "BPE" or any(model.get(mark) for mark in marks):
        raise NotTheSame("it is not plain BPE")
    if model.get("dropout"):
        raise NotTheSame("it drops merges at random")


def _require_sentencepiece(content: dict[str, Any]) -> None:
    normalizer = content.get("normalizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    if steps not in ([_MARKS_SPACES], [_STARTS_WITH_SPACE, _MARKS_SPACES]):
        raise NotTheSame("it normalizes text in a way of its own")
    if content.get("pre_tokenizer"):
        raise NotTheSame("it has byte fallback, and cuts text")


def _pattern(step: dict[str, Any]) -> str:
    """The regular expression of a step that cuts text."""
    if step.get("type") == "Digits":
        return r"\p{N}"
    if step.get("type") != "Split" or "Regex" not in step["pattern"]:
        raise NotTheSame("it does not cut text by regular expressions")
    keeps_all_matches = step["behavior"] == "Isolated" or (step["behavior"] == "Removed" and step["invert"])
    if not keeps_all_matches:
        raise NotTheSame(f"it cuts text by {step['behavior']}")
    pattern = step["pattern"]["Regex"]
    if not _READ_ALIKE.fullmatch(pattern):
        raise NotTheSame("engines may read its regular expression differently")
    return pattern
