"""Executors: what failed is named after the others finished, a killed worker is told,
a rerun does what is missing.
"""

import gzip
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.slurm import slurm

from codemix.data.build.packages import build_lacks
from codemix.data.datatrove_adapter.slurm import SlurmOptions
from codemix.data.execution import cluster_job, on_slurm, runner, workers
from codemix.data.execution.nodes import SharedFolder
from codemix.data.execution.runner import Resources, run_tasks
from codemix.data.execution.task import tick
from codemix.data.store.store import Store
from codemix.errors import CodemixError, Problem
from codemix.recipe.language.recipe_file import read_recipe


@dataclass(frozen=True)
class Job:
    """A task that does one of several things."""

    folder: Path
    number: int
    how: str = "fine"
    size: int = 10

    @property
    def name(self) -> str:
        return f"job {self.number}"

    @property
    def done(self) -> Path:
        return self.folder / f"{self.number}.done"

    def run(self) -> None:
        if self.how == "fails":
            raise CodemixError(Problem("the input is rotten", hints=("buy another",), rule="rotten"))
        if self.how == "breaks":
            raise ZeroDivisionError("oops")
        if self.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "full":
            raise OSError(28, "No space left on device", "/x")
        if self.how == "slow":
            time.sleep(30)
        if self.how != "forgets":
            self.done.write_text(f"{os.getpid()} {os.environ.get('TOKENIZERS_PARALLELISM')}")
        tick(self.size)


@pytest.fixture(autouse=True)
def pools_even_for_little(monkeypatch):
    monkeypatch.setattr(runner, "IN_PROCESS_BYTES", 0)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_failures_are_named_after_the_others_finished(tmp_path, n_workers):
    jobs = [
        Job(tmp_path, 0),
        Job(tmp_path, 1, "fails", 99),
        Job(tmp_path, 2),
        Job(tmp_path, 3, "fails"),
        Job(tmp_path, 4),
    ]
    with pytest.raises(CodemixError) as error:
        run_tasks(jobs, label="x", resources=Resources(n_workers))
    assert sorted(p.what for p in error.value.problems) == [
        "job 1: the input is rotten",
        "job 3: the input is rotten",
    ]
    assert {p.rule for p in error.value.problems} == {"rotten"} and error.value.problems[0].hints == (
        "buy another",
    )
    assert [job.done.exists() for job in jobs] == [True, False, True, False, True]


SCRIPT = """
from pathlib import Path
from test_runner import Job, runner
runner.IN_PROCESS_BYTES = 0
runner.run_tasks([Job(Path({folder!r}), n) for n in range(2)], label="work", resources=runner.Resources(2))
"""


def test_a_script_that_its_own_workers_would_run_again_is_told_how_to_guard_itself(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.format(folder=str(tmp_path)))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(Path(__file__).parents[n]) for n in range(3))
    }
    ran = subprocess.run(
        [sys.executable, tmp_path / "script.py"], env=environment, capture_output=True, text=True, timeout=60
    )
    last = ran.stderr[ran.stderr.rindex("codemix.errors.CodemixError") :]
    assert (
        "job 0: its worker process could not start" in last
        and "job 1" in last
        and last.count('`if __name__ == "__main__":`') == 2
    )
    assert "RuntimeError" not in ran.stderr and not list(tmp_path.glob("*.done"))


def test_a_killed_worker_is_told_and_takes_nothing_with_it(tmp_path):
    jobs = [Job(tmp_path, 0), Job(tmp_path, 1, "dies", 99), Job(tmp_path, 2), Job(tmp_path, 3)]
    with pytest.raises(CodemixError) as error:
        run_tasks(jobs, label="x", resources=Resources(2))
    (problem,) = error.value.problems
    assert problem.what == "job 1: its worker process was killed" and problem.rule == "worker-killed"
    assert [job.done.exists() for job in jobs] == [True, False, True, True]
    assert all("false" in job.done.read_text() for job in jobs if job.number != 1)
    run_tasks([*jobs[:1], Job(tmp_path, 1), *jobs[2:]], label="x", resources=Resources(1))
    assert (
        int(jobs[0].done.read_text().split()[0])
        != os.getpid()
        == int((tmp_path / "1.done").read_text().split()[0])
    )


