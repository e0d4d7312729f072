"""How well `language`, `classifier` and `dedup:` tell what is labelled. Last line: one JSON object of this run's
numbers.

    CODEMIX_CORPUS=FOLDER python benchmarks/quality.py [--lines FILE] [--part language|classifier|dedup]

The corpus is the one of benchmarks/ops.py. FILE holds JSON lines of `text` and `language` (a code), such as the
translations of a program; without it the corpus' prose, which is English but for some of StackExchange, is asked.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

from ops import corpus

from codemix.data.build.build import build
from codemix.data.build.classifiers import Texts
from codemix.data.document import Document
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.store import Store
from codemix.data.text import linear_model
from codemix.data.text.words import words
from codemix.recipe.language.component import component_class
from codemix.recipe.language.schema import Recipe

CLASSES = [  # positive and negative labels of the corpus
    (("text/C4",), ("text/CommonCrawl",)),
    (("text/Wikipedia", "text/Book"), ("text/C4", "text/CommonCrawl", "text/StackExchange")),
    (("text/StackExchange",), ("text/C4", "text/CommonCrawl")),
    (("code",), ("markup",)),
]
SAME_AS = {"nb": "no", "nn": "no"}


def language(rows: list[dict]) -> dict[str, float]:
    """Recall and precision over languages, each counting the same."""
    apply = component_class("op", "language").model_validate({"kind": "language"}).start(None)
    found, asked, right, n_bytes = Counter(), Counter(), Counter(), 0
    start = time.process_time()
    for row in rows:
        meta = apply(Document("", row["text"])).meta
        code = SAME_AS.get(meta["natural_language"], meta["natural_language"])
        found[code] += 1
        asked[row["language"]] += 1
        right[row["language"]] += code == row["language"]
        n_bytes += len(row["text"].encode())
    spent = time.process_time() - start
    precisions = [right[code] / found[code] if found[code] else 0.0 for code in asked]
    return {
        "language/languages": len(asked),
        "language/recall": sum(right[code] / asked[code] for code in asked) / len(asked),
        "language/precision": sum(precisions) / len(precisions),
        "language/mb_per_s": n_bytes / 1e6 / spent,
    }


def classifier(documents: list[tuple[str, Document]]) -> dict[str, float]:
    """Of each pair of classes: the area under the ROC curve on held-out texts, recall and precision at 0.5."""
    numbers = {}
    for positive, negative in CLASSES:
        texts = Texts()
        for label, doc in documents:
            if label in positive + negative:
                texts.add(doc.text, "positive" if label in positive else "negative")
        texts.leave_out_what_both_have()
        train = [linear_model.Labelled(text.text, text.label == "positive") for text in texts.training]
        start = time.process_time()
        model = linear_model.train(train)
        trained = time.process_time()
        scores = defaultdict(list)
        for text in texts.in_order:
            if text.tested:
                scores[text.label].append(model.score(text.text))
        spent = time.process_time() - trained
        tested_bytes = sum(len(text.text.encode()) for text in texts.in_order if text.tested)
        kept = {label: sum(score >= 500_000 for score in scores[label]) for label in scores}
        name = f"classifier/{'+'.join(positive)} against {'+'.join(negative)}"
        numbers |= {
            f"{name}/auc": linear_model.auc(scores["positive"], scores["negative"]),
            f"{name}/recall": kept["positive"] / len(scores["positive"]),
            f"{name}/precision": kept["positive"] / max(1, kept["positive"] + kept["negative"]),
            f"{name}/train_s": trained - start,
            f"{name}/mb_per_s": tested_bytes / 1e6 / spent,
        }
    return numbers


def jaccard(one: str, other: str) -> float:
    """Similarity of the sets of five words in a row, case folded."""
    shingles = []
    for text in (one, other):
        found = words(text.lower())
        shingles.append({tuple(found[i : i + 5]) for i in range(max(1, len(found) - 4))})
    return len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])


def dedup(root: Path) -> dict[str, float]:
    """Recall of planted copies, and the share of what is removed that is like what is kept for it."""
    rows = {"text": "content"}
    sources = {
        "text": {"read": {"kind": "jsonl", "paths": "text/*.jsonl.zst"}},
        "more": {"read": {"kind": "jsonl", "paths": "code/*.jsonl.gz", **rows}},
        "code": {"read": {"kind": "parquet", "paths": "code/*.parquet", **rows}},
    }
    stage = {"name": "a", "steps": 1, "learning_rate": {"kind": "constant", "value": 0.1}}
    recipe = {
        "codemix": 1,
        "name": "labelled",
        "tokenizer": {"kind": "bpe", "vocab_size": 400, "train": {"bytes": 100_000}},
        "sources": sources,
        "dedup": [
            {"kind": "minhash", "sources": ["text"]},
            {"kind": "minhash", "sources": ["code", "more"], "normalize": "code"},
        ],
        "model": {"d_model": 8, "n_layers": 1, "n_heads": 1, "d_ff": 8},
        "training": {"seq_len": 8, "batch_size": 1},
        "stages": [{**stage, "mixture": dict.fromkeys(sources, "1/3")}],
    }
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        built = build(Recipe.model_validate(recipe), store, data_root=root)
        places = {}
        for name, manifest in built.items():
            for path in store.path("documents", name, manifest.identity["documents"]).glob("docs/*"):
                for number, row in enumerate(read_lines(path)):
                    places[name, path.name, number] = row
        pairs = []
        for path in store.root.glob("dedup/*/removed/*/*"):
            for row in read_lines(path):
                kept = row["kept"]
                removed = places[path.parent.name, path.name, row["row"]]
                pairs.append((removed, places[kept["source"], kept["file"], kept["row"]]))
    removed = {pair[0]["id"] for pair in pairs}
    planted = [json.loads(line) for line in (root / "planted.jsonl").read_text().splitlines()]
    copies = [row for row in planted if "of_row" in row]
    numbers = {}
    for name, least, most in (("exact", 1, 2), ("0.8 and more", 0.8, 1), ("below 0.8", 0, 0.8)):
        band = [row for row in copies if least <= row.get("jaccard5", 1) < most]
        hits = [
            row
            for row in band
            if removed & {f"{row['file']}#{row['row']}", f"{row['of_file']}#{row['of_row']}"}
        ]
        numbers[f"dedup/recall {name}"] = len(hits) / len(band)
    alike = [jaccard(one["text"], other["text"]) >= 0.7 for one, other in pairs]
    return numbers | {"dedup/removed": len(pairs), "dedup/precision at 0.7": sum(alike) / len(alike)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=Path)
    parser.add_argument("--part", choices=("language", "classifier", "dedup"))
    asked = parser.parse_args()
    root = os.environ.get("CODEMIX_CORPUS")
    if not root or not Path(root).is_dir():
        sys.exit("CODEMIX_CORPUS does not name the corpus folder")
    documents = list(corpus(Path(root)))
    numbers: dict[str, float] = {}
    if asked.part in (None, "language"):
        rows = [{"text": doc.text, "language": "en"} for label, doc in documents if label.startswith("text/")]
        if asked.lines is not None:
            rows = [json.loads(line) for line in asked.lines.read_text().splitlines()]
        numbers |= language(rows)
    if asked.part in (None, "classifier"):
        numbers |= classifier(documents)
    if asked.part in (None, "dedup"):
        numbers |= dedup(Path(root))
    for name, number in numbers.items():
        print(f"{name:90} {number:10.4f}")
    print(json.dumps({name: round(number, 4) for name, number in numbers.items()}))


if __name__ == "__main__":
    main()
