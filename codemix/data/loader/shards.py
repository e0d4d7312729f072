"""Windows of a source's token shards, read in place.

Window `w` of a split is `seq_len + 1` tokens; consecutive windows of a shard start `seq_len` tokens apart, so
each of a window's `seq_len` inputs has its target. Windows never cross shards; the tail of a shard that is
shorter than a window is never read.

A `Shards` holds no file open: its arrays are mapped on first use (mapped_arrays.py), and pickling a `Shards`
copies no tokens.

What is read is checked: a shard's index when it is first used, its tokens block by block
(data/store/block_checksums.py) when a window or a document first touches one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from codemix.data.loader.checked_blocks import CheckedBlocks
from codemix.data.loader.mapped_arrays import CannotMap, map_array
from codemix.data.store import block_checksums
from codemix.data.store.elsewhere import PartOfFile
from codemix.data.store.manifest import TOKEN_BYTES, Manifest, ids_file
from codemix.errors import CodemixError, Problem
from codemix.files import file_digest


@dataclass(frozen=True)
class Span:
    """A document inside a window: its number in the shard, the window's tokens `start` to `stop - 1` that are
    its, and where in the document they begin."""

    document: int
    start: int
    stop: int
    from_token: int  # in the document
    tokens: int  # of the whole document, its EOS included


@dataclass(frozen=True)
class DocumentEnds:
    """Where documents have just ended in some windows: by window, then place."""

    window: ndarray  # which of the windows
    place: ndarray  # in [1, seq_len + 1]; the latter: the window's last token is its document's last


def groups(numbers: ndarray) -> Iterator[tuple[int, ndarray]]:
    """Each number that occurs, ascending, with the indices at which it does."""
    by_number = np.argsort(numbers, kind="stable")
    in_order = numbers[by_number]
    distinct, first = np.unique(in_order, return_index=True)
    later_firsts = first[1:]
    indices = np.split(by_number, later_firsts)
    yield from zip(distinct.tolist(), indices, strict=True)


class Shards:
    """One split of one source, as windows."""

    def __init__(self, manifest: Manifest, split: str, seq_len: int):
        self.source = manifest.source
        self.folder = Path(manifest.folder)
        self.split = split
        self.seq_len = seq_len
        self.shards = manifest.shards(split)
        self.vocab_size = int(manifest.tokenizer["vocab_size"])
        self.token_bytes = TOKEN_BYTES[manifest.dtype]
        self.dtype = f"<u{self.token_bytes}"
        self._paths = [str(self.folder / s.path) for s in self.shards]
        windows = [_windows_in(s.tokens, seq_len) for s in self.shards]
        self._before = np.cumsum([0, *windows], dtype=np.int64)  # windows before each shard, and all
        self._last = self._before[1:]  # windows up to and with each shard
        self.windows = sum(windows)
        self._blocks = CheckedBlocks(self.shards, self.token_bytes)
        self._sound_ends: set[int] = set()  # shards whose index needs no check any more
        for number, shard in enumerate(self.shards):
            if not shard.checks_sha256:
                self._sound_ends.add(number)

    def __len__(self) -> int:
        return self.windows

    def place(self, window: int) -> tuple[int, int]:
        """The shard (its number) that holds a window, and the token at which the window begins there."""
        shards, offsets = self.places(np.array([window]))
        shard = int(shards[0])
        offset = int(offsets[0])
        return shard, offset

    def places(self, windows: ndarray) -> tuple[ndarray, ndarray]:
        """`place` of each window."""
        windows = np.asarray(windows, np.int64)
        if len(windows):
            first = windows.min()
            last = windows.max()
            if first < 0 or last >= self.windows:
                limits = f"[0, {self.windows})"
                raise IndexError(f"{self.source}: windows {first} to {last} are not all in {limits}")
        shard = np.searchsorted(self._last, windows, "right")
        in_shard = windows - self._before[shard]
        return shard, in_shard * self.seq_len

    def part(self, shard: int, offset: int) -> PartOfFile:
        """Where the window lies that begins at this token of a shard."""
        length = self.seq_len + 1
        start = offset * self.token_bytes
        end = start + length * self.token_bytes
        path = self._paths[shard]
        return PartOfFile(path, start, end)

    def gather(self, windows: ndarray) -> ndarray:
        """The tokens of `windows`: int32 [n, seq_len + 1]."""
        length = self.seq_len + 1
        rows = np.empty((len(windows), length), np.int32)
        shards, offsets = self.places(windows)
        places = zip(shards.tolist(), offsets.tolist(), strict=True)
        for row, (shard, offset) in enumerate(places):
            stop = offset + length
            self.check_blocks(shard, offset, stop)
            rows[row] = self.tokens(shard)[offset:stop]
        self.check_ids(rows, windows)
        return rows

    def document(self, shard: int, document: int) -> ndarray:
        """The tokens of a document, its EOS included; mapped."""
        tokens = self._tokens_of(shard, document)
        self.check_blocks(shard, tokens.start, tokens.stop)
        all_tokens = self.tokens(shard)
        return all_tokens[tokens.start : tokens.stop]

    def _tokens_of(self, shard: int, document: int) -> range:
        """The tokens of a shard that are a document's."""
        ends = self.ends(shard)
        start = int(ends[document - 1]) if document else 0
        stop = int(ends[document])
        return range(start, stop)

    def unchecked(self, shard: ndarray, offset: ndarray) -> ndarray:
        """Which of the windows at these places touch a block that was not checked yet."""
        tokens = self.seq_len + 1
        return self._blocks.touches_unchecked(shard, offset, tokens)

    def check_blocks(self, shard: int, start: int, stop: int) -> None:
        """Check the blocks that hold tokens `start` to `stop` - 1 of a shard, each once.

        Raises CodemixError (`shard-corrupt`) where one is not what was written.
        """
        for block in self._blocks.unchecked_in(shard, start, stop):
            check = block_checksums.block_check(self.tokens(shard), block)
            if check != self._checks(shard)[1 + block]:
                first = block * block_checksums.BLOCK
                last = first + block_checksums.BLOCK - 1
                raise self._corrupt(
                    self._paths[shard], f"its checksum differs in bytes {first:,} to {last:,}"
                )
            self._blocks.mark(shard, block)

    def _checks(self, shard: int) -> ndarray:
        """The checksums of a shard: of its index, then of each block."""
        path = f"{self._paths[shard]}{block_checksums.SUFFIX}"
        entry = self.shards[shard]
        size = entry.tokens * self.token_bytes
        count = 1 + block_checksums.blocks(size)
        return self._map(path, "<u8", count, "checksums")

    def ends_inside(self, shard: ndarray, offset: ndarray) -> DocumentEnds:
        """Where documents have just ended in the windows at these places."""
        windows = [np.zeros(0, np.int64)]
        places = [np.zeros(0, np.int64)]
        length = self.seq_len + 1
        for number, mine in groups(shard):
            ends = self.ends(number)
            begin = offset[mine]
            low = ends.searchsorted(begin, "right")
            high = ends.searchsorted(begin + length, "right")
            count = high - low
            window = np.repeat(np.arange(len(mine)), count)
            before = np.cumsum(count) - count  # ends in earlier windows
            index = np.arange(len(window)) + (low - before)[window]
            windows.append(mine[window])
            places.append(ends[index] - begin[window])
        window = np.concatenate(windows)
        place = np.concatenate(places)
        by_window = np.argsort(window, kind="stable")
        return DocumentEnds(window[by_window], place[by_window])

    def spans(self, window: int) -> list[Span]:
        """The documents that a window touches, in order; together they cover its `seq_len + 1` tokens."""
        shard, offset = self.place(window)
        stop = offset + self.seq_len + 1
        document = int(self.ends(shard).searchsorted(offset, "right"))
        spans: list[Span] = []
        while True:
            tokens = self._tokens_of(shard, document)
            first = max(tokens.start, offset)
            last = min(tokens.stop, stop)
            spans.append(Span(document, first - offset, last - offset, first - tokens.start, len(tokens)))
            if tokens.stop >= stop:
                return spans
            document += 1

    def windows_of(self, shard: int, document: int) -> range:
        """The windows that hold any token of a document of a shard (as input or as target)."""
        tokens = self._tokens_of(shard, document)
        first = int(self._before[shard])
        stop = int(self._before[shard + 1])
        # window w covers tokens [w T, w T + T]: its last token is also the next window's first
        seq_len = self.seq_len
        before = max(0, (tokens.start - 1) // seq_len)
        first_touched = first + before
        last_touched = first + (tokens.stop - 1) // seq_len
        stop_touched = min(last_touched + 1, stop)
        return range(min(first_touched, stop), stop_touched)

    def document_tokens(self, shard: int, document: int) -> int:
        """Tokens of a document, its EOS included."""
        return len(self._tokens_of(shard, document))

    def check(self, *, hashes: bool = False) -> None:
        """Compare each shard with the manifest: size, number and last end of documents; with `hashes`, every
        byte.

        Raises CodemixError (`shard-corrupt`) that names each file that differs.
        """
        problems: list[Problem] = []
        for number, shard in enumerate(self.shards):
            files = (
                (self._paths[number], shard.sha256, self.tokens),
                (f"{self._paths[number]}.index", shard.index_sha256, self.ends),
            )
            for path, sha256, read in files:
                try:
                    read(number)
                    if hashes:
                        self._check_sha256(path, sha256)
                except CodemixError as error:
                    problems += error.problems
        if problems:
            raise CodemixError(*problems)

    def _check_sha256(self, path: str, expected: str) -> None:
        digest = file_digest(Path(path))
        if digest != expected:
            raise self._corrupt(
                path, f"its SHA-256 is {digest[:12]}..., the manifest says {expected[:12]}..."
            )

    def path(self, shard: int) -> Path:
        return Path(self._paths[shard])

    def metadata(self, shard: int, documents: set[int]) -> dict[int, dict[str, Any]]:
        """What the build wrote about some documents of a shard (id, bytes, language, licence, ...), by
        number. Raises CodemixError (`shard-corrupt`) where it says nothing of one."""
        known: dict[int, dict[str, Any]] = {}
        lines = self._sidecar(shard)
        for number, line in enumerate(lines):
            if number not in documents:
                continue
            known[number] = self._row(shard, line)
            if len(known) == len(documents):
                return known
        docs = self.shards[shard].docs
        last = max(documents)
        raise self._corrupt(self.folder / docs, f"it ends before document {last:,}, from 0")

    def holding(self, document_id: str) -> list[int]:
        """The shards, by number, that may hold a document with this id: by the source's file of ids; all of
        them where it has none."""
        path = self.folder / ids_file(self.split)
        if not path.exists():
            return list(range(len(self.shards)))
        total = sum(shard.documents for shard in self.shards)
        ids = self._map(str(path), "<u8", total, "ids")
        wanted = np.uint64(block_checksums.id_check(document_id))
        holding = []
        start = 0
        for number, shard in enumerate(self.shards):
            ids_here = ids[start : start + shard.documents]
            if _holds(ids_here, wanted):
                holding.append(number)
            start += shard.documents
        return holding

    def find(self, shard: int, document_id: str) -> list[int]:
        """The documents of a shard with this id, by number; reads what the build wrote about every document
        of the shard."""
        spellings = [json.dumps(document_id, ensure_ascii=ascii).encode() for ascii in (False, True)]
        numbers = []
        for number, line in enumerate(self._sidecar(shard)):
            may_match = any(spelling in line for spelling in spellings)  # parsing every line would be slow
            if not may_match:
                continue
            row = self._row(shard, line)
            if row["id"] == document_id:
                numbers.append(number)
        return numbers

    def _row(self, shard: int, line: bytes) -> dict[str, Any]:
        """A line of what the build wrote about documents."""
        try:
            row = json.loads(line)
            if row["id"].__class__ is str:
                return row
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        path = self.folder / self.shards[shard].docs
        raise self._corrupt(path, "a line is not that of a document")

    def _sidecar(self, shard: int) -> Iterator[bytes]:
        import zstandard

        path = self.folder / self.shards[shard].docs
        rest = b""
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

    def tokens(self, shard: int) -> ndarray:
        """All tokens of a shard, mapped: unsigned, as wide as the manifest says."""
        path = self._paths[shard]
        count = self.shards[shard].tokens
        return self._map(path, self.dtype, count, "tokens")

    def ends(self, shard: int) -> ndarray:
        """Where each document ends [tokens].

        Signed: searching unsigned 64-bit ends for a Python int would copy them all to floats.
        """
        path = f"{self._paths[shard]}.index"
        entry = self.shards[shard]
        ends = self._map(path, "<i8", entry.documents, "documents")
        if entry.documents and ends[-1] != entry.tokens:
            last = int(ends[-1])
            raise self._corrupt(
                path, f"its last document ends at token {last:,}, the manifest counts {entry.tokens:,}"
            )
        if shard not in self._sound_ends:
            if block_checksums.whole_check(ends) != self._checks(shard)[0]:
                raise self._corrupt(path, "its checksum differs")
            self._sound_ends.add(shard)
        return ends

    def _map(self, path: str, dtype: str, count: int, noun: str) -> ndarray:
        try:
            return map_array(path, dtype, count, noun)
        except CannotMap as error:
            raise self._corrupt(path, str(error)) from None

    def check_ids(self, tokens: ndarray, windows: ndarray) -> None:
        """Raises CodemixError when a token of these rows, which hold `windows`, is not an id of the
        tokenizer."""
        unsigned = tokens.view(np.uint32)
        if not unsigned.size or int(unsigned.max()) < self.vocab_size:
            return
        is_bad = (unsigned >= self.vocab_size).any(-1)
        row = int(is_bad.argmax())
        shard, offset = self.place(int(windows[row]))
        worst = int(unsigned[row].max())
        raise self._corrupt(
            self._paths[shard],
            f"token {worst:,} near offset {offset:,} is not below the vocabulary of {self.vocab_size:,}",
        )

    def _corrupt(self, path: str | Path, why: str) -> CodemixError:
        return CodemixError(
            f"{path} is not what its manifest says: {why}",
            hints=[
                f"delete {self.folder} and run `codemix build-data`: the same inputs give the same tokens"
            ],
            rule="shard-corrupt",
        )


def _holds(ascending: ndarray, value: np.uint64) -> bool:
    at = ascending.searchsorted(value)
    at_most_one = ascending[at : at + 1]
    return value in at_most_one


def _windows_in(tokens: int, seq_len: int) -> int:
    """The windows of a shard; the last token of each is also the first of the next."""
    return max(0, (tokens - 1) // seq_len)
