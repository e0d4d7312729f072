"""Copies of finished outputs, to a folder and to a bucket, against the plainest copy of the same bytes.

    python benchmarks/remote.py                  # the last line is one JSON object
    python benchmarks/remote.py --mb 2048

The bucket is a small server in a process of its own that speaks as much S3 as is asked for and keeps objects in
files, so the ratios say what codemix adds, not how fast an emulator is. Server and client share this machine's cores.
Each is the best of several turns, in turns within one run.

- `push_vs_cp`: `codemix push` to a folder (every file read, hashed, written) against `cp -r`. SHA-256 bounds it: on two
  cores that hash 1.8 GB/s each and copy 3.9 GB/s inside the kernel, at 0.64.
- `push_vs_put`, `pull_vs_get`: to and from the bucket, hashed and checked, against the library's own `put` and `get` of
  the same files, unchecked.
- `fsspec_vs_obstore`: s3fs's `put` of the files against obstore's, where s3fs is installed.
- `stage_vs_local`: with 50 ms to the first byte of every answer, the time of training on what was copied (200 ms a
  step of 0.5M tokens) over that time and the copying before it, by calculation from the measured copying.
- `stream_vs_local`: with the same 50 ms, `--shards stream` against mapped files: the time of 40 steps that do nothing
  but wait 200 ms for what they have read, 0.5M tokens in rows of 8,192. What is copied before the first step (indices,
  checksums) is not in it; its seconds are printed.
- `requests_per_step`, `bytes_read_vs_needed`: of the same, with what is copied before (indices, checksums).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from loader import make_stage, make_tokens

from codemix.data.loader.batches import batches
from codemix.data.loader.shards import Shards
from codemix.data.remote import pieces
from codemix.data.remote.bucket import Bucket
from codemix.data.remote.places import BucketPlace
from codemix.data.remote.streaming import BucketReader, streamed
from codemix.data.store import copying, digests
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.files import file_digest
from codemix.recipe.planning.apportion import apportion

STEP_S = 0.2
STEP_BYTES = 2 * 500_000
FIRST_BYTE_S = 0.05
SEQ_LEN = 8192
ROWS = 500_000 // SEQ_LEN  # of a step
STEPS = 40


class Objects(BaseHTTPRequestHandler):
    """PUT, GET of a range, and LIST, over files named by the hash of their key."""

    protocol_version = "HTTP/1.1"
    wbufsize = 2**16
    folder: Path
    names: dict[str, int] = {}
    first_byte_s = 0.0

    def handle_expect_100(self):
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def do_PUT(self):
        left = int(self.headers["Content-Length"])
        key = unquote(urlsplit(self.path).path)
        with open(self.file(key), "wb") as file:
            while left:
                chunk = self.rfile.read(min(left, 2**20))
                file.write(chunk)
                left -= len(chunk)
        self.names[key] = self.file(key).stat().st_size
        self.answer(200, b"", {"ETag": '"x"'})

    def do_GET(self):
        url = urlsplit(self.path)
        if "list-type" in url.query:
            return self.list(parse_qs(url.query).get("prefix", [""])[0])
        key = unquote(url.path)
        if key not in self.names:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        size = self.names[key]
        wanted = self.headers.get("Range", f"bytes=0-{size - 1}").removeprefix("bytes=")
        start, end = (int(part) for part in wanted.split("-"))
        end = min(end + 1, size)
        time.sleep(self.first_byte_s)
        self.send_response_only(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Sat, 28 Nov 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.flush()
        with open(self.file(key), "rb") as file:
            self.connection.sendfile(file, start, end - start)
        return None

    def do_HEAD(self):
        self.answer(404, b"")

    def list(self, prefix):
        found = []
        for key, size in sorted(self.names.items()):
            name = key.split("/", 2)[2]
            if name.startswith(prefix):
                when = "2026-11-28T00:00:00.000Z"
                found.append(
                    f"<Contents><Key>{name}</Key><Size>{size}</Size><LastModified>{when}</LastModified>"
                    '<ETag>"x"</ETag></Contents>'
                )
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(found)}</ListBucketResult>"
        self.answer(200, text.encode())

    def file(self, key):
        return self.folder / hashlib.sha256(key.encode()).hexdigest()

    def answer(self, status, content, headers=None):
        time.sleep(self.first_byte_s)
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


def serve(folder: Path, first_byte_s: float, ready) -> None:
    handler = type("Handler", (Objects,), {"folder": folder, "first_byte_s": first_byte_s, "names": {}})
    ThreadingHTTPServer.request_queue_size = 256
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    ready.send(server.server_port)
    server.serve_forever()


@contextlib.contextmanager
def server(folder: Path, first_byte_s: float = 0.0):
    """The environment leads to a fresh bucket server."""
    folder.mkdir()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, first_byte_s, theirs))
    process.start()
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{ours.recv()}",
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="x",
        AWS_REGION="us-east-1",
    )
    try:
        yield
    finally:
        process.kill()
        process.join()
        shutil.rmtree(folder)


def finished_output(root: Path, mb: int) -> Path:
    """A finished output of four shards of random bytes."""
    folder = root / "store/data/code-0123456789ab"
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f"train-{number}.ds").write_bytes(os.urandom(mb * 2**20 // 4))
    known = {path.name: copying.file_digest(path) for path in sorted(folder.iterdir())}
    lines = [f"{digest}  {name}\n" for name, digest in known.items()]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def measured(functions: dict, clean, turns: int) -> dict[str, float]:
    """The best time of each [s]; `clean` is called before every one."""
    best = dict.fromkeys(functions, 1e9)
    for _ in range(turns):
        for name, function in functions.items():
            clean()
            started = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def to_folder(root: Path, source: Path, turns: int) -> float:
    target = root / "other"
    final = target / "data" / source.name

    def copy_plainly():
        subprocess.run(["cp", "-r", source, target], check=True)

    def push():
        copying.copy(source, Store(target), final, lambda n: None)

    def clean():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()

    best = measured({"cp": copy_plainly, "push": push}, clean, turns)
    clean()
    return best["cp"] / best["push"]


def over_bucket(root: Path, source: Path, turns: int) -> dict[str, float]:
    import obstore
    from obstore.store import from_url

    known = copying.finished_digests(source)
    here = root / "here"
    count = iter(range(1000))

    def plain():
        return from_url("s3://bucket/plain", client_options={"allow_http": True, "timeout": "10m"})

    def put():
        for name in known:
            obstore.put(plain(), name, source / name, use_multipart=False)

    def get():
        for name in known:
            with open(here / name, "wb") as file:
                for chunk in obstore.get(plain(), name).stream(min_chunk_size=2**20):
                    file.write(chunk)

    def push():
        pieces.upload(Bucket("s3://bucket/x"), f"data/{next(count)}", source, known)

    def pull():
        bucket = Bucket("s3://bucket/x")
        pieces.download(bucket, "data/0", pieces.read_contents(bucket, "data/0"), here)

    def fsspec_put():
        import s3fs

        filesystem = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"], skip_instance_cache=True)
        for name in known:
            filesystem.pipe_file(f"bucket/fsspec/{name}", (source / name).read_bytes(), chunksize=2**32)

    def clean():
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()

    functions = {"put": put, "push": push, "get": get, "pull": pull}
    with contextlib.suppress(ImportError):
        import s3fs  # noqa: F401

        functions["fsspec"] = fsspec_put
    with server(root / "objects"):
        best = measured(functions, clean, turns)
    ratios = {"push_vs_put": best["put"] / best["push"], "pull_vs_get": best["get"] / best["pull"]}
    if "fsspec" in best:
        ratios["fsspec_vs_obstore"] = best["put"] / best["fsspec"]
    return ratios


def staging(root: Path, source: Path) -> float:
    known = copying.finished_digests(source)
    bucket_bytes = sum((source / name).stat().st_size for name in known)
    with server(root / "slow", FIRST_BYTE_S):
        bucket = Bucket("s3://bucket/x")
        pieces.upload(bucket, "data/0", source, known)
        started = time.perf_counter()
        pieces.download(bucket, "data/0", pieces.read_contents(bucket, "data/0"), root / "staged")
        took = time.perf_counter() - started
    training = bucket_bytes / STEP_BYTES * STEP_S
    return training / (training + took)


def streaming(root: Path) -> dict[str, float]:
    catalog = Store(root / "catalog")
    manifests = {}
    for number in range(4):
        name = f"source{number:03}"
        folder = root / f"built/data/{name}-{number:012}"
        manifests[name] = with_digests(make_tokens(folder, name, ROWS * STEPS * SEQ_LEN // 3, 2, number))
    with server(root / "streamed", FIRST_BYTE_S):
        bucket = Bucket("s3://bucket/x")
        for manifest in manifests.values():
            names = digests.files(manifest.folder)
            known = digests.measure(manifest.folder, names)
            pieces.upload(bucket, f"data/{manifest.folder.name}", manifest.folder, known)
            here = catalog.path("data", manifest.folder.name)
            here.mkdir(parents=True)
            shutil.copy(manifest.folder / "manifest.json", here)
        place = BucketPlace(bucket)
        outputs = [f"data/{manifest.folder.name}" for manifest in manifests.values()]
        sources = streamed(place, catalog, outputs)
        there = {source.manifest.source: source.manifest for source in sources}
        importlib.import_module("grain")  # takes seconds
        local = steps_of(manifests, None)
        started = time.perf_counter()
        with contextlib.closing(BucketReader(bucket)) as reader:
            copied = sum(file.bytes for source in sources for file in source.lacking)
            for source in sources:
                reader.add(source)
            starting = time.perf_counter() - started
            took = steps_of(there, reader)
            traffic = reader.traffic
    needed = ROWS * STEPS * (SEQ_LEN + 1) * 2
    print(f"before the first step: {starting:.2f} s; local {local:.2f} s, streamed {took:.2f} s")
    return {
        "stream_vs_local": local / took,
        "requests_per_step": traffic.requests / STEPS,
        "bytes_read_vs_needed": (traffic.bytes + copied) / needed,
    }


def with_digests(manifest: Manifest) -> Manifest:
    """What a build writes into its manifest, and the loader's benchmark does without."""
    for shard in manifest.splits["train"]["shards"]:
        shard["sha256"] = file_digest(manifest.folder / shard["path"])
        shard["index_sha256"] = file_digest(manifest.folder / f"{shard['path']}.index")
    manifest.save(manifest.folder)
    return Manifest.load(manifest.folder)


def steps_of(manifests: dict[str, Manifest], reader: BucketReader | None) -> float:
    """The seconds of steps that wait for what they have read."""
    shards = {name: Shards(manifest, "train", SEQ_LEN) for name, manifest in manifests.items()}
    counts = apportion(ROWS * STEPS, [Fraction(share, 10) for share in (4, 3, 2, 1)])
    stage = make_stage(counts, [held.windows for held in shards.values()], SEQ_LEN, ROWS)
    started = time.perf_counter()
    for _ in batches(stage, shards, reader=reader):
        time.sleep(STEP_S)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", type=int, default=512, help="MiB of one output")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        source = finished_output(root, args.mb)
        ratios = {"push_vs_cp": to_folder(root, source, args.turns)}
        ratios |= over_bucket(root, source, args.turns)
        ratios["stage_vs_local"] = staging(root, source)
        ratios |= streaming(root)
    print(json.dumps({name: round(ratio, 3) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
