"""Credentials in text, by the shapes that their issuers document: private keys, and keys and tokens of services.

Each shape has an anchor, a few characters that every one of its kind holds. Most texts hold none of them, and a
search for fixed characters is many times faster than one for a pattern; so patterns only see texts with their
anchor. Shapes without an anchor (forty letters somewhere) are left alone: detect-secrets' entropy rules take one
string in ten of ordinary code for a secret, at 0.1 MB a second.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_WORD = r"[A-Za-z0-9_-]"
_NOT_INSIDE = rf"(?<!{_WORD})"
_ENDS = rf"(?!{_WORD})"
_B64 = r"[A-Za-z0-9+/]"


@dataclass(frozen=True)
class Found:
    """A credential in a text, from `start` to `stop`."""

    start: int
    stop: int
    kind: str


@dataclass(frozen=True)
class Shape:
    """How one kind of credentials looks. Its pattern's group `secret`, else the whole match, is the secret."""

    kind: str
    anchors: tuple[str, ...]
    pattern: re.Pattern[str]
    is_real: Callable[[str], bool] = lambda secret: True

    def find(self, text: str) -> Iterator[Found]:
        if not any(anchor in text for anchor in self.anchors):
            return
        group = "secret" if "secret" in self.pattern.groupindex else 0
        for match in self.pattern.finditer(text):
            if self.is_real(match[group]):
                yield Found(match.start(group), match.end(group), self.kind)


def _prefixed(kind: str, pattern: str, *anchors: str) -> Shape:
    bounded = f"{_NOT_INSIDE}{pattern}{_ENDS}"
    compiled = re.compile(bounded)
    return Shape(kind, anchors, compiled, _is_random)


def _is_random(secret: str) -> bool:
    """Whether characters look drawn, not typed for an example: `xxxxxxxx`, `...EXAMPLE`, `1234567890abcdef`."""
    lower = secret.lower()
    if any(word in lower for word in ("example", "xxxx", "0000", "1234567", "abcdefg", "your")):
        return False
    return entropy(secret[-32:]) > 2.8


def entropy(text: str) -> float:
    """Shannon's entropy of the characters of a text [bits a character]."""
    total = 0.0
    for count in Counter(text).values():
        share = count / len(text)
        total -= share * math.log2(share)
    return total


_LONG_BASE64 = re.compile(rf"{_B64}{{40}}")


def _has_key_material(block: str) -> bool:
    """A line that a key was cut out of, or a program that looks for keys, holds none."""
    return _LONG_BASE64.search(block) is not None


_OF_EXAMPLES = re.compile(
    r"(?i)(?:.*(?:passw|pwd|secret|token|example|changeme|user|foo|bar|test|xxx|\*\*\*|\.\.\.).*|p[a4]ss|admin|root|guest"
    r"|[$%{<\[(].*|.*[}>)\]]|%.*)"
)


def _is_a_real_password(password: str) -> bool:
    if len(password) < 6:
        return False
    return _OF_EXAMPLES.fullmatch(password) is None


_HEXADECIMAL = re.compile(r"[0-9a-fA-F-]+")
_LETTER_AND_DIGIT = re.compile(r"(?=.*[A-Za-z]).*[0-9]")
# of forty drawn characters; at most 4 for hexadecimal ones, 6 for base64
_MIN_ENTROPY_HEXADECIMAL = 3.0
_MIN_ENTROPY = 4.0


def _is_drawn(secret: str) -> bool:
    if _LETTER_AND_DIGIT.match(secret) is None or not _is_random(secret):
        return False
    is_hexadecimal = _HEXADECIMAL.fullmatch(secret) is not None
    least = _MIN_ENTROPY_HEXADECIMAL if is_hexadecimal else _MIN_ENTROPY
    return entropy(secret) >= least


