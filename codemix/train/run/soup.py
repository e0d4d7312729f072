"""Averages of weights: a stage trained once a seed, all from one parent, and the mean of what comes out (a soup).

Each seed's training is a stage of its own in the store, the very one that `seed: n` in the recipe would give. The averaged
stage holds one checkpoint, the mean of their weights and of their Adam moments, so that later stages can keep either.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from codemix.data.store.store import read_json
from codemix.recipe.planning.plan import stage_fingerprint
from codemix.train.run import lineage
from codemix.train.run.checkpoint import Checkpoints, restore_final
from codemix.train.step.step import TrainState

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan
    from codemix.train.run.session import Session


def members(stage: StagePlan) -> tuple[StagePlan, ...]:
    """The stages whose weights are averaged: this one with each seed, named by the fingerprint that the seed alone would give."""
    spec = stage.spec.model_copy(update={"average_seeds": ()})
    return tuple(
        _named(dataclasses.replace(stage, seed=seed, spec=spec.model_copy(update={"seed": seed})))
        for seed in stage.spec.average_seeds
    )


def _named(stage: StagePlan) -> StagePlan:
    return dataclasses.replace(stage, fingerprint=stage_fingerprint(stage))


def soup(session: Session, stage: StagePlan) -> Path | None:
    """The finished folder of a stage with `average_seeds`; None when the run was paused before all of its members were done."""
    folders = [folder for member in members(stage) if (folder := session.stage(member)) is not None]
    if len(folders) < len(stage.spec.average_seeds):
        return None
    with session.building(stage) as work:
        if work is not None:
            step, belongs = session.step, lineage.belongs_to(stage, session.manifests, session.tokenizer)
            facts = {"averaged": [folder.name for folder in folders], **session.place}
            ledgers = [read_json(folder / "ledger.json") for folder in folders]
            with Checkpoints(work / "checkpoints", keep=1) as checkpoints:
                if (
                    checkpoints.latest() is None
                ):  # else a run before this one ended between here and the rename
                    checkpoints.save(
                        stage.steps,
                        mean_state(step, folders),
                        {"step": stage.steps, "belongs_to": belongs, **facts},
                    )
                checkpoints.wait()
            seeds = [
                {"seed": seed, "folder": folder.name, "consumed": ledger["consumed"]}
                for seed, folder, ledger in zip(stage.spec.average_seeds, folders, ledgers, strict=True)
            ]
            session.finish(stage, work, ledgers[0] | {"seeds": seeds}, facts)
    return lineage.stage_dir(session.store, stage)


def mean_state(step: Any, folders: list[Path]) -> TrainState:
    """The mean of the final states, in float32, summed in the order of `folders`; whole-number leaves (Adam's count) from the first."""
    total = None
    add = jax.jit(
        lambda a, b: jax.tree.map(lambda x, y: x + y if jnp.issubdtype(x.dtype, jnp.floating) else x, a, b),
        donate_argnums=0,
    )
    for folder in folders:
        state = TrainState(**restore_final(folder, step.shapes()))
        total = state if total is None else add(total, state)
    return jax.tree.map(lambda x: x / len(folders) if jnp.issubdtype(x.dtype, jnp.floating) else x, total)
