"""Drops copies of other people's code, by where they lie, and minified code, by how it looks.

The Stack v2 (arXiv 2402.19173, section 2.1) leaves out vendored files by path; the patterns here are ours.
Minified code has hardly any white space on very long lines, whatever it is called.
"""

import re
from functools import lru_cache
from typing import ClassVar, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text import languages

PATTERNS = (
    r"(^|/)(node_modules|bower_components|jspm_packages)/",
    r"(^|/)(vendors?|_vendor|third[-_]?party|3rd[-_]?party|externals?|extern|deps|Godeps|Pods|Carthage)/",
    r"(^|/)site-packages/",
    r"(^|/)(dist|build|out|target)/.*\.(js|css|map)$",
    r"[.-]min\.(js|css|mjs)$",
    r"\.(bundle|chunk)\.(js|css)$",
    r"\.(js|css)\.map$",
    r"(^|/)(package-lock\.json|yarn\.lock|pnpm-lock\.yaml|Cargo\.lock|poetry\.lock|Gemfile\.lock|composer\.lock|go\.sum)$",
    r"(^|/)jquery([.-]\d[\w.]*)?\.js$",
)


_MINIFIED_LANGUAGES = ("JavaScript", "CSS", "TypeScript", "")


@lru_cache(16)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    groups = map("(?:{})".format, patterns)
    any_of_them = "|".join(groups)
    return re.compile(any_of_them, re.IGNORECASE)


class Vendored(Op):
    """Drops vendored files by path and minified files by their looks."""

    kind: Literal["vendored"] = "vendored"
    patterns: tuple[str, ...] = Field(
        PATTERNS, description="regular expressions for the document's `path`; without a path nothing matches"
    )
    minified: bool = Field(True, description="also drop JavaScript and CSS that look minified")
    min_mean_chars: float = Field(
        200, gt=0, description="[minified] mean length of a line from which code looks minified [characters]"
    )
    max_frac_space: float = Field(
        0.1, ge=0, le=1, description="[minified] and white space is at most this share [fraction]"
    )
    EXAMPLES: ClassVar = (
        {"kind": "vendored"},
        {"kind": "vendored", "patterns": ["(^|/)generated/"], "minified": False},
    )

    @field_validator("patterns")
    @classmethod
    def _valid(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                context = {"error": str(error), "hints": [f"look at `{pattern}`"]}
                raise PydanticCustomError("pattern", "not a regular expression: {error}", context) from None
        return patterns

    def apply(self, doc: Document) -> Document | Drop:
        path = doc.meta.get("path")
        if isinstance(path, str) and self.patterns and _compiled(self.patterns).search(path):
            return Drop("vendored_path")
        if self.minified and languages.of(doc) in _MINIFIED_LANGUAGES and self._is_minified(doc.text):
            return Drop("minified")
        return doc

    def _is_minified(self, text: str) -> bool:
        """Long lines, hardly any whitespace, and the punctuation of code."""
        size = len(text)
        n_lines = text.count("\n") + (not text.endswith("\n"))
        if size <= 500 or size < self.min_mean_chars * n_lines:
            return False
        n_space = size - len("".join(text.split()))
        if n_space > self.max_frac_space * size:
            return False
        return sum(map(text.count, "{};")) >= 0.02 * size
