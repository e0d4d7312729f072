"""One optimizer step: gradients over microbatches, one global division, clipping, AdamW,
and a guard against NaN.
"""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, PRNGKeyArray, UInt

from codemix.recipe.language import schema
from codemix.train.model import mesh
from codemix.train.model.compute import Compute, compute_for
from codemix.train.model.decoder import Decoder, init_decoder
from codemix.train.model.shapes import RowKeys, Scalar
from codemix.train.step import optimizer
from codemix.train.step.loss import next_token_loss

Shape = jax.ShapeDtypeStruct
HostBatch = dict[str, np.ndarray]
Batch = dict[str, Array]
KeyWords = UInt[Array, " 2"]  # of a random key
Metrics = dict[str, Array]
Gradients = tuple[Decoder, Metrics]  # and the sums that the loss gives


class TrainState(eqx.Module):
    """Everything that a step changes."""

    model: Decoder
    opt_state: optimizer.OptState


class Step:
    """The compiled step. Call it as `state, metrics = step(state, batch, lr, draw)`;
    the state given is used up.

    `draw`, a seed and the step's number in the run, decides with a row's place in the batch what dropout
    drops. `metrics` are device arrays: `nats`, `tokens` and `rows` by source [n_sources], `z` (sum of
    log(Z)^2), `grad_norm`, and `ok`, False where a loss or gradient was not finite: then the state that comes
    back is the one that went in. `traces` counts compilations: one for every set of shapes.
    """

    def __init__(
        self,
        spec: schema.Model,
        vocab_size: int,
        n_sources: int,
        compute: Compute | None = None,
        *,
        optimizer_spec: schema.Optimizer | None = None,
        z_loss: float = 0.0,
        accumulate: int = 1,
    ):
        """Give `n_sources` the most sources of any stage, and one compiled step serves all stages of equal
        shapes: the learning rate is an argument. `compute` defaults to one device; `accumulate` is the number
        of microbatches.
        """
        self.spec = spec
        self.vocab_size = vocab_size
        self.n_sources = n_sources
        self.compute = compute or compute_for(mesh.make_mesh())
        self.optimizer_spec = optimizer_spec or schema.Optimizer()
        self.z_loss = z_loss
        self.accumulate = accumulate
        self.traces = 0
        self.mesh = self.compute.mesh or mesh.make_mesh()
        self.state_shardings = mesh.shardings(self.mesh, self._shapes())
        self.batch_sharding = mesh.batch_sharding(self.mesh)
        whole = NamedSharding(self.mesh, P())
        self._jitted = jax.jit(self._update, donate_argnums=0, out_shardings=(self.state_shardings, whole))

    def _fresh(self, key: PRNGKeyArray) -> TrainState:
        model = init_decoder(self.spec, self.vocab_size, key)
        moments = optimizer.make_optimizer(self.optimizer_spec)
        return TrainState(model, moments.init(model))

    def _shapes(self) -> TrainState:
        return eqx.filter_eval_shape(self._fresh, jax.random.key(0))

    def shapes(self) -> TrainState:
        """The state as shapes, dtypes and shardings only: to restore into, or to compile against."""

        def shape(x: Shape, sharding: NamedSharding) -> Shape:
            return Shape(x.shape, x.dtype, sharding=sharding)

        whole = self._shapes()
        return jax.tree.map(shape, whole, self.state_shardings)

    def init(self, seed: int) -> TrainState:
        """Fresh weights and moments, each device building only its part."""
        build = jax.jit(self._fresh, out_shardings=self.state_shardings)
        return build(jax.random.key(seed))

    def fresh_optimizer(self, model: Decoder) -> TrainState:
        """These weights with moments at zero: `optimizer_state: reset`."""
        moments = optimizer.make_optimizer(self.optimizer_spec)
        build = jax.jit(moments.init, out_shardings=self.state_shardings.opt_state)
        return TrainState(model, build(model))

    def host_rows(self, batch_size: int) -> list[mesh.Rows]:
        """The global rows that this process reads, as `mesh.host_rows`."""
        return mesh.host_rows(self.batch_sharding, batch_size)

    def put(self, batch: HostBatch, batch_size: int) -> Batch:
        """This host's rows as global arrays."""
        return mesh.put(batch, self.batch_sharding, batch_size)

    def __call__(
        self, state: TrainState, batch: Batch, lr: float, draw: tuple[int, int] = (0, 0)
    ) -> tuple[TrainState, Metrics]:
        # NumPy promises that these numbers stay
        words = np.random.SeedSequence(draw).generate_state(2, np.uint32)
        rate = np.float32(lr)
        return self._jitted(state, batch, rate, words)

    def lower(self, batch: dict[str, Shape], platform: str | None = None) -> Any:
        """The step lowered for shapes alone, for the mesh's devices, present or not, or for a platform;
        `.compile()` it for the devices."""
        state = self.shapes()
        lr = Shape((), jnp.float32)
        key = Shape((2,), jnp.uint32)
        traced = self._jitted.trace(state, batch, lr, key)
        platforms = (platform,) if platform else None
        return traced.lower(lowering_platforms=platforms)

    def for_platform(self, platform: str) -> Step:
        """The same step as on another platform, with its attention and dtype: to lower, not to run."""
        old = self.compute
        compute = compute_for(
            self.mesh,
            platform=platform,
            remat=old.remat,
            dropout=old.dropout,
            chunk=old.chunk,
            unroll=old.unroll,
        )
        return Step(
            self.spec,
            self.vocab_size,
            self.n_sources,
            compute,
            optimizer_spec=self.optimizer_spec,
            z_loss=self.z_loss,
            accumulate=self.accumulate,
        )

    def _gradients(self, model: Decoder, batch: Batch) -> Gradients:
        loss = functools.partial(
            next_token_loss, n_sources=self.n_sources, compute=self.compute, z_loss=self.z_loss
        )
        gradients = jax.grad(loss, has_aux=True)
        if self.accumulate == 1:
            return gradients(model, batch)

        def add(total: Gradients, batch: Batch) -> tuple[Gradients, None]:
            more = gradients(model, batch)
            total = jax.tree.map(jnp.add, total, more)
            return total, None

        batches = jax.tree.map(self._microbatches, batch)
        first = jax.tree.map(lambda x: x[0], batches)
        shapes = jax.eval_shape(gradients, model, first)
        zeros = jax.tree.map(_zeros, shapes)
        total, _ = jax.lax.scan(add, zeros, batches)
        return total

    def _microbatches(self, x: Array) -> Array:
        """Row i * accumulate + a goes to microbatch a: every device keeps the rows it has."""
        n_rows, *rest = x.shape
        of_rows = x.reshape(n_rows // self.accumulate, self.accumulate, *rest)
        return of_rows.swapaxes(0, 1)

    def _update(
        self, state: TrainState, batch: Batch, lr: Scalar, key: KeyWords
    ) -> tuple[TrainState, Metrics]:
        self.traces += 1  # runs while tracing only
        if self.compute.dropout:
            n_rows = len(batch["source"])
            batch = batch | {"rngs": _rngs_of_rows(key, n_rows)}
        gradients, sums = self._gradients(state.model, batch)
        # Divided once, by the tokens of the whole batch: a mean of means would weigh short microbatches more.
        n_tokens = jnp.maximum(sums["tokens"].sum(), 1.0)
        gradients = jax.tree.map(lambda g: g / n_tokens, gradients)
        update = optimizer.apply(self.optimizer_spec, state.model, state.opt_state, gradients, lr)
        norm = update.gradient_norm
        nats = sums["nats"].sum()
        ok = jnp.isfinite(nats) & jnp.isfinite(norm)

        def kept(new: Array, old: Array) -> Array:
            return jnp.where(ok, new, old)

        updated = TrainState(update.model, update.opt_state)
        state = jax.tree.map(kept, updated, state)
        return state, sums | {"grad_norm": norm, "ok": ok}


def _zeros(like: Shape) -> Array:
    return jnp.zeros(like.shape, like.dtype)


def _rngs_of_rows(key: KeyWords, n_rows: int) -> RowKeys:
    of_step = jax.random.wrap_key_data(key, impl="threefry2x32")
    by_row = jax.vmap(jax.random.fold_in, (None, 0))
    rows = jnp.arange(n_rows)
    return by_row(of_step, rows)


def step_for_training(
    training: schema.Training,
    spec: schema.Model,
    vocab_size: int,
    n_sources: int,
    devices: mesh.Mesh,
    *,
    microbatches: int = 1,
    remat: str = "none",
) -> Step:
    """The step that a recipe's training asks for, on these devices."""
    compute = compute_for(devices, dtype=training.compute_dtype, remat=remat, dropout=training.dropout)
    return Step(
        spec,
        vocab_size,
        n_sources,
        compute,
        optimizer_spec=training.optimizer,
        z_loss=training.z_loss,
        accumulate=microbatches,
    )
