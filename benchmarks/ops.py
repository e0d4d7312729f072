"""What each op drops of labelled text at its defaults, and what it costs.
Last line: one JSON object of drop rates and CPU seconds a megabyte measured in this run. `classifier` is in
benchmarks/quality.py.

    CODEMIX_CORPUS=FOLDER python benchmarks/ops.py [--samples 3] [OP ...]

The corpus holds `text/*.jsonl.zst` (with the set's name), `code/*.parquet` and `*.jsonl.gz`,
`markup/*.jsonl.zst` and `planted.jsonl`, which names the rows that were made empty or minified. Everything
else is real and good: what an op drops of it is a misfire, or what the op is for (a table of numbers in code,
say): look at the samples.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from codemix.data.document import Drop
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.opener import Opener
from codemix.recipe.language.component import component_class, kinds

CODE = {
    "text": "content",
    "metadata": {"language": "lang", "path": "max_stars_repo_path", "licence": "max_stars_repo_licenses"},
}
SETS = [
    ("text", "jsonl", "text/*.jsonl.zst", {"metadata": {"set": "meta.redpajama_set_name"}}),
    ("code", "parquet", "code/*.parquet", CODE),
    ("code", "jsonl", "code/*.jsonl.gz", CODE),
    ("markup", "jsonl", "markup/*.jsonl.zst", CODE),
]
SKIPPED = (
    "decontaminate",
    "where",
    "hash_sample",
    "classifier",
)  # need files or conditions of a recipe's own, or judge nothing


def corpus(root: Path):
    """(label, document) of all rows that are real."""
    planted = {
        (row["file"], row["row"])
        for row in map(json.loads, (root / "planted.jsonl").read_text().splitlines())
        if row["kind"] in ("empty", "minified")
    }
    for label, kind, pattern, fields in SETS:
        for path in sorted(root.glob(pattern)):
            name = path.relative_to(root).as_posix()
            source = component_class("source", kind).model_validate({"kind": kind, "paths": name, **fields})
            for row, doc in enumerate(source.read(Part(Input(name, path.stat().st_size, "")), Opener(root))):
                if (name, row) not in planted:
                    yield (
                        f"text/{doc.meta['set'].removeprefix('RedPajama')}" if label == "text" else label,
                        doc,
                    )


def ops(names: list[str]):
    """Every op at its defaults, or as its first example has it."""
    for name in names or [kind for kind in kinds("op") if kind not in SKIPPED]:
        cls = component_class("op", name)
        yield name, cls.model_validate(cls.EXAMPLES[0]).start(None)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("ops", nargs="*")
    parser.add_argument("--samples", type=int, default=0, help="ids shown of what an op drops of each label")
    asked = parser.parse_args()
    root = os.environ.get("CODEMIX_CORPUS")
    if not root or not Path(root).is_dir():
        sys.exit("CODEMIX_CORPUS does not name the corpus folder")
    documents = list(corpus(Path(root)))
    n_bytes = sum(len(doc.text.encode("utf-8", "replace")) for _, doc in documents)
    sizes, rates = Counter(label for label, _ in documents), {}
    for name, apply in ops(asked.ops):
        dropped = defaultdict(list)
        start = time.process_time()
        verdicts = [apply(doc) for _, doc in documents]
        cost = (time.process_time() - start) / n_bytes * 1e6
        rates[f"{name}/s_per_mb"] = round(cost, 4)
        print(f"{name:20} {cost:.4f} s a MB")
        for (label, doc), verdict in zip(documents, verdicts, strict=True):
            if isinstance(verdict, Drop):
                dropped[label, verdict.reason].append(doc.id)
        for (label, reason), ids in sorted(dropped.items()):
            print(
                f"{name:20} {reason:26} {label:20} {len(ids):5} of {sizes[label]:5}  {len(ids) / sizes[label]:7.2%}"
            )
            for one in ids[: asked.samples]:
                print(f"{'':20}   {one}")
            rates[f"{name}/{reason}/{label}"] = round(len(ids) / sizes[label], 4)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
