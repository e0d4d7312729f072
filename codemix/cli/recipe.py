"""Commands that need no data and no accelerator: validate, plan, diff, lock, schema, components, init, import, export."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    ChipOption,
    DataRootOption,
    JsonOption,
    MarkdownOption,
    MfuOption,
    RecipeArg,
    StoreOption,
    plan_in,
    print_json,
    problem,
    show_warnings,
)
from codemix.errors import EXIT_PROBLEM


def validate(
    recipes: Annotated[list[Path], typer.Argument(help="Recipes to check.", show_default=False)],
    json: JsonOption = False,
) -> int:
    """Check recipes: every problem at once, each with its place, cause and remedy."""
    from codemix.errors import CodemixError
    from codemix.recipe.checks import validation
    from codemix.recipe.language import recipe_file, requirements, yaml_text

    problems, fine = [], []
    for path in recipes:
        try:
            document = yaml_text.load(path)
            if recipe_file.is_study(document):
                from codemix.recipe.studies import study

                checked_study = study.check(study.of_document(document))
                points, found = checked_study.points, checked_study.problems
                said = f"{len(points)} recipes"
            else:
                checked = validation.check_document(document)
                stages, found = (
                    checked.plan.stages,
                    [*checked.problems, *requirements.warnings(checked.plan.recipe, document)],
                )
                said = (
                    f"{len(stages)} stage{'s' * (len(stages) != 1)}, {sum(s.tokens for s in stages):,} tokens"
                )
            problems += found
            if not any(p.severity == "error" for p in found):
                fine.append(f"{path}: ok ({said})")
        except CodemixError as error:
            problems += error.problems
    if json:
        print_json({"problems": [p.as_json() for p in problems]})
    else:
        for p in problems:
            print(p.render() + "\n", file=sys.stderr)
        for line in fine:
            print(line)
    return EXIT_PROBLEM if any(p.severity == "error" for p in problems) else 0


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def plan(
    recipe: RecipeArg,
    store: StoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
    chip: ChipOption = "v5e",
    mfu: MfuOption = 0.4,
) -> None:
    """Say what a recipe will do, in whole tokens, before any compute."""
    from codemix.api import preflight
    from codemix.cli.context import load
    from codemix.recipe.language import recipe_file, yaml_text
    from codemix.recipe.planning import plan_tables
    from codemix.tables import Table
    from codemix.train.model import huggingface

    document = yaml_text.load(recipe)
    if recipe_file.is_study(document):
        from codemix.cli.study import print_study_plan

        return print_study_plan(document, json=json, markdown=markdown, chip=chip, mfu=mfu)
    context = load(document, store, data_root)
    made = context.plan
    existing = {
        "sources": {
            n: {"built": f.built, "fingerprint": f.fingerprint, "reason": f.reason}
            for n, f in context.found.items()
        },
        "stages": {
            s.name: {"trained": context.is_trained(s), "reason": context.why_untrained(s)}
            for s in made.stages
        },
    }
    missing = preflight.missing_here(context)
    not_exportable = huggingface.problems(made.recipe.model)
    if json:
        told = {
            "missing": [p.as_json() for p in missing],
            "not_exportable": [p.as_json() for p in not_exportable],
        }
        return print_json(plan_tables.as_json(made, existing, chip, mfu) | told)
    table = Table("In the store", ["what", "state", "why"])
    for name, f in context.found.items():
        table.rows.append(
            [f"{'documents' if f.read_by else 'data'} {name}", "built" if f.built else "to build", f.reason]
        )
    for stage in made.stages:
        is_there = existing["stages"][stage.name]["trained"]
        why = stage.fingerprint[:12] if is_there else existing["stages"][stage.name]["reason"]
        table.rows.append([f"stage {stage.name}", "trained" if is_there else "to train", why])
    tables = [*plan_tables.plan_tables(made, chip, mfu), table]
    show_warnings(context.checked)
    if missing:
        lines = [["" if p.where is None else p.where.path, p.what, p.hints[0]] for p in missing]
        tables.append(Table("Missing on this machine", ["for", "what", "remedy"], lines))
    for t in tables:
        print(t.markdown()) if markdown else t.print()
    for p in not_exportable:
        print(f"note: {p.what}", file=sys.stderr)
    return None


def diff(
    a: Annotated[str, typer.Argument(help="A recipe, or REVISION:PATH in git.", show_default=False)],
    b: Annotated[str, typer.Argument(help="Another.", show_default=False)],
    store: Annotated[
        Path | None,
        typer.Option("--store", help="Take the sizes of sources that are built there; default, as declared."),
    ] = None,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """Compare two recipes by their effects: tokens moved, data rebuilt, steps that stay identical."""
    from codemix.recipe.diffs import diff_tables
    from codemix.recipe.diffs.diff import diff as compare
    from codemix.recipe.diffs.git_revision import load_side
    from codemix.tables import terminal_width

    sides = [load_side(side) if store is None else plan_in(store, side, data_root) for side in (a, b)]
    found = compare(*sides)
    if len({*found.names}) == 1 and not json:  # two versions of one recipe: say which is which
        found = dataclasses.replace(found, names=(a, b))
    if json:
        print_json(diff_tables.as_json(found))
    else:
        print(diff_tables.as_markdown(found) if markdown else diff_tables.as_text(found, terminal_width()))


def lock(
    recipe: RecipeArg,
    store: StoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the store with an existing lock instead of writing one.")
    ] = False,
) -> int:
    """Pin inputs, token counts, tokenizer and component versions beside the recipe, as <recipe>.lock."""
    from codemix.cli.context import load
    from codemix.data.review import lock_check
    from codemix.recipe import lock as locks

    workspace = load(recipe, store, data_root)
    path = recipe.with_suffix(".lock")
    current = locks.make(workspace.source.recipe, workspace.found)
    if check:
        differences = lock_check.verify(locks.read(path), current, workspace.store, data_root)
        for problem in differences:
            print(problem.render() + "\n", file=sys.stderr)
        count = _count(len(differences), "difference")
        print(f"{path}: {count if differences else 'the store agrees'}")
        return EXIT_PROBLEM if differences else 0
    workspace.manifests  # noqa: B018 - refuses an unbuilt source
    locks.write(path, current)
    print(path)
    return 0


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
        raise problem(f"there is no family `{family}`", *did_you_mean(family, component.FAMILIES))
    families = [family] if family else list(component.FAMILIES)
    if kind is not None:
        if kind not in component.kinds(families[0]):
            raise problem(
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


def init(path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("recipe.yaml")) -> None:
    """Write a commented recipe to start from; it runs on the embedded data."""
    from codemix.recipe.language import yaml_text
    from codemix.recipe.language.starter import starting_recipe

    if path.exists():
        raise problem(f"{path} exists already", "give another path; nothing was written", rule="exists")
    yaml_text.write(path, starting_recipe(path.stem))
    print(f"{path}: now `codemix validate {path}`, then `codemix run {path}`")


def import_(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="megatron, nanotron, levanter or olmo-core.", show_default=False
        ),
    ],
    path: Annotated[Path, typer.Argument(help="The other tool's file.", show_default=False)],
) -> None:
    """Turn another tool's mixture into a recipe, and say what did not add up."""
    from codemix.recipe.interop.mixtures import import_mixture, recipe_text

    imported = import_mixture(form, path)
    for note in imported.notes:
        print(f"note: {note}", file=sys.stderr)
    print(recipe_text(imported), end="")


def export(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="megatron, nanotron, levanter or olmo-core.", show_default=False
        ),
    ],
    recipe: RecipeArg,
) -> None:
    """Write a recipe's mixture in another tool's form."""
    from codemix.recipe.checks import validation
    from codemix.recipe.interop.mixtures import export_mixture
    from codemix.recipe.language import recipe_file

    checked = validation.check(recipe_file.read_recipe(recipe))
    exported = export_mixture(form, checked.require())
    for note in exported.notes:
        print(f"note: {note}", file=sys.stderr)
    print(exported.text, end="")
