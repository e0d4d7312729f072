"""One optimizer step: gradients over microbatches, one global division, clipping, AdamW, and a guard against NaN."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, UInt

from codemix.errors import CodemixError, did_you_mean
from codemix.recipe.language import schema
from codemix.train.model import attention, mesh
from codemix.train.model.decoder import REMAT, Decoder, init_decoder
from codemix.train.step import optimizer
from codemix.train.step.loss import next_token_loss


class TrainState(eqx.Module):
    """Everything that a step changes."""

    model: Decoder
    opt_state: Any


class Step:
    """The compiled step. Call it as `state, metrics = step(state, batch, lr, draw)`; the state given is used up.

    `draw`, a seed and the step's number in the run, decides with a row's place in the batch what dropout drops.
    `metrics` are device arrays: `nats`, `tokens` and `rows` by source [n_sources], `z` (sum of log(Z)^2), `grad_norm`, and `ok`,
    False where a loss or gradient was not finite: then the state that comes back is the one that went in.
    `traces` counts compilations: one for every set of shapes.
    """

    def __init__(
        self,
        spec: schema.Model,
        vocab_size: int,
        n_sources: int,
        devices: Mesh,
        optimizer_spec: schema.Optimizer,
        *,
        z_loss: float,
        dropout: float,
        compute_dtype: str,
        remat: str,
        accumulate: int,
        chunk: int | None,
        unroll: int | bool,
    ):
        self.spec, self.vocab_size, self.n_sources, self.mesh = spec, vocab_size, n_sources, devices
        self.optimizer_spec, self.accumulate = optimizer_spec, accumulate
        platform = devices.devices.flat[0].platform
        dtype = jnp.dtype(
            ("float32" if platform == "cpu" else "bfloat16") if compute_dtype == "auto" else compute_dtype
        )
        self.loss_options = dict(
            attention=attention.for_platform(platform, devices),
            compute_dtype=dtype,
            remat=remat,
            z_loss=z_loss,
            chunk=chunk,
            unroll=unroll,
            mesh=devices,
            dropout=dropout,
        )
        self.traces = 0
        self.state_shardings = mesh.shardings(devices, self._shapes())
        self.batch_sharding = mesh.batch_sharding(devices)
        self._whole = NamedSharding(devices, P())
        self._jitted = jax.jit(
            self._update, donate_argnums=0, out_shardings=(self.state_shardings, self._whole)
        )

    def _fresh(self, key) -> TrainState:
        model = init_decoder(self.spec, self.vocab_size, key)
        return TrainState(model, optimizer.make_optimizer(self.optimizer_spec).init(model))

    def _shapes(self) -> TrainState:
        return eqx.filter_eval_shape(self._fresh, jax.random.key(0))

    def shapes(self) -> TrainState:
        """The state as shapes, dtypes and shardings only: to restore into, or to compile against."""
        return jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
            self._shapes(),
            self.state_shardings,
        )

    def init(self, seed: int) -> TrainState:
        """Fresh weights and moments, each device building only its part."""
        return jax.jit(self._fresh, out_shardings=self.state_shardings)(jax.random.key(seed))

    def fresh_optimizer(self, model: Decoder) -> TrainState:
        """These weights with moments at zero: `optimizer_state: reset`."""
        init = optimizer.make_optimizer(self.optimizer_spec).init
        return TrainState(model, jax.jit(init, out_shardings=self.state_shardings.opt_state)(model))

    def host_rows(self, batch_size: int) -> list[tuple[int, int]]:
        """The global rows that this process reads, as `mesh.host_rows`."""
        return mesh.host_rows(self.batch_sharding, batch_size)

    def put(self, batch: dict[str, np.ndarray], batch_size: int) -> dict[str, Array]:
        """This host's rows as global arrays."""
        return mesh.put(batch, self.batch_sharding, batch_size)

    def __call__(
        self, state: TrainState, batch: dict[str, Array], lr: float, draw: tuple[int, int] = (0, 0)
    ) -> tuple[TrainState, dict[str, Array]]:
        key = np.random.SeedSequence(draw).generate_state(
            2, np.uint32
        )  # NumPy promises that these numbers stay
        return self._jitted(state, batch, np.float32(lr), key)

    def lower(self, batch: dict[str, jax.ShapeDtypeStruct], platform: str | None = None):
        """The step lowered for shapes alone, for the mesh's devices, present or not, or for a platform; `.compile()` it for the devices."""
        lr, key = jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.uint32)
        return self._jitted.trace(self.shapes(), batch, lr, key).lower(
            lowering_platforms=platform and (platform,)
        )

    def _gradients(self, model: Decoder, batch: dict[str, Array]) -> tuple[Decoder, dict[str, Array]]:
        grad = jax.grad(lambda m, b: next_token_loss(m, b, self.n_sources, **self.loss_options), has_aux=True)
        if self.accumulate == 1:
            return grad(model, batch)
        # Row i * accumulate + a goes to microbatch a: every device keeps the rows it has.
        micro = jax.tree.map(lambda x: x.reshape(-1, self.accumulate, *x.shape[1:]).swapaxes(0, 1), batch)
        zero = jax.tree.map(
            lambda s: jnp.zeros(s.shape, s.dtype),
            jax.eval_shape(grad, model, jax.tree.map(lambda x: x[0], micro)),
        )
        return jax.lax.scan(
            lambda total, b: (jax.tree.map(jnp.add, total, grad(model, b)), None), zero, micro
        )[0]

    def _update(
        self, state: TrainState, batch: dict[str, Array], lr: Float[Array, ""], key: UInt[Array, " 2"]
    ) -> tuple[TrainState, dict[str, Array]]:
        self.traces += 1  # runs while tracing only
        if self.loss_options["dropout"]:
            of_step = jax.random.wrap_key_data(key, impl="threefry2x32")
            batch = batch | {
                "rngs": jax.vmap(jax.random.fold_in, (None, 0))(of_step, jnp.arange(len(batch["source"])))
            }
        gradients, sums = self._gradients(state.model, batch)
        # Divided once, by the tokens of the whole batch: a mean of means would weigh short microbatches more.
        gradients = jax.tree.map(lambda g: g / jnp.maximum(sums["tokens"].sum(), 1.0), gradients)
        model, opt_state, norm = optimizer.apply(
            self.optimizer_spec, state.model, state.opt_state, gradients, lr
        )
        ok = jnp.isfinite(sums["nats"].sum()) & jnp.isfinite(norm)
        kept = jax.tree.map(lambda new, old: jnp.where(ok, new, old), TrainState(model, opt_state), state)
        return kept, sums | {"grad_norm": norm, "ok": ok}


