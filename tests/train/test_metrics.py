"""metrics.jsonl, its sums and ratios, what a person sees of it, and the writers beside it."""

import io
import json
import math
import re
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemix import progress
from codemix.errors import CodemixError
from codemix.train.run import progress_view
from codemix.train.run.metrics import MetricsFile, Sums, mfu, read_metrics
from codemix.train.run.trackers import TrackedStage, check_trackers, open_trackers

LINE = {
    "step": 2,
    "run_step": 9,
    "tokens": 576,
    "lr": 0.001,
    "train/loss_nats_per_token": 3.9,
    "train/code/loss_nats_per_token": 4.1,
    "train/text/loss_nats_per_token": 3.8,
    "grad_norm": 0.5,
    "tokens_per_s": 12345.6,
    "time": 1.5,
}


NATS, TOKENS = st.floats(0, 1e6), st.integers(0, 10**6)


@given(st.lists(st.tuples(NATS, NATS, TOKENS, TOKENS), min_size=1, max_size=6), st.integers(0, 6))
def test_sums_that_travel_through_json_give_the_same_ratios(steps, cut):
    straight, resumed = Sums(), Sums()
    for i, (a, b, n, m) in enumerate(steps):
        for sums in (straight, resumed):
            sums.add([a, b], [n, m], 0.25, 1.0)
        if i == cut:
            resumed = Sums(**json.loads(json.dumps(resumed.as_json())))
    assert resumed.ratios(["x", "y"]) == straight.ratios(["x", "y"])


def test_a_ratio_weighs_tokens_not_steps_and_a_source_without_tokens_has_none():
    sums = Sums()
    sums.add([30.0, 0.0], [10, 0], 0.0, 2.0)
    sums.add([10.0, 0.0], [30, 0], 0.0, 4.0)
    assert sums.ratios(["a", "b"]) == {
        "train/loss_nats_per_token": 1.0,
        "train/a/loss_nats_per_token": 1.0,
        "grad_norm": 3.0,
    }


def test_opening_cuts_the_file_back_to_the_step_and_drops_a_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": s}) + "\n" for s in (2, 4, 6)) + '{"step": 8, "lo')
    assert [line["step"] for line in read_metrics(path)] == [2, 4, 6]
    file = MetricsFile(path, 5)
    file.write({"step": 6, "again": True})
    file.sync()
    file.close()
    assert read_metrics(path) == [{"step": 2}, {"step": 4}, {"step": 6, "again": True}]
    assert MetricsFile(path, 0).kept == [] and path.read_text() == ""


def test_mfu_is_of_known_devices_only():
    h100 = SimpleNamespace(device_kind="NVIDIA H100 80GB HBM3")
    assert math.isclose(mfu(1e5, 3.61e9, [h100]), 1e5 * 3.61e9 / 989e12)
    assert math.isclose(mfu(1e5, 3.61e9, [h100] * 4), 1e5 * 3.61e9 / 989e12 / 4)
    assert mfu(1e5, 3.61e9, [SimpleNamespace(device_kind="cpu")]) is None


def test_plain_lines_are_few_and_end_with_the_last_step(capsys):
    view = progress_view.Lines(every_s=1000)
    view.begin(progress_view.Beginning("init", 0, 3, 4, 0))
    for step in (1, 2, 3, 4):
        view.line(LINE | {"step": step}, 75.0 if step < 4 else None)
    view.close()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "train init (1 of 3): 4 steps",
        "train init: step 4 of 4  loss 3.900  (code 4.100, text 3.800)  lr 0.001  12,346 tokens/s",
    ]


def test_the_panel_shows_stage_losses_by_source_speed_and_time_left(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    view = progress_view.open_view(True)
    assert isinstance(view, progress_view.Panel)
    view.begin(progress_view.Beginning("cooldown", 2, 3, 10, 4))
    view.step(5)
    view.line(LINE | {"step": 6, "mfu": 0.456}, 125.0)
    view.note("saving [not markup]")
    view.close()
    said = stream.getvalue()
    shown = (
        "cooldown (3/3)",
        "loss 3.900",
        "code",
        "4.100 nats/token",
        "12,346 tokens/s",
        "MFU 45.6%",
        "2 min 05 s left",
    )
    for part in (*shown, "saving [not markup]"):
        assert part in said


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (442800, "5 d 3 h"),
    ],
)
def test_time_is_shown_as_people_say_it(seconds, text):
    assert progress_view.show_time(seconds) == text


