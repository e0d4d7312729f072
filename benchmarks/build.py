"""The data engine against the least that could be done and against stock datatrove,
in one run over the same files.

    python benchmarks/build.py                  # 60 MB; the last line is one JSON object of ratios
    python benchmarks/build.py --scale 50 2000  # also the cost of a token at 50 MB and at 2 GB

For every ratio larger is better, but for `cost_at_scale`, which should not move.

Text comes from the folder that CODEMIX_CORPUS names, repeated up to `--mb`, or from the installed packages'
own files. Ratios of CPU time where one process works (other work on the machine disturbs them least), of wall
time for two workers. What a missing package or option leaves out is null, and said.

- `tokenize_vs_tiktoken`: source files to finished shards (read, count, freeze, tokenize), against tiktoken
  over the same texts in memory
- `shards_vs_tiktoken`: the same from frozen documents
- `tokenize_vs_datatrove`: source files to shards, against datatrove's JsonlReader and DocumentTokenizer
- `reader_vs_bound`: the jsonl source against a loop of zstandard and orjson
- `prose_vs_datatrove`: Gopher's two filters and MinHash signatures over prose, against datatrove's with spaCy
- `two_workers_vs_one`: a whole build of `--workers-mb` with a ready tokenizer, starting the workers included;
  wants two idle cores
- `peak_mb_per_worker`: the largest resident memory of a worker in that build [MB]
- `cost_at_scale`: CPU time of a token at the largest of `--scale` over that at the smallest, one worker each;
  1 is flat
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from codemix import progress
from codemix.data.build.build import build
from codemix.data.store.store import Store
from codemix.recipe.language.schema import Recipe


def corpus_texts() -> list[str]:
    """Documents to repeat: the corpus' prose and code, or source and text files of the installed packages."""
    import gzip

    import orjson
    import zstandard

    if folder := os.environ.get("CODEMIX_CORPUS"):
        texts = []
        for path in sorted(Path(folder).glob("text/*.jsonl.zst")):
            stream = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(path.open("rb")))
            texts += [orjson.loads(line)["text"] for line in stream]
        for path in sorted(Path(folder).glob("code/*.jsonl.gz")):
            with gzip.open(path) as lines:
                texts += [orjson.loads(line)["content"] for line in lines]
        return [text for text in texts if text.strip()]
    found = sorted(
        p
        for p in Path(sysconfig.get_path("purelib")).rglob("*")
        if p.suffix in (".py", ".txt", ".md", ".rst", ".json")
    )
    return [text for path in found[:4000] if (text := path.read_text(errors="ignore")).strip()]


def write_sources(root: Path, texts: list[str], n_bytes: int, n_files: int = 8) -> int:
    """`n_files` files of about equal size, `n_bytes` of text together; returns the bytes written."""
    import orjson
    import zstandard

    written = i = 0
    for n in range(n_files):
        with (
            open(root / f"part{n}.jsonl.zst", "wb") as file,
            zstandard.ZstdCompressor(level=3).stream_writer(file) as stream,
        ):
            while written < n_bytes * (n + 1) // n_files:
                text = texts[i % len(texts)]
                stream.write(orjson.dumps({"text": text, "id": f"d{i}"}) + b"\n")
                written += len(text.encode())
                i += 1
    return written


def recipe(vocab_size: int, tokenizer: str | None = None) -> Recipe:
    """The source files as they are; a tokenizer of their own, or a ready one below the same folder."""
    trained = {"kind": "bpe", "vocab_size": vocab_size, "train": {"bytes": "10MB"}}
    return Recipe.model_validate(
        {
            "codemix": 1,
            "name": "benchmark",
            "tokenizer": {"kind": "tokenizer_json", "path": tokenizer} if tokenizer else trained,
            "sources": {"all": {"read": {"kind": "jsonl", "paths": "*.jsonl.zst"}}},
            "model": {"d_model": 8, "n_layers": 1, "n_heads": 1, "d_ff": 8},
            "training": {"seq_len": 8, "batch_size": 1},
            "stages": [
                {
                    "name": "a",
                    "steps": 1,
                    "mixture": {"all": "100%"},
                    "learning_rate": {"kind": "constant", "value": 0.1},
                }
            ],
        }
    )


def cpu(function: Callable[[], object], turns: int = 1) -> float:
    """CPU seconds of the best of `turns`."""
    best = float("inf")
    for _ in range(turns):
        began = time.process_time()
        function()
        best = min(best, time.process_time() - began)
    return best


