"""What the hosts of a TPU slice read, by calculation from the very order of a run. No TPU, no data, no JAX.

    python benchmarks/pods.py                 # 64 hosts of a v5e-256, 500B tokens; a minute

Eight sources of a paper-like mixture; the loader's `Order` says which window each row reads, a plan of shards
where it lies. A host holds the rows that the mesh gives it, as ranges of every batch. Counted for each way of
reading over a sample of hosts and stretches of steps:

- *staging*: the distinct shards that a host reads before a share of the run is done, and their bytes;
- *windows*: one ranged request for each row;
- *blocks*: the rows of the next `ahead` steps together, in blocks of 4 or 16 MiB, each fetched once per look-ahead
  and kept in a cache of `cache` bytes that drops the block used longest ago.
"""

from __future__ import annotations

import argparse
import json
from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace

import numpy as np

from codemix.data.loader.order import Order
from codemix.recipe.planning.apportion import apportion
from codemix.recipe.planning.plan import Segment, StagePlan, StageSource
from codemix.tables import Table

MIB, GIB = 2**20, 2**30
SHARES = {
    "web": 50,
    "code": 20,
    "prose": 10,
    "markup": 6,
    "commits": 5,
    "issues": 4,
    "notebooks": 3,
    "synthetic": 2,
}


