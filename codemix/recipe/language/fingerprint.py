"""The identity of an output: SHA-256 of canonical JSON of everything that could change it."""

from __future__ import annotations

import json
from typing import Any

from codemix.files import text_digest
from codemix.recipe.language.component import identity

FORMAT = 1  # of shards, checkpoints and this very scheme; raising it rebuilds everything


def fingerprint(content: Any) -> str:
    """Hex SHA-256 of any JSON-able value, specs and components included (see `component.identity`)."""
    text = json.dumps(
        identity({"format": FORMAT, "content": content}),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return text_digest(text)
