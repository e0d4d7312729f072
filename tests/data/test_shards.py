"""Windows of shards against the tokens themselves, and every way in which a shard can disagree with its
manifest.
"""

from __future__ import annotations

import dataclasses
import os
import pickle

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stage_plans import make_manifest, share_stage

from codemix.data.loader import mapped_arrays as module
from codemix.data.loader.shards import Shards
from codemix.data.loader.step_source import StepSource
from codemix.data.store import block_checksums
from codemix.data.store.manifest import Manifest
from codemix.errors import CodemixError

LENGTHS = [[5, 1, 30, 2, 2, 40], [3], [17], [9, 9, 9, 9, 1, 1, 1]]


@pytest.fixture(params=["uint16", "uint32"])
def manifest(tmp_path, request) -> Manifest:
    return make_manifest(
        tmp_path / "a",
        "a",
        LENGTHS,
        dtype=request.param,
        vocab=1000 if request.param == "uint16" else 100_000,
    )


def tokens_of(manifest: Manifest) -> list[np.ndarray]:
    return [
        np.fromfile(manifest.folder / s.path, f"<u{2 if manifest.dtype == 'uint16' else 4}").astype(np.int64)
        for s in manifest.shards("train")
    ]


@pytest.mark.parametrize("seq_len", [1, 2, 8, 16, 39, 79])
def test_windows_are_slices_that_stay_inside_shards(manifest, seq_len):
    made = Shards(manifest, "train", seq_len)
    expected = [
        t[at : at + seq_len + 1] for t in tokens_of(manifest) for at in range(0, len(t) - seq_len, seq_len)
    ]
    assert made.windows == len(made) == len(expected)
    if not expected:
        return
    got = made.gather(np.arange(made.windows))
    assert got.dtype == np.int32 and (got == np.stack(expected)).all()
    back = np.random.default_rng(0).permutation(made.windows)
    assert (made.gather(back) == got[back]).all()
    for window in range(made.windows):
        shard, offset = made.place(window)
        assert (tokens_of(manifest)[shard][offset : offset + seq_len + 1] == got[window]).all()


def test_windows_outside_are_refused(manifest):
    made = Shards(manifest, "train", 8)
    for window in (-1, made.windows):
        with pytest.raises(IndexError):
            made.gather(np.array([window]))
    assert Shards(manifest, "held_out", 8).windows == 0


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=8), min_size=1, max_size=3),
    seq_len=st.integers(1, 20),
)
def test_documents_of_windows_and_windows_of_documents(tmp_path_factory, lengths, seq_len):
    made = Shards(make_manifest(tmp_path_factory.mktemp("m") / "a", "a", lengths), "train", seq_len)
    touched: dict[tuple[int, int], set[int]] = {}
    for window in range(made.windows):
        shard, offset = made.place(window)
        owner = np.repeat(np.arange(len(lengths[shard])), lengths[shard])
        begins = np.cumsum(lengths[shard]) - lengths[shard]
        spans = made.spans(window)
        assert [s.start for s in spans] == [0, *[s.stop for s in spans[:-1]]] and spans[
            -1
        ].stop == seq_len + 1
        for s in spans:
            assert (owner[offset + s.start : offset + s.stop] == s.document).all()
            assert (
                s.from_token == offset + s.start - begins[s.document]
                and s.tokens == lengths[shard][s.document]
            )
            touched.setdefault((shard, s.document), set()).add(window)
    for shard, documents in enumerate(lengths):
        for document in range(len(documents)):
            assert set(made.windows_of(shard, document)) == touched.get((shard, document), set())


def test_metadata_and_documents_by_id(manifest):
    made = Shards(manifest, "train", 8)
    assert made.find(0, "a/0.py#3") == [3] and made.find(1, "a/0.py#3") == [] and made.find(0, "a/0.py") == []
    assert made.metadata(3, {1, 6})[6]["id"] == "a/3.py#6" and len(made.metadata(3, {1, 6})) == 2


@pytest.mark.parametrize("lines", [b"", b"[1]\n", b"{}\n", b'{"id": 3}\n', b"{", b"[" * 100_000])
def test_a_damaged_line_about_a_document_is_named(manifest, lines):
    shards = Shards(manifest, "train", 8)
    wanted = shards.metadata(0, {0})[0]["id"]
    path = manifest.folder / shards.shards[0].docs
    path.write_bytes(zstandard.ZstdCompressor().compress(lines))
    for read in (lambda: shards.metadata(0, {0}), lambda: shards.find(0, wanted)):
        try:
            assert read() == []  # a line without the id is not parsed: it is not that document's
        except CodemixError as error:
            assert error.problems[0].rule == "shard-corrupt" and str(path) in str(error)
    with pytest.raises(CodemixError):
        shards.metadata(0, {0})


def test_pickling_takes_no_tokens_and_maps_are_bounded(manifest, monkeypatch):
    made = Shards(manifest, "train", 8)
    before = made.gather(np.arange(made.windows))
    assert len(pickle.dumps(made)) < 5000
    assert (pickle.loads(pickle.dumps(made)).gather(np.arange(made.windows)) == before).all()
    monkeypatch.setattr(module, "_MAX_MAPS", 2)
    assert (made.gather(np.arange(made.windows)) == before).all()
    module._maps.clear()
    assert (made.gather(np.arange(made.windows)[::-1]) == before[::-1]).all() and len(module._maps) == 2