def test_workers_stay_for_the_next_phase(tmp_path):
    with workers.warm_workers():
        run_tasks([Job(tmp_path, i) for i in range(3)], label="x", resources=Resources(2))
        run_tasks([Job(tmp_path, i) for i in range(3, 6)], label="x", resources=Resources(2))
    pids = [
        {int((tmp_path / f"{i}.done").read_text().split()[0]) for i in each}
        for each in (range(3), range(3, 6))
    ]
    assert pids[1] & pids[0] and len(pids[0] | pids[1]) <= 2 and workers._warm is None
    for pid in pids[0] | pids[1]:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_that_are_started_early_take_the_first_tasks_and_end(tmp_path):
    with workers.warm_workers() as warm:
        warm.start(2, ("wave",))
        started = {worker._process.pid for worker in warm._all}
        run_tasks([Job(tmp_path, i) for i in range(4)], label="x", resources=Resources(2))
    ran_in = {int((tmp_path / f"{i}.done").read_text().split()[0]) for i in range(4)}
    assert ran_in <= started and len(started) == 2
    for pid in started:  # those that never had a task too
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_bug_in_a_task_keeps_its_traceback(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)task failed: job 1.*ZeroDivisionError: oops"):
        run_tasks([Job(tmp_path, 1, "breaks"), Job(tmp_path, 2)], label="x")
    assert (tmp_path / "2.done").exists()


def test_a_full_disk_stops_at_once(tmp_path):
    with pytest.raises(CodemixError, match="job 1: the disk is full while writing /x"):
        run_tasks([Job(tmp_path, 1, "full", 99), Job(tmp_path, 2)], label="x")
    assert not (tmp_path / "2.done").exists()


def test_a_task_without_output_did_not_finish(tmp_path):
    with pytest.raises(CodemixError, match="job 1: did not finish"):
        run_tasks([Job(tmp_path, 1, "forgets")], label="x")


def test_finished_tasks_are_skipped_and_nothing_is_fine(tmp_path):
    (tmp_path / "1.done").write_text("")
    run_tasks([Job(tmp_path, 1, "fails")], label="x")
    run_tasks([], label="x")


def test_interruption_ends_the_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(
        runner,
        "progress",
        lambda *a: __import__("contextlib").nullcontext(lambda n: (_ for _ in ()).throw(KeyboardInterrupt)),
    )
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_tasks([Job(tmp_path, i, "slow") for i in range(2)], label="x", resources=Resources(2))
    assert time.monotonic() - began < 25


def test_an_unknown_executor(tmp_path):
    with pytest.raises(CodemixError, match="no executor `cloud`"):
        run_tasks([Job(tmp_path, 1)], label="x", resources=Resources(1, "cloud"))


@pytest.mark.parametrize(("executor", "module", "which"), [("ray", "ray", None), ("slurm", None, "sbatch")])
def test_an_executor_that_is_not_installed(tmp_path, executor, module, which):
    if (module and importlib.util.find_spec(module)) or (which and shutil.which(which)):
        pytest.skip(f"{executor} is installed here")
    with pytest.raises(CodemixError, match=f"`--executor {executor}` needs"):
        run_tasks(
            [Job(tmp_path, 1)],
            label="x",
            resources=Resources(1, executor),
            nodes=SharedFolder(tmp_path / "work"),
        )


