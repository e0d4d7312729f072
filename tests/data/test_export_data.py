"""Exports for other trainers, byte by byte: what their readers take, links, resuming, and what is refused."""

import json
import os
import struct

import numpy as np
import pytest
import yaml
from support.built_run import built_run, documents, exported, windows

import codemix
from codemix.cli import main
from codemix.data.export import exporter
from codemix.data.export.exporter import write_export
from codemix.data.export.formats import FORMATS
from codemix.data.loader.shards import Shards
from codemix.files import file_digest


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return built_run(tmp_path_factory.mktemp("export"))


@pytest.fixture
def manifests(run):
    return run.workspace.manifests


def exit_code(words):
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_megatron_has_the_documents_and_their_lengths(run, manifests, tmp_path):
    folder = exported(run, "megatron", tmp_path / "out")
    for source in manifests:
        for split in ("train", "held_out"):
            expected = documents(run, source, split)
            tokens = np.fromfile(folder / split / f"{source}.bin", "<u2")
            index = (folder / split / f"{source}.idx").read_bytes()
            count = len(expected)
            assert index[:9] == b"MMIDIDX\0\0"
            assert struct.unpack_from("<QBQQ", index, 9) == (1, 8, count, count + 1)
            lengths = np.frombuffer(index, "<i4", count, 34)
            starts = np.frombuffer(index, "<i8", count, 34 + 4 * count)
            numbers = np.frombuffer(index, "<i8", count + 1, 34 + 12 * count)
            assert len(index) == 42 + 20 * count
            assert numbers.tolist() == list(range(count + 1))
            for length, start, document in zip(lengths, starts, expected, strict=True):
                np.testing.assert_array_equal(tokens[start // 2 : start // 2 + length], document)


def test_a_blend_has_the_planned_shares_and_the_held_out_sets(run, tmp_path):
    folder = exported(run, "megatron", tmp_path / "out")
    blend = json.loads((folder / "init.json").read_text())
    assert blend["train"][1::2] == ["train/code", "train/docs"]
    shares = [float(share) for share in blend["train"][::2]]
    planned = run.plan.stage("init").planned_tokens()
    np.testing.assert_allclose(shares, np.array([planned["code"], planned["docs"]]) / sum(planned.values()))
    assert blend["valid"] == ["held_out/code", "held_out/docs"]
    assert "--multiple-validation-sets" in (folder / "init.args").read_text()
    assert "--train-iters 8" in (folder / "init.args").read_text()
    assert "--global-batch-size" not in (folder / "init.args").read_text()  # it grows
    assert "--global-batch-size 6" not in (folder / "cooldown.args").read_text()


NAMES = ["code", "docs"]
IN_JSON = ("init.json", lambda content: json.loads(content)["validation"])
VALIDATION = {
    "megatron": ("init.json", lambda content: dict(zip(NAMES, json.loads(content)["valid"], strict=True))),
    "olmo-core": ("init.settings.json", lambda content: labelled(json.loads(content)["validation"])),
    "litdata": IN_JSON,
    "mds": (
        "init.yaml",
        lambda content: {n: s["local"] for n, s in yaml.safe_load(content)["validation"].items()},
    ),
    "arrayrecord": IN_JSON,
    "parquet": IN_JSON,
}


def labelled(validation):
    labels = [entry["label"] for entry in validation["metadata"]]
    return dict(zip(labels, validation["paths"], strict=True))


@pytest.mark.parametrize("format", FORMATS)
def test_each_source_has_a_validation_set_in_the_trainers_own_terms(run, tmp_path, format):
    folder = exported(run, format, tmp_path / "out")
    name, read = VALIDATION[format]
    named = read((folder / name).read_text())
    assert list(named) == NAMES
    for source, path in named.items():
        assert path.startswith(f"held_out/{source}") and list(folder.glob(f"{path}*"))


def test_one_shard_is_linked_and_several_are_joined(run, manifests, tmp_path, monkeypatch):
    folder = exported(run, "olmo-core", tmp_path / "linked")
    [shard] = manifests["code"].shards("train")
    store_file = manifests["code"].folder / shard.path
    assert os.path.samefile(folder / "train" / "code.npy", store_file)
    monkeypatch.setattr(exporter.DocumentSet, "raw_file", lambda self: None)
    copied = exported(run, "olmo-core", tmp_path / "copied")
    assert (copied / "train" / "code.npy").read_bytes() == store_file.read_bytes()
    assert not os.path.samefile(copied / "train" / "code.npy", store_file)
    assert (copied / "SHA256SUMS").read_text() == (folder / "SHA256SUMS").read_text()


def test_litdata_chunks_are_a_header_and_tokens(run, tmp_path, monkeypatch):
    monkeypatch.setattr("codemix.data.export.litdata.CHUNK_BYTES", 2000)
    monkeypatch.setattr("codemix.data.export.token_sets.BLOCK_TOKENS", 300)
    folder = exported(run, "litdata", tmp_path / "out") / "train" / "code"
    index = json.loads((folder / "index.json").read_text())
    assert len(index["chunks"]) > 1
    assert index["config"]["item_loader"] == "TokensLoader"
    assert index["config"]["data_format"] == ["no_header_tensor:20"]
    read = []
    for chunk in index["chunks"]:
        content = (folder / chunk["filename"]).read_bytes()
        assert struct.unpack_from("<III", content) == (1, 12, len(content))
        assert (chunk["chunk_size"], chunk["chunk_bytes"]) == (1, len(content))
        tokens = np.frombuffer(content, "<u2", offset=12)
        assert chunk["dim"] == len(tokens)
        read.append(tokens)
    expected = np.concatenate(documents(run, "code", "train"))
    np.testing.assert_array_equal(np.concatenate(read), expected)


def test_mds_samples_are_arrays_with_their_shape(run, tmp_path, monkeypatch):
    monkeypatch.setattr("codemix.data.export.mds.SHARD_BYTES", 2000)
    monkeypatch.setattr("codemix.data.export.token_sets.BLOCK_TOKENS", 300)
    folder = exported(run, "mds", tmp_path / "out") / "train" / "docs"
    index = json.loads((folder / "index.json").read_text())
    assert (index["version"], len(index["shards"]) > 1) == (2, True)
    read = []
    for shard in index["shards"]:
        content = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert shard["raw_data"]["bytes"] == len(content)
        [count] = struct.unpack_from("<I", content)
        offsets = np.frombuffer(content, "<u4", count + 1, 4)
        assert (count, offsets[-1]) == (shard["samples"], len(content))
        columns = json.loads(content[4 * (count + 2) : offsets[0]])
        assert columns["column_encodings"] == ["ndarray:uint16"]
        for begin, end in zip(offsets[:-1], offsets[1:], strict=True):
            sample = content[begin:end]
            [size] = struct.unpack_from("<I", sample)
            shape = {4: "<u1", 5: "<u2"}[sample[4]]
            [length] = np.frombuffer(sample, shape, 1, 5)
            values = np.frombuffer(sample, "<u2", offset=5 + np.dtype(shape).itemsize)
            assert (size, len(values)) == (len(sample) - 4, length)
            read.append(values)
    for got, want in zip(read, documents(run, "docs", "train"), strict=True):
        np.testing.assert_array_equal(got, want)


def test_array_records_are_tokens(run, tmp_path):
    module = pytest.importorskip("array_record.python.array_record_module")
    folder = exported(run, "arrayrecord", tmp_path / "out")
    reader = module.ArrayRecordReader(str(folder / "train" / "code.arrayrecord"))
    records = [np.frombuffer(record, "<u2") for record in reader.read_all()]
    for got, want in zip(records, documents(run, "code", "train"), strict=True):
        np.testing.assert_array_equal(got, want)


def test_parquet_has_a_row_per_document(run, tmp_path):
    import pyarrow.parquet

    folder = exported(run, "parquet", tmp_path / "out")
    table = pyarrow.parquet.read_table(folder / "held_out" / "docs.parquet")
    rows = [row.as_py() for row in table["tokens"]]
    assert rows == [document.tolist() for document in documents(run, "docs", "held_out")]


@pytest.mark.parametrize("format", FORMATS)
def test_a_materialised_stage_has_its_rows_in_order(run, tmp_path, format):
    folder = exported(run, format, tmp_path / "out", materialize="init") / "rows"
    expected = windows(run)
    if format in ("megatron", "olmo-core"):
        name = {"megatron": "init.bin", "olmo-core": "init.npy"}[format]
        tokens = np.fromfile(folder / name, "<u2")
    elif format == "litdata":
        tokens = np.frombuffer((folder / "init" / "chunk-0-0.bin").read_bytes(), "<u2", offset=12)
    elif format == "mds":
        content = (folder / "init" / "shard.00000.mds").read_bytes()
        offsets = np.frombuffer(content, "<u4", len(expected) + 1, 4)
        tokens = np.concatenate(
            [np.frombuffer(content[a + 6 : b], "<u2") for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
        )
    elif format == "arrayrecord":
        module = pytest.importorskip("array_record.python.array_record_module")
        tokens = np.frombuffer(
            b"".join(module.ArrayRecordReader(str(folder / "init.arrayrecord")).read_all()), "<u2"
        )
    else:
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(folder / "init.parquet")
        names = run.stage("init").sources
        assert table["source"].to_pylist() == [names[n] for n in run.stage("init")[:]["source"]]
        tokens = np.concatenate(table["tokens"].to_pylist())
    np.testing.assert_array_equal(tokens.reshape(expected.shape), expected)
    assert not (folder.parent / "train").exists()
    assert "The order." in (folder.parent / "README.md").read_text()


def test_every_file_is_in_the_sums(run, tmp_path):
    folder = exported(run, "megatron", tmp_path / "out")
    listed = {
        line.split("  ")[1]: line.split("  ")[0] for line in (folder / "SHA256SUMS").read_text().splitlines()
    }
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(listed) == there - {"SHA256SUMS", "export.json"}
    for name, sha256 in listed.items():
        assert file_digest(folder / name) == sha256


@pytest.mark.parametrize("format", FORMATS)
def test_an_interrupted_export_resumes_to_the_same_bytes(run, tmp_path, format, monkeypatch):
    whole = exported(run, format, tmp_path / "whole")
    export = run.plan_export(format)
    write = type(export.format).write
    calls = []

    def interrupted(self, tokens, folder):
        calls.append(tokens.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(self, tokens, folder)

    monkeypatch.setattr(type(export.format), "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_export(export, tmp_path / "resumed")
    assert not (tmp_path / "resumed" / "export.json").exists()
    write_export(run.plan_export(format), tmp_path / "resumed")
    assert calls == ["train/code", "train/docs", "held_out/code", "held_out/code", "held_out/docs"]
    assert (tmp_path / "resumed" / "SHA256SUMS").read_text() == (whole / "SHA256SUMS").read_text()
    assert not (tmp_path / "resumed" / "export.unfinished.json").exists()
    again = write_export(run.plan_export(format), tmp_path / "resumed")
    assert len(calls) == 5 and again


def test_a_folder_with_something_else_is_refused(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(codemix.CodemixError, match="holds something else"):
        exported(run, "megatron", tmp_path)
    folder = exported(run, "megatron", tmp_path / "out")
    with pytest.raises(codemix.CodemixError, match="an export of other data or in a different format"):
        exported(run, "mds", folder)
    (folder / "train" / "code.idx").write_bytes(b"")
    with pytest.raises(codemix.CodemixError, match="is not as it was written"):
        exported(run, "megatron", folder)


def test_a_disk_without_room_is_told_before_writing(run, tmp_path, monkeypatch):
    usage = type(exporter.shutil.disk_usage("/"))(1000, 990, 10)
    monkeypatch.setattr(exporter.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(codemix.CodemixError, match="10 B free|10 bytes free"):
        exported(run, "mds", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_shard_is_not_exported(run, tmp_path, monkeypatch):
    def damaged(self, shard, start, stop):
        raise codemix.CodemixError("the checksum differs", rule="shard-corrupt")

    monkeypatch.setattr(Shards, "check_blocks", damaged)
    with pytest.raises(codemix.CodemixError, match="checksum differs"):
        exported(run, "parquet", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_names_that_are_not_there(run):
    with pytest.raises(codemix.CodemixError, match="there is no format `megatrn`"):
        run.plan_export("megatrn")
    with pytest.raises(codemix.CodemixError, match="there is no stage `intit`"):
        run.plan_export("megatron", materialize="intit")


def test_the_command_shows_sizes_before_it_writes(run, tmp_path, capsys):
    place = [
        str(run.recipe_file.document.file),
        "--store",
        str(run.store.root),
        "--data-root",
        str(run.data_root),
    ]
    command = ["export-data", *place, "--output", str(tmp_path / "out"), "--format", "megatron"]
    assert exit_code([*command, "--dry-run"]) == 0
    assert "train/code" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert exit_code(command) == 0
    assert "of them hard links to files of the store" in capsys.readouterr().out
    assert exit_code([*command[:-1], "tensors"]) == 1
