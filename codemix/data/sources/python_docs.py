"""English prose that every machine has: Python's help topics, READMEs and licences of installed packages,
docstring prose.

About 2 MB. Three parts, each switchable: `pydoc`'s language reference topics; the README (package
description) and licence texts in the metadata of the packages installed beside codemix; paragraphs of the
standard library's docstrings that read as prose. It shares no text with `python_stdlib`, which takes
docstrings out. The metadata part depends on what is installed; every file read is an input with its hash, so
installing a package makes a different source.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Unreadable
from codemix.data.inputs.frozen_inputs import Part
from codemix.data.inputs.locations import interpreter_root
from codemix.data.inputs.opener import Opener
from codemix.data.sources._interpreter import InterpreterSource, content, stdlib_modules
from codemix.errors import CodemixError

_TOPICS = "stdlib:pydoc_data/topics.py"
_LICENCES = ("LICENSE", "LICENCE", "COPYING", "NOTICE")


class PythonDocs(InterpreterSource):
    """Python help topics, installed packages' READMEs and licences, and docstring prose."""

    kind: Literal["python_docs"] = "python_docs"
    topics: bool = Field(True, description="the help topics of `pydoc`")
    packages: bool = Field(True, description="READMEs and licence texts of installed packages")
    docstrings: bool = Field(True, description="prose paragraphs of the standard library's docstrings")
    EXAMPLES: ClassVar = ({"kind": "python_docs"}, {"kind": "python_docs", "packages": False})

    def inputs(self, root: Path) -> list[str]:
        found = stdlib_modules() if self.docstrings else []
        if self.topics and (interpreter_root("stdlib") / "pydoc_data" / "topics.py").is_file():
            found.append(_TOPICS)
        if self.packages:
            found += _package_files(interpreter_root("installed"))
        if not found:
            hint = "switch on one of `topics:`, `packages:`, `docstrings:`"
            raise CodemixError("`python_docs` has nothing to read", hints=[hint], rule="no-inputs")
        return sorted(found)

    def read(self, part: Part, opener: Opener) -> Iterator[Document | Unreadable]:
        name = part.input.path
        data = content(part, opener)
        if name == _TOPICS:
            yield from _read_topics(name, data)
        elif name.startswith("stdlib:"):
            yield from _read_docstrings(name, data)
        else:
            text = _readme(data) if name.endswith("/METADATA") else _text(data)
            if text.strip():
                package = name.removeprefix("installed:").split("-")[0]
                yield Document(
                    f"{name}#0",
                    text,
                    {"path": name.split("/")[-1], "language": "English", "repo": package, "set": "packages"},
                )


def _package_files(root: Path) -> list[str]:
    """METADATA and licence files in every *.dist-info folder but codemix's own, whose README changes as we
    write it.

    Most packages ship one of a few licences, so of files that differ in their copyright lines only the first
    is read.
    """
    names = []
    licences: set[str] = set()
    for folder in sorted(root.glob("*.dist-info")):
        if folder.name.startswith("codemix-"):
            continue
        for path in sorted(folder.rglob("*")):
            name = f"installed:{path.relative_to(root).as_posix()}"
            if path.name == "METADATA" and path.parent == folder:
                names.append(name)
            elif path.name.upper().startswith(_LICENCES) and path.is_file():
                licence = _without_copyright_lines(_text(path.read_bytes()))
                if licence not in licences:
                    licences.add(licence)
                    names.append(name)
    return names


def _without_copyright_lines(licence: str) -> str:
    """The words of a licence, in lower case."""
    words = []
    for line in licence.lower().splitlines():
        if not line.strip().startswith(("copyright", "(c)")):
            words += line.split()
    return " ".join(words)


def _text(data: bytes) -> str:
    """Old licence files are Latin-1 where they are not UTF-8."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\0", "")


def _readme(data: bytes) -> str:
    """The description in a package's metadata: the body after the headers, or the `Description:` header of
    old formats."""
    from email.parser import HeaderParser

    message = HeaderParser().parsestr(_text(data))
    body = str(message.get_payload()).strip()
    if not body:
        body = str(message.get("Description", "")).replace("\n        ", "\n").strip()
    return "" if body == "UNKNOWN" else body


def _read_topics(name: str, data: bytes) -> Iterator[Document | Unreadable]:
    """Topics read as data, not imported: the file is one dictionary of strings."""
    import ast

    from codemix.data.text.python_source import decode, parse

    try:
        last = parse(decode(data)).body[-1]
        if not isinstance(last, ast.Assign | ast.AnnAssign) or last.value is None:
            raise ValueError("its last statement does not assign anything")
        topics = ast.literal_eval(last.value)
    except (SyntaxError, ValueError, IndexError) as error:
        yield Unreadable("does_not_parse", f"{name}#0", str(error), rest_lost=True)
        return
    for row, (topic, text) in enumerate(sorted(topics.items())):
        yield Document(
            f"{name}#{row}",
            text,
            {"path": topic, "language": "English", "licence": "PSF-2.0", "set": "topics"},
        )


def _read_docstrings(name: str, data: bytes) -> Iterator[Document | Unreadable]:
    from codemix.data.text.python_source import decode, docstrings, prose_paragraphs

    try:
        found = docstrings(decode(data))
    except (SyntaxError, UnicodeDecodeError) as error:
        yield Unreadable("does_not_parse", f"{name}#0", str(error))
        return
    every_paragraph = (paragraph for text in found for paragraph in prose_paragraphs(text))
    paragraphs = dict.fromkeys(every_paragraph)  # each once: methods repeat their class's words
    if paragraphs:
        path = name.removeprefix("stdlib:")
        yield Document(
            f"{name}#0",
            "\n\n".join(paragraphs),
            {"path": path, "language": "English", "licence": "PSF-2.0", "set": "docstrings"},
        )
