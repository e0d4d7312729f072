"""The data engine against the least that could be done, against its encoders' peers, stock datatrove and its
own past, in one run over the same files.

    python benchmarks/build.py                  # 60 MB; the last line is one JSON object of ratios
    python benchmarks/build.py --scale 50 2000  # also the cost of a token at 50 MB and at 2 GB
    python benchmarks/build.py --before FOLDER  # also against the checkout of an older release

For every ratio larger is better, but for `cost_at_scale`, which should not move.

Text comes from the folder that CODEMIX_CORPUS names, repeated up to `--mb`, or from the installed packages'
own files. Ratios of CPU time where one process works (other work on the machine disturbs them least), of wall
time for two workers. What a missing package or option leaves out is null, and said.

- `encode_vs_tiktoken`: texts in memory to ids, each text once in a fresh process, against tiktoken
- `build_vs_bound`: source files to finished shards (read, count, freeze, tokenize), against a loop of zstandard,
  orjson, the same encoder and a raw write
- `shards_vs_bound`: the same from frozen documents
- `build_vs_before`: the same build by the checkout that `--before` names, over ours
- `tokenize_vs_datatrove`: source files to shards, against datatrove's JsonlReader and DocumentTokenizer
- `reader_vs_bound`: the jsonl source against a loop of zstandard and orjson
- `bpe_train_vs_tokenizers`: training a tokenizer on the corpus, against `tokenizers` on the same texts
- `bpe_memory_vs_tokenizers`: the memory that this adds at its peak, `tokenizers`' over ours
- `prose_vs_datatrove`: Gopher's two filters and FineWeb's over prose, against datatrove's on the same words
- `minhash_vs_datatrove`: near-duplicates of prose, from texts to clusters, against datatrove's stages (no spaCy)
- `two_workers_vs_one`: a whole build of `--workers-mb` with a ready tokenizer, starting the workers included;
  wants two idle cores
- `peak_mb_per_worker`: the largest resident memory of a worker in that build [MB]
- `cost_at_scale`: CPU time of a token at the largest of `--scale` over that at the smallest, one worker each;
  1 is flat
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
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
from typing import Any

from codemix import progress
from codemix.data.build.build import build
from codemix.data.encoding import encoders
from codemix.data.encoding.merges import bytes_to_unicode
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


def prose(texts: list[str]) -> float:
    """Gopher's two filters and FineWeb's: datatrove's over ours, on the same words (what whitespace parts)."""
    from datatrove.data import Document as Doc
    from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter

    from codemix.data.build.apply_ops import Readable, in_batches
    from codemix.data.datatrove_adapter.words import Words
    from codemix.data.document import Document
    from codemix.data.ops.fineweb_quality import FinewebQuality
    from codemix.data.ops.gopher_quality import GopherQuality
    from codemix.data.ops.gopher_repetition import GopherRepetition
    from codemix.data.text.words import pieces

    class Pieces(Words):
        def word_tokenize(self, text: str) -> list[str]:
            return pieces(text)

    filters = [
        kind(language=Pieces())
        for kind in (GopherRepetitionFilter, GopherQualityFilter, FineWebQualityFilter)
    ]
    ops = [op.start_batch(None) for op in (GopherRepetition(), GopherQuality(), FinewebQuality())]

    def stock() -> None:
        for text in texts:
            for each in filters:
                each.filter(Doc(text, "x"))

    def ours() -> None:
        documents = [Readable(Document("x", text), len(text)) for text in texts]
        for batch in in_batches(documents):
            docs = [each.document for each in batch]
            for judge in ops:
                judge(docs)

    ours()  # tables that a worker makes once
    return cpu(stock, 3) / cpu(ours, 3)


