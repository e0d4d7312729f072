"""Which finished outputs recipes need, and which of them a stage's training reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from codemix.data.store.finished import PREFIX, belonging, named_by
from codemix.data.store.store import Store
from codemix.data.workspace import Workspace
from codemix.errors import CodemixError, Problem
from codemix.recipe import lock as locks
from codemix.recipe.planning.plan import StagePlan, lineage


def outputs_of(workspaces: Iterable[Workspace], store: Store) -> list[str]:
    """What of a store belongs to recipes, as they are and as their locks say: data, what it was made from, and
    stages with their scores and reports.

    Raises CodemixError where the store cannot read one of them.
    """
    fingerprints: set[str] = set()
    for workspace in workspaces:
        _refuse_unreadable_data(workspace, store)
        fingerprints |= fingerprints_of(workspace)
    folders = belonging(store.root, fingerprints)
    _refuse_unreadable(store, fingerprints, folders)
    return [name_in(store, folder) for folder in folders]


def _refuse_unreadable(store: Store, fingerprints: Iterable[str], folders: Iterable[Path]) -> None:
    """Raises CodemixError for an unreadable output that is asked for, or that one of these folders names."""
    if not store.unreadable:
        return
    named = named_by(folders)
    named.update(fingerprint[:PREFIX] for fingerprint in fingerprints)
    _refuse(store, lambda output: output[-PREFIX:] in named)


def _refuse_unreadable_data(workspace: Workspace, store: Store) -> None:
    """Raises CodemixError for an unreadable output that is a source's data, or may be: its inputs are not here to
    tell."""
    names = []
    for source, state in workspace.found.items():
        name = re.escape(source)
        fingerprint = state.fingerprint or "." * PREFIX
        names.append(f"data/{name}-{fingerprint[:PREFIX]}")
    data = re.compile("|".join(names))
    _refuse(store, lambda output: data.fullmatch(output) is not None)


def _refuse(store: Store, is_needed: Callable[[str], bool]) -> None:
    problems: list[Problem] = []
    for output, error in store.unreadable.items():
        if is_needed(output):
            problems += error.problems
    if problems:
        raise CodemixError(*problems)


def fingerprints_of(workspace: Workspace) -> set[str]:
    """Of a recipe's data, as found and as locked, of what it is made from while it is not built, and of its stages."""
    fingerprints = {stage.fingerprint for stage in _all_stages(workspace)}
    for state in workspace.found.values():
        fingerprints |= state.made_from
        if state.fingerprint:
            fingerprints.add(state.fingerprint)
    lock = Path(workspace.source.document.file).with_suffix(".lock")
    if lock.exists():
        fingerprints |= locks.fingerprints(locks.read(lock))
    return fingerprints


def _all_stages(workspace: Workspace) -> list[StagePlan]:
    """The recipe's stages, and those of other recipes that they start from."""
    stages: list[StagePlan] = []
    for stage in workspace.checked.plan.stages:
        stages += lineage(stage)
    return stages


def read_by_training(workspace: Workspace, stage: str | None = None) -> list[str]:
    """What training reads: tokens, their tokenizer, and what is trained of the stages before; of one stage, or
    of all.

    Raises CodemixError for an unknown stage, and where its data is not built, or the store cannot read it.
    """
    plan = workspace.plan
    stages = plan.stages if stage is None else [plan.stage(stage)]
    store = workspace.store
    _refuse_unreadable_data(workspace, store)
    manifests = workspace.manifests
    folders: list[Path] = []
    for planned in stages:
        for source in planned.sources:
            manifest = manifests[source.source]
            tokenizer = manifest.identity["tokenizer"]
            folders.append(store.path("tokenizers", tokenizer[:12]))
            folders.append(manifest.folder)
        before = lineage(planned) if stage is None else lineage(planned)[:-1]
        folders += map(workspace.stage_dir, before)
    there = [folder for folder in folders if folder.is_dir()]
    wanted = {name_in(store, folder) for folder in folders}
    _refuse(store, lambda output: output in wanted)
    names = [name_in(store, folder) for folder in there]
    return sorted(set(names))


def name_in(store: Store, folder: Path) -> str:
    """The name of an output: its folder's path inside the store."""
    inside = folder.absolute().relative_to(store.root.absolute())
    return inside.as_posix()
