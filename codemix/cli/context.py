"""What most commands start from, and the options they share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from codemix import environment
from codemix.errors import CodemixError, Problem
from codemix.recipe.checks import validation
from codemix.recipe.language import recipe_file, yaml_text

if TYPE_CHECKING:
    from codemix.data.store.store import Store
    from codemix.data.workspace import Workspace
    from codemix.eval.pages.page import Page
    from codemix.recipe.planning.plan import Plan


def folder_or_address(place: str | Path) -> Path | str:
    """A path for a folder; the text of an address, which a path would change."""
    from codemix.data.store.addresses import is_address

    if isinstance(place, str) and is_address(place):
        return place
    return Path(place)


RecipeArg = Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)]
StoreOption = Annotated[
    Path, typer.Option("--store", envvar=environment.STORE, help="Folder of everything that is built.")
]
AnyStoreOption = Annotated[  # of commands that @over_buckets runs on a local copy, and of gc
    Path,
    typer.Option(
        "--store",
        envvar=environment.STORE,
        parser=folder_or_address,
        metavar="PLACE",
        help="Folder of everything that is built, or s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.",
    ),
]
DataRootOption = Annotated[
    Path,
    typer.Option(
        "--data-root", envvar=environment.DATA_ROOT, help="Local paths in the recipe are below this folder."
    ),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", "-w", min=1, help="Processes that build data. Never changes a result.")
]
ExecutorOption = Annotated[
    Literal["local", "ray", "slurm"], typer.Option("--executor", help="Where data is built.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
MeshOption = Annotated[
    str | None,
    typer.Option("--mesh", help="Devices by axis, e.g. data=16,fsdp=16,model=1; default every device."),
]
EvalDataOption = Annotated[
    Path | None,
    typer.Option("--eval-data", envvar=environment.EVAL_DATA, help="Folder of `eval fetch-data`, for tasks."),
]
UnsafeExecOption = Annotated[
    str | None,
    typer.Option(
        "--unsafe-exec",
        help="`subprocess`: run model-written code without bubblewrap. Not a security boundary.",
    ),
]
ChipOption = Annotated[str, typer.Option("--chip", help="Accelerator for the estimate of hours and dollars.")]
MfuOption = Annotated[
    float, typer.Option("--mfu", min=0.01, max=1.0, help="Model FLOPs utilisation the estimate assumes.")
]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")]
MicrobatchesOption = Annotated[
    int, typer.Option("--microbatches", min=1, help="Split each step's rows to save memory.")
]
RematOption = Annotated[str, typer.Option("--remat", help="Recompute activations: none, dots or full.")]
WriteOption = Annotated[
    Path | None, typer.Option("--write", hidden=True, help="The former name of --output.")
]
HarnessOption = Annotated[
    str | None,
    typer.Option("--harness", help="lm-eval: score tasks through that package instead of our engine."),
]
STORE, DATA_ROOT = Path("store"), Path(".")


def load(recipe: Path | yaml_text.YamlFile, store: Path | Store, data_root: Path) -> Workspace:
    """Read, look at the store, plan. Raises CodemixError for a recipe that cannot be read; `Workspace.plan`
    for one that cannot work.
    """
    from codemix.data.store.store import Store
    from codemix.data.workspace import open_workspace

    return open_workspace(
        recipe_file.of_document(recipe if isinstance(recipe, yaml_text.YamlFile) else yaml_text.load(recipe)),
        Store.of(store),
        data_root,
    )


def plan_in(store: Path, side: str, data_root: Path) -> Plan:
    """The plan of a recipe file, or of REVISION:PATH in git, with the sizes of what a store holds."""
    from codemix.data.store.store import Store
    from codemix.data.workspace import open_workspace
    from codemix.recipe.diffs.git_revision import read_side

    return open_workspace(read_side(side), Store(store), data_root).plan


def mesh_of(text: str | None) -> dict[str, int] | None:
    """The axes that `--mesh` names."""
    if text is None:
        return None
    axes: dict[str, int] = {}
    for part in text.split(","):
        name, _, size = part.partition("=")
        if name not in ("data", "fsdp", "model") or not size.isdigit() or int(size) < 1:
            raise refusal(
                f"cannot read `--mesh {text}`",
                "for example `--mesh data=16,fsdp=16`; axes: data, fsdp, model",
            )
        axes[name] = int(size)
    return axes


def count_of(option: str, text: str | None) -> int | None:
    """A number of tokens or parameters that an option gives, such as 60M."""
    from pydantic_core import PydanticCustomError

    from codemix.recipe.language.quantities import read_tokens

    if text is None:
        return None
    try:
        return read_tokens(text)
    except PydanticCustomError:
        raise refusal(f"cannot read `{option} {text}`", "for example 60M, 1.3B or 250000") from None


def show_warnings(checked: validation.Checked) -> None:
    for warning in checked.warnings:
        print(warning.render() + "\n", file=sys.stderr)


def print_json(value: Any) -> None:
    try:
        print(json.dumps(value, indent=1, ensure_ascii=False, default=str))
    except RecursionError:
        raise refusal("this nests too deeply to be printed as JSON", "print it as text") from None


def write_page(page: Page, path: Path) -> None:
    """Write a page as HTML, and say so."""
    from codemix.eval.pages import rendering
    from codemix.files import write_whole

    write_whole(path, rendering.html(page))
    print(f"wrote {path}", file=sys.stderr)


def refusal(
    what: str,
    *hints: str,
    rule: str = "",
) -> CodemixError:
    """A problem of the command line or the store, which has no place in a file."""
    return CodemixError(Problem(what, hints=hints, rule=rule))
