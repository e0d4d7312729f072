"""The merges of byte-pair encoding, learned from counted words.

Sennrich, Haddow and Birch 2016 (arXiv:1508.07909), with every choice as `BpeTrainer` of `tokenizers` makes it:
the most frequent pair is merged next; of equally frequent ones the one whose tokens have the lowest numbers.

While merges are learned, a token is the character of its number and a word is a string of such characters: to
merge a pair is to replace two characters by one. A pair is a number, so that many take little memory.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

Places = Sequence[int]  # numbers of words, one for each occurrence in them
Neighbours = defaultdict[str, list[int]]  # tokens, and the places where they are neighbours
_BITS = 21  # of a token in the number of a pair: enough for every character


@dataclass(frozen=True)
class Merges:
    """What is learned: all tokens, those of single bytes first, and which two tokens are merged, in order."""

    tokens: list[bytes]
    pairs: list[tuple[bytes, bytes]]


def learn_merges(counts: dict[bytes, int], alphabet: Iterable[int], n_tokens: int, min_count: int) -> Merges:
    """Merges of words, given how often each occurs; `counts` is used up. `alphabet` holds all bytes, in the
    order of their tokens. Ends with `n_tokens` tokens, or before, when no pair occurs `min_count` times."""
    tokens = [bytes([byte]) for byte in alphabet]
    numbers = {token: number for number, token in enumerate(tokens)}
    words = _Words(counts, numbers)
    merged: dict[int, None] = {}
    while len(tokens) < n_tokens:
        found = words.most_frequent_pair(min_count)
        if not found:
            break
        pair, places = found
        left, right = _tokens(pair)
        token = tokens[left] + tokens[right]
        if token not in numbers:  # another pair may have made it before
            numbers[token] = len(tokens)
            tokens.append(token)
        words.merge(pair, numbers[token], places)
        merged.pop(pair, None)  # a pair that is merged again takes its last place
        merged[pair] = None
    pairs: list[tuple[bytes, bytes]] = []
    for pair in merged:
        left, right = _tokens(pair)
        pairs.append((tokens[left], tokens[right]))
    return Merges(tokens, pairs)


def _pair(left: int, right: int) -> int:
    return left << _BITS | right


def _tokens(pair: int) -> tuple[int, int]:
    return divmod(pair, 1 << _BITS)


class _Queue:
    """Pairs that wait to be merged, each with the places where it came up, by how often it occurred then.

    A pair can wait several times. Most never come to be merged: they lie in flat arrays.
    """

    def __init__(self) -> None:
        self._waiting: defaultdict[int, array] = defaultdict(lambda: array("I"))
        self._counts: list[int] = []  # a heap of all counts, negative
        self._now = -1  # the count whose pairs are in a heap
        self._next: list[tuple[int, Places]] = []

    def __bool__(self) -> bool:
        return bool(self._counts)

    def push(self, count: int, pair: int, places: Places) -> None:
        if count == self._now:
            heappush(self._next, (pair, places))
            return
        if count not in self._waiting:
            heappush(self._counts, -count)
        self._waiting[count].extend((*_tokens(pair), len(places), *places))

    def pop(self) -> tuple[int, int, Places]:
        """The count, the pair and the places that are next."""
        count = -self._counts[0]
        if count != self._now:
            for pair, places in self._next:  # a higher count came up
                self._waiting[self._now].extend((*_tokens(pair), len(places), *places))
            self._next = list(_entries(self._waiting.pop(count)))
            heapify(self._next)
            self._now = count
        pair, places = heappop(self._next)
        if not self._next:
            heappop(self._counts)
            self._now = -1
        return count, pair, places


def _entries(flat: array) -> Iterator[tuple[int, Places]]:
    """Pairs and places, from two tokens, the number of places and the places, one after the other."""
    at = 0
    while at < len(flat):
        left, right, n_places = flat[at : at + 3]
        begin = at + 3
        at = begin + n_places
        yield _pair(left, right), flat[begin:at].tolist()


class _Words:
    """Distinct words, the pairs of tokens in them, and which pair is next."""

    def __init__(self, counts: dict[bytes, int], numbers: Mapping[bytes, int]):
        characters: dict[int, str] = {}
        for byte, number in numbers.items():
            characters[byte[0]] = chr(number)
        self._words: list[str] = []
        self._counts = array("q")
        while counts:
            word, count = counts.popitem()
            self._words.append(word.decode("latin-1").translate(characters))
            self._counts.append(count)
        self._pair_counts: defaultdict[int, int] = defaultdict(int)
        self._queue = _Queue()
        found: Neighbours = defaultdict(list)
        for number, spelled in enumerate(self._words):
            for two in map(str.__add__, spelled, spelled[1:]):
                found[two].append(number)
        while found:
            two, places = found.popitem()
            pair = _pair(ord(two[0]), ord(two[1]))
            count = self._occurrences(places)
            self._pair_counts[pair] = count
            self._queue.push(count, pair, places)

    def most_frequent_pair(self, min_count: int) -> tuple[int, Places] | None:
        """The next pair and the places where it came up; None where none occurs so often."""
        while self._queue:
            waiting, pair, places = self._queue.pop()
            count = self._pair_counts.get(pair, 0)
            if count == waiting:
                return (pair, places) if count >= min_count else None
            self._queue.push(count, pair, places)  # it changed since
        return None

    def merge(self, pair: int, new: int, places: Places) -> None:
        """Replaces a pair in some words; the pairs that this makes wait from now on."""
        left, right = _tokens(pair)
        before, after = self._replace(chr(left), chr(right), chr(new), places)
        made: defaultdict[int, list[int]] = defaultdict(list)
        for neighbour, where in before.items():
            token = ord(neighbour)
            together = _pair(token, new)
            self._exchange(_pair(token, left), together, where)
            made[together] += where
        for neighbour, where in after.items():
            token = ord(neighbour)
            together = _pair(new, token)
            self._exchange(_pair(right, token), together, where)
            made[together] += where
        for together, where in made.items():
            count = self._pair_counts.get(together, 0)
            if count > 0:
                self._queue.push(count, together, where)

    def _exchange(self, pair: int, together: int, places: Places) -> None:
        """Count another pair in these places."""
        count = self._occurrences(places)
        self._pair_counts[pair] -= count
        if not self._pair_counts[pair]:  # a third of all pairs
            del self._pair_counts[pair]
        self._pair_counts[together] += count

    def _occurrences(self, places: Places) -> int:
        return sum(map(self._counts.__getitem__, places))

    def _replace(self, left: str, right: str, new: str, places: Places) -> tuple[Neighbours, Neighbours]:
        """What was before and after each occurrence of a pair when it was replaced, from left to right."""
        words = self._words
        pair = left + right
        before: Neighbours = defaultdict(list)
        after: Neighbours = defaultdict(list)
        for number in places:
            parts = words[number].split(pair)
            if len(parts) == 1:  # other pairs took it
                continue
            words[number] = new.join(parts)
            before[parts[0][-1:]].append(number)
            for between in parts[1:-1]:
                after[between[:1] or left].append(number)
                before[between[-1:] or new].append(number)
            after[parts[-1][:1]].append(number)
        before.pop("", None)  # the ends of words
        after.pop("", None)
        return before, after
