"""Tasks on nodes that share nothing with the machine that waits but a bucket: the bytes of a clean local build, also
when nodes or the machine are killed in the middle, or the bucket fails now and then."""

import json
import pickle
import shutil
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import buckets
from support.many_tasks import made_content, small_tasks, write_inputs
from support.small_recipes import tree

from codemix import environment
from codemix.cli.app import run as command
from codemix.data.build import build as building
from codemix.data.build import documents_job, tokens_job
from codemix.data.execution import cluster_job, on_slurm
from codemix.data.remote import bucket as requests
from codemix.data.remote import pieces, places, sent_task
from codemix.data.remote.bucket import Bucket
from codemix.data.remote.bucket_nodes import BucketNodes
from codemix.data.remote.cache import Cache
from codemix.data.remote.places import BucketPlace
from codemix.data.remote.sent_task import scratch
from codemix.data.remote.shared_store import SharedStore
from codemix.data.store import sharing
from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.eval.run_study import run_study
from codemix.recipe.language.schema import Recipe


def several_tasks(set_):
    """Of each source; each costs some thirty requests."""
    small_tasks(set_)
    set_(documents_job, "MIN_TASK_BYTES", 15_000)
    set_(tokens_job, "MIN_TASK_BYTES", 12_000)


def content():
    """Every phase of a build: a source of a source, a trained classifier and its exact cut, dedup, a sample."""
    content = deepcopy(made_content())
    content["sources"]["web"]["subsample"] = "60%"
    content["sources"]["long"] = {
        "read": {"kind": "source", "name": "code"},
        "ops": [{"kind": "size", "min_bytes": 400}],
    }
    content["stages"][0]["steps"] = 50
    content["stages"][0]["mixture"] = {"web": "50%", "code": "20%", "pool": "20%", "long": "10%"}
    return content


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A recipe with its inputs, and what a clean local build makes of it."""
    folder = tmp_path_factory.mktemp("made")
    write_inputs(folder)
    (folder / "r.yaml").write_text(json.dumps(content()))
    with pytest.MonkeyPatch.context() as patch:
        several_tasks(patch.setattr)
        building.build(Recipe.model_validate(content()), Store(folder / "straight"), data_root=folder)
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """An empty place in a bucket and the faults on the way to it; the working folder is a copy of `made`."""
    several_tasks(monkeypatch.setattr)
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(pieces, "PIECE", 100_000)
    monkeypatch.setattr(cluster_job, "SENDING", 4)
    monkeypatch.setenv("CODEMIX_CACHE", str(tmp_path / "cache"))
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with buckets.bucket_server("s3") as (address, faults):
        yield f"{address}/{tmp_path.name}", faults


@pytest.fixture
def nodes(monkeypatch):
    """Nodes in this process: what they are sent does not name the store of whoever waits. They may read local inputs,
    which saves a server of these. `left` tasks are run, then the machine that waits is stopped."""
    monkeypatch.setattr(building, "ON_EVERY_NODE", (*building.ON_EVERY_NODE, ""))
    monkeypatch.setattr(on_slurm.shutil, "which", lambda program: program)
    state = SimpleNamespace(left=10**6, ran=[])

    def run(job):
        for rank in range(len(job.tasks)):
            if not state.left:
                raise KeyboardInterrupt
            sent = pickle.loads(job.files.read(cluster_job.task_file(rank)))
            assert b"cache" not in sent.content  # in which the store is
            job.step(None, rank, 0)
            state.left -= 1
            state.ran.append(sent)
        if not state.left:
            raise KeyboardInterrupt
        job.watch(lambda: False)

    monkeypatch.setattr(on_slurm, "run_on_slurm", run)
    return state


BUILD = ["build-data", "r.yaml", "--executor", "slurm", "--workers", "4", "--store"]


def pulled(place):
    assert command(["pull", "r.yaml", "--from", place, "--store", "all"]) == 0
    return tree(Store("all"))


def test_the_bytes_of_a_local_build(place, nodes):
    address, _ = place
    assert command([*BUILD, address]) == 0
    assert pulled(address) == tree(Store("straight"))
    names = {task.name for task in nodes.ran}
    phases = {name.split(" of ")[0].split(" in ")[0] for name in names}
    assert phases == {
        "documents",
        "scores",
        "dedup signatures",
        "dedup, exact matches",
        "dedup, matches",
        "sample",
        "tokens",
    }
    assert Bucket(address).entries(".building") == []
    assert not list(scratch_folders())


def scratch_folders():
    return list((environment.cache() / "tasks").glob("*/"))


def test_no_task_is_run_again_on_another_machine_and_a_bucket_may_fail_now_and_then(place, nodes):
    address, faults = place
    faults.share = 0.03
    for left in (2, 9, 5):
        nodes.left = left
        assert command([*BUILD, address]) == 130
        shutil.rmtree("cache")
    nodes.left = 10**6
    assert command([*BUILD, address]) == 0
    parts = [task.part for task in nodes.ran]
    assert len(parts) == len(set(parts)) > 20
    assert sum(faults.done.values()) > 10
    assert pulled(address) == tree(Store("straight"))


@pytest.mark.parametrize("what", ["deleted", "cut"])
def test_a_part_that_is_damaged_is_made_again(place, nodes, what, capsys):
    address, _ = place
    nodes.left = 1
    assert command([*BUILD, address, "--only", "good"]) == 130
    bucket = Bucket(address)
    keys = [entry.key for entry in bucket.entries(".building") if ".parts/" in entry.key]
    piece = next(key for key in keys if not key.endswith(pieces.DONE))
    shutil.rmtree("cache")
    if what == "deleted":
        bucket.delete([piece])
    else:
        bucket.put(piece, bucket.get(piece)[:-1])
    nodes.left = 10**6
    assert command([*BUILD, address, "--only", "good"]) == 0
    assert "is made again" in capsys.readouterr().err
    again = [task.part for task in nodes.ran[1:]]
    assert nodes.ran[0].part in again


def test_files_of_this_machine_are_refused_before_anything_runs(place, capsys):
    address, _ = place
    assert command([*BUILD, address]) == 1
    said = capsys.readouterr().err
    assert "the workers of `--executor slurm` cannot read files of this machine: code.jsonl" in said
    assert "web0.jsonl, web1.jsonl, web2.jsonl and 3 more" in said and "r.yaml:1:" in said
    assert Bucket(address).entries() == []


def test_what_is_wrong_with_an_input_is_told_with_its_task(place, nodes, capsys):
    address, _ = place
    with open("web3.jsonl", "a") as file:
        file.write("not JSON\n")
    assert command([*BUILD, address]) == 1
    assert "documents of web, part " in capsys.readouterr().err
    assert not any("web" in name for name in Bucket(address).folders("documents"))


def test_a_full_disk_of_a_node(place, nodes, monkeypatch, capsys):
    address, _ = place

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sent_task.pieces, "upload", full)
    assert command([*BUILD, address, "--only", "good"]) == 1
    said = capsys.readouterr().err
    assert "is full, at" in said and "CODEMIX_CACHE" in said


@dataclass(frozen=True)
class Task:
    """Reads one file, and a folder that may be absent."""

    file: Path
    done: Path
    name: str = "a task"
    size: int = 1

    def reads(self):
        return [self.file, self.file.parent / "none"]

    def run(self):
        self.done.parent.mkdir(exist_ok=True)
        self.done.write_text(f"{self.file.name}: {self.file.read_text()}")


def write_output(store, text):
    def fill(work):
        (work / "a.txt").write_text(text)
        (work / "b.txt").write_text("b" * 300_000)

    store.make(store.root / "documents/x-1", fill)


@pytest.fixture
def bare(place):
    """A store of one finished output, and the place behind it."""
    store = Store(Path("store").absolute())
    write_output(store, "a")
    return BucketPlace(Bucket(place[0])), store


def test_a_task_gets_the_files_that_it_reads_from_wherever_they_are(bare, monkeypatch):
    at, store = bare
    nodes = BucketNodes(at, store)
    Path("elsewhere").mkdir()
    Path("elsewhere/model").write_text("m")
    work = store.root / ".building/data/x-1"
    (work / ".states").mkdir(parents=True)
    (work / ".states/01").write_text("s")
    files = [store.root / "documents/x-1/b.txt", work / ".states/01", Path("elsewhere/model").absolute()]
    tasks = [Task(file, work / f".parts/{number}.json") for number, file in enumerate(files)]
    sent = nodes.sent(tasks)
    store.root.rename("away")
    Path("elsewhere").rename("away-too")
    for content in sent:
        pickle.loads(content).run()
    Path("away").rename(store.root)
    nodes.collect(tasks)
    assert [task.done.read_text() for task in tasks] == [f"b.txt: {'b' * 300_000}", "01: s", "model: m"]


def test_a_copy_that_differs_from_the_bucket_is_refused(bare):
    at, store = bare
    task = Task(store.root / "documents/x-1/a.txt", store.root / ".building/data/x-1/.parts/0.json")
    BucketNodes(at, store).sent([task])
    shutil.rmtree(store.root / "documents")
    write_output(store, "another")
    with pytest.raises(CodemixError, match="has another documents/x-1 than the copy in"):
        BucketNodes(at, store).sent([task])


def test_what_nodes_left_is_removed_after_a_day(place, nodes, monkeypatch):
    address, _ = place
    nodes.left = 1
    assert command([*BUILD, address, "--only", "good"]) == 130
    gc = ["gc", "r.yaml", "--store", address, "--delete"]
    assert command(gc) == 0 and Bucket(address).entries(".building")
    monkeypatch.setattr(places, "UPLOADS_TAKE", timedelta(0))
    assert command(gc) == 0 and not Bucket(address).entries(".building")


def test_scratch_folders_of_killed_tasks_go(monkeypatch, tmp_path):
    monkeypatch.setenv("CODEMIX_CACHE", str(tmp_path))
    with scratch() as alive:
        (tmp_path / "tasks" / "killed" / "store").mkdir(parents=True)
        (tmp_path / "tasks" / "killed" / "lock").touch()
        with scratch() as other:
            assert alive.is_dir() and other.is_dir() and len(scratch_folders()) == 2
    assert scratch_folders() == []


def test_parts_of_inputs_that_changed_go(place, nodes):
    address, _ = place
    store = Store("cache/store")
    at = BucketPlace(Bucket(address))
    shared = SharedStore(at, store, Cache())
    at.bucket.put(".building/documents/web-1/.parts/00000.json/done.json", b"{}")
    (store.root / ".building/documents/web-1").mkdir(parents=True)
    with shared.at_work():
        store.discard(store.root / "documents/web-1")
    assert at.bucket.entries() == [] and not list((store.root / ".building/documents").iterdir())


def test_a_study_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(sharing, "_shared", {tmp_path.absolute(): object()})
    with pytest.raises(CodemixError, match="the stages of a study train where its store is a folder"):
        run_study(tmp_path / "s.yaml", tmp_path, tmp_path, executor="ray")
