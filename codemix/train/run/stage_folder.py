"""The folder of a stage: made under `.building/`, in its place in the store when it is whole."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.stages import finished_facts, names_in_folder
from codemix.data.store.store import in_the_way, write_json, write_text
from codemix.errors import CodemixError
from codemix.recipe.language.yaml_text import dump
from codemix.recipe.planning.stage_identity import renamed
from codemix.train.run import hosts, lineage
from codemix.train.run.context import RunContext

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan


LINEAGE = "lineage.json"


@contextlib.contextmanager
def building(context: RunContext, stage: StagePlan) -> Iterator[Path | None]:
    """The folder in which a stage is made, its place in the store when this ends well; None when another run was
    faster.

    Where processes share no folder, it is the first one's that becomes the stage.
    """
    _refuse_other_stages(stage)
    final = lineage.stage_dir(context.store, stage)
    work = context.store.work(final)
    with context.store.begin(final) if hosts.is_first() else contextlib.nullcontext(work) as begun:
        if begun is None and not lineage.is_done(final):
            raise in_the_way(final, ["done.json"])
        if hosts.any_of(begun is None):
            yield None
            return
        if hosts.is_first():
            _begin(context, stage, work)
        with _folder_of_this_process(context, stage, work) as folder:
            yield folder
            hosts.barrier(f"end {stage.fingerprint}")
            if hosts.is_first():
                context.store.publish(final)
            hosts.barrier(f"done {stage.fingerprint}")


@contextlib.contextmanager
def _folder_of_this_process(context: RunContext, stage: StagePlan, work: Path) -> Iterator[Path]:
    """`work`, once it is there; where processes share no folder, all but the first have another one, for what they
    read of it, one for those of a machine. It is empty at the beginning and gone at the end."""
    apart = context.store.root / ".others" / work.name
    shutil.rmtree(apart, ignore_errors=True)
    hosts.barrier(f"begin {stage.fingerprint}")
    if not context.is_apart:
        _refuse_separate_stores(context, work)
        yield work
        return
    record = hosts.of_first(_text(work / LINEAGE))
    if hosts.is_first():
        yield work
        return
    write_text(apart / LINEAGE, record)
    yield apart
    shutil.rmtree(apart, ignore_errors=True)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _refuse_other_stages(stage: StagePlan) -> None:
    """Raises CodemixError, in every process, where one trains another stage than the first."""
    of_first = hosts.of_first(stage.fingerprint)
    if hosts.any_of(stage.fingerprint != of_first):
        raise CodemixError(
            f"the processes of this run do not train the same: stage `{stage.name}` is {stage.fingerprint[:12]} "
            f"here and {of_first[:12]} in the first",
            hints=["give every process the same recipe, codemix and data"],
            rule="hosts-differ",
        )


def _refuse_separate_stores(context: RunContext, work: Path) -> None:
    """Raises CodemixError, in every process, where one does not see what the first has written."""
    if hosts.any_of(not (work / LINEAGE).exists()):
        raise CodemixError(
            f"the store {context.store.root} is not one folder for all processes of this run",
            hints=[
                "choose a folder on a file system that every host sees with `--store`: "
                "all of them write into one checkpoint",
            ],
            rule="store-not-shared",
        )


def _begin(context: RunContext, stage: StagePlan, work: Path) -> None:
    if (work / LINEAGE).exists():  # its files go on with the names that they began with
        return
    _note_stopped(stage, work)
    record = lineage.lineage(context.plan, stage, context.manifests, context.tokenizer)
    recipe = context.plan.recipe.model_dump(mode="json", by_alias=True)
    write_text(work / "recipe.yaml", dump(recipe))
    write_json(work / LINEAGE, record)


@dataclasses.dataclass(frozen=True)
class Begun:
    """A stage with its data, its sources called as they were when it was begun."""

    context: RunContext
    stage: StagePlan


def as_begun(context: RunContext, stage: StagePlan, work: Path) -> Begun:
    """The stage by the names in its folder, so that a source renamed half-way keeps one name in all its
    files."""
    names = names_in_folder(work, stage)
    manifests = {}
    for now, then in names.items():
        manifests[then] = context.manifests[now]
    same_data = dataclasses.replace(context, manifests=manifests)
    same_stage = renamed(stage, names)
    return Begun(same_data, same_stage)


def _note_stopped(stage: StagePlan, work: Path) -> None:
    """Say which stopped stages of this name are not the one that begins:
    a changed recipe resumes none of them.
    """
    for checkpoints in sorted(work.parent.glob(f"{stage.name}-*/checkpoints")):
        other = checkpoints.parent
        steps = [int(path.name) for path in checkpoints.iterdir() if path.name.isdigit()]
        same_name = len(other.name) == len(work.name)  # not a stage whose name begins like this one's
        if steps and same_name:
            print(
                f"note: `{stage.name}` begins at step 0: {other} stopped after step {max(steps):,} and is a "
                "different stage, the recipe has changed since\n"
                f"hint: `codemix diff {other}/recipe.yaml RECIPE` shows the change; "
                "undo it to resume from there, or delete that folder",
                file=sys.stderr,
                flush=True,  # also under --quiet: it costs a run
            )


def finish(stage: StagePlan, work: Path, ledger: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write what marks a stage as whole; done.json last."""
    if not hosts.is_first():
        return
    write_json(work / "ledger.json", ledger)
    done = {**finished_facts(stage), **facts}
    write_json(work / "done.json", done)