def read_texts(paths: list[Path]) -> list[str]:
    """The bound for a reader: decompress, parse, take the text."""
    import orjson
    import zstandard

    texts, loads = [], orjson.loads
    for path in paths:
        with open(path, "rb") as file:
            for line in io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), 2**20):
                texts.append(loads(line)["text"])
    return texts


def prose_texts(texts: list[str], n: int = 150) -> list[str]:
    """Some texts that read as prose, of ordinary length."""
    return [
        text
        for text in texts
        if 1000 < len(text) < 30_000 and sum(map(str.isalpha, text[:2000])) > 0.75 * len(text[:2000])
    ][:n]


def prose(root: Path, texts: list[str], work: Path) -> float | None:
    """Gopher and MinHash: datatrove with spaCy over ours."""
    if importlib.util.find_spec("spacy") is None:
        print("skipped: prose_vs_datatrove (the package spacy is not installed)", flush=True)
        return None
    from datatrove.data import Document as Doc
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

    from codemix.data.datatrove_adapter.minhash_dedup import write_signatures
    from codemix.data.document import Document
    from codemix.data.ops.gopher_quality import GopherQuality
    from codemix.data.ops.gopher_repetition import GopherRepetition
    from codemix.recipe.language.schema import Dedup

    def stock() -> None:
        filters = GopherRepetitionFilter(), GopherQualityFilter()
        for text in texts:
            for each in filters:
                each.filter(Doc(text, "x"))
        MinhashDedupSignature(str(work / "stock"), MinhashConfig()).run(
            (Doc(text, str(i)) for i, text in enumerate(texts)), 0
        )

    def ours() -> None:
        steps = [
            op.start(op.prepare(root))
            for op in (GopherRepetition(even_on_code=True), GopherQuality(even_on_code=True))
        ]
        for text in texts:
            for step in steps:
                step(Document("x", text))
        write_signatures(Dedup(kind="minhash", sources=("a",)), work / "ours", 0, enumerate(texts))

    return cpu(stock) / cpu(ours)