def test_quiet_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET", True)
    view = progress_view.open_view(True)
    view.begin(progress_view.Beginning("init", 0, 1, 4, 0))
    view.line(LINE, 1.0)
    view.note("x")
    view.close()
    assert capsys.readouterr().err == ""


def tracked(folder, kept):
    return TrackedStage(folder, "init", "a" * 64, {"recipe": "tiny"}, kept)


def test_an_unknown_or_missing_tracker_is_said_before_training(monkeypatch):
    with pytest.raises(CodemixError, match="did you mean `tensorboard`"):
        check_trackers(["tensorbord"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(CodemixError, match="pip install wandb"):
        check_trackers(["wandb"])


class Recorder:
    """Stands in for a tracker's module: notes every call."""

    def __init__(self):
        self.calls = []

    def init(self, **words):
        self.calls.append(("init", words))
        return self

    SummaryWriter = lambda self, folder: self  # noqa: E731

    def log(self, values, step):
        self.calls.append((step, values))

    def add_scalar(self, name, value, step, walltime):
        self.calls.append((name, value, step, walltime))

    def finish(self):
        self.calls.append("finish")

    close = finish


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_run_is_named_by_its_stage_and_gets_every_value_by_run_step(tmp_path, monkeypatch, name):
    module = Recorder()
    monkeypatch.setitem(sys.modules, name, module)
    [tracker] = open_trackers([name], tracked(tmp_path, []))
    tracker.write(LINE)
    tracker.close()
    (_, words), logged, end = module.calls
    assert (
        words["project"] == "codemix-tiny"
        and words["name"] == "init-" + "a" * 12
        and words["resume"] == "allow"
    )
    assert (
        logged == (9, {k: v for k, v in LINE.items() if k not in ("step", "run_step", "time")})
        and end == "finish"
    )


def test_tensorboard_is_written_anew_from_what_is_kept(tmp_path, monkeypatch):
    module = Recorder()
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events.old").write_text("of steps that will be taken again")
    [tracker] = open_trackers(["tensorboard"], tracked(tmp_path, [LINE]))
    tracker.close()
    assert ("train/code/loss_nats_per_token", 4.1, 9, 1.5) in module.calls
    assert not (tmp_path / "tensorboard" / "events.old").exists()


@pytest.mark.parametrize(
    "error", [TypeError("init() got an unexpected keyword argument 'resume'"), OSError("no network")]
)
def test_a_tracker_that_does_not_start_is_told_in_its_own_words(tmp_path, monkeypatch, error):
    module = Recorder()
    module.init = Mock(side_effect=error)
    monkeypatch.setitem(sys.modules, "trackio", module)
    with pytest.raises(
        CodemixError, match=re.escape(f"`--track trackio` does not start: {type(error).__name__}: {error}")
    ):
        open_trackers(["trackio"], tracked(tmp_path, []))


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
@pytest.mark.optional("needs the tracker's own package")
def test_real_trackers_take_a_stage_that_is_resumed(tmp_path, monkeypatch, name):
    for variable, value in {
        "TRACKIO_DIR": str(tmp_path),
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
    }.items():
        monkeypatch.setenv(variable, value)  # trackio reads its own when it is imported
    pytest.importorskip({"tensorboard": "tensorboardX"}.get(name, name))
    lines = [LINE | {"step": step, "run_step": 9 + step} for step in (1, 2, 3)]
    for kept, new in (([], lines[:2]), (lines[:1], lines[1:])):  # the second step is taken again
        [tracker] = open_trackers([name], tracked(tmp_path, kept))
        for line in new:
            tracker.write(line)
        tracker.close()
    written = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and path.suffix in ("", ".db", ".wandb") or "tfevents" in path.name
    ]
    assert any(b"loss_nats_per_token" in path.read_bytes() for path in written)
