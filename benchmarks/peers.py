"""The same files and the same tokenizer to tokens on disk, by codemix and by its peers: dolma, stock datatrove,
Hugging Face `datasets` and litdata.

    CODEMIX_CORPUS=FOLDER python benchmarks/peers.py [--mb 50] [--environments FOLDER] [--only NAME ...]

Each peer works in a virtual environment of its own below `--environments`, made once (by uv where it is there,
else by venv and pip; litdata brings torch, some gigabytes). What does not install is skipped, and said. Each is
used as its documentation shows, with one worker, whole program: start, imports, reading, writing.

Input is jsonl.zst in 8 files: the labelled corpus in a random order (empty documents and copies are in it),
repeated or cut to `--mb`; without CODEMIX_CORPUS text files of the installed packages. The tokenizer is a byte
level BPE of 32,768 entries trained on that text; a token ends each document.

A document is lost where the tokens, cut at the ends of documents and decoded, do not give its exact text.
(codemix leaves out empty ones and counts them in its funnel.)

CPU time and wall time are those of the program and all processes that it waited for; peak memory that of its
largest process. Last line: one JSON object, codemix over each peer in tokens per CPU second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from build import corpus_texts, read_texts, write_sources
from peer_programs import PEERS, RECIPE, Peer

from codemix.data.tokenizers.bpe import Bpe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END = "<|endoftext|>"
INSTALL_S = 1200  # torch is large

# in a small process between: a program's peak counts from the memory of the process that starts it
LAUNCH = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=sys.stderr)
wall = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024]))
sys.exit(code)
"""


class Unusable(Exception):
    """A peer's program ended well and left no tokens of these documents."""


def tokens_of(peer: Peer, out: Path, texts: list[str]) -> np.ndarray:
    """All ids that a peer wrote; Unusable where no text of this size gives as much, or it gave nothing."""
    n_bytes = sum(len(text.encode()) for text in texts)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if size > 16 * n_bytes + 2**20:  # dolma that reads no file leaves 2 GiB of zeros, and exits 0
        raise Unusable(f"{size:,} bytes for {n_bytes:,} bytes of text")
    ids = peer.read(out)
    if not ids.any():
        raise Unusable(f"no tokens among {len(ids):,}")
    return ids


@dataclass(frozen=True)
class Cost:
    cpu_s: float
    wall_s: float
    peak_mb: float


def environment(home: Path, packages: tuple[str, ...]) -> Path:
    """The Python of an environment with `packages`, made where it is not there; CalledProcessError."""
    python, made = home / "bin" / "python", home / "packages.txt"
    if made.is_file() and made.read_text().split() == list(packages):
        return python
    shutil.rmtree(home, ignore_errors=True)
    if uv := shutil.which("uv"):
        make, install = (
            [uv, "venv", "--python", sys.executable, home],
            [uv, "pip", "install", "--python", python],
        )
    else:
        make, install = [sys.executable, "-m", "venv", home], [python, "-m", "pip", "install"]
    for command in (make, [*install, *packages]):
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S)
    made.write_text("\n".join(packages))
    return python


def run(python: Path, program: Path, files: Path, end: int, out: Path) -> Cost:
    """What a program costs; CalledProcessError with what it wrote."""
    out.mkdir()
    peer = [str(python), str(program), str(files), str(end), str(out)]
    variables = os.environ | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, *peer],
        check=True,
        capture_output=True,
        text=True,
        env=variables,
        cwd=files,
    )
    return Cost(*json.loads(done.stdout))


def prepare(files: Path, n_bytes: int) -> tuple[list[str], Tokenizer]:
    """Writes the source files, the tokenizer and the recipe; the documents, and the tokenizer."""
    from tokenizers import Tokenizer

    texts = labelled(Path(os.environ["CODEMIX_CORPUS"])) if "CODEMIX_CORPUS" in os.environ else corpus_texts()
    random.Random(0).shuffle(texts)
    write_sources(files, texts, n_bytes)
    texts = read_texts(sorted(files.glob("*.zst")))
    content = json.loads(Bpe(vocab_size=32768).make((), lambda: iter(texts)).to_str())
    # the older spelling of merges: dolma 1.2.1 wants tokenizers 0.19
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    (files / "tokenizer.json").write_text(json.dumps(content))
    (files / "recipe.yaml").write_text(RECIPE)
    return texts, Tokenizer.from_str(json.dumps(content))


