"""Python code that every machine has: the standard library's modules with their docstrings taken out.

About 9 MB. Formatting and comments stay, every document still parses, and no docstring is left, so that this source
shares no text with `python_docs`. Test packages are left out. What it yields depends on the Python that runs codemix;
the version and the hash of each module are part of the fingerprint.
"""

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Unreadable
from codemix.data.families import Source
from codemix.data.inputs import Part
from codemix.data.locations import interpreter_root
from codemix.data.opening import Opener
from codemix.errors import CodemixError

# tests; other people's packages; the help texts that `python_docs` reads; what the build of this interpreter generated
_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "pydoc_data", "config", "this.py"}


def stdlib_modules(left_out: tuple[str, ...] = ()) -> list[str]:
    """Inputs `stdlib:<path>` of the running interpreter's modules, sorted. Raises CodemixError when it ships no sources."""
    root = interpreter_root("stdlib")
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in _LEFT_OUT and f not in left_out and not f.startswith("config-")]
        inside = Path(folder).relative_to(root)
        names = [f for f in files if f.endswith(".py") and f not in _LEFT_OUT and not f.startswith(("_sysconfigdata", "sitecustomize"))]
        found += [f"stdlib:{(inside / f).as_posix()}" for f in names if f.removesuffix(".py") not in left_out or folder != str(root)]
    if len(found) < 100:
        raise CodemixError(
            f"this Python ({platform.python_version()}) comes without the sources of its standard library",
            hints=["use a Python from python.org, uv, pyenv, conda or a distribution"], rule="no-stdlib-sources",
        )  # fmt: skip
    return sorted(found)


class PythonStdlib(Source):
    """Python standard library modules of the running interpreter, docstrings removed."""

    kind: Literal["python_stdlib"] = "python_stdlib"
    without: tuple[str, ...] = Field((), description="top-level modules and packages to leave out, e.g. [encodings]")
    EXAMPLES: ClassVar = ({"kind": "python_stdlib"}, {"kind": "python_stdlib", "without": ["encodings", "idlelib"]})

    def inputs(self, root: Path) -> list[str]:
        return stdlib_modules(self.without)

    def fingerprint_extra(self) -> dict[str, str]:
        return {"python": platform.python_version()}

    def read(self, part: Part, opener: Opener) -> Iterator[Document | Unreadable]:
        from codemix.data.python_source import decode, without_docstrings

        name = part.input.path
        with opener.open(part.input) as file:
            data = file.read()
        try:
            text = without_docstrings(decode(data))
        except (SyntaxError, UnicodeDecodeError) as error:
            yield Unreadable("does_not_parse", f"{name}#0", str(error))
            return
        meta = {"path": name.removeprefix("stdlib:"), "language": "Python", "licence": "PSF-2.0", "repo": "python/cpython"}
        yield Document(f"{name}#0", text, meta | {"size": len(text.encode())})
