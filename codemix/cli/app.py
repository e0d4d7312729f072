"""Which module defines which command, how a command is run, and how it ends."""

from __future__ import annotations

import codecs
import dataclasses
import functools
import gc
import importlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import codemix
from codemix import environment
from codemix.cli.help_page import name_type_plainly, write_commands
from codemix.data.store.addresses import as_given, looks_like_address
from codemix.data.store.used_files import forget_uses
from codemix.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_PROBLEM, CodemixError, Problem
from codemix.recipe.language.secrets import hidden

SECTIONS = {  # of `codemix --help`: command -> the module of codemix.cli and the function (or group) in it
    "Start": {
        "init": ("recipe", "init"),
        "run": ("train", "run"),
        "components": ("recipe", "components"),
    },
    "Write and review recipes": {
        "validate": ("recipe", "validate"),
        "plan": ("plan", "plan"),
        "diff": ("recipe", "diff"),
        "fmt": ("recipe", "fmt"),
        "lock": ("lock", "lock"),
        "ci": ("ci", "ci"),
        "lsp": ("lsp", "lsp"),
        "schema": ("recipe", "schema"),
    },
    "Choose a mixture": {
        "study": ("study", "group"),
        "mix": ("mix", "group"),
        "scale-down": ("scale", "scale_down"),
    },
    "Build data and look at it": {
        "build-data": ("data", "build_data"),
        "inspect": ("data", "inspect"),
        "why": ("documents", "why"),
        "show": ("documents", "show"),
        "seen": ("documents", "seen"),
    },
    "Train": {
        "train": ("train", "train"),
        "status": ("train", "status"),
        "aot": ("train", "aot"),
    },
    "Score and report": {
        "eval": ("evaluation", "group"),
        "report": ("evaluation", "report"),
        "compare": ("evaluation", "compare"),
    },
    "Work with other tools": {
        "import": ("interop", "import_"),
        "export": ("interop", "export"),
        "export-data": ("export", "export_data"),
        "import-model": ("model", "import_model"),
        "export-model": ("model", "export_model"),
    },
    "Keep stores": {
        "verify": ("verify", "verify"),
        "push": ("transfer", "push"),
        "pull": ("transfer", "pull"),
        "gc": ("transfer", "gc"),
    },
}
COMMANDS = {name: place for section in SECTIONS.values() for name, place in section.items()}
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
    for each in _with_those_below(command):
        for parameter in each.params:
            name_type_plainly(parameter)
            if parameter.name != "store":  # which refuses by itself, or takes one
                _refuse_addresses(parameter)
    return command


def _with_those_below(command: Any) -> Iterator[Any]:
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from _with_those_below(each)


def _refuse_addresses(parameter: Any) -> None:
    """From now on a parameter refuses an address of a bucket where it takes a path: a folder called `s3:` would
    be made, or read, without a word."""
    parameter.callback = functools.partial(_checked, parameter.callback)


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

    def format_commands(self, ctx, formatter) -> None:
        for title, names in SECTIONS.items():
            commands = {name: self.get_command(ctx, name) for name in names}
            write_commands(formatter, title, commands)


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
        context_settings={"help_option_names": ["-h", "--help"]},
        help=codemix.__doc__,
    )
    app.callback(help=codemix.__doc__)(_root)
    return app


def run(words: list[str]) -> int:
    """Run one command; its exit code."""
    for stream in (sys.stdout, sys.stderr):
        _print_whatever_it_can(stream)
    code = _exit_code(words)
    if code == EXIT_INTERRUPTED:  # also without an exception: typer turns KeyboardInterrupt into this status
        print("interrupted; finished work is kept, and the same command resumes from there", file=sys.stderr)
    return code


def _print_whatever_it_can(stream: Any) -> None:
    """A character that the terminal's encoding lacks is no bug: a `?` stands for it. Names of files that are not
    UTF-8 are printed as they are."""
    if isinstance(stream, io.TextIOWrapper):
        is_utf8 = codecs.lookup(stream.encoding).name == "utf-8"
        stream.reconfigure(errors="surrogateescape" if is_utf8 else "replace")


def _exit_code(words: list[str]) -> int:
    forget_uses()
    try:
        status = new_app()(words, standalone_mode=False)
    except CodemixError as error:
        _print_problems(error, as_json="--json" in words)
        return EXIT_PROBLEM
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `codemix plan ... | head`
        return _nobody_reads()
    except SystemExit as stop:  # what click makes of it
        if isinstance(stop.__context__, BrokenPipeError):
            return _nobody_reads()
        raise
    except typer.Exit as stop:
        return stop.exit_code
    except OSError as error:  # the file system's answer where nobody had better words for it
        _print_problems(_refused_by_the_system(error), as_json="--json" in words)
        return EXIT_PROBLEM
    except Exception as error:
        if (code := _told_by_click(error)) is not None:
            return code
        if damage := _damage_behind():
            _print_problems(damage, as_json="--json" in words)
            return EXIT_PROBLEM
        return _bug(error)
    return status if isinstance(status, int) else 0


def _nobody_reads() -> int:
    """The exit code where the reader of the output has left, as `head` does when it has its lines."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is flushed at the end
    return 0


def _refused_by_the_system(error: OSError) -> CodemixError:
    place = f"{error.filename}: " if error.filename else ""
    return CodemixError(
        f"{place}{error.strerror or error}",
        hints=["see to that file or disk; finished work is kept, and the same command resumes from there"],
        rule="refused-by-the-system",
    )


def _damage_behind() -> CodemixError | None:
    """The files of the store that were read and are damaged: what comes of those is not a bug."""
    from codemix.data.store.digests import DIFFERS, damaged_in_use

    problems: list[Problem] = []
    for path in damaged_in_use():
        what = f"{path} is damaged: {DIFFERS}"
        hints = (
            "delete its folder and run the same command again: `codemix verify` finds all that is damaged",
        )
        problems.append(Problem(what, hints=hints, rule="store-damaged"))
    return CodemixError(*problems) if problems else None


def _print_problems(error: CodemixError, as_json: bool) -> None:
    problems = []
    for problem in error.problems:
        hints = tuple(map(hidden, problem.hints))
        problems.append(dataclasses.replace(problem, what=hidden(problem.what), hints=hints))
    if as_json:
        print(json.dumps({"problems": [p.as_json() for p in problems]}, indent=1))
        return
    print("\n\n".join(p.render() for p in problems), file=sys.stderr)


def _told_by_click(error: Any) -> int | None:
    """The exit code of a bad command line, which click tells by itself; typer keeps those errors to itself."""
    if not (hasattr(error, "show") and hasattr(error, "exit_code")):
        return None
    error.show()
    return error.exit_code


def _bug(error: Exception) -> int:
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
