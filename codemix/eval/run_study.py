"""Running a study: the tree of its stages, each trained and scored once, whoever shares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codemix.data.build.build import build
from codemix.data.build.packages import build_lacks
from codemix.data.execution.runner import Executor, Resources, run_tasks
from codemix.data.store.store import Store
from codemix.data.workspace import Workspace, open_workspace
from codemix.errors import CodemixError
from codemix.eval.measure import requirements
from codemix.eval.measure.evaluate import EvalOptions, evaluate, results_path
from codemix.progress import progress
from codemix.recipe.checks import validation
from codemix.recipe.studies.stage_tree import Tree, tree
from codemix.recipe.studies.study import load_study, recipes


def contexts(path: Path, store: Path, data_root: Path) -> list[Workspace]:
    """A context for each point of the study in `path`."""
    opened = Store(store)
    return [open_workspace(source, opened, data_root) for source in recipes(load_study(path)).values()]


def build_study(
    path: Path, store: Path, data_root: Path, *, workers: int = 1, executor: Executor = "local"
) -> list[Workspace]:
    """Build the data of every point; points that read the same sources build them once."""
    points = list(recipes(load_study(path)).values())
    lacking = [
        p for source in points for p in build_lacks(source, Store(store), data_root, executor=executor)
    ]
    if lacking:
        raise CodemixError(*dict.fromkeys(lacking))
    for source in points:
        validation.check(source).require()
        build(source.recipe, Store(store), data_root=data_root, workers=workers, executor=executor)
    return contexts(path, store, data_root)


@dataclass(frozen=True)
class StageTask:
    """Trains and scores one stage of a study, wherever it is run: everything it needs is in the study and the store."""

    study: Path
    store: Path
    data_root: Path
    recipe: str
    stage: int
    name: str
    size: int  # bytes of its text, at four a token
    done: Path  # its scores
    options: EvalOptions

    def run(self) -> None:
        found = {c.source.recipe.name: c for c in contexts(self.study, self.store, self.data_root)}
        train_and_score(found[self.recipe], self.stage, self.options)


def train_and_score(context: Workspace, index: int, options: EvalOptions) -> None:
    """Train one stage whose parent is in the store, and score it; what is there already is not done again."""
    from codemix.train.run.session import train_stage

    folder = train_stage(context.plan, index, context.store, context.manifests)
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
    """Build, train and score every point. Stages run parents first; with several workers, Ray or Slurm, those of one depth
    run beside each other. Raises CodemixError naming the stages that failed, after the others of their depth."""
    options = options or EvalOptions(data_root=data_root)
    _require(path, store, data_root, options)
    loaded = {
        c.source.recipe.name: c
        for c in build_study(path, store, data_root, workers=workers, executor=executor)
    }
    made = tree({name: c.plan for name, c in loaded.items()})
    steps = []
    for depth, node in made.walk():
        context = next(
            loaded[name]
            for name in node.recipes
            if any(s.fingerprint == node.fingerprint for s in loaded[name].plan.stages)
        )
        index = next(i for i, s in enumerate(context.plan.stages) if s.fingerprint == node.fingerprint)
        steps.append((depth, context, index))
    if workers == 1 and executor == "local":
        _one_by_one(steps, options)
    else:
        for depth in range(1 + max(d for d, _, _ in steps)):
            tasks = [_task(path, c, i, options) for d, c, i in steps if d == depth]
            run_tasks(
                tasks,
                label=f"training, depth {depth}",
                resources=Resources(workers, executor),
                work=Store(store).root / ".building" / "study",
            )
    return made


def _require(path: Path, store: Path, data_root: Path, options: EvalOptions) -> None:
    """Raises CodemixError with all that scoring the study's tasks would stop at, unless every stage is trained."""
    points = recipes(load_study(path)).values()
    lacking = dict.fromkeys(
        problem for source in points for problem in requirements.problems(source, options)
    )
    if lacking and not all(
        c.is_trained(stage) for c in contexts(path, store, data_root) for stage in c.plan.stages
    ):
        raise CodemixError(*lacking)


def _one_by_one(steps: Sequence[tuple[int, Workspace, int]], options: EvalOptions) -> None:
    """In this process, so that stages of one shape share the compiled step."""
    with progress("study", len(steps), "stages") as advance:
        for _, context, index in sorted(steps, key=lambda s: s[0]):
            train_and_score(context, index, options)
            advance(1, context.plan.stages[index].name)


def _task(path: Path, context: Workspace, index: int, options: EvalOptions) -> StageTask:
    stage = context.plan.stages[index]
    if stage.index != index:
        raise CodemixError(f"stage `{stage.name}` is not where the plan says")
    options = replace(
        options, data=options.data and options.data.resolve(), data_root=options.data_root.resolve()
    )
    scores = results_path(context.plan, index, context.store, context.manifests, options)
    where = (path.resolve(), context.store.root.resolve(), context.data_root.resolve())
    return StageTask(
        *where, context.source.recipe.name, index, stage.name, 4 * stage.tokens, scores.resolve(), options
    )
