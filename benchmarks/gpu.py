"""Everything that is to be known of codemix on a GPU, in one command of at most six minutes.

    python benchmarks/gpu.py OUT        # writes OUT/gpu.json, OUT/gpu.md and OUT/profile/ for a trace viewer
    python benchmarks/gpu.py OUT --toy  # the same on a CPU with tiny models, in about a minute

Each step has a time budget and is optional: one that fails, hangs or crashes is reported, and the others run.
Steps share a process that is started anew after a crash. Results count from when they are printed, so an
interrupted run keeps what it has. The exit code is 1 if a step failed or a check found a difference. `--only`
runs some of the steps:
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]  # codemix need not be installed
NEEDED = (
    "jax",
    "equinox",
    "optax",
    "jaxtyping",
    "numpy",
    "pydantic",
    "annotated_types",
    "typing_inspection",
    "yaml",
)
PLUGIN = "its plugin comes with `pip install 'jax[cuda13]'`, or `jax[cuda12]` for an older driver"
PREPARE = """\
on a machine with a network, in a clone of codemix; VERSION is that of Python on the machine with the GPU:
  pip download -d wheels --only-binary=:all: --no-deps --python-version VERSION -c constraints.txt PACKAGE ...
carry the folder and the clone to the machine with the GPU, and there:
  pip install --no-index --no-deps --target site wheels/*.whl
  PYTHONPATH=site python benchmarks/gpu.py OUT"""


@dataclass(frozen=True)
class StepSpec:
    """A step by the name of its function in `module`."""

    name: str
    module: str
    what: str
    budget_s: int
    flags: str = ""  # more XLA_FLAGS, so a process of its own
    needs: tuple[str, ...] = ()  # packages

    def environment(self, out: Path, toy: bool) -> dict[str, str]:
        flags = f"{os.environ.get('XLA_FLAGS', '')} {self.flags}".strip()
        more = {"XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": str(out / "compiled")}
        more |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92"}
        return dict(os.environ) | more | ({"JAX_PLATFORMS": "cpu"} if toy else {})


START_S = 60  # for a process to import and find its device
BETWEEN_S = 10
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
STEPS = (
    StepSpec("device", "gpu_speed", "what the device is and reaches", 40),
    StepSpec("attention", "gpu_checks", "fused attention equals XLA's", 50),
    StepSpec("losses", "gpu_checks", "the quickstart's losses equal a CPU's", 60),
    StepSpec("speed", "gpu_speed", "tokens/s, MFU and memory by model, microbatches, remat, head chunk", 180),
    StepSpec("profile", "gpu_speed", "the kernels of one step", 60),
    StepSpec("generation", "gpu_speed", "tokens/s of generated text", 45),
    StepSpec("resume", "gpu_checks", "resumed equals straight, to the bit", 40, needs=("orbax",)),
    StepSpec(
        "resume_deterministic",
        "gpu_checks",
        "the same with deterministic kernels",
        45,
        DETERMINISTIC,
        ("orbax",),
    ),
)
BY_NAME = {step.name: step for step in STEPS}


@dataclass
class Outcome:
    """What one step gave."""

    status: str = "skipped: no time was left"
    seconds: float = 0.0
    results: list[dict[str, Any]] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether a check found a difference. Only deterministic kernels promise equal bits."""
        return any(result.get("equal") is False for result in self.results)


def main() -> int:
    listing = "\n".join(f"  {step.name:22}{step.what} (at most {step.budget_s} s)" for step in STEPS)
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\n{listing}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for what is found")
    parser.add_argument("--toy", action="store_true", help="tiny models on a CPU")
    parser.add_argument("--only", nargs="+", choices=BY_NAME, default=list(BY_NAME), metavar="STEP")
    parser.add_argument("--minutes", type=float, default=6.0, help="for all steps together (default 6)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    out = args.out.resolve()
    if args.worker:
        return work(out, args.toy, args.only)
    if absent := missing(NEEDED):
        print(f"missing: {', '.join(absent)}\n{PREPARE}", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    outcomes = run_all(
        out, args.toy, [BY_NAME[name] for name in args.only], time.monotonic() + 60 * args.minutes
    )
    write(out, args.toy, outcomes)
    return int(any(outcome.status != "done" or outcome.differs for outcome in outcomes.values()))


def missing(packages: tuple[str, ...]) -> list[str]:
    return [name for name in packages if importlib.util.find_spec(name) is None]


def run_all(out: Path, toy: bool, steps: list[StepSpec], deadline: float) -> dict[str, Outcome]:
    """Every step in order; as many as possible in one process."""
    outcomes = {step.name: Outcome() for step in steps}
    waiting = []
    for step in steps:
        if absent := missing(step.needs):
            outcomes[step.name].status = f"skipped: {', '.join(absent)} is missing"
        else:
            waiting.append(step)
    while waiting and time.monotonic() < deadline:
        together = [step for step in waiting if step.flags == waiting[0].flags]
        attempt = Attempt(out, toy, together, deadline)
        attempt.run(outcomes)
        waiting = [step for step in waiting if step.name not in attempt.ended]
        if attempt.useless:  # every other step would say the same
            for step in waiting:
                outcomes[step.name].status = "skipped: no process starts"
            break
    return outcomes


def worker_command(out: Path, toy: bool, names: list[str]) -> list[str]:
    return [sys.executable, __file__, str(out), "--worker", *["--toy"] * toy, "--only", *names]


class Attempt:
    """One worker process, which runs steps until it ends, dies, or takes too long."""

    def __init__(self, out: Path, toy: bool, steps: list[StepSpec], deadline: float):
        self.process = subprocess.Popen(
            worker_command(out, toy, [step.name for step in steps]),
            env=steps[0].environment(out, toy),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.deadline = deadline
        self.patience = 5 if toy else 1  # a busy CPU is not what is measured
        self.ended: set[str] = set()
        self.useless = False  # it could not even begin a step
        self.why = ""
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._expect(None, START_S)

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def run(self, outcomes: dict[str, Outcome]) -> None:
        """Until the process ends. The step in work when it dies or exceeds its budget has failed."""
        while (line := self._next_line()) is not None:
            said = json.loads(line)
            outcome = outcomes[said["step"]]
            if said["event"] == "begin":
                self._expect(said["step"], BY_NAME[said["step"]].budget_s)
                say(f"{self.step}: {BY_NAME[self.step].what}")
            elif said["event"] == "result":
                outcome.results.append(said["result"])
                say(f"  {json.dumps(said['result'])}")
            else:
                outcome.status = said["status"]
                outcome.seconds = time.monotonic() - self.began
                say(f"  {outcome.status}, {outcome.seconds:.1f} s")
                self.ended.add(said["step"])
                self._expect(None, BETWEEN_S)
        self._end(outcomes)

    def _expect(self, step: str | None, within_s: float) -> None:
        """From now on `step`, or what is between steps, has so much time."""
        self.step = step
        self.began = time.monotonic()
        self.until = min(self.deadline, self.began + self.patience * within_s)

    def _next_line(self) -> str | None:
        """What the process says next; None when it has ended, or has been stopped because its time is up."""
        try:
            return self.lines.get(timeout=max(0.0, self.until - time.monotonic()))
        except queue.Empty:
            self.why = f"stopped after {time.monotonic() - self.began:.0f} s"
            return None

    def _end(self, outcomes: dict[str, Outcome]) -> None:
        if not self.why:
            self.why = f"the process died with exit code {self.process.wait()}"
        self.process.kill()
        self.process.wait()
        self.useless = self.step is None and not self.ended
        if self.step is not None:
            outcomes[self.step].status = f"failed: {self.why}"
            outcomes[self.step].seconds = time.monotonic() - self.began
            self.ended.add(self.step)
            say(f"  {outcomes[self.step].status}")


def say(text: str) -> None:
    print(text, flush=True)


def work(out: Path, toy: bool, names: list[str]) -> int:
    """The worker: steps in order, a JSON line for everything that happens.
    What else is printed goes to stderr.
    """
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(step: str, event: str, **more: Any) -> None:
        channel.write(json.dumps({"step": step, "event": event} | more) + "\n")

    import jax
    from gpu_sizes import REAL, TOY, Context

    platform = jax.devices()[0].platform
    if not toy and platform != "gpu":
        print(f"JAX sees no GPU, only {jax.devices()}; {PLUGIN}", file=sys.stderr)
        return 3
    for name in names:
        context = Context(TOY if toy else REAL, platform, out, BY_NAME[name].budget_s)
        tell(name, "begin")
        try:
            step = getattr(importlib.import_module(BY_NAME[name].module), name)
            for result in step(context):
                tell(name, "result", result=result)
            tell(name, "end", status="done")
        except Exception as error:
            traceback.print_exc()
            tell(name, "end", status=f"failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
    return 0


def write(out: Path, toy: bool, outcomes: dict[str, Outcome]) -> None:
    """OUT/gpu.json and OUT/gpu.md."""
    from gpu_report import markdown

    found = {name: asdict(outcome) for name, outcome in outcomes.items()}
    when = time.strftime("%Y-%m-%d")
    (out / "gpu.json").write_text(json.dumps({"date": when, "toy": toy, "steps": found}, indent=1) + "\n")
    text = markdown(found, when)
    (out / "gpu.md").write_text(text)
    say(f"\n{text}\nwrote {out / 'gpu.json'} and {out / 'gpu.md'}")


if __name__ == "__main__":
    sys.exit(main())
