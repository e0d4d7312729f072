"""Windows of a source's token shards, read in place.

Window `w` of a split is `seq_len + 1` tokens; consecutive windows of a shard start `seq_len` tokens apart, so each of a window's
`seq_len` inputs has its target. Windows never cross shards; the tail of a shard that is shorter than a window is never read.

A `Shards` holds no file open. Maps are made on first use, in a cache that the whole process shares and that is bounded, so a
source of thousands of shards does not run out of file descriptors, and pickling a `Shards` copies no tokens.

What is read is checked: a shard's index when it is first used, its tokens block by block (data/store/block_checksums.py) when a window or a
document first touches one.
"""

from __future__ import annotations

import collections
import itertools
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codemix.data.store import block_checksums
from codemix.data.store.digests import file_digest
from codemix.data.store.manifest import TOKEN_BYTES, Manifest, ids_file
from codemix.errors import CodemixError

_MAX_MAPS = 384  # file descriptors held; well below the usual limit of 1,024
_maps: collections.OrderedDict[tuple[str, int], np.ndarray] = collections.OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class Span:
    """A document inside a window: its number in the shard, the window's tokens `start` to `stop - 1`, and where that begins in the document."""

    document: int
    start: int
    stop: int
    from_token: int  # in the document
    tokens: int  # of the whole document, its EOS included


