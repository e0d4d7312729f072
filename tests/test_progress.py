"""Progress in a log: at most a line every ten seconds, with a percentage where the whole is known."""

import re

import pytest

from codemix import progress
from codemix.train.run.progress_view import Lines


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests move."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(progress, "_last_line_s", 0.0)
    monkeypatch.setattr(progress, "QUIET", False)
    return Clock


def test_a_log_gets_at_most_a_line_in_ten_seconds(clock, capsys):
    for _ in range(3):
        with progress.progress("outer", 3000, "bytes") as outer:
            for _ in range(10):
                with progress.progress("inner", None) as inner:
                    for _ in range(10):
                        clock.now += 0.25
                        inner()
                outer(100, "on its way")
    lines = capsys.readouterr().err.splitlines()
    seconds = clock.now - 1000
    assert 2 <= len(lines) <= seconds / progress.REPORT_EVERY_S + 1
    assert all(
        re.match(r"outer: \d+%, [\d,]+ of 3,000 bytes, on its way|(inner|outer): done", line)
        for line in lines
    )
    assert any("%" in line for line in lines)


def test_short_work_says_nothing(clock, capsys):
    for _ in range(5):
        with progress.progress("short", 1, "files") as advance:
            advance()
    assert capsys.readouterr().err == ""


def test_training_speaks_as_rarely():
    assert Lines().every_s == progress.REPORT_EVERY_S == 10
