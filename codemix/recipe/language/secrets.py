"""Secrets have no place in a recipe: how they are recognised, and hidden wherever a line is shown.

Three shapes are known: the value under a telling name (`token: ...`, `?key=...`), user and password before
a host, and the tokens of services that give theirs a prefix."""

from __future__ import annotations

import re

SECRET_KEY = re.compile(
    r"(?i)token|secret|passw|signature|credential|api[-_]?key|access[-_]?key|\bsig\b|\bauth|^key$"
)  # in a query

_USER = re.compile(
    r"(?<=://)[^/@\s?#]+(?=@)"
)  # in `hf://datasets/owner/name@revision` the @ comes after a slash
_USER_BARE = re.compile(  # user:password@host without a scheme; `git:repo@commit` names an input
    r"(?<![^\s\"'`(\[{,=])(?!(?:git|mailto):)[\w.+%-]+:[^\s/:@\"']+(?=@(?!sha\d+:)[\w-]+(?:\.[\w-]+)*(?:[/:\s\"'`),\]}]|$))"
)
_QUERY = re.compile(r"(?<=[?&])([^=?&\s#]+)=([^&\s#\"']+)")
_QUERY_BARE = re.compile(r"^[^\s?]*\?\S*$")  # the whole text is one address or path; `how? a=b` is a sentence
_LONG_VALUE = re.compile(r"[\w.~%+/-]{8,}=*")  # so that `index.php?key=5.html` stays a name of a file
_PREFIXED = re.compile(
    r"(?<![\w-])(?:hf_[A-Za-z0-9]{16,}|sk-(?:[a-z0-9]{1,10}-){0,3}\w{16,}|gh[opsur]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"
    r"|xox[abeprs]-[\w-]{10,}|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{30,}|ya29\.[\w-]{16,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+"
    r"|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{16,}|[rs]k_(?:live|test)_\w{16,}|SG\.[\w-]{16,}\.[\w-]{16,}|dop_v1_[0-9a-f]{32,}"
    r"|shp(?:at|ca|pa|ss)_\w{16,}|AGE-SECRET-KEY-1\w{16,}|(?<=AccountKey=)[\w+/]{16,}=*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*)"
)
_NAME = (
    r"token|api[-_]?key|account[-_]?key|access[-_]?key(?:[-_]?id)?|secret(?:[-_]?(?:access[-_]?)?key)?|passw(?:or)?d|passphrase|credentials?"
    r"|authorization|private[-_]?key|signature"
)
_PAIR = re.compile(  # as in YAML, JSON, the environment and headers
    rf"(?i)(?<![\w-])((?:[\w-]*[-_])?(?:{_NAME})[\"']?\s*[:=]\s*(?:(?:bearer|basic)\s+)?[\"']?)([^\s\"',}}\]&#]{{4,}})"
)
_OF_A_VOCABULARY = re.compile(
    r"(?i)^(?:\w*[-_])?(?:eos|bos|pad|unk|unknown|mask|sep|cls|end|begin|start|special|prefix|suffix|middle|image)[-_]token"
)
_NO_SECRET = re.compile(r"(?i)[-+\d.e%]+|true|false|null|none|<.*|\*+")


def secret_in(text: str) -> str:
    """What kind of secret a value of a recipe holds, in words; empty for none."""
    text = text.strip()
    if "://" in text and _address(text) != text:
        return "this address carries credentials"
    if _USER_BARE.match(text) and not re.search(r"\s", text):
        return "this address carries credentials"
    if _QUERY_BARE.match(text) and any(
        SECRET_KEY.search(name) and _LONG_VALUE.fullmatch(value) for name, value in _QUERY.findall(text)
    ):
        return "this address carries credentials"
    return "this looks like an access token" if _PREFIXED.search(text) else ""


def hidden(text: str) -> str:
    """The text with every secret in it starred out, as long as before."""
    text = _PREFIXED.sub(_stars, _address(text))
    return _PAIR.sub(_pair, _USER_BARE.sub(_stars, text))


def _address(text: str) -> str:
    text = _USER.sub(_stars, text)
    return _QUERY.sub(_parameter, text)


def _parameter(match: re.Match) -> str:
    name, value = match.groups()
    if not SECRET_KEY.search(name):
        return match[0]
    stars = "*" * len(value)
    return f"{name}={stars}"


def _stars(match: re.Match) -> str:
    return "*" * len(match[0])


def _pair(match: re.Match) -> str:
    before, value = match.groups()
    if _OF_A_VOCABULARY.match(before) or _NO_SECRET.fullmatch(value):
        return match[0]
    stars = "*" * len(value)
    return before + stars
