"""Two processes with two devices each train what one process with four does,
and go on from each other's checkpoints.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from support import tiny

from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.train.run import hosts
from codemix.train.run.metrics import read_metrics

PROGRAM = [sys.executable, str(Path(__file__).parents[1] / "support" / "run_tiny.py")]


def start(root, devices, *words):
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=1"
    flags += " --xla_cpu_collective_call_terminate_timeout_seconds=300"  # a busy machine is not a deadlock
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    words = [str(root), 'mesh={"fsdp": 4}', f'data="{root.parent / "data"}"', *words]
    return subprocess.Popen([*PROGRAM, *words], stderr=subprocess.PIPE, text=True, env=environment)


def finish(*processes):
    said = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n---\n".join(
        text[-3000:] for text in said
    )
    return said


def two(root, *words):
    return finish(*two_started(root, *words))


def two_started(root, *words):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    both = [json.dumps({"coordinator": f"127.0.0.1:{port}", "count": 2, "index": i}) for i in range(2)]
    return [start(root, 2, f"hosts={h}", *words) for h in both]


def rows_read(root):
    """(stage, step, row) -> hash of its tokens, over all processes; none may disagree."""
    found = {}
    for file in root.glob("rows-*.jsonl"):
        for stage, step, rows in map(json.loads, file.read_text().splitlines()):
            for row, tokens in rows.items():
                assert found.setdefault((stage, step, row), tokens) == tokens
    return found


def results(root):
    folders = sorted((root / "stages").iterdir())
    lines = [line for f in folders for line in read_metrics(f / "metrics.jsonl")]
    return (
        [f.name for f in folders],
        [json.loads((f / "ledger.json").read_text()) for f in folders],
        lines,
        tiny.weights(folders[-1]),
    )


def test_two_processes_equal_one_and_each_restores_the_other(tmp_path):
    """Rows and ledger are equal; losses are equal but for the order in which four devices' sums are added."""
    for name in ("text", "code"):
        tiny.make_source(Store(tmp_path / "data"), name)
    one, other = tmp_path / "one", tmp_path / "two"
    finish(start(one, 4, "note_rows=true"))
    first, second = two(other, "until=9", "note_rows=true")  # all of the first stage, two steps of the second
    assert "stopped after step 2 of `continue`" in first and "train" not in second  # one process speaks
    [work] = [p for p in (other / ".building" / "stages").iterdir() if p.is_dir()]
    meta = json.loads((work / "checkpoints" / "2" / "meta" / "metadata").read_text())
    assert meta["processes"] == 2 and meta["mesh"] == {"fsdp": 4}
    assert {row for _, _, row in rows_read(other)} == {"0", "1", "2", "3"}
    finish(start(other, 4, "note_rows=true"))  # and one process goes on from what two have saved
    assert rows_read(one) == rows_read(other) and len(rows_read(one)) == 4 * 18
    names, ledgers, lines, weights = results(one)
    names_2, ledgers_2, lines_2, weights_2 = results(other)
    assert (names, ledgers) == (names_2, ledgers_2)
    for line, line_2 in zip(lines, lines_2, strict=True):
        assert line.keys() == line_2.keys()
        same = {k: v for k, v in line.items() if k not in ("time", "tokens_per_s")}
        assert {k: line_2[k] for k in same} == pytest.approx(same, rel=2e-6)
    for name, array in weights.items():
        np.testing.assert_allclose(weights_2[name], array, rtol=1e-3, atol=2e-5, err_msg=name)


def test_processes_that_do_not_meet_are_told_so(tmp_path):
    process = start(tmp_path, 1, 'hosts={"count": 2, "index": 0}')
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 1 and "did not find each other" in said


