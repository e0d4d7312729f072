"""A local store whose tokens stay in a bucket, where training reads the windows that it needs of them.

What is small comes here before: the outputs' JSON files, and of each shard its index and checksums. They lie in the
catalog, under the names that they have in any store.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from codemix.data.remote import pieces
from codemix.data.remote.bucket import CONCURRENT, Bucket
from codemix.data.remote.parts import FilesInPieces, Part, PinnedFolder, check_pieces, unknown_pieces
from codemix.data.remote.pieces import Contents, File
from codemix.data.remote.places import BucketPlace
from codemix.data.store.elsewhere import PartOfFile, Traffic
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store, read_json, write_bytes, write_text
from codemix.errors import CodemixError
from codemix.progress import progress

CHECKED = (
    ".etags"  # in an output's folder of the catalog: the ETags of pieces that were checked here, by piece
)


class StreamedStore(Store):
    """A store in a folder, but that its data is the catalog's, and the tokens of that come by `reader`."""

    def __init__(self, root: Path, catalog: Store, reader: BucketReader):
        super().__init__(root)
        self.built = catalog
        self.reader = reader


@dataclass(frozen=True)
class Streamed:
    """The tokens of one source in a bucket."""

    output: str
    manifest: Manifest
    contents: Contents

    @functools.cached_property
    def beside(self) -> list[File]:
        """What is needed of it on this disk."""
        wanted: set[str] = set()
        for shard in self.manifest.shards("train"):
            wanted.add(f"{shard.path}.index")
            if shard.checks_sha256:
                wanted.add(f"{shard.path}.checks")
        return [file for file in self.contents.files if file.path in wanted]

    @property
    def lacking(self) -> list[File]:
        """What of that is not here yet."""
        folder = self.manifest.folder
        lacking = []
        for file in self.beside:
            if not (folder / file.path).exists():
                lacking.append(file)
        return lacking

    def refuse_other(self) -> None:
        """Raises CodemixError where the bucket holds other tokens by now than the catalog says."""
        digests = {file.path: file.sha256 for file in self.contents.files}
        for shard in self.manifest.shards("train"):
            if digests.get(shard.path) != shard.sha256:
                raise CodemixError(
                    f"{self.output} in the bucket has another {shard.path} than its copy of the manifest says",
                    hints=[
                        f"something replaced it; delete {self.manifest.folder} and run the same command again"
                    ],
                    rule="bucket-lost",
                )


def streamed(place: BucketPlace, catalog: Store, outputs: Iterable[str]) -> list[Streamed]:
    """Data outputs of a bucket. Raises CodemixError where one is gone, or has changed since the catalog was read."""
    found = []
    for output in outputs:
        manifest = Manifest.load(catalog.root.absolute() / output)
        source = Streamed(output, manifest, place.contents(output))
        source.refuse_other()
        found.append(source)
    return found


class BucketReader:
    """Reads parts of the shards in a bucket, `CONCURRENT` at a time."""

    def __init__(self, bucket: Bucket):
        self._bucket = bucket
        self._pool = ThreadPoolExecutor(CONCURRENT, thread_name_prefix="reading")
        self._files: dict[
            str, tuple[PinnedFolder, str]
        ] = {}  # by the place that they would have on this disk
        self._lock = threading.Lock()
        self._traffic = Traffic()

    @property
    def traffic(self) -> Traffic:
        return self._traffic

    def ask(self, part: PartOfFile) -> Future[bytes]:
        folder, path = self._files[part.file]
        parts = folder.places.parts(path, part.start, part.end)
        n_bytes = part.end - part.start
        with self._lock:
            self._traffic += Traffic(len(parts), n_bytes)
        return self._pool.submit(_joined, folder, parts)

    def add(self, source: Streamed) -> None:
        """Read a source's shards from now on: what is small of them is copied, every piece is known to be whole."""
        folder = self._pin(source)
        self._bring(source, folder)
        for shard in source.manifest.shards("train"):
            path = source.manifest.folder / shard.path
            self._files[str(path)] = (folder, shard.path)

    def _pin(self, source: Streamed) -> PinnedFolder:
        contents = source.contents
        there = pieces.objects_there(self._bucket, source.output)
        pieces.refuse_lost(self._bucket, source.output, contents, there)
        record = source.manifest.folder / CHECKED
        checked = read_json(record) if record.exists() else {}
        unknown = unknown_pieces(contents, there, checked)
        if unknown:
            entries = [there[piece] for piece in unknown]
            check_pieces(self._bucket, entries)
            now = {piece: there[piece].etag for piece in unknown}
            write_text(record, json.dumps(checked | now))
        etags = {piece: there[piece].etag for piece in contents.pieces}
        return PinnedFolder(self._bucket, source.output, FilesInPieces(contents), etags)

    def _bring(self, source: Streamed, folder: PinnedFolder) -> None:
        def bring(file: File) -> int:
            target = source.manifest.folder / file.path
            content = folder.file(file)
            write_bytes(target, content)
            return file.bytes

        lacking = source.lacking
        total = sum(file.bytes for file in lacking)
        with progress(f"copying what is small of {source.output}", total, "bytes") as advance:
            for n_bytes in self._pool.map(bring, lacking):
                advance(n_bytes)

    def close(self) -> None:
        """Ask for nothing more."""
        self._bucket.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _joined(folder: PinnedFolder, parts: list[Part]) -> bytes:
    return b"".join(map(folder.read, parts))
