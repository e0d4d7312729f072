"""The command for pull requests: what a change does to the recipes of a repository."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codemix import environment
from codemix.cli.context import ChipOption, JsonOption, MarkdownOption, MfuOption, print_json, refusal
from codemix.errors import did_you_mean

if TYPE_CHECKING:
    from codemix.recipe.ci.review import Review

PathsArg = Annotated[
    list[Path] | None, typer.Argument(help="Files and folders to review; default, the whole repository.")
]
BaseOption = Annotated[
    str,
    typer.Option("--base", envvar=environment.BASE, help="Compare with the last commit shared with this."),
]
FailOnOption = Annotated[
    str,
    typer.Option(
        "--fail-on",
        envvar=environment.FAIL_ON,
        help="Categories to refuse, by commas: data, rebuild, retrain, future, settings, removed, notes, "
        "epochs, limits, cost. The exit code tells which.",
    ),
]
MaxUsdOption = Annotated[
    float | None,
    typer.Option("--max-usd", min=0, help="What `--fail-on cost` allows for what is trained again."),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for comment.md, summary.md, review.json and review.sarif."),
]
CommentOption = Annotated[
    bool, typer.Option("--comment", help="Write, or update, the comment on GitHub's pull request.")
]


def ci(
    paths: PathsArg = None,
    base: BaseOption = "origin/main",
    fail_on: FailOnOption = "",
    max_usd: MaxUsdOption = None,
    output: OutputOption = None,
    comment: CommentOption = False,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
    chip: ChipOption = "v5e",
    mfu: MfuOption = 0.4,
) -> int:
    """Review what a change in git does to recipes, and its cost.

    Data to build again and stages to train again, for changed recipes and studies and for those that start from
    them. With `--fail-on` the exit code is that of the gravest category: 10 and above.
    """
    from codemix.recipe.ci import comment as comments
    from codemix.recipe.ci import github
    from codemix.recipe.ci.review import review
    from codemix.recipe.ci.review_tables import as_json, as_text

    refused = _categories(fail_on)
    if "cost" in refused and max_usd is None:
        raise refusal("`--fail-on cost` needs to know how much is too much", "for example `--max-usd 500`")
    below = paths or []
    for path in below:
        if not path.exists():
            raise refusal(f"there is no {path}", "give files or folders of this repository", rule="file")
    found = review(Path(), base, below=below, chip=chip, mfu=mfu, max_usd=max_usd)
    if output is not None:
        _write(found, output)
    if json:
        print_json(as_json(found))
    elif markdown:
        print(comments.comment(found), end="")
    else:
        print(as_text(found))
    for problem in (problem for file in found.files for problem in file.problems):
        print(problem.render() + "\n", file=sys.stderr)
    github.report(found, os.environ, in_comment=comment)
    code = found.exit_code(refused)
    tripped = [effect.what for effect in found.effects if effect.category in refused]
    if tripped and not found.failed:
        print(f"refused by --fail-on (exit code {code}):", *tripped, sep="\n  ", file=sys.stderr)
    return code


def _categories(fail_on: str) -> list[str]:
    from codemix.recipe.ci.effects import EXIT_CODES

    names = [name.strip() for name in fail_on.split(",") if name.strip()]
    for name in names:
        if name not in EXIT_CODES:
            hints = did_you_mean(name, EXIT_CODES)
            raise refusal(f"`--fail-on` knows no category `{name}`", *hints)
    return names


def _write(found: Review, folder: Path) -> None:
    import json

    from codemix.recipe.ci import comment, sarif
    from codemix.recipe.ci.review_tables import as_json
    from codemix.recipe.language import yaml_text

    yaml_text.write(folder / "comment.md", comment.comment(found))
    yaml_text.write(folder / "summary.md", comment.summary(found))
    for name, content in {"review.json": as_json(found), "review.sarif": sarif.log(found)}.items():
        text = json.dumps(content, indent=1)
        yaml_text.write(folder / name, text + "\n")