def measure(
    mb: int, vocab_size: int, quick: bool, workers_mb: int, scale: list[int]
) -> dict[str, float | None]:
    import tiktoken
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    from codemix.data.datatrove_adapter.logs import silence
    from codemix.data.encoding import encoders
    from codemix.data.inputs.frozen_inputs import Part, freeze
    from codemix.data.inputs.opener import Opener

    silence()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    out: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        root, store = Path(folder) / "in", Store(Path(folder) / "store")
        root.mkdir()
        n_bytes = write_sources(root, corpus_texts(), mb * 10**6)
        paths, r = sorted(root.glob("*.zst")), recipe(vocab_size)
        source, opener = r.sources["all"].read, Opener(root)
        inputs = freeze(source.inputs(root), store, root)

        bound = cpu(lambda: read_texts(paths), 3)
        reader = cpu(lambda: [sum(1 for _ in source.read(Part(i), opener)) for i in inputs], 3)
        out["reader_vs_bound"] = bound / reader
        print(f"reader: {n_bytes / reader / 1e6:,.0f} MB/s, bound {n_bytes / bound / 1e6:,.0f}", flush=True)

        manifest = build(r, store, data_root=root)[
            "all"
        ]  # the tokenizer and the documents, and everything imported
        tokens = manifest.tokens("train")
        (tokenizer,) = store.root.glob("tokenizers/*/tokenizer.json")
        fast = encoders.load_encoder(tokenizer)
        assert fast.fast and isinstance(fast._encoding, tiktoken.Encoding)
        texts = read_texts(paths)

        def again(*what: str) -> None:
            for each in what:
                shutil.rmtree(store.root / each)
            build(r, store, data_root=root)

        turns = []
        for _ in range(
            3 if quick else 7
        ):  # in turns, so that all meet the same machine; the median, because no turn is alone on it
            bare = cpu(lambda: [len(fast._encoding.encode_ordinary(text)) for text in texts])
            turns.append((bare, cpu(lambda: again("data")), cpu(lambda: again("data", "documents"))))
        bare, shards, whole = map(statistics.median, zip(*turns, strict=True))
        out["tokenize_vs_tiktoken"], out["shards_vs_tiktoken"] = bare / whole, bare / shards
        print(
            f"tokens: tiktoken alone {tokens / bare / 1e6:.2f} M/s, documents to shards {tokens / shards / 1e6:.2f}, files to shards {tokens / whole / 1e6:.2f}",
            flush=True,
        )

        few = Path(folder) / "few"
        few.mkdir()
        (few / paths[0].name).write_bytes(paths[0].read_bytes())

        def stock() -> None:
            reader = JsonlReader(str(few), compression="zstd")
            DocumentTokenizer(
                str(Path(folder) / "stock"),
                str(tokenizer),
                eos_token="<|endoftext|>",
                shuffle_documents=False,
            ).run(reader.run(None, 0, 1), 0)

        theirs = cpu(stock)
        few_tokens = sum(
            len(fast._encoding.encode_ordinary(text)) + 1 for text in read_texts([few / paths[0].name])
        )
        out["tokenize_vs_datatrove"] = (theirs / few_tokens) / (whole / tokens)
        print(f"datatrove: {few_tokens / theirs / 1e6:.2f} M tokens/s", flush=True)
        out["prose_vs_datatrove"] = prose(root, prose_texts(texts), Path(folder) / "prose")
        del texts

        ready = Path(folder) / "large"
        large_source(ready, workers_mb, tokenizer)
        one, two = (child(Path(folder) / f"workers{n}", ready, n) for n in (1, 2))
        assert one["shards"] == two["shards"], "another number of workers made other shards"
        out["two_workers_vs_one"], out["peak_mb_per_worker"] = one["wall_s"] / two["wall_s"], two["peak_mb"]
        print(f"{workers_mb} MB: one worker {one['wall_s']:.1f} s, two {two['wall_s']:.1f} s", flush=True)

        out["cost_at_scale"] = None
        if scale:
            costs = {}
            for size in sorted(scale):
                for left in ("large", f"scale{size}"):
                    shutil.rmtree(Path(folder) / left, ignore_errors=True)
                large_source(ready, size, tokenizer)
                made = child(Path(folder) / f"scale{size}", ready, 1)
                costs[size] = made["cpu_s"] / made["tokens"]
                print(
                    f"{size} MB: {costs[size] * 1e9:.0f} ns a token of CPU time, peak {made['peak_mb']:.0f} MB",
                    flush=True,
                )
                shutil.rmtree(Path(folder) / f"scale{size}")
            out["cost_at_scale"] = costs[max(costs)] / costs[min(costs)]
        else:
            print("skipped: cost_at_scale (give --scale)")
    return out


def large_source(root: Path, mb: int, tokenizer: Path) -> None:
    """Source files of `mb` in all, and the tokenizer beside them."""
    root.mkdir()
    write_sources(root, corpus_texts(), mb * 10**6, max(8, mb // 50))
    shutil.copyfile(tokenizer, root / "tokenizer.json")


def child(store: Path, root: Path, workers: int) -> dict:
    """A whole build in a process of its own: wall and CPU time [s], peak memory of its largest worker [MB],
    and what it made.
    """
    began = time.perf_counter()
    command = [sys.executable, __file__, "--build", str(store), str(root), str(workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1]) | {"wall_s": time.perf_counter() - began}


def run_child(store: Path, root: Path, workers: int) -> None:
    made = build(recipe(0, "tokenizer.json"), Store(store), data_root=root, workers=workers)["all"]
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "cpu_s": sum(u.ru_utime + u.ru_stime for u in (own, others)),
                "peak_mb": (others if workers > 1 else own).ru_maxrss / 1024,
                "tokens": made.tokens("train"),
                "shards": [s.sha256 for s in made.shards("train")],
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", type=int, default=60)
    parser.add_argument("--vocab-size", type=int, default=32768)
    parser.add_argument("--quick", action="store_true", help="three turns instead of seven")
    parser.add_argument(
        "--workers-mb", type=int, default=300, help="text of the build with one worker and with two"
    )
    parser.add_argument(
        "--scale",
        type=int,
        nargs="+",
        default=[],
        metavar="MB",
        help="sizes at which to measure the cost of a token",
    )
    parser.add_argument("--build", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    progress.QUIET = True
    if given := args.build:
        return run_child(Path(given[0]), Path(given[1]), int(given[2]))
    result = measure(args.mb, args.vocab_size, args.quick, args.workers_mb, args.scale)
    print(json.dumps({name: value if value is None else round(value, 3) for name, value in result.items()}))
    return None


if __name__ == "__main__":
    main()
