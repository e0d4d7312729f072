"""Real signals to a real process: what it says, how it exits, and that the same command finishes the work."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import tiny

from codemix.errors import CodemixError
from codemix.train.run.metrics import read_metrics
from codemix.train.run.session import train
from codemix.train.run.status import status

PROGRAM = [sys.executable, str(Path(__file__).parents[1] / "support" / "run_tiny.py")]


def start(root, *words):
    return subprocess.Popen([*PROGRAM, str(root), *words], stderr=subprocess.PIPE, text=True)


def when(check, process, what, seconds=90):
    until = time.monotonic() + seconds
    while not check():
        assert process.poll() is None, f"the process ended before {what}: {process.stderr.read()}"
        assert time.monotonic() < until, f"no {what} after {seconds} s"
        time.sleep(0.02)


def lines(store):
    found = sorted(store.root.glob(".building/stages/*/metrics.jsonl"))
    return found[0].read_text().count("\n") if found else 0


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    plan, store, manifests = tiny.make_run(tmp_path_factory.mktemp("straight"))
    return [tiny.weights(f) for f in train(plan, store, manifests, options=tiny.options())]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_asked_to_stop_it_saves_says_so_and_goes_on_by_the_same_command(tmp_path, straight, number, code):
    plan, store, manifests = tiny.make_run(tmp_path)
    process = start(tmp_path, "pause=0.3", "log_every=1")
    when(lambda: lines(store) >= 2, process, "second line of metrics")
    [seen] = status(store)
    assert (seen.name, seen.state, seen.process, seen.steps) == ("init", "training", process.pid, 7)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "stopping after this step, with a checkpoint" in said
    assert "the same command resumes from there" in said
    [seen] = status(store)
    assert seen.state == "stopped" and seen.process is None and seen.checkpoint == seen.step >= 2
    finished = train(plan, store, manifests, options=tiny.options(log_every=1))
    assert all(tiny.same_bits(tiny.weights(f), w) for f, w in zip(finished, straight, strict=True))
    assert {s.state for s in status(store)} == {"done"}


def test_killed_outright_again_and_again_while_it_saves_every_step(tmp_path, straight):
    plan, store, manifests = tiny.make_run(tmp_path)
    for pause, before in ((0.3, 0), (0.25, 2)):
        process = start(tmp_path, f"pause={pause}", "save_every_steps=1", "log_every=1")
        when(lambda least=before + 3: lines(store) >= least, process, "three more lines of metrics")
        process.kill()
        process.communicate()
        [seen] = status(store)
        assert seen.state == "stopped" and seen.checkpoint is not None and seen.step - seen.checkpoint <= 2
    finished = train(plan, store, manifests, options=tiny.options(log_every=1))
    assert all(tiny.same_bits(tiny.weights(f), w) for f, w in zip(finished, straight, strict=True))
    assert [line["step"] for line in read_metrics(finished[0] / "metrics.jsonl")] == list(range(1, 8))


def test_a_stage_that_another_process_trains_is_refused(tmp_path):
    plan, store, manifests = tiny.make_run(tmp_path)
    with store.begin(store.path("stages", "init", plan.stages[0].fingerprint)):
        with pytest.raises(CodemixError, match="is building init-") as error:
            train(plan, store, manifests, options=tiny.options())
    assert error.value.problems[0].rule == "store-busy"
