"""The comparison of trained recipes: `codemix.compare`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.api.scoring import whole_run
from codemix.api.workspaces import workspaces
from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.recipe.language.lists import one_or_several

if TYPE_CHECKING:
    from codemix.data.workspace import Workspace
    from codemix.eval.compare.run_inputs import RunInputs
    from codemix.eval.options import EvalOptions


def compare(
    recipes: str | Path | Sequence[str | Path],
    store: str | Path | Store = "store",
    data_root: str | Path = ".",
    *,
    baseline: str | None = None,
    question: str | None = None,
    winrates: Sequence[str | Path] = (),
    overlay_paper: bool = False,
    options: EvalOptions | None = None,
    logs: Sequence[str | Path] = (),
) -> Path:
    """Compare trained recipes, or those of a study; the path of the HTML page, its Markdown and JSON twins beside it.

    `baseline` names the recipe that changes are relative to (default: the first), `question` what the page should
    answer (default: the study's), `winrates` results of `codemix eval winrate`, and `logs` folders of stages that
    another trainer trained. A recipe that is not trained is left out, with a warning on standard error. Raises
    CodemixError where fewer than two are trained.
    """
    from codemix.eval.compare.page import compare as write
    from codemix.eval.options import EvalOptions
    from codemix.train.run.stage_log import logs_by_stage

    paths = list(map(Path, one_or_several(recipes)))
    folders = list(map(Path, one_or_several(logs)))
    asked, found = workspaces(paths, store, Path(data_root))
    runs = _Runs(options or EvalOptions(), logs_by_stage(folders))
    _refuse_stray_logs(runs.logs, found)
    for workspace in found:
        runs.add(workspace)
    runs.require_two()
    return write(
        runs.inputs,
        store=found[0].store,
        question=question or asked,
        baseline=baseline,
        overlay_paper=overlay_paper,
        winrates=list(map(Path, one_or_several(winrates))),
        missing=runs.missing,
    )


@dataclass(frozen=True)
class _Runs:
    """The runs to compare, and the recipes that have none."""

    options: EvalOptions
    logs: Mapping[str, Path]  # of other trainers, by stage fingerprint
    inputs: list[RunInputs] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, workspace: Workspace) -> None:
        """A recipe's run here, and its run in another trainer, as far as there are."""
        name = workspace.source.recipe.name
        stages = {stage.fingerprint for stage in workspace.plan.stages}
        its_logs = {stage: log for stage, log in self.logs.items() if stage in stages}
        here = whole_run(workspace, {}, self.options)
        if here is not None:
            self.inputs.append(here)
        elif not its_logs:
            self.missing.append(name)
        if not its_logs:
            return
        elsewhere = whole_run(workspace, its_logs, self.options)
        if elsewhere is not None:
            self.inputs.append(elsewhere)
        else:
            self.missing.append(f"{name} (another trainer)")

    def require_two(self) -> None:
        """Says which recipes are left out. Raises CodemixError where fewer than two runs remain."""
        if self.missing:
            names = ", ".join(self.missing)
            warning = f"warning: left out, because not every stage is trained: {names}\n"
            print(warning, file=sys.stderr)
        if len(self.inputs) < 2:
            raise CodemixError(
                "a comparison needs two trained runs",
                hints=["`codemix train` each recipe, or `codemix study run` the study"],
                rule="not-trained",
            )


def _refuse_stray_logs(logs: Mapping[str, Path], found: Sequence[Workspace]) -> None:
    """Raises CodemixError for a log of a stage that none of the recipes has."""
    known = {stage.fingerprint for workspace in found for stage in workspace.plan.stages}
    for fingerprint, folder in logs.items():
        if fingerprint not in known:
            raise CodemixError(
                f"{folder} is the log of a stage that none of these recipes has",
                hints=["name its recipe too; a recipe or data that changed since make another stage"],
                rule="foreign-log",
            )