def labelled(corpus: Path) -> list[str]:
    """All prose and code of the corpus, with its empty documents and its copies."""
    import pyarrow
    from pyarrow import parquet

    texts: list[str] = []
    for pattern, field in (("text/*.jsonl.zst", "text"), ("code/*.jsonl.gz", "content")):
        for path in sorted(corpus.glob(pattern)):
            with pyarrow.input_stream(path) as lines:
                texts += [json.loads(line)[field] for line in lines.read().splitlines()]
    for path in sorted(corpus.glob("code/*.parquet")):
        texts += parquet.read_table(path, columns=["content"])["content"].to_pylist()
    return texts


def losses(texts: list[str], ids: np.ndarray, end: int, tokenizer: Tokenizer) -> str:
    """What of `texts` the tokens do not give back: documents, empty ones among them, bytes."""
    documents = [part.tolist() for part in np.split(ids, np.flatnonzero(ids == end))]
    bodies = [document[1:] if document[:1] == [end] else document for document in documents]
    given = Counter(texts)
    got = Counter(tokenizer.decode_batch(bodies[:-1], skip_special_tokens=False))
    lost = given - got
    empty = sum(n for text, n in lost.items() if not text.strip())
    n_bytes = sum(len(text.encode()) * n for text, n in given.items())
    n_back = sum(len(text.encode()) * n for text, n in got.items())
    return f"{lost.total():9,} {empty:7,} {n_bytes - n_back:9,}"


def row(name: str, ids: np.ndarray, cost: Cost, lost: str) -> str:
    speed = len(ids) / cost.cpu_s
    work = f"{len(ids) / 1e6:8.3f} {speed / 1e6:8.3f} {cost.cpu_s:7.1f} {cost.wall_s:7.1f}"
    return f"{name:9} {work} {cost.peak_mb:8.0f} {lost}"


def measure(names: list[str], n_bytes: int, environments: Path) -> dict[str, float]:
    """Tokens per CPU second of each that ran; prints a line for each."""
    speeds = {}
    with tempfile.TemporaryDirectory() as made:
        files, programs = Path(made) / "in", Path(made) / "programs"
        files.mkdir()
        programs.mkdir()
        texts, tokenizer = prepare(files, n_bytes)
        end = tokenizer.token_to_id(END)
        print(f"{len(texts):,} documents, {sum(len(text.encode()) for text in texts):,} bytes")
        print("          M tokens  M/CPU s   CPU s  wall s  peak MB  not given back: documents, empty, bytes")
        for name in names:
            # a file called datasets.py would be imported for the package
            peer, program, out = PEERS[name], programs / f"with_{name}.py", Path(made) / name
            program.write_text(peer.program)
            python = Path(sys.executable)
            try:
                if peer.packages:
                    python = environment(environments / name, peer.packages)
                cost = run(python, program, files, end, out)
                ids = tokens_of(peer, out, texts)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired, Unusable) as error:
                print(f"skipped: {name}: {error}", str(getattr(error, "stderr", ""))[-2000:], sep="\n")
                continue
            speeds[name] = len(ids) / cost.cpu_s
            print(row(name, ids, cost, losses(texts, ids, end, tokenizer)), flush=True)
            shutil.rmtree(out)
    return speeds


def main() -> None:
    peers = [name for name in PEERS if name != "codemix"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", type=int, default=50, help="text of the source files")
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path(tempfile.gettempdir()) / "codemix-peers",
        metavar="FOLDER",
        help="where the peers' environments are kept",
    )
    parser.add_argument("--only", nargs="+", choices=peers, default=peers)
    args = parser.parse_args()
    args.environments.mkdir(parents=True, exist_ok=True)
    speeds = measure(["codemix", *args.only], args.mb * 10**6, args.environments.resolve())
    ratios: dict[str, float | None] = {f"codemix_vs_{name}": None for name in args.only}
    if ours := speeds.pop("codemix", None):
        ratios |= {f"codemix_vs_{name}": round(ours / speed, 2) for name, speed in speeds.items()}
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
