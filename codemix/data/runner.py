"""Running tasks: on this machine, on Ray, or on Slurm; what is finished is skipped, what fails is named at the end.

A task is a picklable object whose result appears on disk, whole, under `done`. So a rerun redoes only what is missing, and
whether a task ran is a question to the file system, not to an executor: datatrove's Ray executor returns without a word when
tasks fail, and its local pool waits for ever for a worker that was killed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, Protocol

from codemix.data.store import disk_problem, write_text
from codemix.errors import CodemixError, Problem
from codemix.progress import progress

Executor = Literal["local", "ray", "slurm"]
_SPAWN = get_context("spawn")  # never fork: the libraries below hold threads and locks
IN_PROCESS_BYTES = 2**20  # less work than this is done before a worker has started
_counter: Any = None  # in a worker: shared count of bytes done, for the bar
_advance: Callable[[float], None] | None = None  # in this process, when tasks run in it


class Task(Protocol):
    name: str  # for people: "tokens of web, part 3"
    size: int  # [bytes], for the bar, and to start the largest first
    done: Path  # exists when the task's output is whole

    def run(self) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """How a task ended. At most one of `problems` (the user's business) and `trace` (a bug) is set."""

    name: str
    problems: tuple[Problem, ...] = ()
    trace: str = ""


def _same_environment() -> str:
    return f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"


@dataclass
class Slurm:
    """What `sbatch` is told. Read from CODEMIX_SLURM_* variables: a place, never a meaning."""

    partition: str = field(default_factory=lambda: os.environ.get("CODEMIX_SLURM_PARTITION", "normal"))
    time: str = field(default_factory=lambda: os.environ.get("CODEMIX_SLURM_TIME", "24:00:00"))
    mem_per_cpu_gb: int = field(default_factory=lambda: int(os.environ.get("CODEMIX_SLURM_MEM_GB", "2")))
    qos: str = field(default_factory=lambda: os.environ.get("CODEMIX_SLURM_QOS", ""))
    env_command: str = field(
        default_factory=lambda: os.environ.get("CODEMIX_SLURM_ENV", _same_environment())
    )  # a shell line that activates codemix's environment


def tick(n_bytes: int) -> None:
    """Called by a running task when it has dealt with some more bytes."""
    if _counter is not None:
        with _counter.get_lock():
            _counter.value += n_bytes
    elif _advance is not None:
        _advance(n_bytes)


def run_tasks(tasks: Sequence[Task], *, label: str, workers: int = 1, executor: Executor = "local", work: Path | None = None) -> None:
    """Run every task that is not done. `work` is a folder for an executor's own files (Ray and Slurm).

    Raises CodemixError naming every task that failed or was killed, after all the others have finished; rerunning
    does only those. A bug in a task is raised as RuntimeError with its traceback.
    """
    todo = sorted((task for task in tasks if not task.done.exists()), key=lambda task: -task.size)
    if not todo:
        return
    if executor == "local":
        run = _in_process if workers <= 1 or len(todo) == 1 or sum(task.size for task in todo) < IN_PROCESS_BYTES else _in_pool
        with progress(label, sum(task.size for task in todo), "bytes") as advance:
            outcomes = run(todo, min(workers, len(todo)), advance)
    elif executor in ("ray", "slurm"):
        outcomes = _on_datatrove(todo, workers, executor, label, work)
    else:
        raise CodemixError(f"there is no executor `{executor}`", hints=["one of: local, ray, slurm"], rule="unknown-executor")
    if bugs := [o for o in outcomes if o.trace]:
        raise RuntimeError("\n".join(f"task failed: {o.name}\n{o.trace}" for o in bugs))
    if problems := [_named(problem, o.name) for o in outcomes for problem in o.problems]:
        raise CodemixError(*problems)
    if missing := [task.name for task in todo if not task.done.exists()]:
        raise CodemixError(
            *(
                Problem(f"{name}: did not finish", hints=("run the same command again: only what is missing is redone",), rule="task-failed")
                for name in missing
            )
        )


def _named(problem: Problem, task: str) -> Problem:
    return Problem(f"{task}: {problem.what}", problem.where, problem.hints, problem.rule, problem.severity, problem.cite)


def attempt(task: Task) -> Outcome | None:
    """Run one task; None when it went well. Only interruption passes through."""
    try:
        task.run()
    except CodemixError as error:
        return Outcome(task.name, problems=error.problems)
    except OSError as error:
        return Outcome(task.name, problems=disk_problem(error, Path(error.filename or task.done)).problems)
    except Exception:
        return Outcome(task.name, trace=traceback.format_exc())
    return None


def _in_process(todo: list[Task], _workers: int, advance: Callable[..., None]) -> list[Outcome]:
    global _advance
    _advance = advance
    try:
        outcomes = []
        for task in todo:
            outcomes.append(attempt(task))
            if outcomes[-1] and any(p.rule == "disk-full" for p in outcomes[-1].problems):
                break  # the others could only fail the same way
        return [outcome for outcome in outcomes if outcome]
    finally:
        _advance = None


def _start_worker(counter: Any, parent: int) -> None:
    global _counter
    _counter = counter
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one worker, one core
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle

    def watch() -> None:  # a worker must not outlive a parent that was killed: it holds no lock
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Workers:
    """Processes that outlive a phase of a build, each behind a pool of its own, so that a killed process takes down one task."""

    def __init__(self):
        self.counter = _SPAWN.Value("Q", 0)
        self.idle: list[ProcessPoolExecutor] = []
        self.busy: set[ProcessPoolExecutor] = set()

    def take(self) -> ProcessPoolExecutor:
        pool = (
            self.idle.pop()
            if self.idle
            else ProcessPoolExecutor(1, mp_context=_SPAWN, initializer=_start_worker, initargs=(self.counter, os.getpid()))
        )
        self.busy.add(pool)
        return pool

    def give_back(self, pool: ProcessPoolExecutor) -> None:
        self.busy.discard(pool)
        self.idle.append(pool)

    def lost(self, pool: ProcessPoolExecutor) -> None:
        self.busy.discard(pool)
        pool.shutdown()

    def close(self) -> None:
        for pool in self.idle:
            pool.shutdown()
        for pool in self.busy:  # after Ctrl-C: nobody waits for these; their partial output is only a file aside
            for process in list((pool._processes or {}).values()):
                process.terminate()


_warm: _Workers | None = None


@contextlib.contextmanager
def warm_workers() -> Iterator[None]:
    """Worker processes started inside are kept for the next phase, and end with the block."""
    global _warm
    if _warm is not None:
        yield
        return
    _warm = _Workers()
    try:
        yield
    finally:
        _warm.close()
        _warm = None


def _in_pool(todo: list[Task], workers: int, advance: Callable[..., None]) -> list[Outcome]:
    """Up to `workers` tasks at a time, each in a process of its own; we know which one a killed process was running."""
    with warm_workers():
        return _serve(todo, workers, advance, _warm)


def _serve(todo: list[Task], workers: int, advance: Callable[..., None], processes: _Workers) -> list[Outcome]:
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in todo:
        waiting.put(task)
    outcomes: list[Outcome] = []
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            pool = processes.take()
            try:
                outcome = pool.submit(attempt, task).result()
            except BrokenProcessPool:
                processes.lost(pool)
                outcome = Outcome(task.name, problems=(Problem(
                    "its worker process was killed",
                    hints=("often the machine ran out of memory: use fewer `--workers`", "run the same command again: only what is missing is redone"),
                    rule="worker-killed",
                ),))  # fmt: skip
            else:
                processes.give_back(pool)
            if outcome:
                outcomes.append(outcome)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(workers)]
    shown = processes.counter.value
    try:
        for thread in threads:
            thread.start()
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(0.2)
            now = processes.counter.value
            advance(now - shown)
            shown = now
    finally:
        stop.set()
    return outcomes