@pytest.mark.parametrize(
    ("processes", "text"),
    [(2, "UNKNOWN: Gloo AllGather failed: Connection reset by peer"), (2, "INTERNAL: else"), (1, "Gloo")],
)
def test_the_end_of_another_process_is_no_bug_of_this_one(monkeypatch, processes, text):
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    with pytest.raises((CodemixError, jax.errors.JaxRuntimeError)) as error, hosts.explain_lost_host():
        raise jax.errors.JaxRuntimeError(text)
    said = str(error.value)
    assert ("another process of this run has ended" in said and "the same command on every host" in said) == (
        processes == 2 and "Gloo" in text
    )


WAITING = """
import functools, json, sys, time
sys.path.insert(0, sys.argv[1])
import jax
from codemix.errors import CodemixError
from codemix.train.run import hosts
from codemix.train.run.options import Hosts
jax.distributed.initialize = functools.partial(jax.distributed.initialize, heartbeat_timeout_seconds=10)
hosts.join(Hosts(**json.loads(sys.argv[2])))
try:
    with hosts.explain_lost_host():
        while True:
            hosts.any_of(False)
            print("met", flush=True)
            time.sleep(0.1)
except CodemixError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
"""


@pytest.mark.parametrize(
    ("index", "sign"),
    [
        (0, signal.SIGKILL),
        (1, signal.SIGKILL),
        *[
            pytest.param(
                i, signal.SIGSTOP, marks=pytest.mark.optional("a silent host is given up after 10 seconds")
            )
            for i in (0, 1)
        ],
    ],
)
def test_a_lost_host_ends_the_other_with_the_message_and_no_trace(index, sign):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    words = [json.dumps({"coordinator": f"127.0.0.1:{port}", "count": 2, "index": i}) for i in range(2)]
    program = [sys.executable, "-c", WAITING, str(Path(__file__).parents[2])]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    processes = [
        subprocess.Popen(
            [*program, w], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for w in words
    ]
    try:
        for process in processes:
            while "met" not in process.stdout.readline():
                assert process.poll() is None, process.stderr.read()[-2000:]
        processes[index].send_signal(sign)
        said = processes[1 - index].communicate(timeout=60)[1]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert processes[1 - index].returncode == 1, said
    assert (
        "error: another process of this run has ended" in said
        and "the same command on every host resumes" in said
    )
    assert not any(
        sign in said for sign in ("Check failure", "terminate called", "Fatal Python", "Traceback")
    )


def test_another_abort_stays_one_with_its_words(tmp_path):
    program = "import os, sys; from codemix.train.run.lost_host import RuntimeWords; RuntimeWords('lost'); os.write(2, b'one\\nF1127 else\\n'); os.abort()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert (
        done.returncode == -signal.SIGABRT
        and done.stderr.startswith("one\nF1127 else\n")
        and "lost" not in done.stderr
    )


@pytest.mark.parametrize("error", [jax.errors.JaxRuntimeError, ValueError])
def test_a_slow_process_is_not_called_ended(monkeypatch, error):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(CodemixError, match="may be slow") as caught, hosts.explain_lost_host():
        raise error("DEADLINE_EXCEEDED: Barrier timed out")
    assert "has ended" not in str(caught.value)
    with pytest.raises(ValueError, match="^a connection of ours"), hosts.explain_lost_host():
        raise ValueError("a connection of ours")


@pytest.mark.optional("the signal must arrive between two steps of a slowed run")
def test_a_preemption_of_one_process_stops_all_at_the_same_step_with_a_checkpoint(tmp_path):
    for name in ("text", "code"):
        tiny.make_source(Store(tmp_path / "data"), name)
    root = tmp_path / "two"
    processes = two_started(root, "pause=1.0", "log_every=1")
    metrics = []
    while not metrics or not metrics[0].read_text():
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)
        metrics = list(root.glob(".building/stages/*/metrics.jsonl"))
    processes[1].send_signal(signal.SIGTERM)
    first, _ = finish(*processes)
    assert "with a checkpoint; the same command resumes from there" in first
    [checkpoint] = root.glob(".building/stages/*/checkpoints/*")
    assert 1 <= int(checkpoint.name) < 7
