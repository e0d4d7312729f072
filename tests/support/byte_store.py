"""Stores for tests: shards of a byte tokenizer, a checkpoint of a small decoder,
and a plan as far as evaluation reads one.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import zstandard

from codemix.data.store.manifest import Manifest, Shard, split_summary
from codemix.data.store.store import Store, write_json
from codemix.files import file_digest
from codemix.recipe.language import schema

EOS = 256
ABOUT = {
    "vocab_size": 257,
    "eos_id": EOS,
    "eos_token": "<|endoftext|>",
    "special": {"<|endoftext|>": EOS},
    "bos": None,
    "probe": [],
}


def byte_tokenizer_json() -> str:
    """A tokenizers file with one token a byte and `<|endoftext|>` as id 256."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    return tokenizer.to_str()


def save_tokenizer(store: Store, content: str) -> dict:
    """Stores a tokenizer.json; returns what manifests say about it."""
    from codemix.data.encoding.tokenizer import content_hash

    folder = store.path("tokenizers", "0123456789ab")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(content)
    about = ABOUT | {"sha256": content_hash(folder / "tokenizer.json")}
    write_json(folder / "meta.json", about)
    return about


def save_source(
    store: Store, source: str, splits: dict[str, list[list[dict]]], encode, tokenizer: dict
) -> Manifest:
    """Shards of a source: for each split a list of shards, each a list of documents {id, text, ...}."""
    folder = store.path("data", source, "feedfacefeed")
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    summaries = {}
    for split, shards in splits.items():
        made = []
        for number, documents in enumerate(shards):
            path = folder / f"shards/{split}-{number:05d}.ds"
            tokens = [np.array([*encode(d["text"]), EOS], "<u2") for d in documents]
            path.write_bytes(b"".join(t.tobytes() for t in tokens))
            index = Path(f"{path}.index")
            index.write_bytes(np.cumsum([len(t) for t in tokens]).astype("<u8").tobytes())
            sizes = [len(d["text"].encode()) for d in documents]
            lines = [
                json.dumps({"id": d["id"], "bytes": n, "language": d.get("language")}) + "\n"
                for d, n in zip(documents, sizes, strict=True)
            ]
            docs = path.with_suffix(".docs.jsonl.zst")
            docs.write_bytes(zstandard.compress("".join(lines).encode()))
            made.append(
                Shard(
                    str(path.relative_to(folder)),
                    sum(map(len, tokens)),
                    len(tokens),
                    sum(sizes),
                    file_digest(path),
                    file_digest(index),
                    str(docs.relative_to(folder)),
                    file_digest(docs),
                )
            )
        summaries[split] = split_summary(made)
    Manifest(source, f"fp-{source}", {}, tokenizer, "uint16", summaries, [], {}, {}, {}).save(folder)
    return Manifest.load(folder)


def save_stage(store: Store, model) -> Path:
    """A finished stage's folder with one checkpoint."""
    from codemix.train.run.checkpoint import Checkpoints

    folder = store.path("stages", "init", "abcdefabcdef")
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(3, SimpleNamespace(model=model, opt_state={"count": np.zeros(1)}), {})
    (folder / "done.json").write_text('{"steps": 3}')
    return folder


def plan(model_spec: schema.Model, seq_len: int, *, sources=(), **evaluation) -> SimpleNamespace:
    """A plan of one stage, as far as evaluation reads one."""
    stage = SimpleNamespace(
        name="init",
        fingerprint="f" * 64,
        model=model_spec,
        seq_len=seq_len,
        training=schema.Training(seq_len=seq_len, batch_size=1),
        parent=None,
        sources=tuple(sources),
        seed=7,
    )
    return SimpleNamespace(
        recipe=SimpleNamespace(evaluation=schema.Evaluation(**evaluation)), stages=(stage,)
    )