class RunTask:
    """The step that datatrove's executors run: rank r runs task r and leaves what went wrong beside its mark."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        task = pickle.loads((self.folder / f"{rank:05d}.task").read_bytes())
        outcome = attempt(task)
        if outcome:
            (self.folder / f"{rank:05d}.outcome").write_bytes(pickle.dumps(outcome))


def _on_datatrove(todo: list[Task], workers: int, executor: Executor, label: str, work: Path | None) -> list[Outcome]:
    """Through datatrove's Ray or Slurm executor; the store must lie on a file system that every node sees."""
    assert work is not None
    folder = work / f"{executor}-{os.getpid()}-{time.time_ns()}"
    folder.mkdir(parents=True)
    for rank, task in enumerate(todo):
        (folder / f"{rank:05d}.task").write_bytes(pickle.dumps(task))
    write_text(folder / "tasks.txt", "\n".join(task.name for task in todo))
    (_ray if executor == "ray" else _slurm)(
        [RunTask(folder)],
        len(todo),
        workers,
        label,
        folder,
        lambda: sum(task.size for task in todo if task.done.exists()),
        sum(task.size for task in todo),
    )
    return [pickle.loads(path.read_bytes()) for path in sorted(folder.glob("*.outcome"))]


def _ray(pipeline: list, n_tasks: int, workers: int, label: str, folder: Path, finished: Callable[[], int], total: int) -> None:
    try:
        import ray
    except ImportError:
        raise CodemixError("`--executor ray` needs the package `ray`", hints=["pip install ray"], rule="executor-missing") from None
    from datatrove.executor.ray import RayPipelineExecutor

    if not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, include_dashboard=False)
    # a rank that fails leaves no completion; what counts is read from the tasks' own marks afterwards
    job = RayPipelineExecutor(pipeline=pipeline, tasks=n_tasks, workers=workers, mem_per_cpu_gb=1, logging_dir=str(folder / "ray"))
    thread = threading.Thread(target=job.run, daemon=True)
    thread.start()
    _watch(thread.is_alive, label, finished, total)