@pytest.mark.parametrize("executor", ["slurm", "ray"])
@pytest.mark.parametrize("value", ["abc", "", "1.5", "0", "-3", "\u00b2"])
def test_memory_that_is_no_number_is_said_before_anything_runs(monkeypatch, tmp_path, value, executor):
    name = f"CODEMIX_{executor.upper()}_MEM_GB"
    monkeypatch.setenv(name, value)
    source = read_recipe(Path(__file__).parents[2] / "recipes/quickstart.yaml")
    problems = build_lacks(source, Store(tmp_path / "store"), tmp_path, executor=executor)
    [problem] = [problem for problem in problems if problem.rule == "environment-variable"]
    assert name in problem.what and problem.hints
    monkeypatch.setenv("CODEMIX_SLURM_MEM_GB", "4")
    assert SlurmOptions().mem_per_cpu_gb == 4


def failures_over(executor, tmp_path, monkeypatch):
    here = Path(__file__).parent
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join(map(str, [here.parent.parent, here.parent, here, os.environ.get("PYTHONPATH", "")])),
    )  # for the workers, which import this file
    jobs = [Job(tmp_path, 0), Job(tmp_path, 1, "fails"), Job(tmp_path, 2), Job(tmp_path, 3)]
    with pytest.raises(CodemixError) as error:
        run_tasks(jobs, label="x", resources=Resources(2, executor), nodes=SharedFolder(tmp_path / "work"))
    assert [p.what for p in error.value.problems] == ["job 1: the input is rotten"]
    assert [job.done.exists() for job in jobs] == [True, False, True, True]
    run_tasks(
        [Job(tmp_path, 1)], label="x", resources=Resources(1, executor), nodes=SharedFolder(tmp_path / "work")
    )
    assert (tmp_path / "1.done").exists()
    whole_build_over(executor, tmp_path / "whole", monkeypatch)


def whole_build_over(executor, root, monkeypatch):
    """A recipe's data, built there and here: the same bytes. Its phases are all there are, scores included, and one
    of its files is compressed and read in parts."""
    from support.small_recipes import SCORED, recipe, tree, words, write_jsonl, write_scored

    from codemix.data.build import documents_job
    from codemix.data.build.build import build
    from codemix.data.inputs import opener
    from codemix.data.store.store import Store

    monkeypatch.setattr(documents_job, "MIN_TASK_BYTES", 20_000)
    monkeypatch.setattr(opener, "_LARGE_STREAM", 2)
    monkeypatch.setattr(opener, "_STREAM_PARTS", 2)

    write_jsonl(root / "a.jsonl", [words(i % 20, 30 + i % 20) for i in range(40)])
    write_jsonl(root / "b.jsonl", [words(i, 30 + i) for i in range(10)])
    large = write_jsonl(root / "c.jsonl", [words(9000 + i, 50) for i in range(1000)])
    (root / "c.jsonl.gz").write_bytes(gzip.compress(large.read_bytes()))
    write_scored(root)
    r = recipe(
        {"a": "a.jsonl", "b": "b.jsonl", "c": "c.jsonl.gz", **SCORED},
        dedup=[{"kind": "minhash", "sources": ["b", "a"], "buckets": 2}],
    )
    build(r, Store(root / "here"), data_root=root)
    build(r, Store(root / "there"), data_root=root, workers=2, executor=executor)
    here = tree(Store(root / "here"))
    assert {"classifiers", "scores"} <= {name.partition("/")[0] for name in here}
    assert sum("documents/c-" in name and "/docs/" in name for name in here) == 2
    assert here == tree(Store(root / "there"))


def killed_over(executor, folder):
    """A task that is killed is named; the others are done, and nothing waits for it."""
    jobs = [Job(folder, 0), Job(folder, 1, "dies"), Job(folder, 2)]
    with pytest.raises(CodemixError) as error:
        run_tasks(jobs, label="x", resources=Resources(2, executor), nodes=SharedFolder(folder / "work"))
    [problem] = error.value.problems
    assert problem.what.startswith("job 1: did not finish") and "run the same command" in problem.hints[-1]
    assert [job.done.exists() for job in jobs] == [True, False, True]
    return problem


