"""benchmarks/gpu.py: its toy run, and what it does with steps that hang, crash or are impossible."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("gpu")


def test_the_toy_run_passes_every_step(tmp_path):
    command = [sys.executable, str(FOLDER / "gpu.py"), str(tmp_path), "--toy", "--minutes", "20"]
    environment = os.environ | {"PYTHONPATH": ""}  # it finds codemix by itself
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert {step["status"] for step in found["steps"].values()} == {"done"} and len(found["steps"]) == 8
    page = (tmp_path / "gpu.md").read_text()
    for words in (
        "**Speed**",
        "**Largest kernels of a step**",
        "**Roofline: 468M",
        "2 of 2 shapes equal",
        "resumed True",
    ):
        assert words in page and words in ran.stdout
    assert [result["equal"] for result in found["steps"]["resume_deterministic"]["results"]] == [True, True]


WORKER = """
    import json, os, sys, time

    def tell(step, event, **more):
        print(json.dumps({"step": step, "event": event} | more), flush=True)

    for name in sys.argv[1:]:
        tell(name, "begin")
        tell(name, "result", result={"seen": name})
        if name == "attention":
            os._exit(7)
        if name == "losses":
            time.sleep(60)
        tell(name, "end", status="failed: as planned" if name == "speed" else "done")
"""


def steps_of(gpu, *names, budget_s=3):
    return [gpu.StepSpec(name, "none", "a step", budget_s) for name in names]


def test_a_crash_and_a_hang_cost_their_own_step_only(gpu, tmp_path, monkeypatch):
    program = tmp_path / "worker.py"
    program.write_text(textwrap.dedent(WORKER))
    monkeypatch.setattr(gpu, "worker_command", lambda out, toy, names: [sys.executable, str(program), *names])
    steps = steps_of(gpu, "device", "attention", "losses", "speed", "resume")
    monkeypatch.setattr(gpu, "BY_NAME", {step.name: step for step in steps})
    outcomes = gpu.run_all(tmp_path, False, steps, time.monotonic() + 100)
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "device": "done",
        "attention": "failed: the process died with exit code 7",
        "losses": "failed: stopped after 3 s",
        "speed": "failed: as planned",
        "resume": "done",
    }
    assert all(
        outcome.results == [{"seen": name}] for name, outcome in outcomes.items()
    )  # what it had is kept


def test_all_steps_end_with_the_time(gpu, tmp_path, monkeypatch):
    program = tmp_path / "worker.py"
    program.write_text(textwrap.dedent(WORKER))
    monkeypatch.setattr(gpu, "worker_command", lambda out, toy, names: [sys.executable, str(program), *names])
    steps = steps_of(gpu, "losses", "device", budget_s=50)
    monkeypatch.setattr(gpu, "BY_NAME", {step.name: step for step in steps})
    outcomes = gpu.run_all(tmp_path, False, steps, time.monotonic() + 2)
    assert outcomes["losses"].status.startswith("failed: stopped after")
    assert outcomes["device"].status == "skipped: no time was left"


def test_a_process_that_never_starts_is_tried_once(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "worker_command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    outcomes = gpu.run_all(tmp_path, False, steps_of(gpu, "device", "speed"), time.monotonic() + 100)
    assert {outcome.status for outcome in outcomes.values()} == {"skipped: no process starts"}


def test_without_a_gpu_nothing_but_that_is_said(tmp_path):
    command = [sys.executable, str(FOLDER / "gpu.py"), str(tmp_path), "--only", "device"]
    ran = subprocess.run(
        command, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 1 and "JAX sees no GPU" in ran.stderr and "jax[cuda13]" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_what_is_missing_is_named_with_a_way_to_bring_it(gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "NEEDED", ("json", "no_such_package"))
    monkeypatch.setattr(sys, "argv", ["gpu.py", str(tmp_path / "out")])
    assert gpu.main() == 1
    said = capsys.readouterr().err
    assert said.startswith("missing: no_such_package\n") and "pip download" in said
    [step] = [gpu.StepSpec("resume", "none", "a step", 1, needs=("no_such_package",))]
    outcomes = gpu.run_all(tmp_path, False, [step], time.monotonic() + 10)
    assert outcomes["resume"].status == "skipped: no_such_package is missing"


def test_a_report_of_nothing_and_of_a_gpu(gpu):
    report = importlib.import_module("gpu_report")
    assert "no device" in report.markdown({}, "2000-01-01")
    case = {
        "model": "470M",
        "rows": 8,
        "microbatches": 1,
        "remat": "none",
        "chunk": "auto",
        "documents": False,
    }
    measured = {"tokens_per_s": 1e5, "mfu": 0.4567, "expected_mfu": 0.48, "peak_gib": 40.04}
    device = {
        "kind": "NVIDIA H100",
        "driver": "some driver",
        "matmul_tflops": 800.0,
        "versions": {"jax": "9.9"},
    }
    steps = {
        "device": {"status": "done", "seconds": 3.0, "results": [device]},
        "speed": {
            "status": "done",
            "seconds": 3.0,
            "results": [case | measured, case | {"skipped": "does not fit"}],
        },
    }
    page = report.markdown(steps, "2000-01-01")
    assert "| 470M | 8 | 1 | none | auto | whole | 100,000 | 45.7% | 48% | 40.0 |" in page
    assert (
        "does not fit" in page
        and "expected at 800 TFLOP/s in matmuls" in page
        and "jax 9.9, some driver" in page
    )


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("nvjet_tst_256x128_64x4_1x2_h_bz_coopA_NTT", "matmul"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16", "attention"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n", "matmul"),
        ("input_scatter_fusion", "scatter or gather"),
        ("MemcpyD2D", "copy"),
        ("loop_multiply_fusion", "other"),
    ],
)
def test_kernels_are_sorted_by_their_names(gpu, kernel, kind):
    assert importlib.import_module("gpu_speed").kind_of(kernel) == kind