def minhash(texts: list[str], work: Path) -> float:
    """Signatures, matches and clusters: datatrove's stages over ours, its words by our expressions (no spaCy)."""
    from datatrove.data import Document as Doc
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupSignature,
    )

    from codemix.data.datatrove_adapter.words import Words
    from codemix.data.dedup import key_files
    from codemix.data.dedup.clusters import survivors
    from codemix.data.dedup.signature_writer import SignatureWriter
    from codemix.recipe.language.schema import Dedup

    entry, config = Dedup(kind="minhash", sources=("a",)), MinhashConfig()

    def stock() -> None:
        shutil.rmtree(work / "stock", ignore_errors=True)
        parts = [str(work / "stock" / name) for name in ("signatures", "matches", "clusters")]
        documents = (Doc(text, str(i)) for i, text in enumerate(texts))
        MinhashDedupSignature(parts[0], config, language=Words()).run(documents, 0)
        for bucket in range(entry.buckets):
            MinhashDedupBuckets(parts[0], parts[1], config=config).run(None, bucket, entry.buckets)
        MinhashDedupCluster(parts[1], parts[2], config).run(None, 0, 1)

    def ours() -> None:
        writer = SignatureWriter(entry, str)
        for i, text in enumerate(texts):
            writer.add(i, text)
        writer.save(work / "keys", 0)
        matches = [work / "matches" / f"{bucket:03d}" for bucket in range(entry.buckets)]
        for path in matches:
            key_files.write_matches(work / "keys" / path.name, path)
        survivors(map(key_files.read_matches, matches))

    ours()
    return cpu(stock, 3) / cpu(ours, 3)


def bound_of_build(paths: list[Path], tokenizer: Path, out: Path) -> None:
    """The bound for a build: decompress, parse, encode in batches, write."""
    import orjson
    import zstandard

    encoder = encoders.load_encoder(tokenizer)
    batch: list[str] = []
    size = 0

    def write() -> None:
        file.write(encoder.encode(batch).ids.astype("<u2").tobytes())

    with open(out, "wb") as file:
        for path in paths:
            with open(path, "rb") as source:
                for line in io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(source), 2**20):
                    batch.append(orjson.loads(line)["text"])
                    size += len(batch[-1])
                    if size >= 2**20:
                        write()
                        batch.clear()
                        size = 0
        write()


def encode_once(tokenizer: Path, package: str) -> dict[str, float]:
    """Each text of the corpus once, so that no cache has seen it; meant for a process of its own."""
    texts = corpus_texts()
    batches = [texts[i : i + 64] for i in range(0, len(texts), 64)]
    if package == "tiktoken":
        encode = tiktoken_encoder(tokenizer)
    else:
        encoder = encoders.load_encoder(tokenizer)
        assert encoder.fast, encoder.notice

        def encode(batch: list[str]) -> int:
            return len(encoder.encode(batch).ids)

    tokens = 0
    began = time.process_time()
    for batch in batches:
        tokens += encode(batch)
    return {"cpu_s": time.process_time() - began, "tokens": tokens}


def tiktoken_encoder(tokenizer: Path) -> Callable[[list[str]], int]:
    """Tokens of a batch by tiktoken, with the merges and the pattern of a tokenizer.json."""
    import tiktoken

    from codemix.data.encoding.cutting import cutting_patterns

    content = json.loads(tokenizer.read_text())
    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
    ranks = {bytes([byte]): byte for byte in range(256)}
    for left, right in content["model"]["merges"]:
        ranks[bytes(byte_of[character] for character in left + right)] = len(ranks)
    encoding = tiktoken.Encoding(
        "benchmark", pat_str=cutting_patterns(content)[0], mergeable_ranks=ranks, special_tokens={}
    )
    return lambda batch: sum(len(encoding.encode_to_numpy(text, disallowed_special=())) for text in batch)


def train_once(vocab_size: int, who: str) -> dict[str, float]:
    """Training over the corpus, by `tokenizers` alone or by our kind; meant for a process of its own."""
    import regex  # noqa: F401  (what is imported is not counted)
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    from codemix.data.encoding import merge_training, word_counts  # noqa: F401
    from codemix.data.tokenizers.bpe import PATTERN, Bpe

    texts = corpus_texts()

    def stock() -> None:
        tokenizer = Tokenizer(models.BPE())
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        cut = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, as_bytes])
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False, min_frequency=2)
        tokenizer.train_from_iterator(texts, trainer)

    def ours() -> None:
        Bpe(vocab_size=vocab_size).make((), lambda: iter(texts))

    before = peak_mb()
    cost = cpu(ours if who == "codemix" else stock)
    return {"cpu_s": cost, "mb": peak_mb() - before}


