"""What `--help` says of commands and of the values of options, in words rather than in Python's types."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

NAMES = {str: "text", int: "number", float: "number", Path: "path"}
NAME_WIDTH = 12  # of the longest command, so that the sections of `codemix --help` line up
LONGEST = 200  # a sentence; longer ones would end in dots


def name_type_plainly(parameter: Any) -> None:
    """`<path>` in place of `<list[Path]>`, `<number>` in place of `<int range>`."""
    annotation = parameter.type_descriptor.annotation
    for element in (annotation, *get_args(annotation)):
        if element in NAMES:
            parameter.display_type = functools.partial(_label, NAMES[element])
            return


def _label(name: str, context: Any) -> str:
    return f"<{name}>"


def write_commands(formatter: Any, title: str, commands: Mapping[str, Any]) -> None:
    """A section of a list of commands, each with the first sentence of its help, which is never cut off."""
    rows = []
    for name, command in commands.items():
        rows.append((name.ljust(NAME_WIDTH), command.get_short_help_str(limit=LONGEST)))
    with formatter.section(title):
        formatter.write_dl(rows)