class Shards:
    """One split of one source, as windows."""

    def __init__(self, manifest: Manifest, split: str, seq_len: int):
        self.source, self.folder, self.split, self.seq_len = (
            manifest.source,
            Path(manifest.folder),
            split,
            seq_len,
        )
        self.vocab_size = int(manifest.tokenizer["vocab_size"])
        self._dtype = f"<u{TOKEN_BYTES[manifest.dtype]}"
        self.shards = manifest.shards(split)
        self._paths = [str(self.folder / s.path) for s in self.shards]
        self._last = np.cumsum(
            [max(0, (s.tokens - 1) // seq_len) for s in self.shards], dtype=np.int64
        )  # windows up to and with each shard
        self._before = np.concatenate(([0], self._last))
        self.windows = int(self._before[-1])
        self._width = TOKEN_BYTES[manifest.dtype]
        counts = [block_checksums.blocks(s.tokens * self._width) for s in self.shards]
        self._first_block = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        self._sound = np.repeat(
            np.array([not s.checks_sha256 for s in self.shards], bool), counts
        )  # blocks that need no check
        self._sound_ends = {number for number, s in enumerate(self.shards) if not s.checks_sha256}

    def __len__(self) -> int:
        return self.windows

    def place(self, window: int) -> tuple[int, int]:
        """The shard (its number) that holds a window, and the token at which the window begins there."""
        shard, offset = self.places(np.array([window], np.int64))
        return int(shard[0]), int(offset[0])

    def places(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`place` of each window."""
        windows = np.asarray(windows, np.int64)
        if len(windows) and not (windows.min() >= 0 and windows.max() < self.windows):
            raise IndexError(
                f"{self.source}: windows {windows.min()} to {windows.max()} are not all in [0, {self.windows})"
            )
        shard = np.searchsorted(self._last, windows, "right")
        return shard, (windows - self._before[shard]) * self.seq_len

    def gather(self, windows: np.ndarray) -> np.ndarray:
        """The tokens of `windows`: int32 [n, seq_len + 1]."""
        out = np.empty((len(windows), self.seq_len + 1), np.int32)
        for i, (shard, offset) in enumerate(zip(*(x.tolist() for x in self.places(windows)), strict=True)):
            self.check_blocks(shard, offset, offset + self.seq_len + 1)
            out[i] = self.tokens(shard)[offset : offset + self.seq_len + 1]
        self.check_ids(out, windows)
        return out

    def document(self, shard: int, document: int) -> np.ndarray:
        """The tokens of a document, its EOS included; mapped."""
        ends = self.ends(shard)
        start, stop = int(ends[document - 1]) if document else 0, int(ends[document])
        self.check_blocks(shard, start, stop)
        return self.tokens(shard)[start:stop]

    def unchecked(self, shard: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Which of the windows at these places touch a block that was not checked yet."""
        first = self._first_block[shard] + offset * self._width // block_checksums.BLOCK
        last = self._first_block[shard] + ((offset + self.seq_len) * self._width) // block_checksums.BLOCK
        found = ~(self._sound[first] & self._sound[last])
        for between in range(
            1, self.seq_len * self._width // block_checksums.BLOCK + 1
        ):  # windows longer than a block
            found |= ~self._sound[np.minimum(first + between, last)]
        return found

    def check_blocks(self, shard: int, start: int, stop: int) -> None:
        """Check the blocks that hold tokens `start` to `stop` - 1 of a shard, each once.

        Raises CodemixError (`shard-corrupt`) where one is not what was written.
        """
        before = int(self._first_block[shard])
        for block in range(
            start * self._width // block_checksums.BLOCK,
            (stop * self._width - 1) // block_checksums.BLOCK + 1,
        ):
            if not self._sound[before + block]:
                if block_checksums.block_check(self.tokens(shard), block) != self._checks(shard)[1 + block]:
                    first = block * block_checksums.BLOCK
                    where = (
                        f"its checksum differs in bytes {first:,} to {first + block_checksums.BLOCK - 1:,}"
                    )
                    raise self._corrupt(self.path(shard), where)
                self._sound[before + block] = True

    def _checks(self, shard: int) -> np.ndarray:
        count = 1 + block_checksums.blocks(self.shards[shard].tokens * self._width)
        return self._map(f"{self._paths[shard]}{block_checksums.SUFFIX}", "<u8", count, "checksums")

    def ends_inside(self, shard: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where documents have just ended in the windows at these places: (which window, place in it), by window, then place.

        Places are in [1, seq_len + 1]; the latter says that the window's last token is its document's last.
        """
        which, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        by_shard = np.argsort(shard, kind="stable")
        numbers, first = np.unique(shard[by_shard], return_index=True)
        for number, mine in zip(numbers.tolist(), np.split(by_shard, first[1:]), strict=True):
            ends, at = self.ends(number), offset[mine]
            low, high = ends.searchsorted(at, "right"), ends.searchsorted(at + (self.seq_len + 1), "right")
            count = high - low
            window = np.repeat(np.arange(len(mine)), count)
            index = np.arange(len(window)) + (low - np.cumsum(count) + count)[window]
            which.append(mine[window])
            places.append(ends[index] - at[window])
        which, places = np.concatenate(which), np.concatenate(places)
        order = np.argsort(which, kind="stable")
        return which[order], places[order]

    def spans(self, window: int) -> list[Span]:
        """The documents that a window touches, in order; together they cover its `seq_len + 1` tokens."""
        shard, offset = self.place(window)
        ends, stop = self.ends(shard), offset + self.seq_len + 1
        document, spans = int(ends.searchsorted(offset, "right")), []
        while True:
            start = int(ends[document - 1]) if document else 0
            end = int(ends[document])
            spans.append(
                Span(
                    document,
                    max(start, offset) - offset,
                    min(end, stop) - offset,
                    max(0, offset - start),
                    end - start,
                )
            )
            if end >= stop:
                return spans
            document += 1

    def windows_of(self, shard: int, document: int) -> range:
        """The windows that hold any token of a document of a shard (as input or as target)."""
        ends = self.ends(shard)
        start, stop = int(ends[document - 1]) if document else 0, int(ends[document])
        before, inside = int(self._before[shard]), int(self._before[shard + 1] - self._before[shard])
        # window w covers tokens [w T, w T + T]: its last token is also the next window's first
        first = max(0, -(-(start - self.seq_len) // self.seq_len))
        return range(before + min(first, inside), before + min((stop - 1) // self.seq_len + 1, inside))

    def document_tokens(self, shard: int, document: int) -> int:
        """Tokens of a document, its EOS included."""
        ends = self.ends(shard)
        return int(ends[document] - (ends[document - 1] if document else 0))

    def check(self, *, hashes: bool = False) -> None:
        """Compare each shard with the manifest: size, number and last end of documents; with `hashes`, every byte.

        Raises CodemixError (`shard-corrupt`) that names each file that differs.
        """
        problems = []
        for number, shard in enumerate(self.shards):
            for path, expected, read in (
                (self._paths[number], shard.sha256, self.tokens),
                (f"{self._paths[number]}.index", shard.index_sha256, self.ends),
            ):
                try:
                    read(number)
                    if hashes and (found := file_digest(Path(path))) != expected:
                        raise self._corrupt(
                            path, f"its SHA-256 is {found[:12]}..., the manifest says {expected[:12]}..."
                        )
                except CodemixError as error:
                    problems += error.problems
        if problems:
            raise CodemixError(*problems)

    def path(self, shard: int) -> Path:
        return Path(self._paths[shard])

    def metadata(self, shard: int, documents: set[int]) -> dict[int, dict]:
        """What the build wrote about some documents of a shard (id, bytes, language, licence, ...), by number."""
        lines = itertools.islice(enumerate(self._sidecar(shard)), max(documents, default=-1) + 1)
        return {number: json.loads(line) for number, line in lines if number in documents}

    def holding(self, document_id: str) -> list[int]:
        """The shards, by number, that may hold a document with this id: by the source's file of ids, every shard where there is none."""
        path = self.folder / ids_file(self.split)
        if not path.exists():
            return list(range(len(self.shards)))
        counts = [shard.documents for shard in self.shards]
        ids, wanted = (
            self._map(str(path), "<u8", sum(counts), "ids"),
            np.uint64(block_checksums.id_check(document_id)),
        )
        found, start = [], 0
        for number, count in enumerate(counts):
            at = start + int(ids[start : start + count].searchsorted(wanted))
            start += count
            if at < start and ids[at] == wanted:
                found.append(number)
        return found

    def find(self, shard: int, document_id: str) -> list[int]:
        """The documents of a shard with this id, by number; reads what the build wrote about every document of the shard."""
        spellings = tuple(json.dumps(document_id, ensure_ascii=ascii).encode() for ascii in (False, True))
        lines = enumerate(self._sidecar(shard))
        return [
            number
            for number, line in lines
            if any(s in line for s in spellings) and json.loads(line)["id"] == document_id
        ]

    def _sidecar(self, shard: int) -> Iterator[bytes]:
        import zstandard

        path, rest = self.folder / self.shards[shard].docs, b""
        try:
            with open(path, "rb") as f:
                stream = zstandard.ZstdDecompressor().stream_reader(f, read_across_frames=True)
                while block := stream.read(1 << 20):
                    *whole, rest = (rest + block).split(b"\n")
                    yield from whole
        except (OSError, zstandard.ZstdError) as error:
            raise self._corrupt(path, str(error)) from None
        if rest:
            yield rest

    def tokens(self, shard: int) -> np.ndarray:
        """All tokens of a shard, mapped: unsigned, as wide as the manifest says."""
        return self._map(self._paths[shard], self._dtype, self.shards[shard].tokens, "tokens")

    def ends(self, shard: int) -> np.ndarray:
        """Where each document ends [tokens]. Signed: searching unsigned 64-bit ends for a Python int would copy them all to floats."""
        path, entry = f"{self._paths[shard]}.index", self.shards[shard]
        ends = self._map(path, "<i8", entry.documents, "documents")
        if entry.documents and ends[-1] != entry.tokens:
            raise self._corrupt(
                path,
                f"its last document ends at token {int(ends[-1]):,}, the manifest counts {entry.tokens:,}",
            )
        if shard not in self._sound_ends:
            if block_checksums.whole_check(ends) != self._checks(shard)[0]:
                raise self._corrupt(path, "its checksum differs")
            self._sound_ends.add(shard)
        return ends

    def _map(self, path: str, dtype: str, count: int, noun: str) -> np.ndarray:
        with _lock:
            if (path, count) in _maps:
                _maps.move_to_end((path, count))
                return _maps[path, count]
        try:
            size, wanted = os.path.getsize(path), count * np.dtype(dtype).itemsize
        except OSError as error:
            raise self._corrupt(path, error.strerror or str(error)) from None
        if size != wanted:
            raise self._corrupt(path, f"it has {size:,} bytes, and {count:,} {noun} take {wanted:,}")
        array = (
            np.memmap(path, dtype, "r").view(np.ndarray) if count else np.zeros(0, dtype)
        )  # slicing a memmap object is several times slower
        with _lock:
            _maps[path, count] = array
            while len(_maps) > _MAX_MAPS:
                _maps.popitem(last=False)  # an array in use keeps its own map alive
        return array

    def check_ids(self, tokens: np.ndarray, windows: np.ndarray) -> None:
        """Raises CodemixError when a token of these rows, which hold `windows`, is not an id of the tokenizer."""
        unsigned = tokens.view(np.uint32)
        if unsigned.size and int(unsigned.max()) >= self.vocab_size:
            row = int((unsigned >= self.vocab_size).any(-1).argmax())
            shard, offset = self.place(int(windows[row]))
            raise self._corrupt(
                self.path(shard),
                f"token {int(unsigned[row].max()):,} near offset {offset:,} is not below the vocabulary of {self.vocab_size:,}",
            )

    def _corrupt(self, path: str | Path, why: str) -> CodemixError:
        return CodemixError(
            f"{path} is not what its manifest says: {why}",
            hints=[
                f"delete {self.folder} and run `codemix build-data`: the same inputs give the same tokens"
            ],
            rule="shard-corrupt",
        )