def peak_mb() -> float:
    """Of this program so far [MB]; `ru_maxrss` would also count the process that started it."""
    status = Path("/proc/self/status").read_text()
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(peak) / 1024


def datatrove_cost(folder: Path, path: Path, tokenizer: Path) -> float:
    """CPU seconds of stock datatrove from a source file to its tokens."""
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    few = folder / "few"
    few.mkdir()
    (few / path.name).write_bytes(path.read_bytes())

    def stock() -> None:
        reader = JsonlReader(str(few), compression="zstd")
        step = DocumentTokenizer(
            str(folder / "stock"), str(tokenizer), eos_token="<|endoftext|>", shuffle_documents=False
        )
        step.run(reader.run(None, 0, 1), 0)

    return cpu(stock)


Ratios = dict[str, float | None]


def measure(args: argparse.Namespace) -> Ratios:
    from codemix.data.datatrove_adapter.logs import silence
    from codemix.data.inputs.frozen_inputs import Part, freeze
    from codemix.data.inputs.opener import Opener

    silence()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    out: Ratios = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        root, store = folder / "in", Store(folder / "store")
        root.mkdir()
        n_bytes = write_sources(root, corpus_texts(), args.mb * 10**6)
        paths, r = sorted(root.glob("*.zst")), recipe(args.vocab_size)
        source, opener = r.sources["all"].read, Opener(root)
        inputs = freeze(source.inputs(root), store, root)

        bound = cpu(lambda: read_texts(paths), 3)
        reader = cpu(lambda: [sum(1 for _ in source.read(Part(i), opener)) for i in inputs], 3)
        out["reader_vs_bound"] = bound / reader
        print(f"reader: {n_bytes / reader / 1e6:,.0f} MB/s, bound {n_bytes / bound / 1e6:,.0f}", flush=True)

        # the tokenizer and the documents, and everything imported
        manifest = build(r, store, data_root=root)["all"]
        tokens = manifest.tokens("train")
        (tokenizer,) = store.root.glob("tokenizers/*/tokenizer.json")
        once = {name: child("--encode", tokenizer, name) for name in ("fastokens", "tiktoken")}
        assert once["fastokens"]["tokens"] == once["tiktoken"]["tokens"], "the two do not encode alike"
        out["encode_vs_tiktoken"] = once["tiktoken"]["cpu_s"] / once["fastokens"]["cpu_s"]
        for name, cost in once.items():
            print(f"{name}: {cost['tokens'] / cost['cpu_s'] / 1e6:.2f} M tokens/s", flush=True)

        def again(*what: str) -> None:
            for each in what:
                shutil.rmtree(store.root / each)
            build(r, store, data_root=root)

        turns = []
        # in turns, so that all meet the same machine; the median, because no turn is alone on it
        for _ in range(3 if args.quick else 7):
            bare = cpu(lambda: bound_of_build(paths, tokenizer, folder / "raw"))
            turns.append((bare, cpu(lambda: again("data")), cpu(lambda: again("data", "documents"))))
        bare, shards, whole = map(statistics.median, zip(*turns, strict=True))
        out["build_vs_bound"], out["shards_vs_bound"] = bare / whole, bare / shards
        speeds = [f"{tokens / cost / 1e6:.2f}" for cost in (bare, shards, whole)]
        print(
            f"tokens [M/s]: bound {speeds[0]}, from documents {speeds[1]}, from files {speeds[2]}", flush=True
        )

        texts = read_texts(paths[:1])
        few_tokens = len(encoders.load_encoder(tokenizer).encode(texts).ids) + len(texts)
        theirs = datatrove_cost(folder, paths[0], tokenizer)
        out["tokenize_vs_datatrove"] = (theirs / few_tokens) / (whole / tokens)
        print(f"datatrove: {few_tokens / theirs / 1e6:.2f} M tokens/s", flush=True)
        out["prose_vs_datatrove"] = prose(prose_texts(texts))
        out["minhash_vs_datatrove"] = minhash(prose_texts(texts), Path(folder) / "minhash")
        del texts
        trained = {name: child("--train", args.vocab_size, name) for name in ("tokenizers", "codemix")}
        for key, what in (("cpu_s", "bpe_train_vs_tokenizers"), ("mb", "bpe_memory_vs_tokenizers")):
            out[what] = trained["tokenizers"][key] / trained["codemix"][key]
        out |= by_processes(folder, tokenizer, args)
    return out


