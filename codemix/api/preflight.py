"""What would stop a command, asked of every part before the first byte is read, and reported together."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.data.store.stages import is_done, stage_dir
from codemix.errors import CodemixError, Problem

if TYPE_CHECKING:
    from codemix.data.store.store import Store
    from codemix.data.workspace import Workspace
    from codemix.eval.options import EvalOptions
    from codemix.recipe.language import recipe_file
    from codemix.recipe.planning.plan import Plan, StagePlan
    from codemix.train.run.options import TrainOptions


def before_building(
    source: recipe_file.RecipeFile,
    plan: Plan,
    store: Store,
    data_root: Path,
    *,
    executor: str,
    only: Collection[str] = (),
    also: Iterable[Problem] = (),
) -> None:
    """Raises CodemixError with all that is lacking, `also` included;
    warns where the disk may be too small.
    """
    from codemix.data.build.packages import build_lacks
    from codemix.recipe.language.component import refuse_clashes

    refuse_clashes()
    _warn_of_disk(plan, store)
    refuse([*build_lacks(source, store, data_root, executor=executor, only=only), *also])


def all_trained(plan: Plan, store: Store) -> bool:
    """Whether the store holds every stage of the plan."""
    return not untrained_stages(plan, store)


def untrained_stages(plan: Plan, store: Store) -> list[StagePlan]:
    """The stages of the plan that the store lacks."""
    untrained = []
    for stage in plan.stages:
        folder = stage_dir(store, stage)
        if not is_done(folder):
            untrained.append(stage)
    return untrained


def before_training(plan: Plan, store: Store, options: TrainOptions) -> list[Problem]:
    """What would stop training these stages; nothing when all are trained."""
    if all_trained(plan, store):
        return []
    from codemix.train.run.preflight import problems

    return problems(plan, options)


def before_scoring(source: recipe_file.RecipeFile, options: EvalOptions) -> list[Problem]:
    """What would stop scoring the recipe's tasks."""
    if not source.recipe.evaluation.tasks:
        return []
    from codemix.eval.measure.requirements import problems

    return problems(source, options)


def missing_here(context: Workspace, options: EvalOptions) -> list[Problem]:
    """What `build-data`, `train` or `run` would stop at on this machine, for what the store lacks;
    a model to start from that is absent or does not fit; a disk too small; and what `eval` would stop at.
    """
    from codemix.data.build.packages import build_lacks

    lacking = list(build_lacks(context.source, context.store, context.data_root))
    if any(stage.pretrained for stage in untrained_stages(context.plan, context.store)):
        from codemix.recipe.language.finding import located
        from codemix.train.run import pretrained

        of_models = pretrained.findings(context.plan, context.data_root)
        lacking += located(of_models, context.source.document)
    disk = disk_warning(context.plan, context.store)
    if disk is not None:
        lacking.append(disk)
    return lacking + before_scoring(context.source, options)


def refuse(problems: Iterable[Problem]) -> None:
    """Raises CodemixError when there are any."""
    found = tuple(dict.fromkeys(problems))
    if found:
        raise CodemixError(*found)


def disk_warning(plan: Plan, store: Store) -> Problem | None:
    """A warning when the store's disk has less room than the plan is estimated to need beyond what is there."""
    from codemix.recipe.planning import cost_estimate

    unbuilt = {
        s.source
        for stage in plan.stages
        for s in stage.sources
        if not any(store.root.glob(f"data/{s.source}-*"))
    }
    needed = cost_estimate.disk_bytes(plan, unbuilt, untrained_stages(plan, store))
    free = free_bytes(store.root)
    if needed <= free:
        return None
    what = f"the plan is estimated to need {cost_estimate.show_bytes(needed)} and the disk of {store.root} has {cost_estimate.show_bytes(free)} free"
    hints = (
        "make room, or choose another disk with `--store`",
        "if a declared `tokens:` is too large, correct it",
    )
    return Problem(what, hints=hints, rule="disk-too-small", severity="warning")


def free_bytes(path: Path) -> int:
    """Free bytes where a folder is, or will be."""
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _warn_of_disk(plan: Plan, store: Store) -> None:
    if warning := disk_warning(plan, store):
        print(warning.render() + "\n", file=sys.stderr)
