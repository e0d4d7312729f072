"""Drops documents that begin as XML while they are called something else.

StarCoder (arXiv 2305.06161, section 3.1) drops files with `<?xml version=` in their first 100 characters, but
for XSLT.
"""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text import languages


class XmlHeader(Op):
    """Drops documents with `<?xml version=` near their beginning, but for languages that are XML."""

    kind: Literal["xml_header"] = "xml_header"
    first_chars: int = Field(100, ge=14, description="characters looked at")
    except_languages: tuple[str, ...] = Field(("XSLT",), description="languages let through; StarCoder: XSLT")
    EXAMPLES: ClassVar = ({"kind": "xml_header"}, {"kind": "xml_header", "except_languages": ["XSLT", "XML"]})

    def apply(self, doc: Document) -> Document | Drop:
        if "<?xml version=" not in doc.text[: self.first_chars]:
            return doc
        return (
            doc
            if languages.of(doc) in map(languages.canonical, self.except_languages)
            else Drop("xml_header")
        )
