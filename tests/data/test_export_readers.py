"""Exports in the hands of their real readers, where those are installed (each in an environment of its own
is fine: `pytest --optional` runs what it can import)."""

import json

import numpy as np
import pytest
from support.built_run import built_run, documents, exported, windows

pytestmark = pytest.mark.optional("needs the readers of other trainers")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return built_run(tmp_path_factory.mktemp("readers"))


def same(got, want):
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(np.asarray(a), b)


def test_megatron_core(run, tmp_path):
    module = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    folder = exported(run, "megatron", tmp_path / "shares")
    for source in ("code", "docs"):
        for split in ("train", "held_out"):
            read = module.IndexedDataset(str(folder / split / source))
            same([read[n] for n in range(len(read))], documents(run, source, split))
    rows = module.IndexedDataset(
        str(exported(run, "megatron", tmp_path / "rows", materialize="init") / "rows" / "init")
    )
    same([rows[n] for n in range(len(rows))], windows(run))


def test_olmo_core(run, tmp_path):
    data = pytest.importorskip("olmo_core.data")
    mixture = pytest.importorskip("olmo_core.data.source_mixture")
    yaml = pytest.importorskip("yaml")
    folder = exported(run, "olmo-core", tmp_path / "out", materialize="init")
    dataset = data.NumpyFSLDataset(
        str(folder / "rows" / "init.npy"),
        sequence_length=17,
        pad_token_id=0,
        eos_token_id=0,
        vocab_size=300,
        dtype=np.uint16,
    )
    same([dataset[n]["input_ids"] for n in range(len(dataset))], windows(run))
    shares = exported(run, "olmo-core", tmp_path / "shares")
    config = yaml.safe_load((shares / "init.yaml").read_text())
    sources = [
        mixture.SourceMixtureConfig(**entry | {"paths": [str(shares / path) for path in entry["paths"]]})
        for entry in config["sources"]
    ]
    mixture.SourceMixtureList(sources=sources).validate()
    validation = json.loads((shares / "init.settings.json").read_text())["validation"]
    validation["paths"] = [str(shares / path) for path in validation["paths"]]
    tokenizer = data.TokenizerConfig(vocab_size=300, eos_token_id=0, pad_token_id=0)
    held_out = data.NumpyPaddedFSLDatasetConfig(
        tokenizer=tokenizer, work_dir=str(tmp_path / "work"), **validation
    ).build()
    held_out.prepare()
    assert {held_out[n]["metadata"]["label"] for n in range(len(held_out))} == {"code", "docs"}


def test_litdata(run, tmp_path):
    litdata = pytest.importorskip("litdata")
    folder = exported(run, "litdata", tmp_path / "rows", materialize="init") / "rows" / "init"
    read = litdata.StreamingDataset(
        str(folder), item_loader=litdata.TokensLoader(block_size=17), shuffle=False
    )
    same([read[n] for n in range(len(read))], windows(run))
    shares = exported(run, "litdata", tmp_path / "shares")
    weights = json.loads((shares / "init.json").read_text())
    sets = [
        litdata.StreamingDataset(
            str(shares / name), item_loader=litdata.TokensLoader(block_size=weights["seq_len"] + 1)
        )
        for name in weights["sets"]
    ]
    mixed = litdata.CombinedStreamingDataset(
        sets, weights=weights["weights"], iterate_over_all=False, seed=weights["seed"]
    )
    assert len(next(iter(mixed))) == 17


def test_mosaicml_streaming(run, tmp_path):
    streaming = pytest.importorskip("streaming")
    folder = exported(run, "mds", tmp_path / "rows", materialize="init") / "rows" / "init"
    read = streaming.LocalDataset(str(folder))
    same([read[n]["tokens"] for n in range(len(read))], windows(run))
    shares = exported(run, "mds", tmp_path / "shares")
    read = streaming.LocalDataset(str(shares / "train" / "docs"))
    same([read[n]["tokens"] for n in range(len(read))], documents(run, "docs"))


def test_grain_array_records(run, tmp_path):
    grain = pytest.importorskip("grain")
    folder = exported(run, "arrayrecord", tmp_path / "rows", materialize="init")
    read = grain.sources.ArrayRecordDataSource(str(folder / "rows" / "init.arrayrecord"))
    same([np.frombuffer(read[n], "<u2") for n in range(len(read))], windows(run))


def test_datasets(run, tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = exported(run, "parquet", tmp_path / "rows", materialize="init")
    read = datasets.load_dataset(
        "parquet",
        data_files=str(folder / "rows" / "init.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    same(read["tokens"], windows(run))
