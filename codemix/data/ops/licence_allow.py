"""Keeps documents whose licence is on a list.

The Stack (arXiv 2211.15533, section 3) keeps permissively licensed repositories; the default list holds the
permissive licences most used there, by SPDX name. A document may carry one licence or a list of them in
`licence`; each may be an SPDX expression, as package registries have them: `MIT OR Apache-2.0` is allowed where one
of the two is, `MIT AND BSD-3-Clause` where both are, `X WITH Y` and `X+` where X is.
"""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text.spdx import is_allowed

PERMISSIVE = (
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "0BSD",
    "ISC",
    "Unlicense",
    "CC0-1.0",
    "MIT-0",
    "Zlib",
    "BSL-1.0",
    "PSF-2.0",
    "Python-2.0",
    "PostgreSQL",
    "curl",
    "X11",
    "WTFPL",
    "NCSA",
    "Artistic-2.0",
    "libpng-2.0",
    "CC-BY-4.0",
    "CC-BY-3.0",
    "BlueOak-1.0.0",
    "UPL-1.0",
)


class LicenceAllow(Op):
    """Keeps documents under one of the allowed licences."""

    kind: Literal["licence_allow"] = "licence_allow"
    version: ClassVar[int] = 2  # SPDX expressions
    allow: tuple[str, ...] = Field(
        PERMISSIVE,
        min_length=1,
        description="SPDX names, without regard to case; default: permissive licences",
    )
    of_many: Literal["any", "all"] = Field(
        "any", description="of several licences, whether one allowed is enough or all must be"
    )
    unknown: Literal["drop", "keep"] = Field("drop", description="documents that carry no licence")
    EXAMPLES: ClassVar = (
        {"kind": "licence_allow"},
        {"kind": "licence_allow", "allow": ["MIT", "Apache-2.0"], "of_many": "all", "unknown": "keep"},
    )

    def apply(self, doc: Document) -> Document | Drop:
        found = doc.meta.get("licence")
        licences = found if isinstance(found, list) else [found]
        names = [str(licence) for licence in licences if licence]
        if not names:
            return doc if self.unknown == "keep" else Drop("no_licence")
        allowed = frozenset(name.lower() for name in self.allow)
        enough = any if self.of_many == "any" else all
        if enough(is_allowed(name, allowed) for name in names):
            return doc
        return Drop("licence_not_allowed")
