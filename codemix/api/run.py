"""A recipe in a store, for programs and notebooks: plan, build, batches, train, evaluate, report.

    run = codemix.open("recipe.yaml", store="store")

The command line calls the same functions. What the store holds already is not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.api import preflight, scoring
from codemix.data.store.store import Store
from codemix.data.workspace import Workspace, open_workspace
from codemix.errors import CodemixError, Problem
from codemix.recipe.checks import validation
from codemix.recipe.language.lists import one_or_several
from codemix.recipe.language.recipe_file import RecipeFile, read_recipe

PathLike = str | Path

if TYPE_CHECKING:
    from codemix.data.execution.runner import Executor
    from codemix.data.export.export import Export
    from codemix.data.loader.stage_sequence import StageRows
    from codemix.data.loader.step_source import Batch, RowRanges
    from codemix.data.store.manifest import Manifest
    from codemix.eval.options import EvalOptions
    from codemix.recipe.planning.plan import Plan
    from codemix.train.run.options import StepMetrics, TrainOptions
    from codemix.train.run.stage_log import StageLog


def open_run(recipe: PathLike, store: PathLike | Store = "store", data_root: PathLike = ".") -> Run:
    """The recipe in a YAML file, in a store; `codemix.open`. Local paths in the recipe are below `data_root`.

    Raises CodemixError with every syntax and schema problem of the file. Nothing is built or trained yet.
    """
    recipe_file = read_recipe(recipe)
    place = Store.of(store)
    root = Path(data_root)
    return Run(recipe_file, place, root)


@dataclass(frozen=True)
class Finished:
    """Everything that a finished run left in the store."""

    stages: dict[str, Path]  # stage -> its folder
    scores: scoring.Scores
    report: Path  # the HTML page


@dataclass(frozen=True, repr=False)
class Run:
    """A recipe in a store. Every method raises CodemixError for whatever a user can mend."""

    recipe_file: RecipeFile
    store: Store
    data_root: Path

    def __repr__(self) -> str:
        return f"Run({self.recipe_file.document.file}, store={self.store.root})"

    @property
    def workspace(self) -> Workspace:
        """The recipe, looked up in the store as it is now: what is built, what is planned."""
        return open_workspace(self.recipe_file, self.store, self.data_root)

    @property
    def plan(self) -> Plan:
        """What will happen, in whole tokens: exact for built sources, from declared sizes elsewhere."""
        return self.workspace.plan

    @property
    def warnings(self) -> list[Problem]:
        """What the literature advises against in this recipe."""
        return list(self.workspace.checked.warnings)

    def build(
        self, *, workers: int = 1, executor: Executor = "local", only: Collection[str] = ()
    ) -> dict[str, Manifest]:
        """Read, filter, deduplicate and tokenize what the store lacks; the manifests, by source."""
        only = one_or_several(only)
        preflight.before_building(
            self.recipe_file,
            validation.check(self.recipe_file).require(),
            self.store,
            self.data_root,
            executor=executor,
            only=only,
        )
        return self._build(workers, executor, only)

    def _build(self, workers: int, executor: Executor, only: Collection[str] = ()) -> dict[str, Manifest]:
        from codemix.data.build.build import build
        from codemix.recipe.language.finding import placed_in

        with placed_in(self.recipe_file.document):
            return build(
                self.recipe_file.recipe,
                self.store,
                data_root=self.data_root,
                workers=workers,
                executor=executor,
                only=list(only) or None,
            )

    def stage(self, name: str) -> StageRows:
        """A stage as a sequence: `[row]` for what a row reads, `.steps[step]` for a batch, for any trainer.

        Its data must be built; nothing is trained, and JAX is not imported. Raises CodemixError
        (`unknown-stage`, `not-built`).
        """
        from codemix.data.loader.stage_data import stage_sentinels, training_shards
        from codemix.data.loader.stage_sequence import StageRows
        from codemix.data.loader.step_source import StepSource

        workspace = self.workspace
        chosen = workspace.plan.stage(name)
        manifests = workspace.manifests
        shards = training_shards(chosen, manifests)
        tokenizer = next(iter(manifests.values())).tokenizer
        sentinels = stage_sentinels(chosen, tokenizer)
        return StageRows(StepSource(chosen, shards, sentinels=sentinels))

    def log(self, stage: str, folder: PathLike) -> StageLog:
        """The log that another trainer writes of a stage: `log.step(step, loss=loss)` after each step,
        `log.close()` after the last. `report` and `codemix report --run` read it.

        Raises CodemixError (`unknown-stage`, `not-built`, `foreign-log`).
        """
        from codemix.train.run.stage_log import StageLog

        workspace = self.workspace
        chosen = workspace.plan.stage(stage)
        return StageLog(workspace.plan, chosen, workspace.manifests, Path(folder))

    def batches(
        self, stage: str, *, start: int = 0, rows: RowRanges = None, prefetch: int = 2
    ) -> Iterator[tuple[int, Batch]]:
        """`(step, batch)` of a stage from step `start` on: what the trainer reads, for any trainer.

        A batch is a dict of NumPy arrays (codemix/data/loader/batches.py lists them). It depends on the step
        alone, so a trainer that resumes at a step asks for `start=step`. `rows` are the rows of each batch
        that this host holds; None for all.
        """
        from codemix.data.loader.batches import batches
        from codemix.data.loader.stage_data import stage_sentinels, training_shards

        workspace = self.workspace
        chosen = workspace.plan.stage(stage)
        if not 0 <= start <= chosen.steps:
            raise CodemixError(
                f"step {start:,} is outside stage `{stage}`",
                hints=[f"it has the steps 0 to {chosen.steps - 1:,}"],
                rule="step-outside",
            )
        manifests = workspace.manifests
        shards = training_shards(chosen, manifests)
        tokenizer = next(iter(manifests.values())).tokenizer
        sentinels = stage_sentinels(chosen, tokenizer)
        return batches(
            chosen, shards, start_step=start, row_ranges=rows, prefetch=prefetch, sentinels=sentinels
        )

    def plan_export(self, format: str, *, materialize: str | None = None) -> Export:
        """What `codemix export-data` writes for another trainer: `write_export` of
        codemix/data/export/exporter.py writes it.

        `materialize` names a stage whose rows are written in their order. Raises CodemixError
        (`export-format`, `unknown-stage`, `not-built`).
        """
        from codemix.data.encoding.tokenizer import stored_tokenizer
        from codemix.data.export.exporter import plan_export
        from codemix.data.export.formats import format_named

        writer = format_named(format)
        workspace = self.workspace
        stage = None if materialize is None else workspace.plan.stage(materialize)
        manifests = workspace.manifests
        sha256 = next(iter(manifests.values())).tokenizer["sha256"]
        tokenizer = stored_tokenizer(workspace.store, sha256)
        return plan_export(workspace.plan, manifests, writer, tokenizer.path, stage)

    def train(
        self,
        options: TrainOptions | None = None,
        *,
        on_step: Callable[[StepMetrics], None] | None = None,
    ) -> dict[str, Path]:
        """Train every stage that the store lacks; the stages' folders, by name.

        Interrupted training resumes from its newest checkpoint. `on_step` is called after every step with its
        numbers; an error that it raises stops the training. Raises KeyboardInterrupt after Ctrl-C and
        SystemExit(0) after SIGTERM, both after a checkpoint.
        """
        from codemix.train.run.options import TrainOptions

        options = replace(options or TrainOptions(), data_root=self.data_root)
        if on_step is not None:
            options = replace(options, on_step=on_step)
        return self._train(self.workspace, options)

    def _train(self, workspace: Workspace, options: TrainOptions) -> dict[str, Path]:
        from codemix.train.run.session import train

        plan = workspace.plan
        if options.hosts is None:  # processes that must first meet check for themselves
            lacking = preflight.before_training(plan, workspace.store, options)
            preflight.refuse(lacking)
        folders = train(plan, workspace.store, workspace.manifests, options=options)
        names = [stage.name for stage in plan.stages]
        return dict(zip(names, folders, strict=False))

    def evaluate(self, options: EvalOptions | None = None, *, stage: str | None = None) -> scoring.Scores:
        """Score one trained stage, or every stage."""
        from codemix.eval.options import EvalOptions

        workspace = self.workspace
        stages = scoring.trained_stages(workspace, stage)
        return scoring.evaluate_stages(workspace, stages, options or EvalOptions())

    def report(self, options: EvalOptions | None = None, *, logs: Sequence[PathLike] = ()) -> Path:
        """Write the report of the stages that are trained; the path of its HTML page.

        `logs` are folders of stages that another trainer trained: see `log`.
        """
        from codemix.eval.options import EvalOptions

        folders = list(map(Path, one_or_several(logs)))
        options = options or EvalOptions()
        return self._report(self.workspace, options, folders)

    def _report(self, workspace: Workspace, options: EvalOptions, folders: list[Path]) -> Path:
        from codemix.train.run.stage_log import logs_by_stage

        logged = logs_by_stage(folders)
        trained = []
        for stage in workspace.plan.stages:
            if stage.fingerprint not in logged and workspace.is_trained(stage):
                trained.append(stage)
        if not trained and not folders:
            raise CodemixError(
                "no stage is trained yet",
                hints=[f"run `codemix train {self.recipe_file.document.file}`"],
                rule="not-trained",
            )
        scores = scoring.evaluate_stages(workspace, trained, options)
        return scoring.write_report(workspace, trained, scores, list(logged.values()))

    def finish(
        self,
        *,
        workers: int = 1,
        executor: Executor = "local",
        training: TrainOptions | None = None,
        evaluation: EvalOptions | None = None,
        on_built: Callable[[Workspace], None] | None = None,
    ) -> Finished:
        """Build, train, evaluate and report, whatever of it the store lacks: `codemix run`.

        What this machine lacks for any of it is reported first, all together. `on_built` is called between
        building and training, when every size is exact.
        """
        from codemix.eval.options import EvalOptions
        from codemix.train.run.options import TrainOptions

        training = replace(training or TrainOptions(), data_root=self.data_root)
        evaluation = replace(evaluation or EvalOptions(), data_root=self.data_root)
        self._refuse_unfinishable(executor, training, evaluation)
        self._build(workers, executor)
        workspace = self.workspace  # from here on inputs may change: what is trained is what was built
        if on_built is not None:
            on_built(workspace)
        folders = self._train(workspace, training)
        scores = scoring.evaluate_stages(workspace, scoring.trained_stages(workspace), evaluation)
        return Finished(folders, scores, self._report(workspace, evaluation, []))

    def _refuse_unfinishable(
        self, executor: Executor, training: TrainOptions, evaluation: EvalOptions
    ) -> None:
        """Raises CodemixError with what building, training and scoring lack on this machine."""
        plan = validation.check(self.recipe_file).require()
        lacking = preflight.before_training(plan, self.store, training)
        if unscorable := preflight.before_scoring(self.recipe_file, evaluation):
            exact = self.plan  # of exact sizes, where the data is built already
            lacking += [] if preflight.all_trained(exact, self.store) else unscorable
        preflight.before_building(
            self.recipe_file, plan, self.store, self.data_root, executor=executor, also=lacking
        )
