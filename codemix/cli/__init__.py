"""The command line: parse words, call the functions that do the work, print what they return. Nothing is
decided here.

`main` sets up the process that the command owns, then hands over to `cli/app.py`; importing this package
changes nothing.

Exit codes: 0 done, 1 a problem in recipe, data or store, 2 a bad command line, 3 a bug in codemix, 130
interrupted.
"""

from __future__ import annotations

import gc
import os
import sys


def main(args: list[str] | None = None) -> None:
    """Entry point of the `codemix` command."""
    gc.disable()  # imports make many objects and no garbage; `run` collects again once the command is known
    # pydantic looks for plugins in every installed package before its first model; codemix has none
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

    from codemix.cli.app import run

    try:
        code = run(sys.argv[1:] if args is None else args)
    finally:
        gc.enable()
    sys.exit(code)
