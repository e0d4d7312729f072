"""Fill-in-the-middle keeps lengths and documents, and says what it costs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.data.loader.fill_in_the_middle import SHORTEST, rearrange

PRE, SUF, MID, EOS = 900, 901, 902, 0


def made(lengths, cut=None):
    """A window of documents of `lengths` (the end token included), cut after `cut` tokens,
    and where documents end in it.
    """
    window, ends = [], []
    for n in lengths:
        window += [*range(len(window) + 1, len(window) + n), EOS]
        ends.append(len(window))
    cut = cut or len(window)
    return np.array(window[:cut], np.int32), np.array([e for e in ends if e <= cut])


def run(window, ends, rate=1, spm="1/2", number=0, epoch=0, seed=0):
    window = window.copy()
    changed = rearrange(
        window,
        ends,
        seed=seed,
        source="a",
        epoch=epoch,
        number=number,
        rate=Fraction(rate),
        spm=Fraction(spm),
        sentinels=(PRE, SUF, MID),
    )
    return window, changed


def undone(piece: list[int]) -> list[int]:
    """The text of a rearranged piece, its lost tail apart."""
    if piece[1] == SUF:  # <pre><suf> S <mid> P M
        at = piece.index(MID)
        suffix, rest = piece[2:at], piece[at + 1 :]
        return rest + suffix
    one, two = piece.index(SUF), piece.index(MID)
    return piece[1:one] + piece[two + 1 :] + piece[one + 1 : two]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_pieces_keep_their_place_and_lose_three_tokens(lengths, data):
    cut = data.draw(st.integers(1, sum(lengths)))
    window, ends = made(lengths, cut)
    got, changed = run(
        window, ends, number=data.draw(st.integers(0, 50)), spm=data.draw(st.sampled_from(["0", "1", "1/2"]))
    )
    assert len(got) == len(window)
    seen = 0
    for first, stop in zip([0, *ends.tolist()], [*ends.tolist(), cut], strict=True):
        ended = stop in ends.tolist()
        text, new = window[first : stop - ended].tolist(), got[first : stop - ended].tolist()
        if ended:
            assert got[stop - 1] == EOS
        if len(text) < SHORTEST:
            assert new == text
        else:
            seen += 1
            assert new[0] == PRE and undone(new) == text[:-3]
    assert changed == seen


def test_rate_and_order_are_as_asked():
    window, ends = made([60])
    n = 4000
    for rate, spm in ((Fraction(1, 4), Fraction(1, 2)), (Fraction(9, 10), Fraction(1, 5))):
        results = [run(window, ends, rate, spm, number=i) for i in range(n)]
        chosen = [w for w, changed in results if changed]
        assert abs(len(chosen) / n - rate) < 5 * float(rate * (1 - rate) / n) ** 0.5
        assert (
            abs(sum(w[1] == SUF for w in chosen) / len(chosen) - spm)
            < 5 * float(spm * (1 - spm) / len(chosen)) ** 0.5
        )
    assert run(window, ends, 0)[1] == 0
    middles = [
        len(w) - 1 - list(w).index(MID) for w, _ in (run(window, ends, 1, 0, number=i) for i in range(n))
    ]  # the end token included
    assert (
        min(middles) == 1 and max(middles) == 57 and abs(np.mean(middles) - 1 - 56 / 3) < 1
    )  # the distance of two uniform cuts


def test_the_choice_is_fixed_by_seed_epoch_and_window():
    window, ends = made([60, 20])
    base = run(window, ends)[0].tolist()
    assert base == run(window, ends)[0].tolist()
    assert (
        len({tuple(base), *(tuple(run(window, ends, **{k: 1})[0]) for k in ("seed", "epoch", "number"))}) == 4
    )
