"""What each op drops of labelled text at its defaults, and what it costs.
Last line: one JSON object of drop rates and CPU seconds per megabyte measured in this run. `classifier` is in
benchmarks/quality.py.

    CODEMIX_CORPUS=FOLDER python benchmarks/ops.py [--samples 3] [OP ...]
    CODEMIX_CORPUS=FOLDER python benchmarks/ops.py --write   # and docs/op_costs.json, from which components.md has them

The cost of an op is that of the documents it is for (prose, or all), in batches as a build has them, start-up left out.

The corpus holds `text/*.jsonl.zst` (with the set's name), `code/*.parquet` and `*.jsonl.gz`,
`markup/*.jsonl.zst` and `planted.jsonl`, which names the rows that were made empty or minified. Everything
else is real and good: what an op drops of it is a misfire, or what the op is for (a table of numbers in code,
say): look at the samples.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from codemix.data.build.apply_ops import Readable, in_batches
from codemix.data.document import Document, Drop, utf8_bytes
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.opener import Opener
from codemix.data.interfaces import Op
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


COSTS = Path(__file__).resolve().parents[1] / "docs" / "op_costs.json"


def ops(names: list[str]) -> Iterator[tuple[str, Op]]:
    """Every op at its defaults, or as its first example has it."""
    for name in names or [kind for kind in kinds("op") if kind not in SKIPPED]:
        cls = component_class("op", name)
        yield name, cls.model_validate(cls.EXAMPLES[0])


def s_per_mb(op: Op, documents: list[Document]) -> float:
    """CPU seconds per megabyte of text, the best of two turns."""
    sized = [Readable(doc, utf8_bytes(doc.text)) for doc in documents]
    batches = [[each.document for each in batch] for batch in in_batches(sized)]
    apply = op.start_batch(None)
    apply(batches[0])  # what it loads on first use
    turns: list[float] = []
    for _ in range(2):
        began = time.process_time()
        for batch in batches:
            apply(batch)
        turns.append(time.process_time() - began)
    return min(turns) / sum(each.size for each in sized) * 1e6


def machine() -> str:
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("ops", nargs="*")
    parser.add_argument("--samples", type=int, default=0, help="ids shown of what an op drops of each label")
    parser.add_argument("--write", action="store_true", help="write docs/op_costs.json")
    asked = parser.parse_args()
    root = os.environ.get("CODEMIX_CORPUS")
    if not root or not Path(root).is_dir():
        sys.exit("CODEMIX_CORPUS does not name the corpus folder")
    documents = list(corpus(Path(root)))
    sizes, rates, costs = Counter(label for label, _ in documents), {}, {}
    for name, op in ops(asked.ops):
        dropped = defaultdict(list)
        apply = op.start(None)
        verdicts = [apply(doc) for _, doc in documents]
        own = [doc for label, doc in documents if label.startswith("text/") or not op.for_prose]
        costs[name] = {
            "s_per_mb": float(f"{s_per_mb(op, own):.2g}"),
            "of": "prose" if op.for_prose else "prose and code",
        }
        rates[f"{name}/s_per_mb"] = costs[name]["s_per_mb"]
        print(f"{name:20} {costs[name]['s_per_mb']} s per MB of {costs[name]['of']}", flush=True)
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
    if asked.write:
        table = {"machine": machine(), "ops": costs}
        COSTS.write_text(json.dumps(table, indent=2) + "\n")
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
