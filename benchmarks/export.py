"""Data for other trainers: exports against plain copying, and codemix's loader in torch against theirs.

    python benchmarks/export.py               # the last line is one JSON object of ratios, larger is better
    python benchmarks/export.py --tokens 400000000

All read the same random tokens, made here; each ratio is of the best of several turns within one run. What needs
a package that is not installed is null, and said.

- `export_vs_copy`: a Megatron export of a source of two shards, which are joined, checked, hashed and synced to
  disk, against `shutil.copyfile` of the same files with the same sync. One shard would be a link.
- `torch_loader_vs_megatron`: tokens per second of a stage in torch's DataLoader, batches assembled by codemix with
  weights and sources, against Megatron's `GPTDataset` over the exported files in the same DataLoader.
- `torch_loader_vs_litdata`: the same against LitData's `StreamingDataLoader` over exported chunks.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from loader import Contest, make_stage, make_tokens

from codemix.data.export.litdata import LitData
from codemix.data.export.megatron import Megatron
from codemix.data.export.output_file import ExportFolder
from codemix.data.export.token_sets import DocumentSet
from codemix.data.loader.shards import Shards
from codemix.data.loader.stage_sequence import StageSteps
from codemix.data.loader.step_source import StepSource
from codemix.data.store.manifest import Manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tokens", type=int, default=100_000_000)
    parser.add_argument("--seq-len", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--workers", type=int, default=0, help="of torch's DataLoader")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ratios = measure(Path(folder), args)
    print(json.dumps(ratios))


def measure(folder: Path, args: argparse.Namespace) -> dict[str, float | None]:
    manifest = make_tokens(folder / "source", "source", args.tokens, 2, seed=0)
    exporting = Contest(args.turns)
    exporting.functions = {
        "export": lambda: export(manifest, folder / "megatron"),
        "copy": lambda: copy(manifest, folder / "copy"),
    }
    exporting.run()
    reading = Contest(args.turns)
    reading.functions = readers(manifest, folder, args)
    reading.run()
    return {
        "export_vs_copy": exporting.ratio("export", "copy"),
        "torch_loader_vs_megatron": ratio_or_none(reading, "megatron"),
        "torch_loader_vs_litdata": ratio_or_none(reading, "litdata"),
    }


def ratio_or_none(contest: Contest, other: str) -> float | None:
    if other not in contest.best or "codemix" not in contest.best:
        return None
    return contest.ratio("codemix", other)


def export(manifest: Manifest, folder: Path) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    tokens = DocumentSet("train/source", Shards(manifest, "train", 1))
    Megatron().write(tokens, ExportFolder(folder))
    return tokens.tokens


def copy(manifest: Manifest, folder: Path) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, shard in enumerate(manifest.shards("train")):
        copied = folder / f"{number}.ds"
        shutil.copyfile(manifest.folder / shard.path, copied)
        with open(copied, "rb+") as file:
            os.fsync(file.fileno())
    return manifest.tokens("train")


def readers(manifest: Manifest, folder: Path, args: argparse.Namespace) -> dict[str, Callable[[], int]]:
    """Each reads one epoch and returns its tokens; those whose package is here."""
    try:
        data = importlib.import_module("torch.utils.data")
    except ImportError:
        print("skipped: the loaders (the package torch is not installed)")
        return {}
    shards = Shards(manifest, "train", args.seq_len)
    rows = shards.windows // args.batch_size * args.batch_size
    masked = make_stage([rows], [shards.windows], args.seq_len, args.batch_size)
    stage = replace(masked, training=SimpleNamespace(doc_mask="none", reset_positions=False))  # as theirs

    def codemix() -> int:
        steps = StageSteps(StepSource(stage, {"source000": shards}))
        for batch in data.DataLoader(steps, batch_size=None, num_workers=args.workers):
            batch["inputs"]
        return stage.tokens

    found = {"codemix": codemix}
    for name, make in (("megatron", megatron_reader), ("litdata", litdata_reader)):
        try:
            found[name] = make(manifest, folder, args)
        except ImportError as error:
            print(f"skipped: {name} ({error})")
    return found


def megatron_reader(manifest: Manifest, folder: Path, args: argparse.Namespace) -> Callable[[], int]:
    gpt = importlib.import_module("megatron.core.datasets.gpt_dataset")
    indexed = importlib.import_module("megatron.core.datasets.indexed_dataset")
    utilities = importlib.import_module("megatron.core.datasets.utils")
    data = importlib.import_module("torch.utils.data")
    export(manifest, folder / "for-megatron")
    prefix = str(folder / "for-megatron" / "train" / "source")
    config = gpt.GPTDatasetConfig(
        random_seed=0,
        sequence_length=args.seq_len,
        blend=([prefix], None),
        split="1",
        path_to_cache=str(folder / "cache"),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        tokenizer=_Tokenizer(),
    )
    low_level = indexed.IndexedDataset(prefix)
    documents = np.arange(len(low_level.document_indices) - 1, dtype=np.int32)
    dataset = gpt.GPTDataset(low_level, prefix, documents, None, utilities.Split.train, config)

    def read() -> int:
        count = 0
        for batch in data.DataLoader(dataset, batch_size=args.batch_size, num_workers=args.workers):
            count += batch["tokens"].numel()
        return count

    return read


class _Tokenizer:
    """What `GPTDataset` asks of a tokenizer."""

    vocab_size = 50_000
    eod = 0
    pad = 0
    unique_identifiers = {"class": "none"}


def litdata_reader(manifest: Manifest, folder: Path, args: argparse.Namespace) -> Callable[[], int]:
    litdata = importlib.import_module("litdata")
    root = folder / "for-litdata"
    LitData().write(DocumentSet("source", Shards(manifest, "train", 1)), ExportFolder(root))

    def read() -> int:
        loader = litdata.TokensLoader(block_size=args.seq_len + 1)
        dataset = litdata.StreamingDataset(str(root / "source"), item_loader=loader, shuffle=True)
        batches = litdata.StreamingDataLoader(dataset, batch_size=args.batch_size, num_workers=args.workers)
        count = 0
        for batch in batches:
            count += batch[:, :-1].numel()
        return count

    return read


if __name__ == "__main__":
    main()
