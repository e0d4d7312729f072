"""The order of windows: exact, each once, the same from wherever one looks."""

from __future__ import annotations

import hashlib
import time
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stage_plans import make_stage, share_stage

from codemix.data.loader import order
from codemix.data.loader.order import Order, key, rows
from codemix.data.loader.permutation import permute, unpermute
from codemix.errors import CodemixError

counts = st.lists(st.integers(0, 40), min_size=1, max_size=9).filter(any)


def by_hand(stage, row):
    """(source, cursor) of a row with Python's integers, one row at a time."""
    segment = next(s for s in reversed(stage.segments) if s.first_row <= row)
    leaves, p, low = list(segment.counts), row - segment.first_row, 0
    size = 1
    while size < len(leaves):
        size *= 2
    leaves += [0] * (size - len(leaves))
    while size > 1:
        size //= 2
        n, m = sum(leaves[low : low + 2 * size]), sum(leaves[low : low + size])
        left, after = (p * m + n // 2) // n, ((p + 1) * m + n // 2) // n
        if after > left:
            p = left
        else:
            p, low = p - left, low + size
    earlier = sum(s.counts[low] for s in stage.segments if s.first_row < segment.first_row)
    return low, stage.sources[low].start + earlier + p


@settings(max_examples=60, deadline=None)
@given(st.lists(counts, min_size=1, max_size=3), st.data())
def test_counts_are_exact_and_prefixes_close(segments, data):
    sources = max(map(len, segments))
    segments = [tuple(c) + (0,) * (sources - len(c)) for c in segments]
    starts = data.draw(st.lists(st.integers(0, 100), min_size=sources, max_size=sources))
    stage = make_stage(segments, [7] * sources, starts=starts, batch_size=3)
    made = Order(stage)
    source, cursor = made.cursors(np.arange(stage.rows))
    assert [by_hand(stage, r) for r in range(stage.rows)] == list(
        zip(source.tolist(), cursor.tolist(), strict=True)
    )
    for i in range(sources):
        assert cursor[source == i].tolist() == list(
            range(starts[i], starts[i] + sum(c[i] for c in segments))
        )  # in order, none left out
        assert made.row_of(i, cursor[source == i]).tolist() == np.flatnonzero(source == i).tolist()
        assert made.row_of(i, np.array([starts[i] - 1, starts[i] + stage.sources[i].windows])).tolist() == [
            -1,
            -1,
        ]
    for segment in stage.segments:
        mine = source[segment.first_row : segment.first_row + segment.rows]
        for i, count in enumerate(segment.counts):
            read = np.concatenate(([0], np.cumsum(mine == i)))
            errors = [Fraction(int(r)) - Fraction(count * p, segment.rows) for p, r in enumerate(read)]
            assert read[-1] == count
            assert max(map(abs, errors)) <= Fraction(made.depth, 2)
            assert max(errors) - min(errors) <= made.depth  # so any stretch of rows, too


def test_prefix_bound_with_128_skewed_sources():
    shares = [Fraction(1, i + 1) for i in range(128)]
    stage = share_stage(20_000, shares, [50_000] * 128, batch_size=50)
    made = Order(stage)
    source, _ = made.cursors(np.arange(stage.rows))
    read = np.cumsum(source[:, None] == np.arange(128), 0)
    exact = np.arange(1, stage.rows + 1)[:, None] * np.array([s.windows for s in stage.sources]) / stage.rows
    assert made.depth == 7
    assert np.abs(read - exact).max() <= 3.5


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 700), st.binary(min_size=1, max_size=4))
def test_a_permutation_is_a_permutation(n, salt):
    k = hashlib.sha256(salt).digest()
    image = permute(k, n, np.arange(n))
    assert sorted(image.tolist()) == list(range(n))
    assert unpermute(k, n, image).tolist() == list(range(n))


