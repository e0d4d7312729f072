"""kill -9 anywhere, any number of times: the build that follows ends with the bytes of a build that nobody
killed.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.many_tasks import made, small_tasks, with_ready_tokenizer, write_inputs
from support.small_recipes import tree, words, write_jsonl, write_scored

from codemix.data.build.build import build
from codemix.data.store.store import Store

HERE = Path(__file__).parent
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
import codemix.data.build.documents_job, codemix.data.execution.runner
from support import many_tasks
from support.many_tasks import small_tasks
small_tasks(setattr)  # in the workers too, which import this file
if __name__ == "__main__":
    from codemix.data.build.build import build
    from codemix.data.store.store import Store
    print("started", flush=True)
    recipe = getattr(many_tasks, sys.argv[5])()
    build(recipe, Store(sys.argv[2]), data_root=Path(sys.argv[3]), workers=int(sys.argv[4]))
"""


def killed_builds(root: Path, monkeypatch, kills: int, seed: int, recipe=made) -> None:
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join(
            [str(HERE.parent.parent), str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
        ),
    )
    write_inputs(root)
    small_tasks(monkeypatch.setattr)
    began = time.monotonic()
    build(recipe(), Store(root / "straight"), data_root=root)
    straight_s = time.monotonic() - began
    expected = tree(Store(root / "straight"))
    choose, killed = random.Random(seed), 0
    (root / "program.py").write_text(PROGRAM)
    for _ in range(20 * kills):
        if killed == kills:
            break
        workers = choose.choice((1, 2))
        errors = root / "errors.txt"
        run = subprocess.Popen(
            [
                sys.executable,
                str(root / "program.py"),
                str(HERE),
                str(root / "killed"),
                str(root),
                str(workers),
                recipe.__name__,
            ],
            stdout=subprocess.PIPE,
            stderr=errors.open("wb"),
        )
        assert run.stdout.readline() == b"started\n"
        try:
            status = run.wait(choose.uniform(0, straight_s + 2 * workers))
            assert status == 0, errors.read_text()
            Store(root / "killed").root.rename(
                root / f"done{len(list(root.glob('done*')))}"
            )  # it was faster: begin anew
        except subprocess.TimeoutExpired:
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            killed += 1
    assert killed == kills
    build(recipe(), Store(root / "killed"), data_root=root)
    for finished in [Store(root / "killed"), *map(Store, root.glob("done*"))]:
        found = tree(finished)
        assert (
            found.keys() == expected.keys()
            and [name for name in found if found[name] != expected[name]] == []
        )


@pytest.mark.parametrize("kind", ["documents", "scores", "data"])
def test_a_kill_after_the_manifest_leaves_no_parts(tmp_path, monkeypatch, kind):
    """What is joined is not joined again: what the kill kept from being removed goes all the same."""
    for i in range(2):
        write_jsonl(tmp_path / f"web{i}.jsonl", [words(100 * i + j, 25 + j) for j in range(40)])
    write_jsonl(tmp_path / "code.jsonl", [words(9000 + i, 90) for i in range(60)])
    write_scored(tmp_path)
    build(made(), Store(tmp_path / "straight"), data_root=tmp_path)
    store = Store(tmp_path / "killed")
    publish = Store.publish

    def killed(self, final, known=None):
        if final.parent.name == kind:
            raise SystemExit
        publish(self, final, known)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(Store, "publish", killed)
        build(made(), store, data_root=tmp_path)
    joined = list((store.root / ".building" / kind).glob("*/manifest.json"))
    assert joined
    for manifest in joined:
        left = manifest.parent / ".parts" / "left.json"
        left.parent.mkdir(exist_ok=True)
        left.write_text("{}")
    build(made(), store, data_root=tmp_path)
    assert tree(store) == tree(Store(tmp_path / "straight"))


def test_a_few_kills(tmp_path, monkeypatch):
    killed_builds(tmp_path, monkeypatch, 3, seed=1)


def test_a_few_kills_while_documents_become_tokens(tmp_path, monkeypatch):
    killed_builds(tmp_path, monkeypatch, 3, seed=3, recipe=with_ready_tokenizer)


@pytest.mark.optional("two minutes")
def test_thirty_kills_while_documents_become_tokens(tmp_path, monkeypatch):
    killed_builds(tmp_path, monkeypatch, 30, seed=4, recipe=with_ready_tokenizer)


@pytest.mark.optional("two minutes")
def test_thirty_kills(tmp_path, monkeypatch):
    killed_builds(tmp_path, monkeypatch, 30, seed=2)
