"""Megatron's order of an export: its own datasets give the same samples, show and seen agree with each other."""

import json

import numpy as np
import pytest
from support.built_run import built_run, documents, exported

from codemix import cli
from codemix.data.export import megatron_order
from codemix.data.export.megatron_order import SourceSamples, blend
from codemix.data.review import megatron_trace
from codemix.errors import CodemixError

GOLDEN = [
    [(3, 6, 1), (2, 0, 2), (1, 0, 4)],
    [(1, 3, 6), (2, 0, 1)],
    [(3, 0, 7)],
    [(3, 6, 1), (0, 0, 5), (3, 0, 1)],
    [(0, 1, 4), (0, 0, 3)],
    [(2, 0, 2), (1, 0, 5)],
    [(1, 3, 6), (2, 0, 1)],
    [(3, 0, 7)],
    [(0, 2, 3), (1, 0, 4)],
]  # (document, from its token, tokens) of each sample


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return built_run(tmp_path_factory.mktemp("megatron"), batch_size="4")


def test_what_megatron_core_gave():
    """Documents and places of the first samples, written down from megatron-core 0.16.1."""
    lengths = np.array([5, 9, 2, 7])
    samples = SourceSamples(lengths, seq_len=6, samples=9, seed=1234)
    found = [[(p.document, p.at, p.stop - p.start) for p in samples.pieces(n)] for n in range(9)]
    assert found == GOLDEN
    assert blend([0.25, 0.75], 8).source.tolist() == [1, 0, 1, 1, 0, 1, 1, 1]


def test_a_long_order_shows_its_progress(monkeypatch, capsys):
    monkeypatch.setattr("codemix.progress.REPORT_EVERY_S", 0)
    monkeypatch.setattr(megatron_order, "SAMPLES_PER_REPORT", 10)
    blend([0.5, 0.5], 40)
    assert "following Megatron's order: 50%, 20 of 40 samples" in capsys.readouterr().err


def test_every_sample_is_found_by_its_documents():
    random = np.random.default_rng(0)
    for seed in range(20):
        lengths = random.integers(1, 30, int(random.integers(2, 12)))
        samples = SourceSamples(lengths, 8, int(random.integers(1, 90)), seed)
        read_by = {document: set() for document in range(len(lengths))}
        for sample in range(len(samples.place)):
            pieces = list(samples.pieces(sample))
            assert sum(piece.stop - piece.start for piece in pieces) == 9
            for piece in pieces:
                read_by[piece.document].add(sample)
        for document, expected in read_by.items():
            assert samples.samples_of(document).tolist() == sorted(expected)


def test_show_and_seen_agree(run):
    plan, manifests = run.plan, run.workspace.manifests
    tokens = {source: documents(run, source) for source in ("code", "docs")}
    reads = set()
    for step in range(8):
        for row in megatron_trace.show(plan, step, manifests, stage="init"):
            assert len(tokens[row["source"]]) > 0
            for document in row["documents"]:
                reads.add((document["id"], step, row["row"], document["from"], document["to"]))
    for document_id in sorted({read[0] for read in reads})[::7]:
        found = megatron_trace.seen(plan, manifests, document_id, stage="init").reads
        steps = {(document_id, r["step"], r["row"], r["from"], r["to"]) for r in found}
        assert steps == {read for read in reads if read[0] == document_id}


def test_the_commands(run, capsys):
    recipe, root = str(run.recipe_file.document.file), str(run.data_root)
    options = ["--store", str(run.store.root), "--data-root", root, "--trained-by", "megatron"]
    options += ["--stage", "init", "--json"]
    with pytest.raises(SystemExit) as stop:
        cli.main(["show", recipe, "--step", "3", *options])
    rows = json.loads(capsys.readouterr().out)
    assert stop.value.code == 0 and [row["row"] for row in rows] == [0, 1, 2, 3]
    document = rows[0]["documents"][0]["id"]
    for arguments in (["seen", recipe, document, *options], ["seen", recipe, document, *options[:-1]]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 0 and "init" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("step", "stage", "message"),
    [(0, None, "2 stages, each a run of its own"), (8, "init", "no step 8"), (0, "inti", "no stage `inti`")],
)
def test_what_cannot_be_asked(run, step, stage, message):
    with pytest.raises(CodemixError, match=message):
        megatron_trace.show(run.plan, step, run.workspace.manifests, stage=stage)


def test_a_growing_batch_has_no_known_order(tmp_path):
    run = built_run(tmp_path)
    with pytest.raises(CodemixError, match="grows its batch"):
        megatron_trace.show(run.plan, 0, run.workspace.manifests, stage="init")


@pytest.mark.optional("torch and megatron-core 0.16.1")
@pytest.mark.filterwarnings("ignore")
def test_megatron_reads_in_this_order(run, tmp_path):
    torch = pytest.importorskip("torch")
    builder = pytest.importorskip("megatron.core.datasets.blended_megatron_dataset_builder")
    gpt = pytest.importorskip("megatron.core.datasets.gpt_dataset")
    folder = exported(run, "megatron", tmp_path / "out")
    arguments = dict(line.split() for line in (folder / "init.args").read_text().splitlines())
    words = json.loads((folder / "init.json").read_text())["train"]
    prefixes = [str(folder / prefix) for prefix in words[1::2]]
    weights = [float(weight) for weight in words[::2]]
    assert len(prefixes) == 2 and arguments["--global-batch-size"] == "4"

    class Ids:
        eod = 0
        pad = -1
        vocab_size = 300
        unique_identifiers: dict = {}

    store = torch.distributed.TCPStore("127.0.0.1", 0, 1, True)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        config = gpt.GPTDatasetConfig(
            random_seed=int(arguments["--seed"]),
            sequence_length=int(arguments["--seq-length"]),
            blend_per_split=[(prefixes, weights), None, None],
            tokenizer=Ids(),
            reset_position_ids=False,
            reset_attention_mask=False,
            eod_mask_loss=False,
            create_attention_mask=False,
        )
        sizes = [int(arguments["--train-iters"]) * 4, 0, 0]
        train = builder.BlendedMegatronDatasetBuilder(gpt.GPTDataset, sizes, lambda: True, config).build()[0]
        by_id = _tokens_by_id(run)
        for step in range(8):
            rows = megatron_trace.show(run.plan, step, run.workspace.manifests, stage="init")
            for row in rows:
                read = train[step * 4 + row["row"]]
                theirs = torch.cat([read["tokens"], read["labels"][-1:]]).numpy()
                pieces = [by_id[d["id"]][d["at"] :][: d["to"] - d["from"]] for d in row["documents"]]
                np.testing.assert_array_equal(np.concatenate(pieces), theirs)
    finally:
        torch.distributed.destroy_process_group()


def _tokens_by_id(run):
    """The tokens of every training document, by its id."""
    from codemix.data.loader.shards import Shards

    by_id = {}
    for source in ("code", "docs"):
        shards = Shards(run.workspace.manifests[source], "train", 1)
        for number, shard in enumerate(shards.shards):
            known = shards.metadata(number, set(range(shard.documents)))
            for document in range(shard.documents):
                by_id[known[document]["id"]] = np.array(shards.document(number, document))
    return by_id
