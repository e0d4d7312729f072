"""Which module defines which command, how a command is run, and how it ends."""

from __future__ import annotations

import dataclasses
import functools
import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import codemix
from codemix import environment
from codemix.data.store.addresses import as_given, looks_like_address
from codemix.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_PROBLEM, CodemixError
from codemix.recipe.language.secrets import hidden

COMMANDS = {  # name -> the module of codemix.cli and the function (or group) in it
    "validate": ("recipe", "validate"),
    "fmt": ("recipe", "fmt"),
    "plan": ("recipe", "plan"),
    "diff": ("recipe", "diff"),
    "ci": ("ci", "ci"),
    "scale-down": ("scale", "scale_down"),
    "lock": ("recipe", "lock"),
    "schema": ("recipe", "schema"),
    "components": ("recipe", "components"),
    "lsp": ("lsp", "lsp"),
    "init": ("recipe", "init"),
    "export": ("recipe", "export"),
    "import": ("recipe", "import_"),
    "build-data": ("data", "build_data"),
    "verify": ("data", "verify"),
    "inspect": ("data", "inspect"),
    "show": ("data", "show"),
    "seen": ("data", "seen"),
    "why": ("data", "why"),
    "export-data": ("export", "export_data"),
    "push": ("transfer", "push"),
    "pull": ("transfer", "pull"),
    "gc": ("transfer", "gc"),
    "train": ("train", "train"),
    "run": ("train", "run"),
    "status": ("train", "status"),
    "aot": ("train", "aot"),
    "export-model": ("model", "export_model"),
    "import-model": ("model", "import_model"),
    "eval": ("evaluation", "group"),
    "report": ("evaluation", "report"),
    "compare": ("evaluation", "compare"),
    "study": ("study", "group"),
    "mix": ("mix", "group"),
}
COLLECT_EVERY = 50_000  # objects; Python's 700 spends a fifth of `validate` on looking for garbage


def load_command(name: str):
    """A command, imported and built. Returns click's object, whose class typer keeps to itself."""
    module, attribute = COMMANDS[name]
    found = getattr(importlib.import_module(f"codemix.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        function = found
        found = typer.Typer(add_completion=False, rich_markup_mode=None)
        found.command(name)(function)
    command = typer.main.get_command(found)
    _refuse_addresses(command)
    return command


def _refuse_addresses(command: Any) -> None:
    """From now on a command, and each below it, refuses an address of a bucket where it takes a path: a folder
    called `s3:` would be made, or read, without a word."""
    for parameter in command.params:
        if parameter.name == "store":  # refuses by itself, or takes one
            continue
        parameter.callback = functools.partial(_checked, parameter.callback)
    below = getattr(command, "commands", {})
    for each in below.values():
        _refuse_addresses(each)


def _checked(then: Callable[..., Any] | None, context: Any, parameter: Any, value: Any) -> Any:
    """The value of a parameter, after its own callback."""
    several = isinstance(value, list | tuple)
    values = value if several else [value]
    paths = [each for each in values if isinstance(each, Path)]
    for path in paths:
        if looks_like_address(str(path)):
            _refuse(path, parameter)
    if then is None:
        return value
    return then(context, parameter, value)


def _refuse(path: Path, parameter: Any) -> None:
    name = f"`{parameter.opts[-1]}`" if parameter.opts[-1].startswith("-") else parameter.name.upper()
    raise CodemixError(
        f"{name} is `{as_given(path)}`, an address, and a path on this machine is wanted",
        hints=[
            "give a path, and copy with your cloud's own tool; "
            "`codemix push` and `codemix pull` copy what is finished between a store and a bucket"
        ],
        rule="bucket-address",
    )


class LazyGroup(TyperGroup):
    """Builds only the command that is asked for; every one for `--help` or a misspelt one."""

    def list_commands(self, ctx) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx, cmd_name: str):
        wanted = [cmd_name] if cmd_name in COMMANDS else COMMANDS
        for name in wanted:
            if name not in self.commands:
                self.commands[name] = load_command(name)
        return self.commands.get(cmd_name)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"codemix {codemix.__version__}")
        raise typer.Exit()


VersionOption = Annotated[
    bool,
    typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]


def _root(version: VersionOption = False, quiet: QuietOption = False) -> None:
    """Runs when the command is imported and before it starts."""
    gc.freeze()  # what is imported lives to the end, so no collection need look at it
    gc.set_threshold(COLLECT_EVERY)
    gc.enable()
    if quiet:
        import codemix.progress

        codemix.progress.QUIET = True


def new_app() -> typer.Typer:
    """The command line; its commands are imported when they are asked for."""
    app = typer.Typer(
        name="codemix",
        cls=LazyGroup,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help=codemix.__doc__,
    )
    app.callback(help=codemix.__doc__)(_root)
    return app


def run(words: list[str]) -> int:
    """Run one command; its exit code."""
    code = _exit_code(words)
    if code == EXIT_INTERRUPTED:  # also without an exception: typer turns KeyboardInterrupt into this status
        print("interrupted; finished work is kept, and the same command resumes from there", file=sys.stderr)
    return code


def _exit_code(words: list[str]) -> int:
    try:
        status = new_app()(words, standalone_mode=False)
    except CodemixError as error:
        _print_problems(error, as_json="--json" in words)
        return EXIT_PROBLEM
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `codemix plan ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except typer.Exit as stop:
        return stop.exit_code
    except Exception as error:
        return _usage_or_bug(error)
    return status if isinstance(status, int) else 0


def _print_problems(error: CodemixError, as_json: bool) -> None:
    problems = []
    for problem in error.problems:
        hints = tuple(map(hidden, problem.hints))
        problems.append(dataclasses.replace(problem, what=hidden(problem.what), hints=hints))
    if as_json:
        print(json.dumps({"problems": [p.as_json() for p in problems]}, indent=1))
        return
    print("\n\n".join(p.render() for p in problems), file=sys.stderr)


def _usage_or_bug(error: Exception) -> int:
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's own: a bad command line
        error.show()
        return error.exit_code
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="codemix-bug-", suffix=".txt", delete=False) as f:
        traceback.print_exc(file=f)
    what = f"error: a bug in codemix: {type(error).__name__}: {hidden(str(error))}"
    hint = f"hint: the traceback is in {f.name}; please report it"
    print(f"{what}\n{hint}", file=sys.stderr)
    if environment.is_set(environment.DEBUG):
        traceback.print_exc()
    return EXIT_BUG
