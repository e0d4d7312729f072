"""Many texts as rules for prose see them, in arrays over all their characters: for a short text alone, setting
arrays up is most of the cost.

What repeats is only bounded here, from above, by hashes: most texts are far below every limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from codemix.data.text.character_classes import BLANK, LETTER, NO_SYMBOL, UNSPACED, character_classes
from codemix.data.text.word_runs import U32, U64, WordRuns, code_points
from codemix.data.text.words import pieces, prose_words

_ANY_WORD = NO_SYMBOL | LETTER
_BY_TEXT = np.uint32(0x85EBCA6B)  # odd: equal runs of unlike texts have unlike keys
_CHARACTERS_A_WORD = 3  # fewer than nearly all runs have
_HALF = np.uint64(32)
_PLACE = np.uint64(2**32 - 1)
_SPARE_BITS = 3  # a table has eight places or more for each word

Limits = tuple[tuple[int, float], ...]  # words of a run, fraction of the characters; ascending


@dataclass(frozen=True)
class WordCounts:
    words: int
    characters: int


class ProseBatch:
    """Texts, and the words of all of them one after the other."""

    def __init__(self, texts: Sequence[str], counted_by: str):
        self.texts = texts
        self.counted_by = counted_by
        written = _Written(texts)
        others = written.unspaced()
        if counted_by == "datatrove":
            others = range(len(texts))
        self.between_whitespace = [True] * len(texts)  # whether its words are
        parted = list(texts)
        for number in others:
            self.between_whitespace[number] = False
            words = words_of(texts[number], counted_by)
            parted[number] = " ".join(words)
        if others:
            written = _Written(parted)
        blank = written.classes & BLANK
        is_blank = blank.astype(bool)
        self._runs = WordRuns.between(written.characters, is_blank, U32)
        self._firsts = written.first_words(self._runs, is_blank)
        counts = np.diff(self._firsts)
        self.n_words: list[int] = counts.tolist()
        numbers = np.arange(len(texts))
        last = self._firsts[1:] - 1
        lengths = list(map(len, texts))
        self._text = np.repeat(numbers, counts)  # of each word
        self._last = np.repeat(last, counts)  # word of its text
        self._lengths = np.array(lengths)
        self._counts: dict[int, list[WordCounts]] = {}
        self._frequent: dict[Limits, list[bool]] = {}
        self._repeated: dict[Limits, list[bool]] = {}

    def runs_of(self, number: int) -> WordRuns:
        """The words of one text, one at least."""
        first = self._firsts[number]
        stop = self._firsts[number + 1]
        return self._runs.part(first, stop)

    def words_with(self, character_class: int) -> list[WordCounts]:
        """The words of each text that have a character of a class."""
        if character_class not in self._counts:
            words = np.flatnonzero(self._classes_of_words & character_class)
            self._counts[character_class] = self._counted(words)
        return self._counts[character_class]

    def may_be_frequent(self, limits: Limits) -> list[bool]:
        """Whether all copies of a run, with one between words, may be above the limit for its size."""
        if limits not in self._frequent:
            self._frequent[limits] = self._above_by_copies(limits)
        return self._frequent[limits]

    def may_be_repeated(self, limits: Limits) -> list[bool]:
        """Whether runs that stood before may together be above the limit for their size."""
        if limits not in self._repeated:
            self._repeated[limits] = self._above_by_repeats(limits)
        return self._repeated[limits]

    def _counted(self, words: np.ndarray) -> list[WordCounts]:
        """How many of some words each text has, and their characters."""
        n_texts = len(self.texts)
        texts = self._text[words]
        lengths = self._runs.ends - self._runs.starts
        n_words = np.bincount(texts, minlength=n_texts)
        n_characters = np.bincount(texts, lengths[words], n_texts)
        counts: list[WordCounts] = []
        for count, characters in zip(n_words.tolist(), n_characters.tolist(), strict=True):
            of_text = WordCounts(count, int(characters))
            counts.append(of_text)
        return counts

    @cached_property
    def _classes_of_words(self) -> np.ndarray:
        """The classes that each word has a character of, as bits: (words,) uint8."""
        of_characters = character_classes(self._runs.characters)
        of_words = of_characters[self._runs.starts]
        is_open = of_words & _ANY_WORD != _ANY_WORD  # most begin with a letter, which settles them
        words = np.flatnonzero(is_open)
        starts = self._runs.starts[words]
        ends = self._runs.ends[words]
        bounds = np.stack([starts, ends], axis=1)
        padded = np.append(of_characters, np.uint8(0))  # where the last word may end
        within_and_between = np.bitwise_or.reduceat(padded, bounds.ravel())
        of_words[words] = within_and_between[::2]
        return of_words

    def _above_by_copies(self, limits: Limits) -> list[bool]:
        """A run has no more copies than its beginning, so that the copies of the shortest runs bound all; where
        they leave it open, those of each size do."""
        shortest = limits[0][0]
        longest = limits[-1][0]
        fractions = [fraction for _, fraction in limits]
        words = np.arange(len(self._text))
        in_copies = self._most_in_copies(words, shortest, longest)
        is_above = in_copies > self._most(min(fractions))
        left = np.flatnonzero(is_above[self._text])
        is_above[:] = False
        for n, fraction in limits:
            in_copies = self._most_in_copies(left, n, n)
            is_above |= in_copies > self._most(fraction)
        return is_above.tolist()

    def _most_in_copies(self, words: np.ndarray, copied: int, counted: int) -> np.ndarray:
        """The most characters in all copies of a run of `copied` words, each counted as one of `counted`, with
        one between words, among the runs at some words; an upper bound for each text."""
        copied_ends = self._ends(words, copied)
        copies = self._copies(words, copied_ends)
        lengths = self._ends(words, counted)
        lengths -= self._runs.starts[words]
        lengths += counted - 1
        return self._largest(words, copies * lengths)

    def _above_by_repeats(self, limits: Limits) -> list[bool]:
        shortest = limits[0][0]
        words = self._repeat_candidates(shortest)
        is_above = np.zeros(len(self.texts), bool)
        for n, fraction in limits:
            characters = self._in_repeats(words, n)
            is_above |= characters > self._most(fraction)
        return is_above.tolist()

    def _in_repeats(self, words: np.ndarray, n: int) -> np.ndarray:
        """The characters of each text in runs of `n` words, among those at some words, that stood before; an
        upper bound, since unlike runs may look alike."""
        last = words + (n - 1)
        last_of_text = self._last[words]
        is_run = last <= last_of_text
        words = words[is_run]
        last = last[is_run]
        ends = self._runs.ends[last]
        keys = self._keys(words, ends)
        later = _stood_before(keys)
        words = words[later]
        starts = self._runs.starts[words]
        stops = ends[later]
        np.minimum(stops[:-1], starts[1:], out=stops[:-1])  # each character once
        return np.bincount(self._text[words], stops - starts, len(self.texts))

    def _repeat_candidates(self, n: int) -> np.ndarray:
        """Words at which a run of `n` words or more may begin that occurs more than once; no other does.

        Runs of equal characters begin with equal characters, however those are parted into words.
        """
        n_characters = n * _CHARACTERS_A_WORD
        everything = np.arange(len(self._text))
        ends = self._runs.starts + n_characters
        np.minimum(ends, len(self._runs.characters), out=ends)
        is_candidate = self._copies(everything, ends) > 1
        lengths = self._ends(everything, n)
        lengths -= self._runs.starts
        is_candidate |= lengths < n_characters
        return np.flatnonzero(is_candidate)

    def _ends(self, words: np.ndarray, n: int) -> np.ndarray:
        """Where the runs of `n` words from some words on end, at the latest with their texts."""
        last = words + (n - 1)
        last_of_text = self._last[words]
        np.minimum(last, last_of_text, out=last)
        return self._runs.ends[last]

    def _keys(self, words: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Of the characters from each word to its end: equal for equal ones of one text, else rarely: uint32."""
        keys = self._runs.hashes_until(ends, words)
        texts = self._text[words]
        of_texts = texts.astype(np.uint32)
        of_texts *= _BY_TEXT
        keys += of_texts
        return keys

    def _copies(self, words: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """How often the characters from each word to its end stand at words of its text; an upper bound."""
        keys = self._keys(words, ends)
        n_keys = len(keys)
        bits = min(32, n_keys.bit_length() + _SPARE_BITS)
        unused = np.uint32(32 - bits)
        places = keys >> unused
        return np.bincount(places)[places]

    def _largest(self, words: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The largest of the values at some words, ascending, of each text; 0 without one: (texts,)."""
        texts = self._text[words]
        is_other = np.diff(texts, prepend=-1)
        begins = np.flatnonzero(is_other)
        largest = np.zeros(len(self.texts), np.int64)
        if len(begins):
            filled = texts[begins]
            largest[filled] = np.maximum.reduceat(values, begins)
        return largest

    def _most(self, fraction: float) -> np.ndarray:
        """The largest number of characters that is not more than a fraction of each text, or one less."""
        most = np.floor(fraction * self._lengths)
        most -= most / self._lengths > fraction
        return most


def _stood_before(keys: np.ndarray) -> np.ndarray:
    """The places, ascending, of numbers that stand at an earlier place as well; of uint32."""
    places = np.arange(len(keys), dtype=np.uint64)
    both = keys.astype(U64) << _HALF | places
    both.sort()
    numbers = both >> _HALF
    is_copy = numbers[1:] == numbers[:-1]
    later = both[1:][is_copy] & _PLACE
    later.sort()
    return later.astype(np.int64)


def words_of(text: str, counted_by: str) -> list[str]:
    """The words of a text, as one of the two kinds."""
    parted = prose_words if counted_by == "datatrove" else pieces
    return parted(text)


class _Written:
    """Texts in one array, a blank behind each."""

    def __init__(self, texts: Sequence[str]):
        lines = [text + "\n" for text in texts]
        joined = "".join(lines)
        self.characters = code_points(joined)
        self.classes = character_classes(self.characters)
        lengths = list(map(len, lines))
        self._stops = np.cumsum(lengths)

    def unspaced(self) -> Sequence[int]:
        """The texts in which not all words end at whitespace."""
        places = np.flatnonzero(self.classes & UNSPACED)
        texts = np.searchsorted(self._stops, places, "right")
        different: list[int] = np.unique(texts).tolist()
        return different

    def first_words(self, runs: WordRuns, is_blank: np.ndarray) -> np.ndarray:
        """The number of the first word of each text, and how many words there are: (texts + 1,)."""
        bounds = self._stops[:-1]
        stretches = np.split(is_blank, bounds)
        blanks = list(map(np.count_nonzero, stretches))
        blanks_before = np.cumsum(blanks)
        stops = self._stops - blanks_before
        behind = np.searchsorted(runs.starts, stops)
        return np.concatenate([[0], behind])
