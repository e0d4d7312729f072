"""A text as rules for prose see it: words, what they consist of, lines, and what of it repeats.

Each is worked out when it is first asked for, and kept for the next op over the same document.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from codemix.data.text.word_runs import U32, WordRuns, code_points
from codemix.data.text.words import pieces, prose_words, unspaced_characters

NO_SYMBOL, LETTER, BLANK, UNSPACED = 1, 2, 4, 8  # classes of characters
_BEGINNING = 1000  # characters that mostly hold the words which are looked for
_RUNS_TOGETHER = 2**16  # runs of several sizes in one array


@dataclass(frozen=True)
class WordCounts:
    words: int
    characters: int


@lru_cache(2)
def prose_text(text: str, counted_by: str) -> ProseText:
    return ProseText(text, counted_by)


class ProseText:
    """A text that has at least one word."""

    def __init__(self, text: str, counted_by: str):
        self.text = text
        self._counted_by = counted_by
        self._runs_by_size: dict[int, RunsOfSize] = {}

    @cached_property
    def words(self) -> list[str]:
        if self._counted_by == "datatrove":
            return prose_words(self.text)
        return pieces(self.text)

    @cached_property
    def _characters(self) -> np.ndarray:
        return code_points(self.text)

    @cached_property
    def _classes(self) -> np.ndarray:
        return character_classes(self._characters)

    @cached_property
    def _is_spaced(self) -> bool:
        """Whether words end at whitespace alone."""
        return not (self._classes & UNSPACED).any()

    @cached_property
    def word_runs(self) -> WordRuns:
        if self._counted_by == "whitespace" and self._is_spaced:
            return WordRuns.between(self._characters, self._classes & BLANK != 0, U32)
        return WordRuns.of(self.words, U32)

    @cached_property
    def n_words(self) -> int:
        return len(self.word_runs)

    @cached_property
    def _classes_of_words(self) -> np.ndarray:
        """The classes that each word has a character of, as bits: (words,) uint8."""
        of_characters = character_classes(self.word_runs.characters)
        return np.bitwise_or.reduceat(of_characters, self.word_runs.starts)

    def words_with(self, character_class: int) -> WordCounts:
        """The words that have a character of a class."""
        in_class = self._classes_of_words & character_class
        is_word = in_class.astype(bool)
        words = np.count_nonzero(is_word)
        lengths = self.word_runs.ends - self.word_runs.starts
        characters = lengths[is_word].sum()
        return WordCounts(int(words), int(characters))

    def mentions(self, wanted: frozenset[str], at_least: int) -> bool:
        """Whether at least so many different words of a set are among the words."""
        if self._counted_by == "whitespace":
            beginning = self.text[:_BEGINNING].split()
            whole = beginning[:-1]  # the last one may be cut
            found = wanted.intersection(whole)
            if len(found) >= at_least and self._is_spaced:
                return True
        found = wanted.intersection(self.words)
        return len(found) >= at_least

    def top_run_above(self, n: int, fraction: float) -> float | None:
        """The characters in all copies of the most frequent run of `n` words, with one between words, as a
        fraction of the text; None unless above `fraction`. Of equally frequent runs the first one counts."""
        if self.n_words < n:
            return None
        most = self._most(fraction)
        longest = self.word_runs.longest(n) + n - 1
        if self._runs(n).copies_at_most(most // longest):
            return None
        repeated = self._repeat_candidates(n)
        candidates = sorted({0, *repeated.tolist()})  # the first run, where each occurs once
        copies: Counter[str] = Counter()
        for word in candidates:
            run = self.words[word : word + n]
            copies[" ".join(run)] += 1
        ((top, n_copies),) = copies.most_common(1)
        return self._if_above(fraction, len(top) * n_copies)

    def repeated_runs_above(self, n: int, fraction: float) -> float | None:
        """The characters in runs of `n` words that stood before, as a fraction of the text; None unless above
        `fraction`.

        Runs are compared by their characters alone, and do not overlap: after one that stood before, the next
        one begins behind it.
        """
        if self.n_words < n:
            return None
        most = self._most(fraction)
        longest = self.word_runs.longest(n)
        if self._runs(n).n_repeated * longest <= most:
            return None
        candidates = self._repeat_candidates(n)
        starts = self.word_runs.starts[candidates]
        last_words = candidates + (n - 1)
        ends = self.word_runs.ends[last_words]
        if _covered(starts, ends) <= most:
            return None
        return self._if_above(fraction, self._repeated(n, candidates, starts, ends))

    def _if_above(self, fraction: float, characters: int) -> float | None:
        of_text = characters / len(self.text)
        return of_text if of_text > fraction else None

    def _repeat_candidates(self, n: int) -> np.ndarray:
        """First words, ascending, of the runs that may occur more than once; no other run does."""
        n_runs = self.n_words - n + 1
        candidates = self._runs(n).may_be_repeated()
        return np.flatnonzero(candidates[:n_runs])

    def _repeated(self, n: int, candidates: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> int:
        """Characters in repeated runs of `n` words, given what may be repeated: first words, offsets."""
        joined = "".join(self.words)
        seen: set[str] = set()
        repeated = behind = 0
        for word, start, end in zip(candidates.tolist(), starts.tolist(), ends.tolist(), strict=True):
            if word < behind:
                continue
            run = joined[start:end]
            if run in seen:
                repeated += len(run)
                behind = word + n
            else:
                seen.add(run)
        return repeated

    def _most(self, fraction: float) -> int:
        """A number of characters that is not more than a fraction of the text."""
        n = len(self.text)
        most = int(fraction * n)
        if most / n > fraction:
            most -= 1
        return most

    def look_at(self, sizes: range) -> None:
        """Look at the runs of several sizes together: for a short text that costs little more than one."""
        n_together = max(1, _RUNS_TOGETHER // self.n_words)
        for first in range(0, len(sizes), n_together):
            together = sizes[first : first + n_together]
            runs_by_size = _runs_of_sizes(self.word_runs, together)
            self._runs_by_size.update(runs_by_size)

    def _runs(self, n: int) -> RunsOfSize:
        if n not in self._runs_by_size:
            self.look_at(range(n, n + 1))
        return self._runs_by_size[n]


@dataclass(frozen=True)
class RunsOfSize:
    """The runs of one number of words, by their hashes: unlike runs may look alike, rarely."""

    hashes: np.ndarray  # (words,) uint32
    ascending: np.ndarray  # the same in order
    n_repeated: int  # runs that stood before, or look as if

    def copies_at_most(self, n: int) -> bool:
        """Whether surely no run occurs more often."""
        if self.n_repeated < n or n == 0:
            return n > 0
        is_copy = self.ascending[n:] == self.ascending[:-n]
        return not is_copy.any()

    def may_be_repeated(self) -> np.ndarray:
        """Which runs occur more than once or, some of them, look as if: (words,) bool."""
        bits = min(32, len(self.hashes).bit_length() + 4)
        unused = np.uint32(32 - bits)
        later = self.ascending[1:]
        repeated = later[later == self.ascending[:-1]]
        table = np.zeros(1 << bits, bool)
        marked = repeated >> unused
        table[marked] = True
        wanted = self.hashes >> unused
        return table[wanted]


def _runs_of_sizes(runs: WordRuns, sizes: range) -> dict[int, RunsOfSize]:
    hashes = runs.hashes(sizes)
    ascending = np.sort(hashes, axis=1)
    earlier = ascending[:, :-1]
    later = ascending[:, 1:]
    is_repeated = earlier == later
    n_repeated = is_repeated.sum(axis=1)
    counts = n_repeated.tolist()
    by_size = zip(hashes, ascending, counts, strict=True)
    return {n: RunsOfSize(*runs) for n, runs in zip(sizes, by_size, strict=True)}


def _covered(starts: np.ndarray, ends: np.ndarray) -> int:
    """Characters in stretches with ascending beginnings, counted once where they overlap."""
    next_starts = starts[1:]
    until_next = np.minimum(ends[:-1], next_starts)
    last = ends[-1:]
    behind = until_next.sum() + last.sum()
    covered = behind - starts.sum()
    return int(covered)


def character_classes(characters: np.ndarray) -> np.ndarray:
    """The classes of each code point, as bits: uint8 of the same shape."""
    return _class_table().take(characters)


@lru_cache(1)
def _class_table() -> np.ndarray:
    from codemix.data.text.punctuation import PUNCTUATION_SET

    everything = list(map(chr, range(sys.maxunicode + 1)))
    symbols = list(map(ord, PUNCTUATION_SET))
    letters = list(map(str.isalpha, everything))
    blanks = list(map(str.isspace, everything))
    unspaced = sorted(unspaced_characters())
    table = np.full(len(everything), NO_SYMBOL, np.uint8)
    table[symbols] = 0
    table[letters] |= LETTER
    table[blanks] |= BLANK
    table[unspaced] |= UNSPACED
    return table