@pytest.fixture
def on_ray():
    ray = pytest.importorskip("ray")
    yield
    ray.shutdown()


@pytest.mark.optional("needs the package ray; half a minute")
def test_ray_on_one_machine(tmp_path, monkeypatch, on_ray):
    failures_over("ray", tmp_path, monkeypatch)
    (tmp_path / "killed").mkdir()
    problem = killed_over("ray", tmp_path / "killed")
    assert "in 3 tries" in problem.what


@pytest.mark.optional("needs the package ray; half a minute")
@pytest.mark.timeout(300)
def test_a_ray_that_does_not_answer(tmp_path, monkeypatch, on_ray):
    import ray

    def refuses(**words):
        raise ConnectionError("Could not connect to the cluster\nmore")

    monkeypatch.setattr(ray, "init", refuses)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(CodemixError, match="no Ray answers at 10.0.0.1:6379: Could not connect"):
        run_tasks(
            [Job(tmp_path, 0)],
            label="x",
            resources=Resources(2, "ray"),
            nodes=SharedFolder(tmp_path / "work"),
        )


@pytest.mark.optional("needs Slurm (Debian: slurm-wlm); half a minute")
def test_slurm_on_one_machine(tmp_path, monkeypatch):
    with slurm(tmp_path / "slurm"):
        failures_over("slurm", tmp_path, monkeypatch)
        (tmp_path / "killed").mkdir()
        problem = killed_over("slurm", tmp_path / "killed")
        assert "Killed" in problem.hints[0]
        left = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True)
        assert left.stdout == ""  # no job that waits for one that failed
        monkeypatch.setenv("CODEMIX_SLURM_PARTITION", "nosuch")
        with pytest.raises(CodemixError, match="Slurm refused the job") as error:
            run_tasks(
                [Job(tmp_path, 9)],
                label="x",
                resources=Resources(1, "slurm"),
                nodes=SharedFolder(tmp_path / "work"),
            )
        assert "CODEMIX_SLURM_PARTITION" in str(error.value)


def answers(monkeypatch, *given):
    """`squeue` answers with these (exit status, stdout, stderr), one after the other."""
    left = iter(given)

    def run(command, **words):
        status, out, err = next(left)
        return subprocess.CompletedProcess(command, status, out, err)

    monkeypatch.setattr(on_slurm.subprocess, "run", run)
    monkeypatch.setattr(on_slurm, "ASK_EVERY_S", 0)


def test_a_controller_of_slurm_that_is_away_does_not_end_the_job(monkeypatch):
    away = (1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    answers(monkeypatch, (0, "RUNNING\n", ""), away, away, (0, "PENDING\n", ""), (0, "", ""))
    queue = on_slurm.Queue(["7"])
    assert [queue.advance() for _ in range(5)] == [True, True, True, True, False]
    answers(monkeypatch, (1, "", "slurm_load_jobs error: Invalid job id specified"))
    assert not on_slurm.Queue(["7"]).advance()
    monkeypatch.setattr(on_slurm, "PATIENCE_S", -1.0)
    answers(monkeypatch, away)
    with pytest.raises(CodemixError, match="has not answered.*Unable to contact"):
        on_slurm.Queue(["7"]).advance()


def test_the_log_of_a_job_says_why_it_ended():
    said = "+ srun launch\nsrun: error: node7: task 0: Out Of Memory\nsrun: Force Terminated StepId=25.0\n"
    assert cluster_job.reason(said) == "srun: error: node7: task 0: Out Of Memory"
    assert cluster_job.reason("a\nb\n") == "b" and cluster_job.reason("") == "(it is empty)"


def test_ctrl_c_waits_until_a_worker_is_started_and_never_reaches_it():
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    ended = []
    with pytest.raises(KeyboardInterrupt), workers._interrupts_later():
        os.kill(os.getpid(), signal.SIGINT)
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        ended.append(child.stdout.strip())
    assert ended == ["True"] and signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
