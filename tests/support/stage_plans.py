"""Small plans and shards made by hand, for the tests of the order, the shards and the batches."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import zstandard

from codemix.data.store.block_checksums import write_checks
from codemix.data.store.manifest import Manifest, Shard, split_summary
from codemix.files import file_digest
from codemix.recipe.planning.apportion import apportion
from codemix.recipe.planning.plan import Segment, StagePlan, StageSource

EOS, VOCAB = 0, 1000


def make_stage(
    segments,
    pools,
    *,
    starts=None,
    names=None,
    seq_len=8,
    batches=None,
    batch_size=4,
    seed=1,
    doc_mask="none",
    reset_positions=False,
    fim=None,
    name="stage",
):
    """A `StagePlan` of `segments` (a tuple of counts each), whose sources have `pools` windows."""
    totals = [sum(c) for c in zip(*segments, strict=True)]
    rows = sum(totals)
    if batches is None:
        while rows % batch_size:
            batch_size -= 1
        batches = ((0, batch_size),)
    first, made = 0, []
    for counts in segments:
        made.append(Segment(first, sum(counts), tuple(int(c) for c in counts)))
        first += sum(counts)
    steps, left = (
        batches[-1][0],
        rows - sum(size * (after - at) for (at, size), (after, _) in zip(batches, batches[1:], strict=False)),
    )
    steps += left // batches[-1][1]
    names = names or [f"s{i:03}" for i in range(len(pools))]
    sources = tuple(
        StageSource(n, Fraction(t, rows), t, start, pool, {}, pool_fingerprint=n)
        for n, t, start, pool in zip(names, totals, starts or [0] * len(pools), pools, strict=True)
    )
    return StagePlan(
        name=name,
        index=0,
        spec=SimpleNamespace(fim_spm=Fraction(1, 2), name=name),
        model=None,
        training=SimpleNamespace(doc_mask=doc_mask, reset_positions=reset_positions),
        seq_len=seq_len,
        batches=batches,
        steps=steps,
        rows=rows,
        asked_tokens=rows * seq_len,
        seed=seed,
        init_seed=seed,
        sources=sources,
        segments=tuple(made),
        fim=fim or {},
        parent=None,
        load=None,
        run_tokens=0,
        run_total=rows * seq_len,
    )


def share_stage(rows, shares, pools, **more):
    """A stage of one segment whose counts follow `shares`."""
    whole = sum(Fraction(s) for s in shares)
    return make_stage([tuple(apportion(rows, [Fraction(s) / whole for s in shares]))], pools, **more)


def make_manifest(
    folder: Path, source: str, lengths, *, seed=0, dtype="uint16", vocab=VOCAB, special=None, checked=False
) -> Manifest:
    """Shards of random tokens. `lengths`: for each shard the tokens of its documents,
    the end token included. `checked`: with checksums.
    """
    rng, shards = np.random.default_rng([seed, *source.encode()]), []
    (folder / "shards").mkdir(parents=True)
    for number, documents in enumerate(lengths):
        tokens = rng.integers(1, min(vocab, 900), sum(documents)).astype(dtype)
        ends = np.cumsum(documents)
        tokens[ends - 1] = EOS
        path, docs = f"shards/train-{number:05}.ds", f"shards/train-{number:05}.docs.jsonl.zst"
        (folder / path).write_bytes(tokens.astype(tokens.dtype.newbyteorder("<")).tobytes())
        (folder / f"{path}.index").write_bytes(ends.astype("<u8").tobytes())
        lines = [
            json.dumps(
                {"id": f"{source}/{number}.py#{i}", "bytes": 3 * n, "language": "python", "licence": "MIT"}
            )
            for i, n in enumerate(documents)
        ]
        (folder / docs).write_bytes(zstandard.compress("".join(line + "\n" for line in lines).encode()))
        hashes = [
            hashlib.sha256((folder / p).read_bytes()).hexdigest() for p in (path, f"{path}.index", docs)
        ]
        checks = file_digest(write_checks(folder / path)) if checked else ""
        shards.append(
            Shard(
                path,
                int(sum(documents)),
                len(documents),
                3 * int(sum(documents)),
                hashes[0],
                hashes[1],
                docs,
                hashes[2],
                checks,
            )
        )
    tokenizer = {
        "sha256": "0" * 64,
        "vocab_size": vocab,
        "eos_id": EOS,
        "eos_token": "<|endoftext|>",
        "special": special or {},
        "bos": None,
        "probe": [],
    }
    Manifest(
        source,
        "f" * 64,
        {},
        tokenizer,
        dtype,
        {"train": split_summary(shards)},
        [],
        {},
        {},
        {"read": 0, "kept": 0, "dropped": {}, "unreadable": 0},
    ).save(folder)
    return Manifest.load(folder)
