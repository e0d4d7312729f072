"""Model-written programs: what passes, what cannot pass, and what cannot be reached from inside."""

import os
import secrets
import socket
import time
from pathlib import Path

import pytest

from codemix.errors import CodemixError
from codemix.sandbox import bubblewrap, sandbox
from codemix.sandbox.sandbox import run_many, run_python

needs_bubblewrap = pytest.mark.skipif(
    sandbox.bubblewrap_problem() is not None, reason=f"no sandbox: {sandbox.bubblewrap_problem()}"
)


@pytest.fixture(params=["bubblewrap", "subprocess"])
def isolation(request, monkeypatch):
    if request.param == "subprocess":
        monkeypatch.setattr(sandbox, "bubblewrap_problem", lambda: "made unavailable by a test")
    elif problem := sandbox.bubblewrap_problem():
        pytest.skip(f"no sandbox: {problem}")
    return request.param


@pytest.mark.parametrize(
    "program, reason",
    [
        ("assert 1 + 1 == 2", "passed"),
        ("def f():\n    return 'é\U0001f600'\nassert len(f()) == 2", "passed"),
        ("import sys; del sys.stdout, sys.stderr", "passed"),
        ("assert 1 + 1 == 3, 'no'", "AssertionError: no"),
        ("import sys; sys.exit(0)", "exited before the tests ended"),
        ("import os; os._exit(0)\nassert False", "exited with status 0 before the tests ended"),
        ("raise SystemExit\nassert False", "exited before the tests ended"),
        ("def f(:", "SyntaxError"),
        ("x = bytearray(2**32)", "memory"),
        ("while True: print('x' * 10_000)", "output"),
        ("import os\nos.kill(os.getpid(), 11)", "crashed (SIGSEGV)"),
        ("input()", "EOFError"),
    ],
)
def test_the_verdict_says_what_happened(isolation, program, reason):
    result = run_python(program, timeout_s=20, unsafe=True)
    assert result.isolation == isolation
    assert result.passed == (reason == "passed")
    assert result.reason.startswith(reason)


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "try:\n  while True: pass\nexcept BaseException: pass",
    ],
)
def test_a_program_that_does_not_end_is_stopped(isolation, program):
    started = time.monotonic()
    result = run_python(program, timeout_s=1, unsafe=True)
    assert (result.passed, result.reason) == (False, "timeout")
    assert time.monotonic() - started < 10


@needs_bubblewrap
def test_no_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = run_python(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)")
    assert not result.passed and result.reason.startswith(("ConnectionRefusedError", "OSError"))


@needs_bubblewrap
def test_home_and_host_files_are_out_of_reach(tmp_path):
    (tmp_path / "private").write_text("secret")
    homes = [
        str(tmp_path / "private"),
        os.path.expanduser("~"),
        "/root",
        "/home",
        "/etc/passwd",
        str(Path(__file__).resolve()),
    ]
    variables = {"PATH", "LANG", "HOME", "PWD", "LC_CTYPE"}
    result = run_python(
        f"import os\nassert not any(os.path.exists(p) for p in {homes!r})\nassert not set(os.environ) - {variables!r}"
    )
    assert result.passed, result.reason
    assert run_python("open('/usr/written', 'w')").reason.startswith("OSError")


@needs_bubblewrap
def test_the_only_writable_folder_is_small():
    assert run_python("open('/tmp/x', 'w').write('fine')").passed
    fill = "for i in range(64):\n    with open(f'/tmp/{i}', 'wb') as f: f.write(bytes(2**20))"
    assert "No space left" in run_python(fill).reason


@needs_bubblewrap
def test_a_fork_bomb_leaves_no_process():
    marker = f"bomb{secrets.token_hex(6)}"
    bomb = f"""
import os, sys
for i in range(200):
    try:
        if os.fork() == 0:
            os.setsid()
            os.execv(sys.executable, [sys.executable, '-S', '-c', 'import time; time.sleep(600) # {marker}'])
    except BlockingIOError:
        print('refused'); break
"""
    result = run_python(bomb, timeout_s=20)
    time.sleep(0.2)
    left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if marker in _text(p)]
    assert not left
    if os.geteuid() != 0 or bubblewrap.open_to_all(bubblewrap.interpreter()):
        assert "refused" in result.stdout


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


@needs_bubblewrap
def test_programs_run_in_order_several_at_once():
    results = run_many([f"assert {i} % 3" for i in range(12)], workers=4)
    assert [r.passed for r in results] == [bool(i % 3) for i in range(12)]


def test_without_bubblewrap_and_consent_nothing_runs(monkeypatch):
    monkeypatch.setattr(sandbox, "bubblewrap_problem", lambda: "`bwrap` is not installed")
    with pytest.raises(CodemixError) as caught:
        run_python("pass")
    assert caught.value.problems[0].rule == "no-sandbox"
    assert any("--unsafe-exec subprocess" in hint for hint in caught.value.problems[0].hints)
