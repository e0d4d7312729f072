"""What a plan costs: parameters, FLOPs, chip-hours, dollars, bytes on disk. Estimates, and called so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codemix.recipe.planning.chips import Chip

if TYPE_CHECKING:  # a plan shows itself as tables, which ask for its cost
    from codemix.recipe.planning.plan import Plan, StagePlan


@dataclass(frozen=True)
class Cost:
    """Of one stage or of a run."""

    tokens: int
    flops: int
    chip_hours: float
    dollars: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.tokens + other.tokens,
            self.flops + other.flops,
            self.chip_hours + other.chip_hours,
            self.dollars + other.dollars,
        )


NOTHING = Cost(0, 0, 0.0, 0.0)


def show_amount(amount: float) -> str:
    """Hours or dollars with as many digits as an estimate deserves."""
    if 0 < amount < 0.01:
        return "<0.01"
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"


def vocabulary(plan: Plan) -> int:
    """The tokenizer's vocabulary size, as far as the recipe tells; 0 when only its file knows."""
    return plan.recipe.tokenizer.declared_vocab_size() or 0


def stage_cost(stage: StagePlan, vocab_size: int, chip: Chip, mfu: float) -> Cost:
    """Estimated cost of one stage at a model-FLOPs utilisation `mfu` in (0, 1]."""
    n_runs = max(1, len(stage.spec.average_seeds))
    tokens = n_runs * stage.tokens
    per_token = stage.model.flops_per_token(vocab_size, stage.seq_len)
    flops = tokens * per_token
    seconds = flops / (chip.peak_flops * mfu)
    hours = seconds / 3600
    return Cost(tokens, flops, hours, hours * chip.usd_per_hour)


def shard_bytes(plan: Plan, vocab_size: int, only: Collection[str] | None = None) -> int:
    """The token shards of every source that the recipe's stages read; of a source whose size is unknown, what
    they read [bytes].

    With `only`, of these sources."""
    tokens: dict[str, int] = {}  # in the shards of each source
    for stage in plan.stages:
        for source in stage.sources:
            name = source.source
            if only is not None and name not in only:
                continue
            if source.pool_windows:
                tokens[name] = source.pool_windows * stage.seq_len
            else:
                tokens[name] = tokens.get(name, 0) + source.windows * stage.seq_len
    bytes_per_token = 2 if 0 < vocab_size <= 2**16 else 4
    return sum(tokens.values()) * bytes_per_token


def disk_bytes(plan: Plan, unbuilt: Collection[str], untrained: Collection[StagePlan]) -> int:
    """What the shards of `unbuilt` sources and the last checkpoints of `untrained` stages take, at the least
    [bytes].

    A checkpoint holds the weights and two moments in float32. Documents and passing checkpoints come on top.
    """
    vocab = vocabulary(plan)
    shards = shard_bytes(plan, vocab, unbuilt)
    parameters = plan.recipe.model.parameters(vocab)
    checkpoint = 12 * parameters
    return shards + len(untrained) * checkpoint


def show_bytes(n: float) -> str:
    """`1.5 GB` of 1,500,000,000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n < 1000 or unit == "TB":
            return f"{n:.4g} {unit}"
        n /= 1000
    raise AssertionError