def test_a_shard_cut_short_while_it_is_mapped_is_named(manifest, monkeypatch):
    """Within its last page the missing tokens would read as zeros, behind it the process would end."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0)
    made = Shards(manifest, "train", 8)
    made.gather(np.arange(made.windows))
    path = made.folder / made.shards[0].path
    size = path.stat().st_size
    os.truncate(path, size // 2)
    with pytest.raises(CodemixError, match=f"it has {size // 2:,} bytes") as error:
        made.gather(np.arange(made.windows))
    assert {problem.rule for problem in error.value.problems} == {"shard-corrupt"}


def refused(made: Shards, name: str, **check) -> str:
    module._maps.clear()
    with pytest.raises(CodemixError) as error:
        made.check(**check)
    assert (
        {p.rule for p in error.value.problems} == {"shard-corrupt"}
        and name in str(error.value)
        and "build-data" in str(error.value)
    )
    return str(error.value)


def test_a_shard_that_is_not_its_manifests_is_named(manifest):
    made = Shards(manifest, "train", 8)
    made.check(hashes=True)
    path = made.path(0)
    whole, index = path.read_bytes(), path.with_name(path.name + ".index")
    path.write_bytes(whole[:-2])
    assert "train-00000.ds" in refused(made, "bytes")
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    made.check()  # the same length: only its bytes tell
    refused(made, "SHA-256", hashes=True)
    path.unlink()
    refused(made, "No such file")
    path.write_bytes(whole)
    ends = np.fromfile(index, "<u8")
    index.write_bytes((ends - 1).tobytes())
    assert ".ds.index" in refused(made, "last document ends at token 79")


def test_ids_beyond_the_vocabulary_are_refused_when_read(manifest):
    small = dataclasses.replace(manifest, tokenizer=manifest.tokenizer | {"vocab_size": 300})
    with pytest.raises(CodemixError, match=r"train-0000\d.ds.*not below the vocabulary of 300"):
        made = Shards(small, "train", 8)
        made.gather(np.arange(made.windows))


@settings(max_examples=30, deadline=None)
@given(
    seq_len=st.integers(1, 40),
    block=st.sampled_from([4, 8, 16, 32, 2**18]),
    dtype=st.sampled_from(["uint16", "uint32"]),
    shard=st.sampled_from([0, 2, 3]),
    place=st.floats(0, 1, exclude_max=True),
    way=st.sampled_from(["gather", "batch", "document"]),
)
def test_a_flipped_bit_is_noticed_by_what_touches_its_block(
    tmp_path_factory, seq_len, block, dtype, shard, place, way
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_checksums, "BLOCK", block)
        manifest = make_manifest(
            tmp_path_factory.mktemp("flip") / "a", "a", LENGTHS, dtype=dtype, checked=True
        )
        path, width = manifest.folder / manifest.shards("train")[shard].path, int(dtype[4:]) // 8
        raw = bytearray(path.read_bytes())
        flipped = int(place * len(raw))
        raw[flipped] ^= 1
        path.write_bytes(raw)
        read = Shards(manifest, "train", seq_len)
        if way == "document":
            ends = np.cumsum(LENGTHS[shard])
            places = [(shard, i, ends[i] - n, ends[i]) for i, n in enumerate(LENGTHS[shard])]
        else:
            where = [read.place(w) for w in range(read.windows)]
            places = [(s, w, offset, offset + seq_len + 1) for w, (s, offset) in enumerate(where)]
        if way == "batch" and places:
            stage = share_stage(len(places), (1,), [read.windows], names=["a"], seq_len=seq_len, batch_size=1)
            source = StepSource(stage, {"a": read})
            order = [int(source.rows(step).window[0]) for step in range(stage.steps)]
            places = [places[window] for window in order]
        for step, (number, thing, start, stop) in enumerate(places):
            blocks = range(start * width // block, (stop * width - 1) // block + 1)
            ways = {
                "gather": lambda thing=thing: read.gather(np.array([thing])),
                "batch": lambda step=step: source[step],
                "document": lambda number=number, thing=thing: read.document(number, thing),
            }
            if number == shard and flipped // block in blocks:
                with pytest.raises(CodemixError, match="its checksum differs in bytes") as error:
                    ways[way]()
                assert path.name in str(error.value) and "build-data" in str(error.value)
            else:
                ways[way]()


def test_a_flipped_index_and_lost_checksums_are_noticed(tmp_path):
    for number, name in enumerate((".index", block_checksums.SUFFIX)):
        manifest = make_manifest(tmp_path / str(number), "a", [[5, 9, 30]], checked=True)
        path = manifest.folder / f"{manifest.shards('train')[0].path}{name}"
        raw = bytearray(path.read_bytes())
        raw[0] ^= 1  # the first document's end; the last one still fits
        path.write_bytes(raw)
        with pytest.raises(CodemixError, match="index is not what its manifest says: its checksum differs"):
            Shards(manifest, "train", 8).ends(0)
    manifest = make_manifest(tmp_path / "lost", "a", [[5, 9, 30]], checked=True)
    (manifest.folder / f"{manifest.shards('train')[0].path}{block_checksums.SUFFIX}").unlink()
    with pytest.raises(CodemixError, match=r"ds\.checks is not what its manifest says: No such file"):
        Shards(manifest, "train", 8).gather(np.array([0]))
