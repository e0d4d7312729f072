"""Running a study: the tree of its stages, each trained and scored once, whoever shares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codemix.data.build.build import build
from codemix.data.build.packages import build_lacks
from codemix.data.execution.nodes import SharedFolder
from codemix.data.execution.runner import Executor, Resources, run_tasks
from codemix.data.store.store import Store
from codemix.data.workspace import Workspace, open_workspace
from codemix.errors import CodemixError
from codemix.eval.measure import requirements
from codemix.eval.measure.evaluate import EvalOptions, evaluate
from codemix.eval.measure.request import results_path
from codemix.progress import progress
from codemix.recipe.checks import validation
from codemix.recipe.language.finding import placed_in
from codemix.recipe.planning.plan import StagePlan
from codemix.recipe.studies.stage_tree import Tree, tree
from codemix.recipe.studies.study import load_study, recipes


def contexts(path: Path, store: Path | Store, data_root: Path) -> list[Workspace]:
    """A workspace for each point of the study in `path`."""
    opened = Store.of(store)
    points = recipes(load_study(path))
    workspaces = []
    for recipe_file in points.values():
        workspaces.append(open_workspace(recipe_file, opened, data_root))
    return workspaces


def build_study(
    path: Path, store: Path, data_root: Path, *, workers: int = 1, executor: Executor = "local"
) -> list[Workspace]:
    """Build the data of every point; points that read the same sources build them once."""
    points = list(recipes(load_study(path)).values())
    lacking = []
    for point in points:
        lacking += build_lacks(point, Store(store), data_root, executor=executor)
    if lacking:
        raise CodemixError(*dict.fromkeys(lacking))
    for point in points:
        validation.check(point).require()
        with placed_in(point.document):
            build(point.recipe, Store(store), data_root=data_root, workers=workers, executor=executor)
    return contexts(path, store, data_root)


@dataclass(frozen=True)
class StageTask:
    """Trains and scores one stage of a study, wherever it is run:
    everything it needs is in the study and the store.
    """

    study: Path
    store: Path
    data_root: Path
    recipe: str
    stage: int
    name: str
    size: int  # bytes of its text, at four per token
    done: Path  # its scores
    options: EvalOptions

    def reads(self) -> list[Path]:
        return [self.store]

    def run(self) -> None:
        for workspace in contexts(self.study, self.store, self.data_root):
            if workspace.source.recipe.name == self.recipe:
                train_and_score(workspace, self.stage, self.options)
                return
        raise AssertionError(f"the study has no point {self.recipe}")


def train_and_score(context: Workspace, index: int, options: EvalOptions) -> None:
    """Train one stage whose parent is in the store, and score it; what is there already is not done again."""
    from codemix.train.run.options import TrainOptions
    from codemix.train.run.session import train_stage

    place = TrainOptions(data_root=context.data_root)
    folder = train_stage(context.plan, index, context.store, context.manifests, options=place)
    if folder is not None:
        evaluate(context.plan, index, context.store, context.manifests, folder, options=options)


def run_study(
    path: Path,
    store: Path,
    data_root: Path,
    *,
    workers: int = 1,
    executor: Executor = "local",
    options: EvalOptions | None = None,
) -> Tree:
    """Build, train and score every point. Stages run parents first; with several workers, Ray or Slurm, those
    of one depth run beside each other. Raises CodemixError naming the stages that failed, after the others of
    their depth.
    """
    if executor != "local" and Store(store).is_shared:
        raise CodemixError(
            f"the stages of a study train where its store is a folder, and `--executor {executor}` has none in common",
            hints=["leave `--executor` out, or give `--store` a folder that all nodes share"],
            rule="store-not-local",
        )
    options = options or EvalOptions(data_root=data_root)
    _require(path, store, data_root, options)
    points = build_study(path, store, data_root, workers=workers, executor=executor)
    by_name = {point.source.recipe.name: point for point in points}
    stages = tree({name: point.plan for name, point in by_name.items()})
    steps = []
    for depth, node in stages.walk():
        sharing = [by_name[name] for name in node.recipes]
        steps.append(_step(depth, node.fingerprint, sharing))
    if workers == 1 and executor == "local":
        _one_by_one(steps, options)
    else:
        deepest = max(step.depth for step in steps)
        for depth in range(1 + deepest):
            tasks = [_task(path, step, options) for step in steps if step.depth == depth]
            run_tasks(
                tasks,
                label=f"training, depth {depth}",
                resources=Resources(workers, executor),
                nodes=SharedFolder(Store(store).root / ".building" / "study"),
            )
    return stages


@dataclass(frozen=True)
class Step:
    """A stage of the study's tree, and one of the points that share it."""

    depth: int
    context: Workspace
    index: int

    @property
    def stage(self) -> StagePlan:
        return self.context.plan.stages[self.index]


def _step(depth: int, fingerprint: str, sharing: Sequence[Workspace]) -> Step:
    for context in sharing:
        for index, stage in enumerate(context.plan.stages):
            if stage.fingerprint == fingerprint:
                return Step(depth, context, index)
    raise AssertionError(f"no point has the stage {fingerprint}")


def _require(path: Path, store: Path, data_root: Path, options: EvalOptions) -> None:
    """Raises CodemixError with all that scoring the study's tasks would stop at,
    unless every stage is trained.
    """
    points = recipes(load_study(path)).values()
    lacking = dict.fromkeys(
        problem for source in points for problem in requirements.problems(source, options)
    )
    if not lacking:
        return
    for context in contexts(path, store, data_root):
        if not all(context.is_trained(stage) for stage in context.plan.stages):
            raise CodemixError(*lacking)


def _one_by_one(steps: Sequence[Step], options: EvalOptions) -> None:
    """In this process, so that stages of one shape share the compiled step."""
    ordered = sorted(steps, key=lambda step: step.depth)
    with progress("study", len(ordered), "stages") as advance:
        for step in ordered:
            train_and_score(step.context, step.index, options)
            advance(1, step.stage.name)


def _task(path: Path, step: Step, options: EvalOptions) -> StageTask:
    context = step.context
    index = step.index
    stage = step.stage
    if stage.index != index:
        raise CodemixError(f"stage `{stage.name}` is not where the plan says")
    options = replace(
        options, data=options.data and options.data.resolve(), data_root=options.data_root.resolve()
    )
    scores = results_path(context.plan, index, context.store, context.manifests, options)
    return StageTask(
        study=path.resolve(),
        store=context.store.root.resolve(),
        data_root=context.data_root.resolve(),
        recipe=context.source.recipe.name,
        stage=index,
        name=stage.name,
        size=4 * stage.tokens,
        done=scores.resolve(),
        options=options,
    )
