"""Batches are what the order says, on any hosts, from any step, and their masks follow the documents."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stage_plans import EOS, make_manifest, make_stage, share_stage

from codemix.data.loader import fill_in_the_middle, step_source
from codemix.data.loader.batches import batches
from codemix.data.loader.fill_in_the_middle import sentinels_of
from codemix.data.loader.order import rows
from codemix.data.loader.shards import Shards
from codemix.data.loader.step_source import StepSource
from codemix.data.store import block_checksums
from codemix.errors import CodemixError

T = 16
SPECIAL = {token: 990 + i for i, token in enumerate(fill_in_the_middle.SENTINELS)}


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> dict[str, Shards]:
    root, rng = tmp_path_factory.mktemp("shards"), np.random.default_rng(5)
    lengths = {
        name: [rng.geometric(1 / mean, 60).tolist() for _ in range(3)]
        for name, mean in (("code", 12), ("math", 3), ("web", 40))
    }
    return {
        name: Shards(make_manifest(root / name, name, ls, special=SPECIAL), "train", T)
        for name, ls in lengths.items()
    }


def stage_of(shards, n_rows=120, shares=(3, 1, 2), **more):
    return share_stage(
        n_rows, shares, [s.windows for s in shards.values()], names=list(shards), seq_len=T, **more
    )


def same(a, b) -> bool:
    return a.keys() == b.keys() and all((a[k] == b[k]).all() and a[k].dtype == b[k].dtype for k in a)


def test_a_batch_holds_the_windows_of_its_rows(shards):
    stage = stage_of(shards)
    for step, batch in batches(stage, shards):
        got = rows(stage, step)
        assert set(batch) == {"inputs", "targets", "weights", "source"} and (batch["weights"] == 1).all()
        assert (batch["source"] == got.source).all()
        for row in range(len(got)):
            window = shards[stage.sources[got.source[row]].source].gather(got.window[row : row + 1])[0]
            assert (batch["inputs"][row] == window[:-1]).all() and (batch["targets"][row] == window[1:]).all()


def test_masks_follow_the_documents(shards):
    stage = stage_of(shards, doc_mask="segment", reset_positions=True)
    source, ended = StepSource(stage, shards), 0
    for step in range(stage.steps):
        batch = source[step]
        for inputs, targets, weights, segments, positions in zip(
            *(batch[k].tolist() for k in ("inputs", "targets", "weights", "segments", "positions")),
            strict=True,
        ):
            segment = position = 0
            for t in range(T):  # the end token is the last of its document
                assert (segments[t], positions[t]) == (segment, position)
                assert weights[t] == (
                    0 if inputs[t] == EOS else 1
                )  # after it, the target is the next document's first
                segment, position = (segment + 1, 0) if inputs[t] == EOS else (segment, position + 1)
                ended += inputs[t] == EOS
            assert targets[:-1] == inputs[1:]
    assert ended > 50


@pytest.mark.parametrize(("mask", "reset"), [("segment", False), ("none", True)])
def test_each_choice_alone(shards, mask, reset):
    both = StepSource(stage_of(shards, doc_mask="segment", reset_positions=True), shards)[2]
    one = StepSource(stage_of(shards, doc_mask=mask, reset_positions=reset), shards)[2]
    assert ("segments" in one, "positions" in one) == (mask == "segment", reset)
    assert all((one[k] == both[k]).all() for k in set(one) - {"weights"})
    assert (one["weights"] == (both["weights"] if mask == "segment" else 1)).all()


@pytest.mark.parametrize("hosts", [1, 2, 4, 8])
def test_any_split_of_rows_over_hosts_reads_the_same(shards, hosts):
    stage = stage_of(shards, doc_mask="segment", reset_positions=True, batches=((0, 8),))
    deal = (
        np.random.default_rng(hosts).permutation(8).reshape(hosts, -1)
    )  # a ring, a torus: any map from rows to hosts
    whole = [b for _, b in batches(stage, shards)]
    parts = [[b for _, b in batches(stage, shards, row_ranges=rows_of)] for rows_of in deal]
    for step, batch in enumerate(whole):
        assert all(same(parts[h][step], {k: v[deal[h]] for k, v in batch.items()}) for h in range(hosts))
    ranges = [b for _, b in batches(stage, shards, row_ranges=[(0, 2), (5, 8)])]
    assert all(
        same(r, {k: v[[0, 1, 5, 6, 7]] for k, v in b.items()}) for r, b in zip(ranges, whole, strict=True)
    )


def test_resuming_at_every_step_reads_on(shards):
    """Over the edge between two stages, with other mixtures and a batch ramp, and resumed once, twice,
    three times.
    """
    first = stage_of(shards, 60, batches=((0, 2), (10, 4)), name="one")
    second = share_stage(
        40,
        (1, 5, 1),
        [s.windows for s in shards.values()],
        names=list(shards),
        seq_len=T,
        starts=[s.windows for s in first.sources],
        batch_size=5,
    )
    straight = [
        (stage.name, step, batch) for stage in (first, second) for step, batch in batches(stage, shards)
    ]
    edge = first.steps

    def read(stops):
        """The run, stopped at each of `stops` (steps of the run) and started anew."""
        got, done = [], 0
        for stop in [*stops, len(straight)]:
            for begin, stage in ((0, first), (edge, second)):
                if begin <= done < begin + stage.steps and done < stop:
                    for step, batch in batches(stage, shards, start_step=done - begin, prefetch=3):
                        got.append((stage.name, step, batch))
                        done += 1
                        if done == stop:
                            break
        return got

    for at in range(edge - 5, edge + 5):
        for stops in ([at], [at, at + 1], [3, at, at + 2]):
            got = read(stops)
            assert [g[:2] for g in got] == [s[:2] for s in straight]
            assert all(same(g[2], s[2]) for g, s in zip(got, straight, strict=True))


def test_order_in_the_batch_size_changes_only_the_cuts(shards):
    a = [b for _, b in batches(stage_of(shards, 96, batches=((0, 8),)), shards)]
    b = [
        b
        for _, b in batches(
            stage_of(shards, 96, batches=((0, 1), (8, 2), (12, 16))),
            shards,
            row_ranges=lambda n: [(0, n)],
            prefetch=0,
        )
    ]
    assert [len(x["source"]) for x in b] == [1] * 8 + [2] * 4 + [16] * 5
    assert all((np.concatenate([x[k] for x in a]) == np.concatenate([x[k] for x in b])).all() for k in a[0])


def test_the_source_can_be_pickled_small(shards):
    source = StepSource(stage_of(shards), shards)
    source[0]
    assert len(pickle.dumps(source)) < 100_000 and same(pickle.loads(pickle.dumps(source))[3], source[3])


@pytest.mark.parametrize("rows_at_once", [1, 5, 8, 2048])
def test_how_many_rows_are_located_at_once_changes_nothing(shards, rows_at_once, monkeypatch):
    """In sequence, backwards, with repeats, and after a pickle."""
    stage = stage_of(shards, doc_mask="segment", batches=((0, 2), (10, 4)))
    one_by_one = [StepSource(stage, shards)[step] for step in range(stage.steps)]
    monkeypatch.setattr(step_source, "_BLOCK", rows_at_once)
    source = StepSource(stage, shards)
    forwards = list(range(stage.steps))
    for step in [*forwards, *reversed(forwards), 3, 3, 4, 5, 20, 21, 22, 4]:
        assert same(source[step], one_by_one[step]), step
        if step % 7 == 0:
            source = pickle.loads(pickle.dumps(source))


def test_a_bad_block_is_met_by_the_batch_that_reads_it(tmp_path, monkeypatch):
    """Never by a batch before it, though the rows of later steps are located with it."""
    monkeypatch.setattr(block_checksums, "BLOCK", 16)
    monkeypatch.setattr(step_source, "_BLOCK", 2)
    manifest = make_manifest(tmp_path / "a", "a", [[400]], checked=True)
    stage = make_stage([(24,)], [24], names=["a"], seq_len=T, batch_size=1)
    plain = StepSource(stage, {"a": Shards(manifest, "train", T)})
    windows = [int(plain.rows(step).window[0]) for step in range(stage.steps)]
    path = manifest.folder / manifest.shards("train")[0].path
    raw = bytearray(path.read_bytes())
    for bad_step in (0, 1, 2, 7, 16, 23):
        bad = windows[bad_step]
        flipped = bad * T * 2 + 16  # bytes: a block inside the window, which no other window touches
        raw[flipped] ^= 1
        overwrite(path, raw)
        read = batches(stage, {"a": Shards(manifest, "train", T)}, prefetch=0)
        for step in range(bad_step):
            assert next(read)[0] == step
        with pytest.raises(CodemixError, match="its checksum differs in bytes"):
            next(read)
        raw[flipped] ^= 1


def overwrite(path, content: bytes) -> None:
    """In place: a mapped file that is cut short under a reader is a bus error."""
    with open(path, "r+b") as f:
        f.write(content)


@settings(max_examples=10, deadline=None)
@given(rate=st.fractions(0, 1, max_denominator=20), seed=st.integers(0, 3))
def test_fill_in_the_middle_changes_only_its_sources(shards, rate, seed):
    sentinels = sentinels_of({"special": SPECIAL})
    made = {"doc_mask": "segment", "reset_positions": True, "seed": seed}
    plain, asked = stage_of(shards, **made), stage_of(shards, fim={"code": rate}, **made)
    source, changed = StepSource(asked, shards, sentinels=sentinels), 0
    for (step, a), (_, b) in zip(
        batches(plain, shards), batches(asked, shards, sentinels=sentinels), strict=True
    ):
        assert all(
            (a[k] == b[k]).all() for k in ("weights", "segments", "positions", "source")
        )  # documents keep their places
        other = a["source"] != 0
        assert (a["inputs"][other] == b["inputs"][other]).all() and (
            a["targets"][other] == b["targets"][other]
        ).all()
        assert (b["inputs"][:, 1:] == b["targets"][:, :-1]).all()
        if rate == 0:
            assert (a["inputs"] == b["inputs"]).all()
        assert same(source[step], b)
        for before, after in zip(
            a["inputs"], b["inputs"], strict=True
        ):  # a window of 17 tokens has room for one piece at most
            assert [after.tolist().count(s) for s in sentinels] in ([0, 0, 0], [1, 1, 1], [1, 1, 0]) or (
                before == after
            ).all()
            changed += (before != after).any()
    assert changed >= 3 * rate and (changed == 0 or rate > 0)


def test_fill_in_the_middle_needs_its_tokens(shards):
    with pytest.raises(CodemixError, match="fim_prefix"):
        list(batches(stage_of(shards, fim={"code": Fraction(1, 2)}), shards))
    with pytest.raises(CodemixError, match="fim_suffix"):
        sentinels_of({"special": {"<|fim_prefix|>": 3}})


def test_shards_that_are_not_the_planned_ones_are_refused(shards):
    stage = make_stage([(10, 10)], [shards["code"].windows, 5], names=["code", "math"], seq_len=T)
    with pytest.raises(CodemixError, match=r"planned on 5 windows of `math`, its shards hold \d+ of 16"):
        list(batches(stage, shards))
    with pytest.raises(CodemixError, match="it has no shards"):
        list(batches(stage, {"code": shards["code"]}))


def test_a_bad_token_met_while_reading_names_its_file(shards, tmp_path):
    bad = make_manifest(tmp_path / "bad", "code", [[40, 40]])
    path = bad.folder / bad.shards("train")[0].path
    tokens = np.fromfile(path, "<u2")
    tokens[-1] = 1000  # only a target of the last window
    path.write_bytes(tokens.tobytes())
    made = Shards(bad, "train", 79)
    with pytest.raises(CodemixError, match="train-00000.ds .* token 1,000"):
        list(batches(make_stage([(2,)], [1], names=["code"], seq_len=79), {"code": made}))