def _slurm(pipeline: list, n_tasks: int, workers: int, label: str, folder: Path, finished: Callable[[], int], total: int) -> None:
    import shutil
    import subprocess

    if not shutil.which("sbatch"):
        raise CodemixError(
            "`--executor slurm` needs `sbatch` on this machine", hints=["run it on a login node of the cluster"], rule="executor-missing"
        )
    from datatrove.executor.slurm import SlurmPipelineExecutor

    told = Slurm()
    job = SlurmPipelineExecutor(
        pipeline=pipeline, tasks=n_tasks, workers=workers if workers > 1 else -1, time=told.time, partition=told.partition, qos=told.qos,
        mem_per_cpu_gb=told.mem_per_cpu_gb, env_command=told.env_command, job_name="codemix", logging_dir=str(folder / "slurm"),
        slurm_logs_folder=str(folder / "slurm_logs"), requeue=False,
    )  # fmt: skip
    job.run()

    def running() -> bool:
        queued = subprocess.run(["squeue", "--noheader", "--jobs", str(job.job_id), "--format", "%T"], capture_output=True, text=True)
        return bool(queued.stdout.strip())

    try:
        _watch(running, label, finished, total, every_s=2.0)
    except BaseException:
        subprocess.run(["scancel", str(job.job_id)], check=False)
        raise


def _watch(running: Callable[[], bool], label: str, finished: Callable[[], int], total: int, every_s: float = 0.5) -> None:
    shown = 0
    with progress(label, total, "bytes") as advance:
        while running():
            time.sleep(every_s)
            now = finished()
            advance(now - shown)
            shown = now
        advance(finished() - shown)


def quiet() -> None:
    """Keep datatrove's log lines off the terminal."""
    from loguru import logger

    logger.disable("datatrove")
