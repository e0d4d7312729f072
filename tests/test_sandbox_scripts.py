"""A program in the sandbox is a script: what it may count on,
and that a wrong one does not pass by the way it is tested.
"""

import platform

import pytest

from codemix.sandbox import sandbox
from codemix.sandbox.memory import seccomp_filter
from codemix.sandbox.sandbox import run_python

needs_bubblewrap = pytest.mark.skipif(
    sandbox.bubblewrap_problem() is not None, reason=f"no sandbox: {sandbox.bubblewrap_problem()}"
)
RIGHT = 'def double(x):\n    """\n    >>> double(3)\n    6\n    """\n    return 2 * x\n'
WRONG = RIGHT.replace("2 * x", "x")
UNIT = "import unittest\nclass T(unittest.TestCase):\n    def test_double(self):\n        self.assertEqual(double(3), 6)\n"

# How scripts test `double`, each with what is said of the wrong one.
TESTS = {
    "assert double(3) == 6": "AssertionError",
    UNIT + "unittest.main()": "exited before the tests ended",
    UNIT + "if __name__ == '__main__':\n    unittest.main(verbosity=2)": "exited before the tests ended",
    UNIT + "unittest.main(exit=False)": "unittest: tests failed",
    UNIT
    + "unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(T))": "unittest: tests failed",
    "import doctest\ndoctest.testmod()": "doctest: tests failed",
    "import doctest\nassert doctest.testmod().failed == 0": "AssertionError",
    "import doctest, sys\nsys.exit(doctest.testmod().failed)": "exited before the tests ended",
    "import doctest\nexit(doctest.testmod().failed)": "exited before the tests ended",
    "import doctest\nraise SystemExit(doctest.testmod()[0])": "exited before the tests ended",
    "import doctest\ndoctest.run_docstring_examples(double, globals())": "doctest: tests failed",
    "import doctest, unittest\nunittest.TextTestRunner().run(doctest.DocTestSuite())": "doctest: tests failed",
}


@pytest.fixture(params=["bubblewrap", "subprocess"])
def verdict(request, monkeypatch):
    if request.param == "subprocess":
        monkeypatch.setattr(sandbox, "bubblewrap_problem", lambda: "made unavailable by a test")
    elif problem := sandbox.bubblewrap_problem():
        pytest.skip(f"no sandbox: {problem}")
    return lambda program: run_python(program, timeout_s=30, unsafe=True)


@pytest.mark.parametrize("tests", TESTS)
def test_a_right_solution_passes_and_a_wrong_one_fails_however_it_is_tested(verdict, tests):
    assert verdict(f"{RIGHT}\n\n{tests}").reason == "passed"
    assert verdict(f"{WRONG}\n\n{tests}").reason.startswith(TESTS[tests])


@pytest.mark.parametrize(
    "program, reason",
    [
        (
            UNIT + "def double(x):\n    return 2 * x\nunittest.main()\nassert False",
            "exited before the tests ended",
        ),
        ("def double(x):\n    exit()\n" + "assert double(3) == 6", "exited before the tests ended"),
        (
            "import sys\ndef double(x):\n    sys.exit(0)\n" + UNIT + "unittest.main()",
            "exited before the tests ended",
        ),
        ("exit(0)", "exited before the tests ended"),
        ("quit()", "exited before the tests ended"),
        (
            "import doctest\ndef double(x):\n    return 2 * x\ndoctest.testmod()",
            "doctest: no examples were found",
        ),
        ("import unittest\nunittest.main(exit=False)", "unittest: no tests were found"),
        (
            "import os\nif os.fork():\n    assert False\n",
            "AssertionError",
        ),  # the child that comes to the end is not judged
        ("class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E", "E"),
    ],
)
def test_what_does_not_pass(verdict, program, reason):
    result = verdict(program)
    assert (result.passed, result.reason[: len(reason)]) == (False, reason)


