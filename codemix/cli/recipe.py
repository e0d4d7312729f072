"""Commands about what a recipe says and may say: init, validate, fmt, diff, schema, components."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codemix import environment
from codemix.cli.context import (
    DATA_ROOT,
    DataRootOption,
    JsonOption,
    MarkdownOption,
    folder_or_address,
    plan_in,
    print_json,
    refusal,
)
from codemix.cli.over_buckets import over_buckets
from codemix.errors import EXIT_PROBLEM, CodemixError, Problem

if TYPE_CHECKING:
    from codemix.recipe.language.yaml_text import YamlFile
    from codemix.recipe.planning.plan import Plan


def validate(
    recipes: Annotated[list[Path], typer.Argument(help="Recipes to check.", show_default=False)],
    json: JsonOption = False,
) -> int:
    """Report every problem of recipes, with place, cause and remedy."""
    results = [_validate_file(path) for path in recipes]
    problems = [problem for result in results for problem in result.problems]
    failed = any(problem.severity == "error" for problem in problems)
    if json:
        print_json({"problems": [problem.as_json() for problem in problems]})
        return EXIT_PROBLEM if failed else 0
    for problem in problems:
        print(problem.render() + "\n", file=sys.stderr)
    for path, result in zip(recipes, results, strict=True):
        if result.summary is not None:
            print(f"{path}: ok ({result.summary})")
    return EXIT_PROBLEM if failed else 0


@dataclass(frozen=True)
class _Validated:
    """The problems of a file, and in a few words what it holds when none is an error."""

    problems: Sequence[Problem]
    summary: str | None = None


def _validate_file(path: Path) -> _Validated:
    from codemix.recipe.language import recipe_file, yaml_text

    try:
        document = yaml_text.load(path)
        validate_it = _validate_study if recipe_file.is_study(document) else _validate_recipe
        result = validate_it(document)
    except CodemixError as error:
        return _Validated(error.problems)
    if any(problem.severity == "error" for problem in result.problems):
        return _Validated(result.problems)
    return result


def _validate_study(document: YamlFile) -> _Validated:
    from codemix.recipe.studies import study

    checked = study.check(study.of_document(document))
    return _Validated([*checked.problems, *checked.missing_here], f"{len(checked.points)} recipes")


def _validate_recipe(document: YamlFile) -> _Validated:
    from codemix.recipe.checks import validation
    from codemix.recipe.language import requirements
    from codemix.recipe.language.quantities import show_count

    checked = validation.check_document(document)
    missing_here = requirements.warnings(checked.plan.recipe, document)
    tokens = sum(stage.tokens for stage in checked.plan.stages)
    stages = show_count(len(checked.plan.stages), "stage")
    problems = [*checked.problems, *_model_problems(checked.plan, document), *missing_here]
    return _Validated(problems, f"{stages}, {tokens:,} tokens")


def _model_problems(plan: Plan, document: YamlFile) -> list[Problem]:
    """Where a model to start from is on this machine and is not the recipe's; only its config.json is read."""
    if all(stage.pretrained is None for stage in plan.stages):
        return []
    from codemix.recipe.language.finding import located
    from codemix.train.run import pretrained

    data_root = Path(environment.text(environment.DATA_ROOT, str(DATA_ROOT)))
    return located(pretrained.config_findings(plan, data_root), document)


