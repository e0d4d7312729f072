"""Commands over a store in a bucket answer what they answer over the same store in a folder."""

import json
import shutil
from pathlib import Path

import pytest
from support import buckets
from support.built_run import built_run

from codemix.cli.app import run as command
from codemix.data.remote import bucket as requests

STUDY = """\
codemix: 1
study: rates
question: Which rate?
base: r.yaml
grid: {rate: {low: {stages.init.learning_rate.value: 5e-4}, high: {stages.init.learning_rate.value: 1e-3}}}
"""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """The folder of a recipe whose stages are trained, and the address of a copy of its store in a bucket."""
    folder = tmp_path_factory.mktemp("built")
    run = built_run(folder, batch_size="2")
    run.train()
    (folder / "r.yaml").write_bytes((folder / "small.yaml").read_bytes())
    (folder / "s.yaml").write_text(STUDY)
    with buckets.bucket_server("s3") as (address, _):
        place = f"{address}/pushed"
        words = ["push", "r.yaml", "--to", place, "--store", "store", "--data-root", "."]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            assert command(words) == 0
        yield folder, place


@pytest.fixture
def over(pushed, tmp_path, monkeypatch, capsys):
    """The exit code and what a command says on standard output, over the folder or the bucket."""
    folder, place = pushed
    monkeypatch.setenv("CODEMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 0.001)
    for name in ("r.yaml", "s.yaml"):
        shutil.copy(folder / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    stores = {"folder": str(folder / "store"), "bucket": place}

    def ask(where, *words):
        capsys.readouterr()
        code = command([*words, "--store", stores[where]])
        said = capsys.readouterr()
        assert code != 3, said.err
        return code, said.out

    return ask


@pytest.mark.parametrize(
    "words",
    [
        "plan r.yaml --json --data-root DATA",
        "diff r.yaml r.yaml --json --data-root DATA",
        "study status s.yaml --data-root DATA",
        "study status s.yaml --json --data-root DATA",
        "scale-down r.yaml --tokens 3/4 --json --data-root DATA",  # too little is left: by how much, is in the store
        "lock r.yaml --data-root DATA",
    ],
)
def test_the_same_answer(over, pushed, words):
    given = words.replace("DATA", str(pushed[0])).split()
    said = over("folder", *given)
    assert said[0] == (1 if "scale-down" in words else 0) and over("bucket", *given) == said


def test_the_lock_is_the_same_file_and_checks_every_shard(over, pushed):
    lock = ["lock", "r.yaml", "--data-root", str(pushed[0])]
    locks = []
    for where in ("folder", "bucket"):
        assert over(where, *lock)[0] == 0
        locks.append(Path("r.lock").read_bytes())
    assert locks[0] == locks[1]
    assert over("bucket", *lock, "--check") == (0, "r.lock: the store agrees\n")
    [shard] = Path("cache").glob("*/store/data/code-*/shards/train-*.ds")
    shard.write_bytes(bytes(shard.stat().st_size))
    assert over("bucket", *lock, "--check")[0] == 1


def test_status_of_what_is_finished(over):
    facts = []
    for where in ("folder", "bucket"):
        code, said = over(where, "status", "--json")
        assert code == 0
        facts.append([(stage["name"], stage["fingerprint"], stage["state"]) for stage in json.loads(said)])
    assert facts[0] == facts[1] and len(facts[0]) == 2


def test_a_study_runs_over_a_bucket(over, pushed, tmp_path):
    data = ["--data-root", str(pushed[0])]
    assert over("bucket", "study", "run", "s.yaml", *data)[0] == 0
    shutil.rmtree(tmp_path / "cache")  # another machine
    code, said = over("bucket", "study", "status", "s.yaml", "--json", *data)
    assert code == 0 and len(json.loads(said)["trained"]) == 4
    code, said = over("bucket", "mix", "rows", "s.yaml", "-o", "rows.jsonl", *data)
    assert code == 0 and said == "2 rows in rows.jsonl\n"
    code, _ = over("bucket", "study", "run", "s.yaml", "--executor", "slurm", *data)
    assert code == 1
