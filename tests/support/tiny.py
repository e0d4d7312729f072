"""A recipe, shards and a store so small that a stage trains in a moment."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import zstandard

from codemix.data.encoding.tokenizer import Tokenizer
from codemix.data.interfaces import DocumentReader as SourceFamily
from codemix.data.store.manifest import Manifest, Shard, split_summary
from codemix.data.store.store import Store
from codemix.recipe.language import schema
from codemix.recipe.planning.plan import Plan, Pool
from codemix.recipe.planning.planner import Planner
from codemix.train.run.options import TrainOptions

VOCAB, SEQ_LEN = 64, 16
CACHE = (
    Path(tempfile.gettempdir()) / "codemix-test-jax-cache"
)  # programs compiled once for all tests, and for the next run of them
MODEL = {"d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 32}
COSINE = {"kind": "cosine", "peak": 0.01, "floor": 0.001, "warmup": "2 steps"}
LINEAR = {"kind": "linear", "start": "previous", "floor": 1e-6}
STAGES = (
    {"name": "init", "steps": 7, "mixture": {"text": "50%", "code": "50%"}, "learning_rate": COSINE},
    {
        "name": "continue",
        "steps": 6,
        "mixture": {"text": "90%", "code": "10%"},
        "learning_rate": {"kind": "constant", "value": "previous"},
    },
    {"name": "cooldown", "steps": 5, "mixture": {"text": "80%", "code": "20%"}, "learning_rate": LINEAR},
)


class Made(SourceFamily):
    """Stands for a source that was built elsewhere."""

    kind: Literal["made"] = "made"
    family: ClassVar[str] = "source"


class Numbers(Tokenizer):
    """Stands for a tokenizer that was made elsewhere."""

    kind: Literal["numbers"] = "numbers"


def make_source(
    store: Store,
    name: str,
    shards=((12, 30, 7, 90) * 12, (40, 9, 33) * 12),
    vocab: int = VOCAB,
    sha256: str = "0" * 64,
) -> Manifest:
    """Shards of a source whose tokens follow a rule that a model can learn.
    `shards`: lengths of documents, EOS included.
    """
    rng, made = np.random.default_rng(list(name.encode())), []
    folder = store.path("data", name, hashlib.sha256(f"{name}{shards}{vocab}{sha256}".encode()).hexdigest())
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    for number, lengths in enumerate(shards):
        ends = np.cumsum(lengths)
        tokens = (
            1 + (rng.integers(1, vocab) + np.arange(ends[-1]) * (3 if name == "text" else 5)) % (vocab - 1)
        ).astype("<u2")
        tokens[ends - 1] = 0
        path, docs = f"shards/train-{number:05}.ds", f"shards/train-{number:05}.docs.jsonl.zst"
        lines = "".join(
            json.dumps({"id": f"{name}/{number}#{i}", "bytes": 2 * n}) + "\n" for i, n in enumerate(lengths)
        )
        content = {
            path: tokens.tobytes(),
            f"{path}.index": ends.astype("<u8").tobytes(),
            docs: zstandard.compress(lines.encode()),
        }
        for file, data in content.items():
            (folder / file).write_bytes(data)
        hashes = [hashlib.sha256(data).hexdigest() for data in content.values()]
        made.append(
            Shard(path, int(ends[-1]), len(lengths), 2 * int(ends[-1]), hashes[0], hashes[1], docs, hashes[2])
        )
    tokenizer = {
        "sha256": sha256,
        "vocab_size": vocab,
        "eos_id": 0,
        "eos_token": "<|endoftext|>",
        "special": {},
        "bos": None,
        "probe": [],
    }
    fingerprint = folder.name.rsplit("-", 1)[1] * 5
    funnel = {"read": 0, "kept": 0, "dropped": {}, "unreadable": 0}
    Manifest(
        name, fingerprint, {}, tokenizer, "uint16", {"train": split_summary(made)}, [], {}, {}, funnel
    ).save(folder)
    return Manifest.load(folder)


def make_recipe(
    stages=STAGES, *, sources=("text", "code"), name="tiny", batch_size=4, model=None, seed=3, **training
) -> schema.Recipe:
    return schema.Recipe.model_validate(
        {
            "codemix": 1,
            "name": name,
            "seed": seed,
            "tokenizer": Numbers(),
            "model": MODEL | (model or {}),
            "stages": list(stages),
            "sources": {s: {"read": Made(), "max_epochs": 100} for s in sources},
            "training": {"seq_len": SEQ_LEN, "batch_size": batch_size, **training},
        }
    )


def make_plan(recipe: schema.Recipe, manifests: dict[str, Manifest], outside=None) -> Plan:
    pools = {
        n: Pool(tuple(s.tokens for s in m.shards("train")), m.documents("train"), True, m.fingerprint)
        for n, m in manifests.items()
    }
    planner = Planner(recipe, pools, outside)
    plan = planner.plan()
    assert not planner.problems, planner.problems
    return plan


def make_run(
    root: Path, recipe: schema.Recipe | None = None, data: Path | None = None
) -> tuple[Plan, Store, dict[str, Manifest]]:
    """A plan with its store and data, as `train` takes them."""
    recipe = recipe or make_recipe()
    manifests = {name: make_source(Store(data or root), name) for name in recipe.sources}
    return make_plan(recipe, manifests), Store(root), manifests


def options(**more) -> TrainOptions:
    return TrainOptions(
        **{"compile_cache": CACHE, "live": False, "save_every_s": None, "log_every": 2, **more}
    )


def weights(folder: Path) -> dict[str, np.ndarray]:
    """Every array of a stage's final checkpoint, weights and moments, by path: for comparing bit for bit."""
    import jax

    from codemix.recipe.language.schema import Model
    from codemix.train.run.checkpoint import Checkpoints
    from codemix.train.step.step import Step, TrainState

    lineage = json.loads((folder / "lineage.json").read_text())
    step = Step(Model.model_validate(lineage["model"]), lineage["vocab_size"], 2)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        state = TrainState(**checkpoints.restore(checkpoints.latest(), step.shapes()))
    return {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def same_bits(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].tobytes() == b[k].tobytes() for k in a
    )
