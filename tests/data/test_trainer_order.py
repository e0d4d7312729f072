"""Other trainers' orders of an export: their own readers give the same samples, show and seen agree."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.built_run import built_run, documents, exported

from codemix import cli
from codemix.data.export import megatron_order
from codemix.data.export.megatron_order import SourceSamples, blend
from codemix.data.export.olmo_core_order import OlmoCoreOrder, instances, passes
from codemix.data.export.trainer_order import ORDERS, UNKNOWN_ORDERS
from codemix.data.review import trainer_trace
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
    return built_run(tmp_path_factory.mktemp("orders"), batch_size="4")


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
            assert samples.samples_of(document) == sorted(expected)


MIXTURES = [
    # requested tokens, share, tokens of each file -> instances of 4 tokens of each pass over a file
    (64, {"a": "0.5", "b": "0.5"}, {"a": 100, "b": 50}, [(0, 8), (1, 8)]),
    (64, {"a": "0.75", "b": "0.25"}, {"a": 30, "b": 50}, [(0, 7), (0, 5), (1, 4)]),
    (80, {"a": "0.7", "b": "0.3"}, {"a": 23, "b": 90}, [(0, 5), (0, 5), (0, 3), (1, 7)]),
    (80, {"a": "0.9", "b": "0.1"}, {"a": 7, "b": 90}, [(0, 1)] * 11 + [(1, 7)]),
]
TWO_EPOCHS = (  # of 28 instances: 4 of code twice, 1 of docs 20 times
    [11, 18, 0, 8, 7, 1, 24, 25, 15, 10, 9, 20, 13, 5, 26, 16, 17, 23, 2, 6, 19, 27, 22, 4, 3, 12, 21, 14],
    [7, 20, 16, 2],
)


@pytest.mark.parametrize(("requested", "shares", "tokens", "expected"), MIXTURES)
def test_what_an_olmo_core_mixture_takes_of_each_file(requested, shares, tokens, expected):
    """Written down from ai2-olmo-core 3.0.0."""
    asked = passes(shares, tokens, requested, 4)
    counts = instances(asked, requested // 4, 4)
    assert [(each.source, count) for each, count in zip(asked, counts, strict=True)] == expected


def test_olmo_core_shuffles_every_epoch_anew(run):
    """Files that are a little longer than an instance give it too few: it begins again. Instances written down
    from ai2-olmo-core 3.0.0.
    """
    stage = dataclasses.replace(run.plan.stage("init"), seed=3)
    assert (stage.steps, stage.batch_size(0), stage.seq_len) == (8, 4, 16)
    lengths = {"code": np.array([30, 40]), "docs": np.array([20])}
    order = OlmoCoreOrder(stage, {"code": "0.25", "docs": "0.75"}, lengths)
    draws = order.draws(8)
    expected = np.concatenate(TWO_EPOCHS)
    assert draws.source.tolist() == (expected >= 8).tolist()
    assert draws.sample.tolist() == np.where(expected < 8, expected % 4, 0).tolist()
    assert [(p.document, p.at, p.stop) for p in order.source_samples["code"].pieces(1)] == [
        (0, 16, 14),
        (1, 0, 16),
    ]


def test_olmo_core_reads_no_epoch_that_is_shorter_than_a_batch(run):
    stage = run.plan.stage("init")
    with pytest.raises(CodemixError, match="fewer instances than a batch"):
        OlmoCoreOrder(stage, {"code": "1"}, {"code": np.array([15])})


@pytest.mark.parametrize("trainer", ORDERS)
def test_show_and_seen_agree(run, trainer):
    plan, manifests = run.plan, run.workspace.manifests
    tokens = {source: documents(run, source) for source in ("code", "docs")}
    reads = set()
    for step in range(8):
        for row in trainer_trace.show(plan, step, manifests, trained_by=trainer, stage="init"):
            assert len(tokens[row["source"]]) > 0
            for document in row["documents"]:
                reads.add((document["id"], step, row["row"], document["from"], document["to"]))
    for document_id in sorted({read[0] for read in reads})[::7]:
        found = trainer_trace.seen(plan, manifests, document_id, trained_by=trainer, stage="init").reads
        steps = {(document_id, r["step"], r["row"], r["from"], r["to"]) for r in found}
        assert steps == {read for read in reads if read[0] == document_id}


@pytest.mark.parametrize("trainer", ORDERS)
def test_the_commands(run, trainer, capsys):
    recipe, root = str(run.recipe_file.document.file), str(run.data_root)
    options = ["--store", str(run.store.root), "--data-root", root, "--trained-by", trainer]
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
@pytest.mark.parametrize("trainer", ORDERS)
def test_what_cannot_be_asked(run, step, stage, message, trainer):
    with pytest.raises(CodemixError, match=message):
        trainer_trace.show(run.plan, step, run.workspace.manifests, trained_by=trainer, stage=stage)


@pytest.mark.parametrize("trainer", ORDERS)
def test_a_growing_batch_has_no_known_order(tmp_path, trainer):
    run = built_run(tmp_path)
    with pytest.raises(CodemixError, match="grows its batch"):
        trainer_trace.show(run.plan, 0, run.workspace.manifests, trained_by=trainer, stage="init")


@pytest.mark.parametrize("trainer", [*UNKNOWN_ORDERS, "megatrn"])
@pytest.mark.parametrize("words", [("show", "--step", "0"), ("seen", "a.py#0")])
def test_a_trainer_without_a_known_order_is_refused(run, trainer, words, capsys):
    place = ["--store", str(run.store.root), "--data-root", str(run.data_root)]
    command, *more = words
    with pytest.raises(SystemExit) as stop:
        cli.main([command, str(run.recipe_file.document.file), *more, *place, "--trained-by", trainer])
    assert stop.value.code == 1
    expected = UNKNOWN_ORDERS.get(trainer, "did you mean `megatron`")
    assert expected in " ".join(capsys.readouterr().err.split())


@pytest.mark.optional("torch and megatron-core 0.16.1")
@pytest.mark.filterwarnings("ignore")
def test_megatron_reads_in_this_order(run, tmp_path):
    torch = pytest.importorskip("torch")
    builder = pytest.importorskip("megatron.core.datasets.blended_megatron_dataset_builder")
    gpt = pytest.importorskip("megatron.core.datasets.gpt_dataset")
    folder = exported(run, "megatron", tmp_path / "out")
    lines = (folder / "init.args").read_text().splitlines()
    arguments = dict(line.split() for line in lines if " " in line)
    blend = json.loads((folder / "init.json").read_text())
    words = blend["train"]
    valid = [str(folder / prefix) for prefix in blend["valid"]]
    assert "--multiple-validation-sets" in lines
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
            blend_per_split=[(prefixes, weights), (valid, None), None],
            multiple_validation_sets=True,
            full_validation=False,
            tokenizer=Ids(),
            reset_position_ids=False,
            reset_attention_mask=False,
            eod_mask_loss=False,
            create_attention_mask=False,
        )
        sizes = [int(arguments["--train-iters"]) * 4, 4, 0]
        built = builder.BlendedMegatronDatasetBuilder(gpt.GPTDataset, sizes, lambda: True, config).build()
        train, held_out = built[:2]
        assert [each.dataset_path for each in held_out] == valid
        by_id = _tokens_by_id(run)
        for step in range(8):
            rows = _shown(run, step, "megatron")
            for row in rows:
                read = train[step * 4 + row["row"]]
                theirs = torch.cat([read["tokens"], read["labels"][-1:]]).numpy()
                pieces = [by_id[d["id"]][d["at"] :][: d["to"] - d["from"]] for d in row["documents"]]
                np.testing.assert_array_equal(np.concatenate(pieces), theirs)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.optional("torch and ai2-olmo-core 3.0.0")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("more", ["", "seed=11, "])  # what a mixture draws is not read
def test_olmo_core_reads_in_this_order(run, more, tmp_path, monkeypatch):
    """With its configurations made as docs/trainers.md makes them."""
    pytest.importorskip("torch")
    pytest.importorskip("olmo_core.data")
    page = (Path(__file__).parents[2] / "docs" / "trainers.md").read_text()
    (block,) = re.findall(r"^```python\n([^`]*olmo_core[^`]*)^```", page, re.M)
    monkeypatch.chdir(exported(run, "olmo-core", tmp_path / "out"))
    names = {}
    exec(block.replace("source_list=", f"{more}source_list="), names)
    batches = names["loader"].build(names["dataset"].build())
    batches.reshuffle(epoch=1)
    by_id = _tokens_by_id(run)
    theirs = [batch["input_ids"].numpy() for batch in batches]
    assert len(theirs) == 8
    for step, batch in enumerate(theirs):
        for row in _shown(run, step, "olmo-core"):
            pieces = [by_id[d["id"]][d["at"] :][: d["to"] - d["from"]] for d in row["documents"]]
            np.testing.assert_array_equal(np.concatenate(pieces), batch[row["row"]])


@pytest.mark.optional("torch and ai2-olmo-core 3.0.0")
@pytest.mark.filterwarnings("ignore")
def test_olmo_core_takes_as_much_of_each_file(tmp_path):
    """Its own mixture, on random ones."""
    source_mixture = pytest.importorskip("olmo_core.data.source_mixture")
    random = np.random.default_rng(5)
    for number in range(60):
        seq_len = int(random.integers(2, 12))
        rows = int(random.integers(1, 60))
        names = [f"{number}-{i}" for i in range(random.integers(1, 5))]
        parts = random.multinomial(10**12 - len(names), random.dirichlet(np.ones(len(names)))) + 1
        shares = {
            name: f"0.{part:012}" if part < 10**12 else "1" for name, part in zip(names, parts, strict=True)
        }
        tokens = {name: int(random.integers(seq_len, 400)) for name in names}
        sources = []
        for name in names:
            np.arange(tokens[name], dtype=np.uint16).tofile(tmp_path / name)
            sources.append(
                source_mixture.SourceMixtureConfig(
                    source_name=name,
                    target_ratio=float(shares[name]),
                    max_repetition_ratio=1000.0,
                    paths=[str(tmp_path / name)],
                )
            )
        built = source_mixture.SourceMixtureDatasetConfig(
            source_list=source_mixture.SourceMixtureList(sources=sources),
            requested_tokens=rows * seq_len,
            global_batch_size=seq_len,
            render_tables=False,
            quiet=True,
        ).build(npdtype=np.uint16, sequence_length=seq_len)
        theirs = [(str(t.path), t.tokens // seq_len) for s in built.sources for t in s.path_tokens]
        asked = passes(shares, tokens, rows * seq_len, seq_len)
        ours = instances(asked, rows, seq_len)
        assert [(str(tmp_path / names[a.source]), n) for a, n in zip(asked, ours, strict=True)] == theirs


def _shown(run, step, trainer):
    return trainer_trace.show(run.plan, step, run.workspace.manifests, trained_by=trainer, stage="init")


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
