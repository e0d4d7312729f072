"""Programs that turn a folder of jsonl.zst into tokens, one a peer, and how to read what each wrote.

Each is given the folder of the files and of tokenizer.json, the id that ends a document, and a folder to write to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RECIPE = """\
codemix: 1
name: peers
tokenizer: {kind: tokenizer_json, path: tokenizer.json}
sources: {all: {read: {kind: jsonl, paths: "*.jsonl.zst"}}}
model: {d_model: 8, n_layers: 1, n_heads: 1, d_ff: 8}
training: {seq_len: 8, batch_size: 1}
stages: [{name: a, steps: 1, mixture: {all: 100%}, learning_rate: {kind: constant, value: 0.1}}]
"""

CODEMIX = """
import os, sys
files, end, out = sys.argv[1:]
build = ["-m", "codemix", "build-data", files + "/recipe.yaml", "--data-root", files, "--store", out]
os.execv(sys.executable, [sys.executable, *build])
"""

DOLMA = """
import os, sys
files, end, out = sys.argv[1:]
dolma = os.path.join(os.path.dirname(sys.executable), "dolma")
what = ["tokens", "--documents", files + "/*.jsonl.zst", "--destination", out, "--dtype", "uint16", "--processes", "1"]
tokenizer = ["--tokenizer.name_or_path", files + "/tokenizer.json", "--tokenizer.eos_token_id", end]
os.execv(dolma, ["dolma", *what, *tokenizer])
"""

DATATROVE = """
import sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer

if __name__ == "__main__":
    files, end, out = sys.argv[1:]
    reader = JsonlReader(files, glob_pattern="*.jsonl.zst", compression="zstd")
    tokens = DocumentTokenizer(
        out, files + "/tokenizer.json", eos_token="<|endoftext|>", shuffle_documents=False
    )
    LocalPipelineExecutor([reader, tokens], tasks=1, logging_dir=out + "/logs").run()
"""

DATASETS = """
import sys
from datasets import load_dataset
from tokenizers import Tokenizer

files, end, out = sys.argv[1:]
tokenizer = Tokenizer.from_file(files + "/tokenizer.json")

def encode(batch):
    return {"ids": [each.ids + [int(end)] for each in tokenizer.encode_batch(batch["text"])]}

rows = load_dataset("json", data_files=files + "/*.jsonl.zst", split="train", cache_dir=out + "/cache")
rows.map(encode, batched=True, remove_columns=rows.column_names, cache_file_name=out + "/tokens.arrow")
"""

LITDATA = """
import io, json, sys
from functools import partial
from glob import glob
import torch
import zstandard
from litdata import TokensLoader, optimize
from tokenizers import Tokenizer

def encode(path, tokenizer, end):
    with open(path, "rb") as file:
        for line in io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file)):
            ids = tokenizer.encode(json.loads(line)["text"]).ids
            yield torch.tensor([*ids, end], dtype=torch.int32)

if __name__ == "__main__":
    files, end, out = sys.argv[1:]
    function = partial(encode, tokenizer=Tokenizer.from_file(files + "/tokenizer.json"), end=int(end))
    inputs = sorted(glob(files + "/*.jsonl.zst"))
    size = 2049 * 8012
    optimize(function, inputs, out, chunk_size=size, num_workers=1, item_loader=TokensLoader())
"""


def raw(pattern: str) -> Callable[[Path], np.ndarray]:
    """Ids of two bytes each, with nothing around them."""

    def read(out: Path) -> np.ndarray:
        return np.concatenate([np.fromfile(path, "<u2") for path in sorted(out.rglob(pattern))])

    return read


def arrow(out: Path) -> np.ndarray:
    """The column `ids` of an Arrow stream."""
    import pyarrow

    with pyarrow.memory_map(str(out / "tokens.arrow")) as file:
        column = pyarrow.ipc.open_stream(file).read_all()["ids"]
        return np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])


def chunks(out: Path) -> np.ndarray:
    """litdata's: the number of items, one offset each and one more [uint32], then the items."""
    parts = []
    for path in sorted(out.glob("*.bin")):
        header = 4 * (int(np.fromfile(path, "<u4", 1)[0]) + 2)
        parts.append(np.fromfile(path, "<i4", offset=header))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Peer:
    program: str
    read: Callable[[Path], np.ndarray]  # all ids, from the folder of its tokens
    packages: tuple[str, ...] = ()  # none: this environment


PEERS = {
    "codemix": Peer(CODEMIX, raw("*.ds")),
    "dolma": Peer(DOLMA, raw("*.npy"), ("dolma==1.2.1", "smart_open[zst]")),
    "datatrove": Peer(DATATROVE, raw("*.ds"), ("datatrove[io,processing]==0.10.1", "tokenizers")),
    "datasets": Peer(DATASETS, arrow, ("datasets==5.2.0", "tokenizers", "zstandard")),
    "litdata": Peer(LITDATA, chunks, ("litdata==0.2.76", "tokenizers", "zstandard")),
}
