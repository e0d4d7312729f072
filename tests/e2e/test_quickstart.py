"""The main job on real data, from YAML to report, with interruptions;
the same store serves all tests here.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = """\
codemix: 1
name: small
tokenizer: {kind: bpe, vocab_size: 1024, train: {bytes: 500kB}}
sources:
  docs: {read: {kind: python_docs}, tags: {kind: text}, held_out: 4%, max_epochs: 4}
  stdlib: {read: {kind: python_stdlib}, tags: {kind: code}, held_out: 4%}
model: {d_model: 32, n_layers: 2, n_heads: 2, d_ff: 64}
training: {seq_len: 64, batch_size: 8}
stages:
  - {name: init, steps: 60, mixture: {docs: 50%, stdlib: 50%}, learning_rate: {kind: cosine, peak: 1e-2, floor: 1e-3, warmup: 5 steps}}
  - {name: continue, steps: 40, mixture: {docs: 90%, stdlib: 10%}, learning_rate: {kind: cosine, peak: 5e-3, floor: 1e-3}}
  - {name: cooldown, steps: 20, mixture: {docs: 80%, stdlib: 20%}, learning_rate: {kind: linear, start: previous, floor: 1e-5}}
evaluation: {max_bytes: 50kB}
"""


def codemix(*words, folder, code=0, **options):
    ran = subprocess.run(
        [sys.executable, "-m", "codemix", *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        **options,
    )
    assert ran.returncode == code, (
        f"codemix {' '.join(map(str, words))}: exit {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    )
    assert "Traceback" not in ran.stderr
    return ran


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "small.yaml").write_text(RECIPE)
    codemix("build-data", "small.yaml", folder=folder)
    return folder


@pytest.fixture(scope="module")
def straight(folder):
    """The result of `codemix run` without interruption."""
    return json.loads(codemix("run", "small.yaml", "--json", folder=folder).stdout)


def test_the_ledger_equals_the_plan_and_a_second_run_does_nothing(folder, straight):
    plan = json.loads(codemix("plan", "small.yaml", "--json", folder=folder).stdout)
    for stage, place in zip(plan["stages"], straight["stages"], strict=True):
        ledger = json.loads((folder / place / "ledger.json").read_text())
        assert ledger["consumed"] == ledger["planned"] == {s["source"]: s["tokens"] for s in stage["sources"]}
        assert ledger["tokens"] == stage["tokens"] == stage["steps"] * 8 * 64
    assert all(s["trained"] for s in plan["existing"]["stages"].values())
    before = {
        p: p.stat().st_mtime_ns
        for p in (folder / "store").rglob("*")
        if p.is_file() and ".jax-cache" not in p.parts and p.suffix != ".lock"
    }
    assert json.loads(codemix("run", "small.yaml", "--json", folder=folder).stdout) == straight
    after = {
        p: p.stat().st_mtime_ns
        for p in (folder / "store").rglob("*")
        if p.is_file() and ".jax-cache" not in p.parts and p.suffix != ".lock"
    }
    assert after == before


def test_interrupted_twice_the_result_is_the_same_to_the_bit(folder, straight, tmp_path):
    import shutil

    store = tmp_path / "store"
    store.mkdir()
    for kind in ("data", "documents", "tokenizers", ".jax-cache"):
        if (folder / "store" / kind).exists():
            shutil.copytree(folder / "store" / kind, store / kind)
    (tmp_path / "small.yaml").write_text(RECIPE)
    for stop, lines in ((signal.SIGINT, 2), (signal.SIGKILL, 4)):
        words = [sys.executable, "-m", "codemix", "train", "small.yaml", "--save-every-steps", "10"]
        process = subprocess.Popen(
            words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.time() + 120
        while process.poll() is None and time.time() < deadline:
            if sum(len(p.read_text().splitlines()) for p in store.rglob("metrics.jsonl")) >= lines:
                os.killpg(process.pid, stop)
                break
            time.sleep(0.05)
        code = process.wait(timeout=120)
        assert code in ((130, 0) if stop == signal.SIGINT else (-9, 0))
    codemix("train", "small.yaml", folder=tmp_path)
    for place in straight["stages"]:
        first, second = folder / place, tmp_path / place
        assert json.loads((first / "ledger.json").read_text()) == json.loads(
            (second / "ledger.json").read_text()
        )
        a, b = (
            [json.loads(line) for line in (p / "metrics.jsonl").read_text().splitlines()]
            for p in (first, second)
        )
        assert [(x["step"], x["train/loss_nats_per_token"]) for x in a] == [
            (x["step"], x["train/loss_nats_per_token"]) for x in b
        ]


def test_code_helps_code_and_the_report_stands_alone(folder, straight):
    scores = [
        json.loads((folder / p).read_text())
        if Path(p).suffix == ".json"
        else json.loads((folder / p / "results.json").read_text())
        for p in straight["evals"]
    ]
    assert all(0.5 < r["bits_per_byte"][s]["bits_per_byte"] < 8 for r in scores for s in ("docs", "stdlib"))
    page = (folder / straight["report"]).read_text()
    twin = json.loads(codemix("report", "small.yaml", "--json", folder=folder).stdout)
    assert twin == json.loads((folder / straight["report"]).with_suffix(".json").read_text())
    assert (
        "<svg" in page
        and 'src="http' not in page
        and 'href="http' not in page.replace('href="https://arxiv.org', "")
    )


def test_show_names_documents_and_seen_finds_the_step(folder, straight):
    rows = json.loads(codemix("show", "small.yaml", "--step", 70, "--json", folder=folder).stdout)
    assert len(rows) == 8
    document = rows[0]["documents"][0]["id"]
    steps = json.loads(codemix("seen", "small.yaml", document, "--json", folder=folder).stdout)
    assert 70 in {r["run_step"] for r in steps["reads"]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"docs: 50%, stdlib: 50%": "docs: 5%, stdlib: 5%"}, "sum to 10%"),
        ({"max_epochs: 4": "max_epochs: 0.001"}, "would be read"),
        ({"kind: python_docs": "kind: jsonl, paths: ['absent/*.jsonl']"}, "absent"),
        (
            {"kind: bpe, vocab_size: 1024, train: {bytes: 500kB}": "kind: tokenizer_json, path: absent.json"},
            "absent.json",
        ),
        ({"seq_len: 64": "sequence: 64"}, "not a key"),
    ],
)
def test_mistakes_end_with_1_a_place_and_no_traceback(folder, change, says, tmp_path):
    text = RECIPE
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "bad.yaml").write_text(text)
    ran = codemix("run", tmp_path / "bad.yaml", "--store", folder / "store", folder=folder, code=1)
    assert says in ran.stderr and "error:" in ran.stderr


def test_a_corrupted_shard_and_a_busy_store_are_told(folder, straight, tmp_path):
    import shutil

    store = tmp_path / "store"
    shutil.copytree(
        folder / "store", store, ignore=shutil.ignore_patterns("stages", "reports", "evals", ".jax-cache")
    )
    shard = next(store.glob("data/stdlib-*/shards/train-*.ds"))
    raw = bytearray(shard.read_bytes())
    raw[100] ^= 0xFF
    shard.write_bytes(raw)
    assert shard.name in codemix("verify", "small.yaml", "--store", store, folder=folder, code=1).stderr
    shard.write_bytes(raw[:-7])
    assert shard.name in codemix("train", "small.yaml", "--store", store, folder=folder, code=1).stderr


def test_a_stage_leaves_as_a_hugging_face_model(folder, straight):
    codemix("export-model", "small.yaml", "--output", "hf", folder=folder)
    config = json.loads((folder / "hf" / "config.json").read_text())
    assert (
        config["architectures"] == ["CohereForCausalLM"]
        and (folder / "hf" / "model.safetensors").stat().st_size > 100_000
    )
    assert (
        len(json.loads((folder / "hf" / "tokenizer.json").read_text())["model"]["vocab"])
        == config["vocab_size"]
    )
    assert json.loads((folder / "hf" / "tokenizer_config.json").read_text())["eos_token"] == "<|endoftext|>"


def test_every_file_of_a_store_may_be_read_by_whom_the_umask_allows(folder, straight):
    (folder / "plain").touch()
    allowed = (folder / "plain").stat().st_mode & 0o666
    files = [path for path in (folder / "store").rglob("*") if path.is_file()]
    assert files and [path for path in files if path.stat().st_mode & 0o666 != allowed] == []


def test_verify_says_what_a_store_lacks_of_a_lock(folder, tmp_path):
    import shutil

    codemix("lock", "small.yaml", folder=folder)
    assert "0 problems" in codemix("verify", "small.yaml", folder=folder).stdout
    checked = json.loads(codemix("verify", "small.yaml", "--json", folder=folder).stdout)
    assert checked["checked"]["data"] == 2 and checked["problems"] == []
    store = tmp_path / "store"
    shutil.copytree(
        folder / "store",
        store,
        ignore=shutil.ignore_patterns("stages", "reports", "evals", ".jax-cache", "stdlib-*"),
    )
    assert (
        "`stdlib` is not in the store"
        in codemix("verify", "small.yaml", "--store", store, folder=folder, code=1).stderr
    )
    lacking = json.loads(
        codemix("verify", "small.yaml", "--store", store, "--json", folder=folder, code=1).stdout
    )
    assert "`stdlib` is not in the store" in lacking["problems"][0]["what"]
    (folder / "small.lock").unlink()