def words_of(training: schema.Training) -> dict[str, Any]:
    """What a recipe's training says to `make_step`."""
    return {name: getattr(training, name) for name in ("optimizer", "z_loss", "dropout", "compute_dtype")}


def make_step(
    spec: schema.Model,
    vocab_size: int,
    n_sources: int,
    devices: Mesh | None = None,
    *,
    optimizer: schema.Optimizer | None = None,
    z_loss: float = 0.0,
    dropout: float = 0.0,
    compute_dtype: str = "auto",
    remat: str = "none",
    accumulate: int = 1,
    chunk: int | None = None,
    unroll: int | bool = 1,
) -> Step:
    """The step of one model on one mesh (default: one device). Give `n_sources` the most sources of any stage, and one
    compiled step serves all stages of equal shapes: the learning rate is an argument."""
    if remat not in REMAT:
        raise CodemixError(
            f"`remat` is `{remat}`; it is {', '.join(f'`{r}`' for r in REMAT)}",
            hints=did_you_mean(remat, REMAT),
            rule="train-option",
        )
    return Step(
        spec,
        vocab_size,
        n_sources,
        devices or mesh.make_mesh(),
        optimizer or schema.Optimizer(),
        z_loss=z_loss,
        dropout=dropout,
        compute_dtype=compute_dtype,
        remat=remat,
        accumulate=accumulate,
        chunk=chunk,
        unroll=unroll,
    )
