"""A text as rules for prose see it: words, what they consist of, and what of them repeats.

What can be said of many texts at once is (text/prose_batch.py); here is what few of them need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from codemix.data.text.prose_batch import Limits, ProseBatch, WordCounts, words_of
from codemix.data.text.word_runs import WordRuns, text_of

_BEGINNING = 1000  # characters that mostly hold the words which are looked for


@dataclass(frozen=True)
class Excess:
    """More than a limit for runs of `n` words."""

    n: int
    of_text: float  # fraction of its characters


def prose_texts(texts: Sequence[str], counted_by: str) -> dict[str, ProseText]:
    """The texts, each with at least one word, as rules see them. Kept for the next op over some of them."""
    kept = _last_texts(counted_by)
    if not all(map(kept.__contains__, texts)):
        kept.clear()
        batch = ProseBatch(texts, counted_by)
        kept.update((text, ProseText(batch, number)) for number, text in enumerate(texts))
    return kept


@lru_cache(2)
def _last_texts(counted_by: str) -> dict[str, ProseText]:
    return {}


class ProseText:
    """One text of a batch."""

    def __init__(self, batch: ProseBatch, number: int):
        self._batch = batch
        self._number = number
        self.text = batch.texts[number]
        self.n_words = batch.n_words[number]
        self._runs_by_size: dict[int, RunsOfSize] = {}

    @cached_property
    def words(self) -> list[str]:
        return words_of(self.text, self._batch.counted_by)

    @cached_property
    def _word_runs(self) -> WordRuns:
        return self._batch.runs_of(self._number)

    def words_with(self, character_class: int) -> WordCounts:
        """The words that have a character of a class."""
        return self._batch.words_with(character_class)[self._number]

    def mentions(self, wanted: frozenset[str], at_least: int) -> bool:
        """Whether at least so many different words of a set are among the words."""
        if self._batch.between_whitespace[self._number]:
            beginning = self.text[:_BEGINNING].split()
            whole = beginning[:-1]  # the last one may be cut
            found = wanted.intersection(whole)
            if len(found) >= at_least:
                return True
        found = wanted.intersection(self.words)
        return len(found) >= at_least

    def top_run_above(self, limits: Limits) -> Excess | None:
        """The characters in all copies of the most frequent run of so many words, with one between words, for
        the first size at which they are above its limit. Of equally frequent runs the first one counts.
        """
        if not limits or not self._batch.may_be_frequent(limits)[self._number]:
            return None
        for n, fraction in self._possible(limits):
            longest = self._word_runs.longest(n) + n - 1
            if self._runs(n).copies_at_most(self._most(fraction) // longest):
                continue
            of_text = self._top_run(n) / len(self.text)
            if of_text > fraction:
                return Excess(n, of_text)
        return None

    def _top_run(self, n: int) -> int:
        repeated = self._repeat_candidates(n)
        candidates = sorted({0, *repeated.tolist()})  # the first run, where each occurs once
        copies: Counter[str] = Counter()
        for word in candidates:
            run = self.words[word : word + n]
            copies[" ".join(run)] += 1
        ((top, n_copies),) = copies.most_common(1)
        return len(top) * n_copies

    def repeated_runs_above(self, limits: Limits) -> Excess | None:
        """The characters in runs of so many words that stood before, for the first size at which they are
        above its limit.

        Runs are compared by their characters alone, and do not overlap: after one that stood before, the next
        one begins behind it.
        """
        if not limits or not self._batch.may_be_repeated(limits)[self._number]:
            return None
        for n, fraction in self._possible(limits):
            most = self._most(fraction)
            if self._runs(n).n_repeated * self._word_runs.longest(n) <= most:
                continue
            of_text = self._repeated_above(n, most) / len(self.text)
            if of_text > fraction:
                return Excess(n, of_text)
        return None

    def _possible(self, limits: Limits) -> Limits:
        """Those for which the text has words enough."""
        possible: list[tuple[int, float]] = []
        for n, fraction in limits:
            if n <= self.n_words:
                possible.append((n, fraction))
        return tuple(possible)

    def _repeated_above(self, n: int, most: int) -> int:
        """The characters in repeated runs of `n` words; 0 where they are surely not above `most`."""
        candidates = self._repeat_candidates(n)
        starts = self._word_runs.starts[candidates]
        last_words = candidates + (n - 1)
        ends = self._word_runs.ends[last_words]
        if _covered(starts, ends) <= most:
            return 0
        return self._repeated(n, candidates, starts, ends)

    def _repeat_candidates(self, n: int) -> np.ndarray:
        """First words, ascending, of the runs that may occur more than once; no other run does."""
        n_runs = self.n_words - n + 1
        candidates = self._runs(n).may_be_repeated()
        return np.flatnonzero(candidates[:n_runs])

    def _repeated(self, n: int, candidates: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> int:
        """Characters in repeated runs of `n` words, given what may be repeated: first words, offsets."""
        joined = text_of(self._word_runs.characters)
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

    def _runs(self, n: int) -> RunsOfSize:
        if n not in self._runs_by_size:
            self._runs_by_size[n] = RunsOfSize.of(self._word_runs, n)
        return self._runs_by_size[n]


@dataclass(frozen=True)
class RunsOfSize:
    """The runs of one number of words, by their hashes: unlike runs may look alike, rarely."""

    hashes: np.ndarray  # (words,) uint32
    ascending: np.ndarray  # the same in order
    n_repeated: int  # runs that stood before, or look as if

    @classmethod
    def of(cls, runs: WordRuns, n: int) -> RunsOfSize:
        hashes = runs.hashes(n)
        ascending = np.sort(hashes)
        is_repeated = ascending[1:] == ascending[:-1]
        return cls(hashes, ascending, int(np.count_nonzero(is_repeated)))

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


def _covered(starts: np.ndarray, ends: np.ndarray) -> int:
    """Characters in stretches with ascending beginnings, counted once where they overlap."""
    next_starts = starts[1:]
    until_next = np.minimum(ends[:-1], next_starts)
    last = ends[-1:]
    behind = until_next.sum() + last.sum()
    covered = behind - starts.sum()
    return int(covered)
