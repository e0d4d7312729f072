"""What sources over the running Python share: its modules, and that its version decides what they hold."""

import os
import platform
from pathlib import Path

from codemix.data.inputs.frozen_inputs import Part
from codemix.data.inputs.locations import interpreter_root
from codemix.data.inputs.opener import Opener
from codemix.data.interfaces import DocumentReader
from codemix.errors import CodemixError

# tests; other people's packages; the help texts that `python_docs` reads; what the build of this interpreter generated
_LEFT_OUT = {
    "test",
    "tests",
    "idle_test",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "pydoc_data",
    "config",
    "this.py",
}


def stdlib_modules(left_out: tuple[str, ...] = ()) -> list[str]:
    """Inputs `stdlib:<path>` of the running interpreter's modules, sorted. Raises CodemixError when it ships no sources."""
    root = interpreter_root("stdlib")
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [
            f for f in folders if f not in _LEFT_OUT and f not in left_out and not f.startswith("config-")
        ]
        inside = Path(folder).relative_to(root)
        names = [
            f
            for f in files
            if f.endswith(".py")
            and f not in _LEFT_OUT
            and not f.startswith(("_sysconfigdata", "sitecustomize"))
        ]
        found += [
            f"stdlib:{(inside / f).as_posix()}"
            for f in names
            if f.removesuffix(".py") not in left_out or folder != str(root)
        ]
    if len(found) < 100:
        raise CodemixError(
            f"this Python ({platform.python_version()}) comes without the sources of its standard library",
            hints=["use a Python from python.org, uv, pyenv, conda or a distribution"],
            rule="no-stdlib-sources",
        )
    return sorted(found)


class InterpreterSource(DocumentReader):
    """A source over files of the running Python."""

    def fingerprint_extra(self) -> dict[str, str]:
        return {"python": platform.python_version()}


def content(part: Part, opener: Opener) -> bytes:
    """All of a part's input; files of an interpreter are small and not compressed."""
    with opener.open(part.input) as file:
        return file.read()