def permuted_by_hand(k, n, index):
    """One image with Python's integers."""
    words, bits = [int.from_bytes(k[i : i + 8], "little") for i in (0, 8, 16, 24)], (n - 1).bit_length()
    low = (bits + 1) // 2
    while True:
        halves = [index % 2**low, index >> low]
        for r in range(8):
            z = (
                (halves[(r + 1) % 2] + words[r % 4] + 0x9E3779B97F4A7C15 * (r // 4))
                * 0x9E3779B97F4A7C15
                % 2**64
            )
            z = (z ^ z >> 29) * 0xD6E8FEB86659FD93 % 2**64 >> 32
            halves[r % 2] ^= z % 2 ** (low if r % 2 == 0 else bits - low)
        index = halves[1] << low | halves[0]
        if index < n:
            return index


@pytest.mark.parametrize("n", [1, 2, 3, 100, 2**20, 2**31 + 1, 2**62])
def test_permutations_are_what_integers_say(n):
    k, index = key(9, "x", 4), np.random.default_rng(1).integers(0, n, 40)
    assert permute(k, n, index).tolist() == [permuted_by_hand(k, n, int(i)) for i in index]


@pytest.mark.parametrize("n", [2**31 + 1, 10**12, 2**50, 2**62])
def test_large_permutations_invert(n):
    index = np.random.default_rng(n % 97).integers(0, n, 2000)
    k = key(3, "web", 0)
    image = permute(k, n, index)
    assert image.min() >= 0 and image.max() < n
    assert (unpermute(k, n, image) == index).all()
    assert abs(image.astype(float).mean() / n - 0.5) < 0.04 and image.max() > 0.98 * n


def test_small_permutations_send_each_index_everywhere():
    for n in (2, 3, 5, 8):
        images = np.stack([permute(key(seed, "a", 0), n, np.arange(n)) for seed in range(1500)])
        for column in images.T:
            expected = 1500 / n
            assert np.abs(np.bincount(column, minlength=n) - expected).max() < 5 * np.sqrt(expected)


def shuffled_enough(image: np.ndarray) -> list[str]:
    """What betrays that `image` is no random permutation, on windows that lie sorted by language."""
    n, found = len(image), []
    shares = np.array([0.4, 0.25, 0.15, 0.1, 0.05, 0.03, 0.015, 0.005])
    language = np.repeat(np.arange(8), (shares * n).astype(int))[image]
    p = np.bincount(language) / n
    runs, expected = 1 + np.count_nonzero(np.diff(language)), 1 + n * (1 - (p**2).sum())
    if abs(runs - expected) > 5 * np.sqrt(n * (p**2).sum()):
        found.append("runs")
    batches = language.reshape(-1, 200)
    q = np.stack([np.bincount(b, minlength=8) for b in batches]) / 200
    entropy = -(q * np.log2(np.maximum(q, 1e-9))).sum(1)
    reference = np.random.default_rng(0).permutation(language).reshape(-1, 200)
    r = np.stack([np.bincount(b, minlength=8) for b in reference]) / 200
    wanted = -(r * np.log2(np.maximum(r, 1e-9))).sum(1)
    if (
        abs(entropy.mean() - wanted.mean()) > 5 * wanted.std() / np.sqrt(len(wanted))
        or not 0.6 < entropy.std() / wanted.std() < 1.6
    ):
        found.append("entropy")
    for lag in (1, 2, 3, 64):
        if (
            len(np.unique((image[lag:] - image[:-lag]) % n)) < 0.6 * n
        ):  # of n random draws, 63% of values appear
            found.append(f"differences at {lag}")
        if abs(np.corrcoef(image[lag:], image[:-lag])[0, 1]) > 5 / np.sqrt(n):
            found.append(f"correlation at {lag}")
    return found


def test_the_order_mixes_a_source_that_is_sorted_by_language():
    n = 20_000
    for seed in range(3):
        image = permute(key(seed, "sorted", 0), n, np.arange(n))
        assert shuffled_enough(image) == []
    assert shuffled_enough(
        np.arange(n)
    )  # the criterion itself: it refuses no shuffle, and a linear congruential one
    assert any("differences" in f for f in shuffled_enough((np.arange(n) * 7_919 + 13) % n))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(0, 5),
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
)
def test_every_window_of_an_epoch_once_and_none_twice_before(pool_a, pool_b, seed, stages):
    """Over a lineage of stages whose cursors run on, each source reads its epochs whole,
    one after the other.
    """
    pools, starts, read = [pool_a, pool_b], [0, 0], {0: [], 1: []}
    for i, length in enumerate(stages):
        stage = share_stage(length, [2 + i, 3], pools, starts=starts, seed=seed)
        for step in range(stage.steps):
            got = rows(stage, step)
            for s, e, w in zip(got.source.tolist(), got.epoch.tolist(), got.window.tolist(), strict=True):
                read[s].append((e, w))
        starts = [s.start + s.windows for s in stage.sources]
    for s, pool in enumerate(pools):
        assert [e for e, _ in read[s]] == [i // pool for i in range(len(read[s]))]
        for epoch in range(len(read[s]) // pool + 1):
            windows = [w for _, w in read[s][epoch * pool : (epoch + 1) * pool]]
            assert len(set(windows)) == len(windows) and set(windows) <= set(range(pool))


def test_epochs_seeds_and_names_give_other_orders():
    index = np.arange(500)
    orders = {
        tuple(permute(key(*args), 500, index))
        for args in [(0, "a", 0), (0, "a", 1), (1, "a", 0), (0, "b", 0), (5, "a", 1), (6, "a", 0)]
    }
    assert len(orders) == 6  # among them epoch 1 of seed 5 and epoch 0 of seed 6


def windows_of(stage, name):
    made = Order(stage).between(0, stage.rows)
    index = [s.source for s in stage.sources].index(name)
    return made.window[made.source == index]


def test_other_sources_do_not_change_the_order_inside_a_source():
    alone = windows_of(make_stage([(60,)], [25], names=["code"]), "code")
    among = windows_of(make_stage([(11, 60, 37)], [9, 25, 500], names=["books", "code", "web"]), "code")
    ramped = windows_of(make_stage([(30, 5), (0, 9), (30, 2)], [25, 8], names=["code", "zig"]), "code")
    assert alone.tolist() == among.tolist() == ramped.tolist()


def test_batch_sizes_do_not_change_the_order_of_rows():
    plain = make_stage([(40, 40, 16)], [11, 50, 9], batch_size=4)
    ramp = make_stage([(40, 40, 16)], [11, 50, 9], batches=((0, 1), (4, 3), (12, 8), (15, 11)))
    whole = Order(plain).between(0, 96)
    for stage in (plain, ramp):
        got = [rows(stage, step) for step in range(stage.steps)]
        assert [len(g) for g in got] == [stage.batch_size(s) for s in range(stage.steps)]
        for name in ("source", "epoch", "window"):
            assert (
                np.concatenate([getattr(g, name) for g in got]).tolist()
                == getattr(whole, name)[: sum(map(len, got))].tolist()
            )
        row = 0
        for step, g in enumerate(got):
            assert stage.step_of_row(row) == step == stage.step_of_row(row + len(g) - 1)
            row += len(g)


RECIPE = """
codemix: 1
name: ordered
tokenizer: {kind: bpe, vocab_size: 4096, train: {bytes: 1MB}}
model: {d_model: 64, n_layers: 2, n_heads: 4, d_ff: 128}
training: {seq_len: 128, batch_size: 8}
sources:
%s
stages:
  - name: one
    tokens: 1M
    mixture: {%s}
    learning_rate: {kind: constant, value: 1e-3}
"""


def test_the_order_in_which_the_recipe_lists_sources_means_nothing():
    from codemix.recipe.language import recipe_file
    from codemix.recipe.planning.plan import Pool
    from codemix.recipe.planning.planner import Planner

    shares = {"web": "50%", "code": "30%", "maths": "20%"}
    pools = {"web": Pool((700_000,)), "code": Pool((200_000, 300_000)), "maths": Pool((250_000,))}
    orders = []
    for names in (["web", "code", "maths"], ["maths", "web", "code"]):
        sources = "\n".join(f"  {n}: {{read: {{kind: jsonl, paths: [{n}.jsonl]}}}}" for n in names)
        text = RECIPE % (sources, ", ".join(f"{n}: {shares[n]}" for n in reversed(names)))
        stage = Planner(recipe_file.parse_recipe(text, "r.yaml").recipe, pools).plan().stages[0]
        got = Order(stage).between(0, stage.rows)
        orders.append(
            (
                np.array([s.source for s in stage.sources])[got.source].tolist(),
                got.epoch.tolist(),
                got.window.tolist(),
            )
        )
    assert orders[0] == orders[1] and len(set(orders[0][0])) == 3


def test_the_plan_and_the_order_agree_on_rows():
    """`plan` finds the first step that repeats a source without numpy; it must be the order's own answer."""
    from codemix.recipe.planning import plan_tables

    stage = make_stage([(40, 13, 5), (0, 50, 2)], [17, 4, 9], batches=((0, 4), (6, 11)))
    made = Order(stage)
    for i, s in enumerate(stage.sources):
        at = made.row_of(i, np.arange(s.windows)).tolist()
        assert [plan_tables.row_of(stage, i, o) for o in range(s.windows)] == at


def test_cursors_of_a_window_are_found_again():
    stage = make_stage([(40, 13), (50, 2)], [17, 4], starts=[21, 3])
    made = Order(stage)
    got = made.between(0, stage.rows)
    for source in (0, 1):
        for window in range(stage.sources[source].pool_windows):
            found = made.row_of(source, made.cursors_of(source, window))
            assert (
                sorted(found.tolist())
                == np.flatnonzero((got.source == source) & (got.window == window)).tolist()
            )


def test_golden_order():
    """The order of a fixed plan never changes: recipes in the world depend on it.
    A change here is a new version of the format.
    """
    stage = make_stage(
        [(5000, 300, 44), (2000, 900, 1)],
        [3000, 77, 1000],
        starts=[0, 50, 7],
        names=["code", "math", "web"],
        batch_size=15,
        seed=42,
    )
    got = Order(stage).between(0, stage.rows)
    digest = hashlib.sha256(
        got.source.astype("<i4").tobytes()
        + got.epoch.astype("<i4").tobytes()
        + got.window.astype("<i8").tobytes()
    ).hexdigest()
    assert digest == "318ef7ff437a000b90a0c7e2f93859941e5b6a852c96ed4d704417907c1715c9"


def big_stage(rows_of_stage):
    shares = [Fraction(1, i + 1) for i in range(128)]
    stage = share_stage(
        rows_of_stage, shares, [rows_of_stage // 9 + 1] * 128, batches=((0, 512),), seq_len=8192
    )
    assert stage.rows == rows_of_stage
    return stage


def test_500b_tokens_of_128_sources_in_little_time_and_memory():
    small, large = big_stage(512 * 100), big_stage(512 * 119_210)  # 500B tokens
    peaks = []
    for stage in (small, large):
        rows(stage, 3)
        tracemalloc.start()
        rows(stage, stage.steps - 1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 50_000 and peaks[1] < 4_000_000
    seek, step = [], []
    made = Order(large)
    for at in range(1, large.steps, large.steps // 12):
        started = time.perf_counter()
        rows(large, at)
        seek.append(time.perf_counter() - started)
        started = time.perf_counter()
        made.rows(at)
        step.append(time.perf_counter() - started)
    assert (
        min(seek) < 0.010 and min(step) < 0.002
    )  # [s]; least of several: other work on the machine is no fault of the order


def test_the_largest_segment_is_still_exact_and_a_larger_one_is_refused():
    n = order.MAX_SEGMENT_ROWS
    stage = make_stage([(n - 7, 7)], [10, 3], batches=((0, 1),))
    made = Order(stage)
    at = np.array([0, 1, n // 2, n - 2, n - 1])
    source, cursor = made.cursors(at)
    assert list(zip(source.tolist(), cursor.tolist(), strict=True)) == [by_hand(stage, int(r)) for r in at]
    assert made.row_of(1, np.arange(7)).tolist() == [
        by for by in made.row_of(1, np.arange(7)).tolist() if by_hand(stage, by)[0] == 1
    ]
    with pytest.raises(CodemixError, match="exact up to"):
        Order(make_stage([(n, 7)], [10, 3], batches=((0, 1),)))


def test_a_source_of_unknown_size_has_no_order():
    with pytest.raises(CodemixError, match="`s000` is not known"):
        Order(make_stage([(3,)], [None]))
