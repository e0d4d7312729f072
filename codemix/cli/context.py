"""What most commands start from: the recipe, the store, what is built, the plan. And the options they share."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from codemix.errors import CodemixError, Problem
from codemix.recipe import read, rules
from codemix.recipe.plan import Plan, Pool

RecipeArg = Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)]
StoreOption = Annotated[Path, typer.Option("--store", envvar="CODEMIX_STORE", help="Folder of everything that is built.")]
DataRootOption = Annotated[Path, typer.Option("--data-root", envvar="CODEMIX_DATA_ROOT", help="Local paths in the recipe are below this folder.")]
WorkersOption = Annotated[int, typer.Option("--workers", "-w", min=1, help="Processes that build data. Never changes a result.")]
ExecutorOption = Annotated[str, typer.Option("--executor", help="Where data is built: local, ray or slurm.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
STORE, DATA_ROOT = Path("store"), Path(".")


@dataclass
class Context:
    """A recipe in a store: what it says, what exists, what will happen."""

    source: read.Source
    store: Any  # data.store.Store
    data_root: Path
    found: dict[str, Any]  # source -> data.build.Found
    checked: rules.Checked

    @property
    def plan(self) -> Plan:
        return self.checked.require()

    @property
    def manifests(self) -> dict[str, Any]:
        """Manifests of every source that the stages read. Raises CodemixError when one is not built."""
        used = {s.source for stage in self.checked.plan.stages for s in stage.sources}
        missing = [f"{n}: {self.found[n].reason}" for n in sorted(used) if self.found[n].manifest is None]
        if missing:
            raise CodemixError("the data is not built yet", hints=(*missing, f"run `codemix build-data {self.source.document.file}`"), rule="not-built")
        return {n: f.manifest for n, f in self.found.items() if f.manifest is not None}


def load(recipe: Path, store: Path, data_root: Path) -> Context:
    """Read, look at the store, plan. Raises CodemixError for a recipe that cannot be read; `Context.plan` for one that cannot work."""
    from codemix.data.build import find
    from codemix.data.store import Store

    source = read.read_recipe(recipe)
    opened = Store(store)
    found = find(source.recipe, opened, data_root)
    return Context(source, opened, data_root, found, rules.check(source, pools(found)))


def pools(found: dict[str, Any]) -> dict[str, Pool]:
    """Exact pools of the sources that are built."""
    out = {}
    for name, f in found.items():
        if f.manifest is not None:
            train = f.manifest.splits["train"]
            out[name] = Pool(tuple(s["tokens"] for s in train["shards"]), train["documents"], True, f.fingerprint)
    return out


def show_warnings(checked: rules.Checked) -> None:
    for warning in checked.warnings:
        print(warning.render() + "\n", file=sys.stderr)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def problem(what: str, *hints: str, rule: str = "") -> CodemixError:
    return CodemixError(Problem(what, hints=hints, rule=rule))
