"""Replaces e-mail addresses and public IP addresses in prose by fixed placeholders. A transform: nothing is
dropped.

Dolma (arXiv 2402.00159, section 3.1.2) and FineWeb (arXiv 2406.17557) mask the same two kinds. Placeholders
do not depend on the order of documents. On code it is refused, since version numbers look like addresses and `a@b.T`
is a product of matrices, unless `within: comments` restricts it to comments and docstrings (StarCoder, arXiv
2305.06161, section 4, masks personal data in code). Licence headers, which name their authors, are comments too. A megabyte costs 0.09 s.
"""

import ipaddress
import re
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import ProseOp
from codemix.data.text import languages
from codemix.data.text.comments import LANGUAGES, with_comments
from codemix.errors import Problem

_EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![\w-])"
)
_IPV4 = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\d)")


class Pii(ProseOp):
    """Replaces e-mail addresses and public IPv4 addresses in prose by placeholders."""

    kind: Literal["pii"] = "pii"
    email: str | None = Field(
        "email@example.com", description="what replaces an e-mail address; null to leave them"
    )
    ip: str | None = Field(
        "192.0.2.1",
        description="what replaces a public IPv4 address; null to leave them. Private and reserved ones stay",
    )
    within: Literal["text", "comments"] = Field(
        "text", description="comments: only those of source files, by their language; allowed on code"
    )
    EXAMPLES: ClassVar = (
        {"kind": "pii"},
        {"kind": "pii", "email": "<EMAIL>", "ip": None},
        {"kind": "pii", "within": "comments"},
    )

    @classmethod
    def reference(cls) -> str:
        names = ", ".join(LANGUAGES)
        return f"Languages whose comments are known: {names}."

    def refuses(self, tags: dict[str, str]) -> Problem | None:
        if self.within == "comments":
            return None
        return super().refuses(tags)

    def apply(self, doc: Document) -> Document | Drop:
        if self.within == "comments":
            text = with_comments(doc.text, languages.of(doc), self._masked)
        else:
            text = self._masked(doc.text)
        return doc if text == doc.text else doc.with_text(text)

    def _masked(self, text: str) -> str:
        email = self.email
        if email is not None and "@" in text:
            text = _EMAIL.sub(lambda _: email, text)
        ip = self.ip
        if ip is not None:
            text = _IPV4.sub(lambda match: ip if _is_public(match[0]) else match[0], text)
        return text


def _is_public(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address).is_global
    except ValueError:  # 01.02.03.04 is not an address
        return False
