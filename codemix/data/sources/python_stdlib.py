"""Python code that every machine has: the standard library's modules with their docstrings taken out.

About 9 MB. Formatting and comments stay, every document still parses, and no docstring is left, so that this
source shares no text with `python_docs`. Test packages are left out. What it yields depends on the Python
that runs codemix; the version and the hash of each module are part of the fingerprint.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Unreadable
from codemix.data.inputs.frozen_inputs import Part
from codemix.data.inputs.opener import Opener
from codemix.data.sources._interpreter import InterpreterSource, content, stdlib_modules


class PythonStdlib(InterpreterSource):
    """Python standard library modules of the running interpreter, docstrings removed."""

    kind: Literal["python_stdlib"] = "python_stdlib"
    without: tuple[str, ...] = Field(
        (), description="top-level modules and packages to leave out, e.g. [encodings]"
    )
    EXAMPLES: ClassVar = (
        {"kind": "python_stdlib"},
        {"kind": "python_stdlib", "without": ["encodings", "idlelib"]},
    )

    def inputs(self, root: Path) -> list[str]:
        return stdlib_modules(self.without)

    def read(self, part: Part, opener: Opener) -> Iterator[Document | Unreadable]:
        from codemix.data.text.python_source import decode, without_docstrings

        name = part.input.path
        try:
            text = without_docstrings(decode(content(part, opener)))
        except (SyntaxError, UnicodeDecodeError) as error:
            yield Unreadable("does_not_parse", f"{name}#0", str(error))
            return
        meta = {
            "path": name.removeprefix("stdlib:"),
            "language": "Python",
            "licence": "PSF-2.0",
            "repo": "python/cpython",
        }
        yield Document(f"{name}#0", text, meta | {"size": len(text.encode())})
