"""Shards to batches: codemix's loader against a bare numpy gather,
and against other loaders where they are installed.

    python benchmarks/loader.py                    # ratios on this machine; the last line is one JSON object
    python benchmarks/loader.py --seq-len 8192

All read the same random tokens (made here, in the page cache), as windows of the same length and batches of
the same size, in turns within one run, the best of several turns each: a ratio of two such times says more
than either.

- `vs_numpy_gather`: the loader, with order, masks, positions and source tags, against a loop that copies the
  same windows of the same memory-mapped files into `inputs` and `targets` and knows nothing else. Both work in
  the caller's thread alone.
- `vs_numpy_gather_with_thread`: the loader as the trainer uses it, two batches ahead in a thread of its own.
- `vs_numpy_copy`: against the least that can be done, one [B, T + 1] array written again and again.
- `first_read_vs_later`: the loader over shards whose blocks are checked as they are first touched, against the
  same when all were; every token is read once, so this is the first epoch against a later one.
- `rows_ms`: the rows of a step of 512, 128 sources, 500B tokens; `seek_ms`: the same with nothing prepared.
- `vs_litdata`, `vs_mosaicml_streaming`, `vs_grain_mix`: tokens per second of the loader over theirs (they make
  no masks and tags).
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from codemix.data.loader.batches import batches
from codemix.data.loader.order import Order, rows
from codemix.data.loader.shards import Shards
from codemix.data.loader.step_source import StepSource
from codemix.data.store.block_checksums import write_checks
from codemix.data.store.manifest import Manifest, Shard, split_summary
from codemix.recipe.planning.apportion import apportion
from codemix.recipe.planning.plan import Segment, StagePlan, StageSource


def make_tokens(folder: Path, source: str, tokens: int, shards: int, seed: int) -> Manifest:
    """Random documents of 800 tokens on average in `shards` files."""
    rng, made = np.random.default_rng(seed), []
    (folder / "shards").mkdir(parents=True)
    for i in range(shards):
        lengths = rng.geometric(1 / 800, tokens // shards // 800 + 1) + 1
        ends = np.cumsum(lengths)
        path = f"shards/train-{i:05}.ds"
        ids = rng.integers(1, 50_000, ends[-1], dtype=np.uint16)
        ids[ends - 1] = 0
        ids.tofile(folder / path)
        ends.astype("<u8").tofile(folder / f"{path}.index")
        write_checks(folder / path)
        made.append(Shard(path, int(ends[-1]), len(ends), 0, "", "", "", "", checks_sha256="written"))
    tokenizer = {"sha256": "", "vocab_size": 50_000, "special": {}}
    Manifest(source, "0", {}, tokenizer, "uint16", {"train": split_summary(made)}, [], {}, {}, {}).save(
        folder
    )
    return Manifest.load(folder)


def make_stage(counts: list[int], pools: list[int], seq_len: int, batch_size: int) -> StagePlan:
    total = sum(counts)
    sources = tuple(
        StageSource(f"source{i:03}", Fraction(c, total), c, 0, pools[i], {}) for i, c in enumerate(counts)
    )
    return StagePlan(
        name="benchmark",
        index=0,
        spec=SimpleNamespace(fim_spm=Fraction(1, 2)),
        model=None,
        training=SimpleNamespace(doc_mask="segment", reset_positions=True),
        seq_len=seq_len,
        batches=((0, batch_size),),
        steps=total // batch_size,
        rows=total,
        asked_tokens=0,
        seed=0,
        init_seed=0,
        sources=sources,
        segments=(Segment(0, total, tuple(counts)),),
        fim={},
        parent=None,
        load=None,
        run_tokens=0,
        run_total=0,
    )


class Contest:
    """Functions that each read some tokens, timed in turns."""

    def __init__(self, turns: int):
        self.turns, self.best, self.functions = turns, {}, {}

    def run(self) -> None:
        for _ in range(self.turns):
            for name, function in self.functions.items():
                gc.collect()
                started = time.perf_counter()
                tokens = function()
                took = time.perf_counter() - started
                self.best[name] = min(self.best.get(name, 1e9), took / tokens)

    def ratio(self, name: str, other: str) -> float:
        """How fast `name` is in units of `other`."""
        return round(self.best[other] / self.best[name], 3)


def loader_functions(folder: Path, args) -> dict:
    manifests = {
        f"source{i:03}": make_tokens(folder / f"{i}", f"source{i:03}", args.tokens // 4, 2, i)
        for i in range(4)
    }
    shards = {name: Shards(manifest, "train", args.seq_len) for name, manifest in manifests.items()}
    pools = [s.windows for s in shards.values()]
    total = min(sum(pools), args.steps * args.batch_size) // args.batch_size * args.batch_size
    stage = make_stage(
        apportion(total, [Fraction(x, 10) for x in (4, 3, 2, 1)]), pools, args.seq_len, args.batch_size
    )
    source, length, size = StepSource(stage, shards), args.seq_len, args.batch_size
    maps = {name: [np.memmap(s.path(i), "<u2", "r") for i in range(2)] for name, s in shards.items()}
    places = []  # the same windows, looked up beforehand
    for step in range(stage.steps):
        read = source.rows(step)
        names = [stage.sources[s].source for s in read.source]
        at = [shards[name].place(int(window)) for name, window in zip(names, read.window, strict=True)]
        places.append([(maps[name][shard], offset) for name, (shard, offset) in zip(names, at, strict=True)])

    def codemix(prefetch=0):
        for _, batch in batches(stage, shards, prefetch=prefetch):
            batch["source"]
        return stage.tokens

    def first_read():
        fresh = {name: Shards(manifest, "train", args.seq_len) for name, manifest in manifests.items()}
        for _, batch in batches(stage, fresh, prefetch=0):
            batch["source"]
        return stage.tokens

    def without_grain():
        for step in range(stage.steps):
            source[step]
        return stage.tokens

    def numpy_gather():
        for step in places:
            inputs, targets = np.empty((size, length), np.int32), np.empty((size, length), np.int32)
            for row, (tokens, offset) in enumerate(step):
                inputs[row], targets[row] = (
                    tokens[offset : offset + length],
                    tokens[offset + 1 : offset + length + 1],
                )
        return stage.tokens

    def numpy_copy():
        out = np.empty((size, length + 1), np.int32)
        for step in places:
            for row, (tokens, offset) in enumerate(step):
                out[row] = tokens[offset : offset + length + 1]
        return stage.tokens

    def grain_mix():
        import grain

        class Windows:
            def __init__(self, name):
                self.tokens, self.n = maps[name], shards[name].windows
                self.each = [(len(t) - 1) // length for t in self.tokens]

            def __len__(self):
                return self.n

            def __getitem__(self, i):
                shard = int(i >= self.each[0])
                offset = (i - shard * self.each[0]) * length
                return self.tokens[shard][offset : offset + length + 1].astype(np.int32)

        mixed = grain.MapDataset.mix(
            [grain.MapDataset.source(Windows(n)).shuffle(seed=1).repeat() for n in shards], [4, 3, 2, 1]
        )
        carried = iter(
            mixed.batch(size).to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        )
        steps = max(1, stage.steps // 4)
        for _ in range(steps):
            next(carried)
        return steps * size * length

    found = {
        "codemix": codemix,
        "first_read": first_read,
        "with_thread": lambda: codemix(2),
        "without_grain": without_grain,
        "numpy_gather": numpy_gather,
        "numpy_copy": numpy_copy,
        "grain_mix": grain_mix,
    }
    return found | peers(folder, shards, args, stage)


def peers(folder: Path, shards: dict[str, Shards], args, stage: StagePlan) -> dict:
    """Other loaders over the same tokens, in their own formats, written outside the measured time."""
    found, length, size = {}, args.seq_len, args.batch_size
    one = next(iter(shards.values()))
    windows = min(one.windows, 4 * size * max(1, stage.steps // 4))
    used = windows // size * size
    torch, litdata, streaming = (_installed(name) for name in ("torch", "litdata", "streaming"))
    if litdata:
        block = litdata.TokensLoader(block_size=length + 1)
        items = [(str(one.folder), length, i) for i in range(windows)]
        litdata.optimize(
            fn=_litdata_row,
            inputs=items,
            output_dir=str(folder / "litdata"),
            chunk_bytes="64MB",
            num_workers=1,
            item_loader=block,
        )

        def run_litdata():
            data = litdata.StreamingDataset(str(folder / "litdata"), item_loader=block, shuffle=True, seed=1)
            n = 0
            for batch in litdata.StreamingDataLoader(data, batch_size=size, num_workers=0, drop_last=True):
                n += torch.as_tensor(batch).shape[0] * length
            return n

        found["litdata"] = run_litdata
    if streaming:
        with streaming.MDSWriter(
            out=str(folder / "mds"), columns={"tokens": "ndarray:uint16"}, size_limit="64mb"
        ) as out:
            for i in range(windows):
                out.write({"tokens": one.gather(np.array([i]))[0].astype(np.uint16)})

        def run_streaming():
            data = streaming.StreamingDataset(local=str(folder / "mds"), shuffle=True, batch_size=size)
            n = 0
            for batch in torch.utils.data.DataLoader(data, batch_size=size, num_workers=0, drop_last=True):
                n += batch["tokens"].shape[0] * length
            return n

        found["mosaicml_streaming"] = run_streaming
    print(f"peers read {used:,} of the same windows", file=sys.stderr)
    return found


def _installed(name: str):
    """A peer's module, or None with a notice: not installed, or installed and broken."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever another project's import raises
        print(f"{name} cannot be imported, so not compared: {error}", file=sys.stderr)
        return None