@pytest.mark.parametrize(
    "program",
    [
        "import sys\nassert __name__ == '__main__' and sys.modules['__main__'].__dict__ is globals()",
        "assert sorted(n for n in globals() if n[0] != '_') == []",
        "import sys, os\nassert sys.argv == [__file__] and os.path.isfile(__file__) and sys.path[0] == os.path.dirname(__file__)",
        "import inspect\ndef f():\n    return 1\nassert inspect.getsource(f) == 'def f():\\n    return 1\\n'",
        "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    assert '1 / 0' in traceback.format_exc()",
        "import pickle\nclass A:\n    pass\nassert isinstance(pickle.loads(pickle.dumps(A())), A)",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int'\nimport typing\nassert typing.get_type_hints(A) == {'x': int}",
        "from enum import Enum\nclass C(Enum):\n    A = 1\nimport copy\nassert copy.deepcopy(C.A) is C.A",
        "import os\nif os.fork() == 0:\n    os._exit(0)\nos.wait()",
        "import asyncio\nasync def f():\n    return 1\nassert asyncio.run(f()) == 1",
        "from multiprocessing import Pool\ndef f(x):\n    return x * x\nwith Pool(2) as p:\n    assert p.map(f, range(3)) == [0, 1, 4]",
        "from concurrent.futures import ThreadPoolExecutor\nassert list(ThreadPoolExecutor(2).map(abs, [-1])) == [1]",
        "import multiprocessing as m\ndef f(q):\n    q.put(1)\nif __name__ == '__main__':\n    c = m.get_context('spawn')\n    q = c.SimpleQueue()\n"
        "    p = c.Process(target=f, args=(q,))\n    p.start(); p.join()\n    assert q.get() == 1",
    ],
)
def test_what_scripts_count_on(verdict, program):
    assert verdict(program).reason == "passed"


def test_a_failure_prints_the_traceback_that_a_script_would(verdict):
    said = verdict("def f():\n    raise ValueError('no')\nf()").stdout
    assert (
        said.startswith("Traceback") and said.rstrip().endswith("ValueError: no") and "<sandbox>" not in said
    )


@needs_bubblewrap
@pytest.mark.parametrize("folder", ["/", "/etc", "/dev", "/usr", "/run", "/proc", "/sys"])
def test_no_other_folder_can_be_written_to(folder):
    assert not run_python(f"open({folder + '/x'!r}, 'wb').write(bytes(9))").passed


SHARED = "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\nassert c.shmget(0, 2**20, 0o1600) >= 0"
SEMAPHORES = "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\nassert c.semget(0, 32000, 0o600) >= 0"
TIMERS = """
import ctypes
c, made = ctypes.CDLL(None), ctypes.c_void_p()
for i in range(2000):
    assert c.timer_create(1, None, ctypes.byref(made)) == 0
"""
FORKS = """
import os, time
for i in range(8):
    if os.fork() == 0:
        held = bytes(range(256)) * 2**19
        time.sleep(20)
time.sleep(20)
"""
MANY_FILES = "import os\nfor i in range(10**6): os.mkdir(f'/dev/shm/{i}')"


@needs_bubblewrap
@pytest.mark.parametrize(
    "program, reason",
    [
        ("for i in range(20):\n    open(f'/dev/shm/{i}', 'wb').write(bytes(2**20))", "OSError: [Errno 28]"),
        ("import os\nos.memfd_create('x')", "OSError: [Errno 38]"),
        (SHARED, "AssertionError"),
        (SEMAPHORES, "AssertionError"),
        (TIMERS, "AssertionError"),
        (FORKS, "memory"),
        (MANY_FILES, "memory"),
        ("import os\nos.close(1); os.close(2)\n" + FORKS, "memory"),
    ],
)
def test_memory_that_no_single_process_holds_is_bounded_too(program, reason):
    if reason.startswith(("OSError: [Errno 38]", "Assert")) and seccomp_filter() is None:
        pytest.skip(f"no filter of system calls for {platform.machine()}")
    result = run_python(program, timeout_s=15)
    assert (result.passed, result.reason[: len(reason)]) == (False, reason)
