"""Drops Python that does not parse, with the grammar of the Python that runs codemix.

Phi-1 style and OpenCoder-style corpora ask for code that parses. Python 2 does not. It is the slowest filter
(about 4 MB per second), so it belongs last.
"""

import platform
from typing import ClassVar, Literal

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text import languages


class PythonParses(Op):
    """Drops Python documents that are not valid Python 3; other languages pass."""

    kind: Literal["python_parses"] = "python_parses"
    EXAMPLES: ClassVar = ({"kind": "python_parses"},)

    def fingerprint_extra(self) -> dict[str, str]:
        major_minor = platform.python_version_tuple()[:2]
        return {"python_grammar": ".".join(major_minor)}

    def apply(self, doc: Document) -> Document | Drop:
        from codemix.data.text.python_source import parse
        from codemix.data.text.unicode_forms import marks_in_order

        if languages.of(doc) != "Python":
            return doc
        try:
            # Python reads a file with a byte order mark, and normalizes identifiers in the square of their
            # marks
            parse(marks_in_order(doc.text.removeprefix("\ufeff")))
        except SyntaxError:
            return Drop("does_not_parse")
        return doc
