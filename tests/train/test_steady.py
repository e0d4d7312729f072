"""Ten thousand steps through the real loop:
time and memory of a step do not grow, and one compilation serves all stages.
"""

import statistics
import time
from pathlib import Path

import pytest
from support import tiny

from codemix.train.run import context
from codemix.train.run import loop as stages
from codemix.train.run.session import train

STEPS = 10_000


@pytest.mark.optional
@pytest.mark.timeout(1800)
def test_ten_thousand_steps_stay_as_fast_and_as_small(tmp_path, monkeypatch):
    mixture, rate = (
        {"text": "70%", "code": "30%"},
        {"kind": "cosine", "peak": 0.003, "floor": 0.0003, "warmup": "20 steps"},
    )
    long = [
        {"name": name, "steps": STEPS // 2, "mixture": mixture, "learning_rate": rate}
        for name in ("first", "second")
    ]
    plan, store, manifests = tiny.make_run(tmp_path, tiny.make_recipe(long, batch_size=2))
    seen, steps, line = [], set(), stages.StageRun._line

    def watched(run, done, lr):
        line(run, done, lr)
        steps.add(run.context.step)
        resident = next(
            int(x.split()[1]) / 1024
            for x in Path("/proc/self/status").read_text().splitlines()
            if x.startswith("VmRSS")
        )
        seen.append((run.stage.run_steps + done, time.process_time(), resident))

    monkeypatch.setattr(stages.StageRun, "_line", watched)
    context.shared_step.cache_clear()
    made = train(plan, store, manifests, options=tiny.options(log_every=100, save_every_steps=500))
    assert len(made) == 2 and seen[-1][0] == STEPS
    # the seconds of the processor for a hundred steps, whatever else the machine does
    spent = [b[1] - a[1] for a, b in zip(seen, seen[1:], strict=False)]
    early, late = statistics.median(spent[5:25]), statistics.median(spent[-20:])
    print(
        f"\nms of processor a step: {early * 10:.2f} in steps 500 to 2,500, {late * 10:.2f} in the last 2,000"
    )
    print("resident MB after each 1,000 steps:", *(f"{mb:.0f}" for step, _, mb in seen if step % 1000 == 0))
    assert late < 1.25 * early
    assert seen[-1][2] < seen[len(seen) // 4][2] + 40
    assert [step.traces for step in steps] == [1]