def by_processes(folder: Path, tokenizer: Path, args: argparse.Namespace) -> Ratios:
    """What builds in processes of their own cost, by release, workers and size."""
    out: Ratios = {}
    ready = folder / "large"
    large_source(ready, args.workers_mb, tokenizer)
    one, two = (child("--build", folder / f"workers{n}", ready, n) for n in (1, 2))
    assert one["shards"] == two["shards"], "another number of workers made other shards"
    out["two_workers_vs_one"], out["peak_mb_per_worker"] = one["wall_s"] / two["wall_s"], two["peak_mb"]
    print(f"{args.workers_mb} MB: one worker {one['wall_s']:.1f} s, two {two['wall_s']:.1f} s", flush=True)

    out["build_vs_before"] = None
    if args.before:
        now = child("--rebuild", folder / "now", ready)
        before = child("--rebuild", folder / "before", ready, checkout=args.before)
        assert before["shards"] == now["shards"], "the release before made other shards"
        out["build_vs_before"] = before["cpu_s"] / now["cpu_s"]
        print(f"CPU time of a build [s]: before {before['cpu_s']:.1f}, now {now['cpu_s']:.1f}", flush=True)
    else:
        print("skipped: build_vs_before (give --before)")

    out["cost_at_scale"] = None
    if not args.scale:
        print("skipped: cost_at_scale (give --scale)")
        return out
    costs = {}
    for size in sorted(args.scale):
        shutil.rmtree(ready)
        large_source(ready, size, tokenizer)
        made = child("--build", folder / "scale", ready, 1)
        costs[size] = made["cpu_s"] / made["tokens"]
        ns = costs[size] * 1e9
        print(f"{size} MB: {ns:.0f} ns a token of CPU time, peak {made['peak_mb']:.0f} MB", flush=True)
        shutil.rmtree(folder / "scale")
    out["cost_at_scale"] = costs[max(costs)] / costs[min(costs)]
    return out


def large_source(root: Path, mb: int, tokenizer: Path) -> None:
    """Source files of `mb` in all, and the tokenizer beside them."""
    root.mkdir()
    write_sources(root, corpus_texts(), mb * 10**6, max(8, mb // 50))
    shutil.copyfile(tokenizer, root / "tokenizer.json")


def child(*what: object, checkout: str | None = None) -> dict[str, Any]:
    """What this program prints in a process of its own, and its wall time [s]; `checkout`: of codemix."""
    began = time.perf_counter()
    command = [sys.executable, __file__, *map(str, what)]
    environment = os.environ | {"PYTHONPATH": checkout or str(Path(__file__).parents[1])}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
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


def run_again(store: Path, root: Path) -> None:
    """A second build in one process, which has imported everything and has the tokenizer."""
    made = Store(store)
    r = recipe(0, "tokenizer.json")
    build(r, made, data_root=root)
    for folder in ("data", "documents"):
        shutil.rmtree(made.root / folder)
    seconds = cpu(lambda: build(r, made, data_root=root))
    shards = build(r, made, data_root=root)["all"].shards("train")
    print(json.dumps({"cpu_s": seconds, "shards": [shard.sha256 for shard in shards]}))


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
    parser.add_argument("--before", metavar="FOLDER", help="a checkout of an older release")
    parser.add_argument("--build", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--rebuild", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--encode", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--train", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    progress.QUIET = True
    if given := args.build:
        return run_child(Path(given[0]), Path(given[1]), int(given[2]))
    if given := args.rebuild:
        return run_again(Path(given[0]), Path(given[1]))
    if given := args.train:
        return print(json.dumps(train_once(int(given[0]), given[1])))
    if given := args.encode:
        return print(json.dumps(encode_once(Path(given[0]), given[1])))
    result = measure(args)
    print(json.dumps({name: value if value is None else round(value, 3) for name, value in result.items()}))
    return None


if __name__ == "__main__":
    main()
