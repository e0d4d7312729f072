"""Secrets have no place in a recipe: how they are recognised inside addresses, and hidden wherever a line is shown."""

from __future__ import annotations

import re

SECRET_KEY = re.compile(r"(?i)token|secret|passw|signature|credential|api[-_]?key|access[-_]?key|\bsig\b|\bauth")
_USER = re.compile(r"(?<=://)[^/@\s?#]+(?=@)")  # in `hf://datasets/owner/name@revision` the @ comes after a slash
_QUERY = re.compile(r"(?<=[?&])([^=&\s#]+)=([^&\s#\"']+)")


def hidden(text: str) -> str:
    """The text with every secret inside an address starred out, as long as before."""
    if "://" not in text:
        return text
    text = _USER.sub(lambda m: "*" * len(m[0]), text)
    return _QUERY.sub(lambda m: f"{m[1]}={'*' * len(m[2])}" if SECRET_KEY.search(m[1]) else m[0], text)
