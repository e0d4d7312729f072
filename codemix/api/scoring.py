"""Scores of trained stages: measured, or found in the store, and shown as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.api import preflight
from codemix.data.store.store import read_json
from codemix.errors import CodemixError

if TYPE_CHECKING:
    from codemix.data.workspace import Workspace
    from codemix.eval.compare.run_inputs import RunInputs
    from codemix.eval.options import EvalOptions
    from codemix.recipe.planning.plan import StagePlan
    from codemix.tables import Table


@dataclass(frozen=True)
class Scores:
    """The scores of some stages of a recipe; in a notebook, its tables."""

    paths: Mapping[str, Path]  # stage -> its results.json
    tags: Mapping[str, Mapping[str, str]]  # source -> its tags, by which the tables sort

    @cached_property
    def results(self) -> dict[str, dict[str, Any]]:
        """What results.json holds, by stage."""
        by_stage = {}
        for stage, path in self.paths.items():
            by_stage[stage] = read_json(path)
        return by_stage

    def tables(self) -> list[Table]:
        """Bits per byte and tasks, the most trusted first."""
        from codemix.eval.pages.bits_table import bits_table
        from codemix.eval.pages.results import read_results
        from codemix.eval.pages.score_tables import task_tables
        from codemix.recipe.language.tags import family

        by_stage = {stage: [read_results(path)] for stage, path in self.paths.items()}
        families = {}
        for source, tags in self.tags.items():
            families[source] = family(dict(tags))
        page_tables = [bits_table(by_stage, families), *task_tables(by_stage)]
        with_rows = filter(lambda table: table.rows, page_tables)
        return [table.plain() for table in with_rows]

    def __repr__(self) -> str:
        return f"Scores({', '.join(self.paths)})"

    def _repr_markdown_(self) -> str:
        return "\n".join(table.markdown() for table in self.tables())

    def _repr_html_(self) -> str:
        return "\n".join(table.html() for table in self.tables())


def trained_stages(workspace: Workspace, name: str | None = None) -> list[StagePlan]:
    """The stage called `name`, or every stage. Raises CodemixError when one of them is not trained."""
    plan = workspace.plan
    wanted = [*plan.stages] if name is None else [plan.stage(name)]
    if missing := [stage.name for stage in wanted if not workspace.is_trained(stage)]:
        raise CodemixError(
            f"not trained yet: {', '.join(missing)}",
            hints=[f"run `codemix train {workspace.source.document.file}`"],
            rule="not-trained",
        )
    return wanted


def evaluate_stages(workspace: Workspace, stages: list[StagePlan], options: EvalOptions) -> Scores:
    """Score these trained stages; what the store holds is not measured again."""
    from codemix.eval.measure.evaluate import evaluate

    placed = replace(options, data_root=workspace.data_root)
    if not _all_scored(workspace, stages, placed):
        preflight.refuse(preflight.before_scoring(workspace.source, placed))
    paths = {
        stage.name: evaluate(
            workspace.plan,
            stage.index,
            workspace.store,
            workspace.manifests,
            workspace.stage_dir(stage),
            options=placed,
        )
        for stage in stages
    }
    return Scores(paths, {name: source.tags for name, source in workspace.source.recipe.sources.items()})


def _is_whole(workspace: Workspace, logs: Mapping[str, Path]) -> bool:
    """Whether every stage is finished: in its log, or in the store where no stage before it has a log, since
    the store's stage continues the store's own.
    """
    from codemix.data.store.stages import is_done
    from codemix.recipe.planning.plan import lineage

    for stage in workspace.plan.stages:
        log = logs.get(stage.fingerprint)
        if log is None:
            ancestors = {ancestor.fingerprint for ancestor in lineage(stage)}
            is_finished = workspace.is_trained(stage) and ancestors.isdisjoint(logs)
        else:
            is_finished = is_done(log)
        if not is_finished:
            return False
    return True


def whole_run(workspace: Workspace, logs: Mapping[str, Path], options: EvalOptions) -> RunInputs | None:
    """A run of the recipe, its stages scored; None where one of them is not finished.

    `logs` are what another trainer wrote, by stage fingerprint; they have no scores. A stage without a log is
    the one in the store.
    """
    if not _is_whole(workspace, logs):
        return None
    from codemix.eval.compare.run_inputs import RunInputs

    folders = []
    trained_here = []
    for stage in workspace.plan.stages:
        log = logs.get(stage.fingerprint)
        if log is None:
            trained_here.append(stage)
            log = workspace.stage_dir(stage)
        folders.append(log)
    scores = evaluate_stages(workspace, trained_here, options)
    results = list(scores.paths.values())
    return RunInputs(workspace.plan, workspace.manifests, folders, results)


def _all_scored(workspace: Workspace, stages: list[StagePlan], options: EvalOptions) -> bool:
    """Whether the results are there, which needs no sandbox; False also where a task's file is missing."""
    from codemix.eval.measure.request import results_path

    try:
        return all(
            results_path(workspace.plan, stage.index, workspace.store, workspace.manifests, options).is_file()
            for stage in stages
        )
    except CodemixError:
        return False


def write_report(
    workspace: Workspace, stages: list[StagePlan], scores: Scores, logs: Sequence[Path] = ()
) -> Path:
    """Write the report of trained stages, and of logs of others; the path of its HTML page."""
    from codemix.eval.report.page import report

    folders = [*map(workspace.stage_dir, stages), *logs]
    paths = [scores.paths[stage.name] for stage in stages]
    manifests = workspace.manifests
    return report(workspace.plan, workspace.store, manifests, folders, paths)