SHAPES = (
    Shape(
        "private_key",
        ("PRIVATE KEY",),
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
            rf"(?:(?:(?!-----)[\s\S]){{40,20000}}?-----END (?:[A-Z0-9]+ ){{0,3}}PRIVATE KEY(?: BLOCK)?-----"
            rf"|(?:{_B64}{{40,}}=*|\\n|\\r|[\s\"'+,\\])+)"
        ),
        _has_key_material,
    ),
    _prefixed("aws_access_key", r"(?:AKIA|ASIA)[A-Z2-7]{16}", "AKIA", "ASIA"),
    Shape(
        "aws_secret_key",
        ("aws", "AWS"),
        re.compile(
            rf"(?i:aws_?(?:secret)?_?(?:access)?_?key)[\"']?\s{{0,4}}[:=]>?\s{{0,4}}[\"']?(?P<secret>{_B64}{{40}})(?!{_B64}|=)"
        ),
        _is_drawn,
    ),
    _prefixed(
        "github_token",
        r"(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
    ),
    _prefixed(
        "gitlab_token",
        r"gl(?:pat|dt|rt|soat|cbt|ptt)-[\w-]{20,64}",
        "glpat-",
        "gldt-",
        "glrt-",
        "glsoat-",
        "glcbt-",
        "glptt-",
    ),
    _prefixed("slack_token", r"xox[abeoprs]-(?:\d+-)+[A-Za-z0-9-]{10,}", "xox"),
    _prefixed(
        "slack_webhook",
        r"https://hooks\.slack\.com/services/(?P<secret>T\w{8,}/B\w{8,}/\w{20,})",
        "hooks.slack.com",
    ),
    _prefixed("google_api_key", r"AIza[\w-]{35}", "AIza"),
    _prefixed("stripe_key", r"[rs]k_live_[A-Za-z0-9]{20,247}", "k_live_"),
    _prefixed("openai_key", r"sk-(?:[a-z]{2,8}-)?[\w-]{16,80}T3BlbkFJ[\w-]{16,80}", "T3BlbkFJ"),
    _prefixed("anthropic_key", r"sk-ant-[a-z]{2,6}\d\d-[\w-]{60,120}", "sk-ant-"),
    _prefixed("huggingface_token", r"hf_[A-Za-z]{34}", "hf_"),
    _prefixed("npm_token", r"npm_[A-Za-z0-9]{36}", "npm_"),
    _prefixed("pypi_token", r"pypi-AgE[\w-]{60,}", "pypi-AgE"),
    _prefixed("sendgrid_key", r"SG\.[\w-]{22}\.[\w-]{43}", "SG."),
    _prefixed("twilio_key", r"SK[0-9a-f]{32}", "SK"),
    _prefixed("telegram_token", r"\d{8,10}:AA[\w-]{33}", ":AA"),
    _prefixed("json_web_token", r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}", ".eyJ"),
    Shape(
        "azure_storage_key",
        ("AccountKey=",),
        re.compile(rf"AccountKey=(?P<secret>{_B64}{{86}}==)"),
        _is_random,
    ),
    Shape(
        "url_password",
        ("://",),
        re.compile(
            r"://[^\s:/?#@\"'`<>]{1,64}:(?P<secret>[^\s:/?#@\"'`<>]{1,128})"
            r"@(?!localhost|127\.|(?:[\w-]+\.)*(?:example|test|invalid|local)\b)[\w-]+\.[\w.-]+"
        ),
        _is_a_real_password,
    ),
    Shape(
        "assigned_secret",
        ("ecret", "ECRET", "oken", "OKEN", "assw", "ASSW", "pi_key", "PI_KEY", "piKey", "apikey"),
        re.compile(
            r"(?i:secret|token|passwd|password|api_?key)(?:[_-]?(?i:key|value))?[\"'\]]{0,2}\s{0,8}(?::|=|:=|=>)\s{0,8}"
            r"[\"'](?P<secret>[A-Za-z0-9+/_=.~-]{20,200})[\"']"
        ),
        _is_drawn,
    ),
)
KINDS = tuple(shape.kind for shape in SHAPES)


def find(text: str, kinds: frozenset[str]) -> list[Found]:
    """The credentials of these kinds in a text, in order; of two that overlap the first, then the longer."""
    found = [one for shape in SHAPES if shape.kind in kinds for one in shape.find(text)]
    found.sort(key=lambda one: (one.start, -one.stop))
    apart: list[Found] = []
    end = 0
    for one in found:
        if one.start >= end:
            apart.append(one)
            end = one.stop
    return apart


def replaced(text: str, found: list[Found], replacement: str) -> str:
    """The text with each of what was found replaced; `{kind}` in the replacement is its kind."""
    pieces: list[str] = []
    end = 0
    for one in found:
        pieces += [text[end : one.start], replacement.replace("{kind}", one.kind)]
        end = one.stop
    return "".join([*pieces, text[end:]])
