"""What sources over the running Python share: its modules, and that its version decides what they hold."""

import os
import platform
from pathlib import Path

from codemix.data.inputs.frozen_inputs import Part
from codemix.data.inputs.locations import interpreter_root
from codemix.data.inputs.opener import Opener
from codemix.data.interfaces import DocumentReader
from codemix.errors import CodemixError

# tests; other people's packages; the help texts that `python_docs` reads; what the build of this interpreter
# generated
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
    """Inputs `stdlib:<path>` of the running interpreter's modules, sorted. Raises CodemixError when it ships
    no sources."""
    root = interpreter_root("stdlib")
    skipped_folders = _LEFT_OUT.union(left_out)
    skipped_files = {f"{module}.py" for module in left_out}
    inputs = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in skipped_folders and not f.startswith("config-")]
        inside = Path(folder).relative_to(root)
        is_top = inside == Path()
        for file in files:
            if _is_module(file) and not (is_top and file in skipped_files):
                inputs.append(f"stdlib:{(inside / file).as_posix()}")
    if len(inputs) < 100:
        raise CodemixError(
            f"this Python ({platform.python_version()}) comes without the sources of its standard library",
            hints=["use a Python from python.org, uv, pyenv, conda or a distribution"],
            rule="no-stdlib-sources",
        )
    return sorted(inputs)


def _is_module(file: str) -> bool:
    is_generated = file.startswith(("_sysconfigdata", "sitecustomize"))
    return file.endswith(".py") and file not in _LEFT_OUT and not is_generated


class InterpreterSource(DocumentReader):
    """A source over files of the running Python."""

    def fingerprint_extra(self) -> dict[str, str]:
        return {"python": platform.python_version()}


def content(part: Part, opener: Opener) -> bytes:
    """All of a part's input; files of an interpreter are small and not compressed."""
    with opener.open(part.input) as file:
        return file.read()
