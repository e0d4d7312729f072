"""What the values of `tags: {kind: ...}` mean. The one definition of "code", for rules, ops and reports.

Every other value, and every other axis, is the author's own: it counts in limits and marginals, and nothing
else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Family = Literal["text", "code", "other"]
FAMILIES: tuple[Family, ...] = ("text", "code", "other")  # in the order of tables


@dataclass(frozen=True)
class Kind:
    """A reserved value of `tags.kind`. Ops made for prose are refused on a source that is not `prose`."""

    family: Family
    prose: bool
    meaning: str


KINDS = {
    "text": Kind("text", True, "prose of any origin"),
    "prose": Kind("text", True, "the same as `text`"),
    "web": Kind("text", True, "prose from web pages"),
    "docs": Kind("text", True, "documentation and manuals"),
    "synthetic-text": Kind("text", True, "prose written by a model"),
    "code": Kind("code", False, "source files of programming languages"),
    "markup": Kind("code", False, "source files of markup languages, such as HTML, CSS and Markdown"),
    "notebook": Kind("code", False, "notebooks: cells of code with text between them"),
    "code-adjacent": Kind("code", True, "commits, issues and forum threads about code"),
    "synthetic-code": Kind("code", False, "code written by a model"),
}
CODE = {"kind": [name for name, kind in KINDS.items() if kind.family == "code"]}  # as a limit's `where:`


def family(tags: Mapping[str, str]) -> Family:
    """The family of a source by its `kind` tag; "other" for a kind that is not reserved."""
    kind = KINDS.get(tags.get("kind", ""))
    return kind.family if kind else "other"


def refuses_prose_ops(tags: Mapping[str, str]) -> bool:
    """Whether thresholds made for prose would drop nearly all of a source with these tags."""
    tag = tags.get("kind", "")
    kind = KINDS.get(tag)
    if kind is None:
        return False
    return not kind.prose


def reference() -> str:
    """The reserved kinds as a section of docs/recipe.md."""
    rows = [
        f"| `{name}` | {kind.family} | {'yes' if kind.prose else 'no'} | {kind.meaning} |"
        for name, kind in KINDS.items()
    ]
    return "\n".join([_INTRO, *rows, ""])


_INTRO = """\
## Reserved values of `tags.kind`

`tags` are axes of your own. The values of `kind` below have a meaning to codemix: the family decides what the
warnings `code-share-high` and `cooldown-without-code` count as code and how reports colour and group a
source, and an op made for prose is refused on a source that is not prose. Any other value, such as `maths`, is
in the family `other`, and is prose.

| `kind` | family | prose | meaning |
| --- | --- | --- | --- |"""
