"""The command line: parse words, call the functions that do the work, print what they return. Nothing is decided here.

Exit codes: 0 done, 1 a problem in recipe, data or store, 2 a bad command line, 3 a bug in codemix, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import os
import sys
from typing import Annotated

import typer

import codemix
from codemix.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_PROBLEM, CodemixError
from codemix.recipe.language.secrets import hidden

gc.disable()  # until the command is known: imports make many objects and no garbage, and collecting costs a tenth of the start
COLLECT_EVERY = (
    50_000  # objects; Python's 700 spends a fifth of `validate` on looking for garbage that is not there
)


def new_app() -> typer.Typer:
    """The command line without its commands."""
    made = typer.Typer(
        name="codemix",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help=codemix.__doc__,
    )
    made.callback()(_root)
    return made


def _version(show: bool) -> None:
    if show:
        print(f"codemix {codemix.__version__}")
        raise typer.Exit()


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    if quiet:
        import codemix.progress

        codemix.progress.QUIET = True


app = new_app()

MODULES = {  # which module defines which command; only the module of the command asked for is imported and built
    "recipe": ("validate", "plan", "diff", "lock", "schema", "components", "init", "export", "import"),
    "data": ("build-data", "verify", "inspect", "show", "seen", "why"),
    "train": ("train", "run", "status", "aot", "export-model"),
    "evaluation": ("eval", "report", "compare"),
    "study": ("study",),
}


def _register(words: list[str]) -> None:
    """Add the commands: all of them for help or a misspelt one, else only the one that is asked for."""
    asked = next((w for w in words if not w.startswith("-")), None)
    wanted = [m for m, names in MODULES.items() if asked in names] or list(MODULES)
    for name in wanted:
        module = importlib.import_module(f"codemix.cli.{name}")
        for command in MODULES[name]:
            if asked == command or len(wanted) > 1:
                module.register(app, command)


def main(args: list[str] | None = None) -> None:
    """Entry point of the `codemix` command."""
    words = sys.argv[1:] if args is None else args
    try:
        _register(words)
        gc.freeze()  # what is imported lives to the end, so no collection need look at it
        gc.set_threshold(COLLECT_EVERY)
        gc.enable()
        status = app(words, standalone_mode=False)
        code = status if isinstance(status, int) else 0
    except CodemixError as error:
        _print_problems(error, as_json="--json" in words)
        code = EXIT_PROBLEM
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # `codemix plan ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except typer.Exit as stop:
        code = stop.exit_code
    except Exception as error:
        code = _usage_or_bug(error)
    if code == EXIT_INTERRUPTED:  # also without an exception: typer turns KeyboardInterrupt into this status
        print("interrupted; finished work is kept, the same command goes on from there", file=sys.stderr)
    sys.exit(code)


def _print_problems(error: CodemixError, as_json: bool) -> None:
    problems = [
        dataclasses.replace(p, what=hidden(p.what), hints=tuple(map(hidden, p.hints))) for p in error.problems
    ]
    if as_json:
        print(json.dumps({"problems": [p.as_json() for p in problems]}, indent=1))
        return
    for i, problem in enumerate(problems):
        print(("\n" if i else "") + problem.render(), file=sys.stderr)


def _usage_or_bug(error: Exception) -> int:
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's own: a bad command line
        error.show()
        return error.exit_code
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="codemix-bug-", suffix=".txt", delete=False) as f:
        traceback.print_exc(file=f)
    print(
        f"error: a bug in codemix: {type(error).__name__}: {hidden(str(error))}\nhint: the traceback is in {f.name}; please report it",
        file=sys.stderr,
    )
    if os.environ.get("CODEMIX_DEBUG"):
        traceback.print_exc()
    return EXIT_BUG