@dataclass(frozen=True)
class Slice:
    """A run on a slice."""

    hosts: int = 64
    tokens: int = 500_000_000_000
    seq_len: int = 8192
    batch_rows: int = 512
    token_bytes: int = 4  # a vocabulary of 256,000
    shard_bytes: int = 256 * MIB
    tokens_per_s: float = 5.8e6  # of the slice: a 470M model at 40 % MFU

    @property
    def step_s(self) -> float:
        return self.batch_rows * self.seq_len / self.tokens_per_s

    @property
    def window_bytes(self) -> int:
        return self.token_bytes * (self.seq_len + 1)

    @property
    def windows_per_shard(self) -> int:
        return (self.shard_bytes // self.token_bytes - 1) // self.seq_len

    @property
    def host_rows(self) -> int:
        return self.batch_rows // self.hosts


def make_stage(run: Slice, epochs: float) -> StagePlan:
    """One stage in which each source is read `epochs` times."""
    steps = run.tokens // (run.batch_rows * run.seq_len)
    n_rows = steps * run.batch_rows
    counts = apportion(n_rows, [Fraction(share, 100) for share in SHARES.values()])
    sources = tuple(
        StageSource(name, Fraction(count, n_rows), count, 0, int(count / epochs), {}, pool_fingerprint=name)
        for name, count in zip(SHARES, counts, strict=True)
    )
    return StagePlan(
        name="all",
        index=0,
        spec=SimpleNamespace(fim_spm=Fraction(1, 2)),
        model=None,
        training=SimpleNamespace(doc_mask="segment", reset_positions=True),
        seq_len=run.seq_len,
        batches=((0, run.batch_rows),),
        steps=steps,
        rows=n_rows,
        asked_tokens=run.tokens,
        seed=0,
        init_seed=0,
        sources=sources,
        segments=(Segment(0, n_rows, tuple(counts)),),
        fim={},
        parent=None,
        load=None,
        run_tokens=0,
        run_total=0,
    )


class Reads:
    """Where the windows of one host's rows lie: byte ranges of shards, numbered over all sources."""

    def __init__(self, run: Slice, order: Order, host: int):
        self.run = run
        self.order = order
        self.in_batch = np.arange(host * run.host_rows, (host + 1) * run.host_rows)
        shards = -(-order.pool // run.windows_per_shard)
        self.first_shard = np.cumsum(shards) - shards
        self.n_shards = int(shards.sum())

    def of(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shard of each row of these steps, and the byte at which its window begins."""
        rows = (steps[:, None] * self.run.batch_rows + self.in_batch).reshape(-1)
        read = self.order.at(rows)
        shard, number = np.divmod(read.window, self.run.windows_per_shard)
        shard += self.first_shard[read.source]
        return shard, number * self.run.seq_len * self.run.token_bytes


def distinct_shards(reads: Reads, steps: int) -> int:
    """How many shards a host has read after so many steps."""
    seen = np.zeros(reads.n_shards, bool)
    for first in range(0, steps, 4096):
        shard, _ = reads.of(np.arange(first, min(first + 4096, steps)))
        seen[shard] = True
    return int(seen.sum())


@dataclass(frozen=True)
class Streamed:
    """What reading in blocks took."""

    requests_per_step: float
    bytes_read_vs_needed: float


def stream(reads: Reads, steps: range, ahead: int, block_bytes: int, cache_bytes: int) -> Streamed:
    """Reading the rows of `ahead` steps at a time, in blocks that a cache keeps."""
    run = reads.run
    cached: OrderedDict[tuple[int, int], None] = OrderedDict()
    room = cache_bytes // block_bytes
    fetched = 0
    for first in range(steps.start, steps.stop, ahead):
        shard, begin = reads.of(np.arange(first, min(first + ahead, steps.stop)))
        last = (begin + run.window_bytes - 1) // block_bytes
        blocks = {*zip(shard, begin // block_bytes, strict=True), *zip(shard, last, strict=True)}
        for block in blocks:
            fetched += block not in cached
            cached[block] = None
            cached.move_to_end(block)
            while len(cached) > room:
                cached.popitem(last=False)
    needed = len(steps) * run.host_rows * run.window_bytes
    return Streamed(fetched / len(steps), fetched * block_bytes / needed)


def staging_table(run: Slice, reads: Reads) -> Table:
    table = Table("staging", ["steps", "share of the run", "shards a host has read", "of all", "GiB a host"])
    for steps in (10, 100, 1_000, 10_000, reads.order.stage.steps):
        shards = distinct_shards(reads, steps)
        share = steps / reads.order.stage.steps
        gib = shards * run.shard_bytes / GIB
        table.rows.append(
            [f"{steps:,}", f"{share:.2%}", f"{shards:,}", f"{shards / reads.n_shards:.0%}", f"{gib:,.0f}"]
        )
    return table


def streaming_table(run: Slice, reads: Reads) -> Table:
    head = [
        "a request is",
        "look-ahead steps",
        "requests/s a host",
        "requests/s",
        "MB/s a host",
        "read / needed",
    ]
    table = Table("streaming", head)
    needed_mb_s = run.host_rows * run.window_bytes / run.step_s / 1e6
    one_each = run.host_rows / run.step_s
    table.rows.append(
        ["a window", "any", f"{one_each:.1f}", f"{one_each * run.hosts:,.0f}", f"{needed_mb_s:.2f}", "1.00"]
    )
    for block_bytes in (MIB, 4 * MIB, 16 * MIB):
        for ahead in (64, 1024, 8192):
            found = stream(reads, range(0, 16_384), ahead, block_bytes, 64 * GIB)
            rate = found.requests_per_step / run.step_s
            table.rows.append(
                [
                    f"a block of {block_bytes // MIB} MiB",
                    f"{ahead:,}",
                    f"{rate:.1f}",
                    f"{rate * run.hosts:,.0f}",
                    f"{needed_mb_s * found.bytes_read_vs_needed:,.0f}",
                    f"{found.bytes_read_vs_needed:,.1f}",
                ]
            )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=Slice.tokens)
    parser.add_argument("--token-bytes", type=int, default=Slice.token_bytes)
    parser.add_argument("--tokens-per-s", type=float, default=Slice.tokens_per_s)
    parser.add_argument("--epochs", type=float, default=1.0)
    given = parser.parse_args()
    run = Slice(
        hosts=given.hosts,
        tokens=given.tokens,
        token_bytes=given.token_bytes,
        tokens_per_s=given.tokens_per_s,
    )
    order = Order(make_stage(run, given.epochs))
    reads = Reads(run, order, host=0)
    print(f"{reads.n_shards:,} shards of {run.shard_bytes // MIB} MiB; a step takes {run.step_s:.2f} s")
    tables = [staging_table(run, reads), streaming_table(run, reads)]
    for table in tables:
        table.print()
    print(json.dumps({table.title: table.rows for table in tables}))


if __name__ == "__main__":
    main()
