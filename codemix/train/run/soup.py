"""Averages of weights: a stage trained once per seed, all from one parent,
and the mean of what comes out (a soup).

Each seed's training is a stage of its own in the store, the very one that `seed: n` in the recipe would give.
The averaged stage holds one checkpoint, the mean of their weights and of their Adam moments, so that later
stages can keep either.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from codemix.data.store.stages import read_ledger
from codemix.recipe.planning.stage_identity import stage_fingerprint
from codemix.train.run import lineage
from codemix.train.run.checkpoint import Checkpoints, restore_final
from codemix.train.run.context import RunContext
from codemix.train.run.stage_folder import building, finish
from codemix.train.step.step import Step, TrainState

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan


def members(stage: StagePlan) -> tuple[StagePlan, ...]:
    """The stages whose weights are averaged: this one with each seed, named by the fingerprint that the seed
    alone would give.
    """
    seeds = stage.spec.average_seeds
    return tuple(_member(stage, seed) for seed in seeds)


def _member(stage: StagePlan, seed: int) -> StagePlan:
    alone = {"average_seeds": (), "seed": seed}
    spec = stage.spec.model_copy(update=alone)
    member = dataclasses.replace(stage, seed=seed, spec=spec)
    fingerprint = stage_fingerprint(member)
    return dataclasses.replace(member, fingerprint=fingerprint)


def average(context: RunContext, stage: StagePlan, folders: Sequence[Path]) -> Path:
    """The finished folder of a stage with `average_seeds`;
    `folders` are those of its finished members, in order.
    """
    with building(context, stage) as work:
        if work is not None:
            facts = {"averaged": [folder.name for folder in folders], **context.place()}
            meta = {
                "step": stage.steps,
                "belongs_to": lineage.belongs_to(stage, context.manifests, context.tokenizer),
            }
            for folder in folders:
                context.store.bring(folder)
            with Checkpoints(work / "checkpoints", keep=1, apart=context.is_apart) as checkpoints:
                # else a run before this one ended between here and the rename
                if checkpoints.latest() is None:
                    checkpoints.save(stage.steps, mean_state(context.step(stage), folders), meta | facts)
                checkpoints.wait()
            ledgers = [read_ledger(folder, stage) for folder in folders]
            seeds = [
                {"seed": seed, "folder": folder.name, "consumed": ledger["consumed"]}
                for seed, folder, ledger in zip(stage.spec.average_seeds, folders, ledgers, strict=True)
            ]
            finish(stage, work, ledgers[0] | {"seeds": seeds}, facts)
    return lineage.stage_dir(context.store, stage)


def mean_state(step: Step, folders: Sequence[Path]) -> TrainState:
    """The mean of the final states, in float32, summed in the order of `folders`; whole-number leaves (Adam's
    count) from the first.
    """
    n = len(folders)
    shapes = step.shapes()

    def divide(x: jax.Array) -> jax.Array:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        return x / n

    states = (TrainState(**restore_final(folder, shapes)) for folder in folders)
    total = functools.reduce(_sum, states)
    return jax.tree.map(divide, total)


def _plus(x: jax.Array, y: jax.Array) -> jax.Array:
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x + y
    return x


# uses the first up, so that no third state exists
_sum = jax.jit(functools.partial(jax.tree.map, _plus), donate_argnums=0)