def fmt(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Recipes, folders of recipes, or - for a filter.", show_default=False),
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Say which are not in the form; write none.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Write recipes in the one form: spaces, indentation, quotes. What they say stays as it is."""
    from codemix.recipe.language import yaml_format, yaml_text
    from codemix.recipe.language.recipe_folders import recipe_paths

    if paths == [Path("-")]:
        document = yaml_text.parse(sys.stdin.read(), "<stdin>")
        print(yaml_format.formatted(document), end="")
        return 0
    problems: list[Problem] = []
    differing: list[Path] = []
    for path in recipe_paths(paths):
        try:
            if yaml_format.format_file(path, write=not check):
                differing.append(path)
        except CodemixError as error:
            problems += error.problems
    if json:
        print_json({"differing": differing, "problems": [problem.as_json() for problem in problems]})
        return EXIT_PROBLEM if problems or (check and differing) else 0
    for path in differing:
        print(f"{path}: {'not in the form' if check else 'rewritten'}")
    for problem in problems:
        print(problem.render() + "\n", file=sys.stderr)
    return EXIT_PROBLEM if problems or (check and differing) else 0


@over_buckets("catalog")
def diff(
    a: Annotated[str, typer.Argument(help="A recipe, or REVISION:PATH in git.", show_default=False)],
    b: Annotated[str, typer.Argument(help="Another.", show_default=False)],
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            parser=folder_or_address,
            metavar="PLACE",
            help="Take the sizes of sources that are built there; default, as declared.",
        ),
    ] = None,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """Compare two recipes by their effects.

    Tokens moved, data to build again, stages to train again, and the steps that read identical data.
    """
    from codemix.recipe.diffs import diff_tables
    from codemix.recipe.diffs.diff import diff as compare
    from codemix.recipe.diffs.git_revision import load_side
    from codemix.tables import terminal_width

    def plan_of(side: str) -> Plan:
        return load_side(side) if store is None else plan_in(store, side, data_root)

    changes = compare(plan_of(a), plan_of(b))
    if json:
        return print_json(diff_tables.as_json(changes))
    if changes.names[0] == changes.names[1]:  # two versions of one recipe: say which is which
        changes = dataclasses.replace(changes, names=(a, b))
    if markdown:
        return print(diff_tables.as_markdown(changes))
    return print(diff_tables.as_text(changes, terminal_width()))


def schema() -> None:
    """Print the JSON Schema of recipes, for editors."""
    from codemix.recipe.reference.json_schema import recipe_schema

    print_json(recipe_schema())


def components(
    family: Annotated[str | None, typer.Argument(help="source, op, tokenizer, schedule or task.")] = None,
    kind: Annotated[str | None, typer.Argument(help="One kind, with its fields and examples.")] = None,
    json: JsonOption = False,
) -> None:
    """List and describe every kind of component."""
    from codemix.errors import did_you_mean
    from codemix.recipe.language import component
    from codemix.tables import Table

    if family is not None and family not in component.FAMILIES:
        raise refusal(f"there is no family `{family}`", *did_you_mean(family, component.FAMILIES))
    families = [family] if family else list(component.FAMILIES)
    if kind is not None:
        if kind not in component.kinds(families[0]):
            raise refusal(
                f"there is no {families[0]} of kind `{kind}`",
                *did_you_mean(kind, component.kinds(families[0])),
                f"`codemix components {families[0]}` lists them",
            )
        if not json:
            from codemix.recipe.reference.pages import describe_kind

            return print(describe_kind(families[0], kind))
    named = [(f, k) for f in families for k in component.kinds(f) if kind in (None, k)]
    listed = [
        (f, k, (component.component_class(f, k).__doc__ or "").strip().split("\n")[0]) for f, k in named
    ]
    if json:
        return print_json([{"family": f, "kind": k, "description": d} for f, k, d in listed])
    table, last = Table("", ["family", "kind", "what"]), None
    for f, k, d in listed:
        table.rows.append([f if f != last else "", k, d])
        last = f
    return table.print()


def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("recipe.yaml"),
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help="Start from a shipped recipe or study instead."),
    ] = None,
) -> None:
    """Write a commented recipe to start from.

    It runs on what ships with Python: documentation as text, the standard library as code.
    """
    from codemix.recipe.language import yaml_text
    from codemix.recipe.language.recipe_folders import recipe_name
    from codemix.recipe.language.starter import starting_recipe
    from codemix.recipe.studies.shipped import copy_shipped

    if from_ is not None:
        for written in copy_shipped(from_, path):
            print(written)
        print(f"now `codemix validate {path}`, then `codemix plan {path}`")
        return
    if path.exists():
        raise refusal(f"{path} exists already", "give another path; nothing was written", rule="exists")
    yaml_text.write(path, starting_recipe(recipe_name(path)))
    print(f"{path}: now `codemix validate {path}`, then `codemix run {path}`")