def _litdata_row(item):
    import torch

    folder, length, i = item
    tokens = np.memmap(Path(folder) / "shards/train-00000.ds", "<u2", "r")
    i %= (len(tokens) - 1) // length
    return torch.from_numpy(tokens[i * length : i * length + length + 1].astype(np.int32))


def order_times() -> dict[str, float]:
    """[ms] for 512 rows of a 500B-token stage of 128 sources; best of several."""
    shares = [Fraction(1, i + 1) for i in range(128)]
    counts = apportion(512 * 119_210, [s / sum(shares) for s in shares])
    stage = make_stage(counts, [c // 2 + 1 for c in counts], 8192, 512)
    order, step_ms, seek_ms = Order(stage), [], []
    for step in range(1, stage.steps, stage.steps // 30):
        for times, function in (
            (step_ms, lambda step=step: order.rows(step)),
            (seek_ms, lambda step=step: rows(stage, step)),
        ):
            started = time.perf_counter()
            function()
            times.append((time.perf_counter() - started) * 1e3)
    return {"rows_ms": round(min(step_ms), 3), "seek_ms": round(min(seek_ms), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seq-len", type=int, default=8192)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=80_000_000, help="tokens to make")
    parser.add_argument("--steps", type=int, default=100, help="at most so many steps a turn")
    parser.add_argument("--turns", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(args.turns)
        contest.functions = loader_functions(Path(folder), args)
        contest.run()
        for name, best in contest.best.items():
            print(
                f"{name:<20} {1e-6 / best:>8.1f} Mtokens/s   {contest.ratio('codemix', name):>6.2f}  codemix in units of it"
            )
        ratios = {
            f"vs_{name}": contest.ratio("codemix", name)
            for name in contest.functions
            if name not in ("codemix", "first_read", "with_thread", "without_grain")
        }
        ratios["first_read_vs_later"] = contest.ratio("first_read", "codemix")
        ratios["vs_numpy_gather_with_thread"] = contest.ratio("with_thread", "numpy_gather")
    print(json.dumps(ratios | order_times() | {"seq_len": args.seq_len, "batch_size": args.batch_size}))


if __name__ == "__main__":
    main()
