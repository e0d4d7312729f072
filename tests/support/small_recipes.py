"""Small recipes over small real files, for tests that build data."""

import json
import random
from pathlib import Path

from codemix.data.store.store import Store
from codemix.recipe.language.schema import Recipe

WORDS = [
    "the",
    "a",
    "of",
    "shard",
    "token",
    "value",
    "def",
    "return",
    "import",
    "class",
    "loop",
    "over",
    "sea",
    "wind",
    "stone",
    "river",
    "light",
    "python",
    "list",
    "number",
    "café",
    "naïve",
    "東京",
    "x1",
    "y2",
]


def words(seed: int, n: int) -> str:
    choose = random.Random(seed)
    return " ".join(choose.choice(WORDS) for _ in range(n)) + "\n"


def write_jsonl(path: Path, rows) -> Path:
    """Rows may be texts, or dicts for whole rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(
            json.dumps(row if isinstance(row, dict) else {"text": row}, ensure_ascii=False) + "\n"
            for row in rows
        ),
        encoding="utf-8",
    )
    return path


SCORED = {
    "good": {"read": {"kind": "jsonl", "paths": "good.jsonl"}},
    "bad": {"read": {"kind": "jsonl", "paths": "bad.jsonl"}},
    "pool": {
        "read": {"kind": "jsonl", "paths": "pool*.jsonl"},
        "ops": [{"kind": "classifier", "positive": "good", "negative": ["bad"], "keep": "top 10%"}],
    },
}


def write_scored(root: Path) -> None:
    """The files of `SCORED`: a source that a classifier, trained on the other two, cuts down to its best tenth."""
    good = ["theorem " + words(5000 + i, 40).replace("sea", "lemma") for i in range(40)]
    bad = ["casino " + words(6000 + i, 40).replace("wind", "pills") for i in range(40)]
    write_jsonl(root / "good.jsonl", good)
    write_jsonl(root / "bad.jsonl", bad)
    for part in range(3):
        rows = [f"{'theorem lemma ' * (i % 5)}{words(7000 + 100 * part + i, 40)}" for i in range(60)]
        write_jsonl(root / f"pool{part}.jsonl", rows)


def recipe(sources: dict, **more) -> Recipe:
    """A recipe over `sources` (mappings as in YAML, or just a path); everything else as small as can be."""
    return Recipe.model_validate(recipe_content(sources, **more))


def recipe_content(sources: dict, **more) -> dict:
    """The same as its file has it: JSON is YAML."""
    content = {
        "codemix": 1,
        "name": "made",
        "tokenizer": {"kind": "bpe", "vocab_size": 400, "train": {"bytes": 20_000}},
        "sources": {
            n: s if isinstance(s, dict) else {"read": {"kind": "jsonl", "paths": s}}
            for n, s in sources.items()
        },
        "model": {"d_model": 8, "n_layers": 1, "n_heads": 1, "d_ff": 8},
        "training": {"seq_len": 8, "batch_size": 1},
        "stages": [
            {
                "name": "a",
                "steps": 1,
                "mixture": dict.fromkeys(sources, f"{100 // len(sources)}%"),
                "learning_rate": {"kind": "constant", "value": 0.1},
            }
        ],
    }
    return content | more


def tree(store: Store, *kinds: str) -> dict[str, bytes]:
    """Every finished file of the store but manifests' environment, by path:
    to compare two builds byte by byte.
    """
    found = {}
    for kind in kinds or ("documents", "classifiers", "scores", "dedup", "tokenizers", "data"):
        for path in sorted((store.root / kind).rglob("*")):
            if path.is_file():
                found[str(path.relative_to(store.root))] = path.read_bytes()
    return found
