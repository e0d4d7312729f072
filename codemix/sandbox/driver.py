"""What runs inside the sandbox: it makes a program the module `__main__`, runs it as a script,
and gives the verdict.

Never imported: codemix.sandbox.sandbox hands this text to the interpreter inside, which may be an older
Python and sees nothing but its standard library. Limits are lowered here rather than between fork and exec,
which would not be safe in a process that runs accelerator threads.
"""

import builtins
import contextlib
import functools
import importlib.machinery
import json
import os
import resource
import site
import sys


class Tally:
    """What the test runners of the standard library found:
    a script may end with status 0 although they failed.
    """

    def __init__(self):
        self.tests = {}  # runner -> tests that it ran
        self.failed = None  # the first runner with a failure

    def watch(self, runner, count, failed):
        """Count what `runner.run` finds, whoever calls it."""
        run = runner.run

        @functools.wraps(run)
        def watched(*given, **named):
            result = run(*given, **named)
            self.tests[runner.__name__] = self.tests.get(runner.__name__, 0) + count(result)
            if failed(result):
                self.failed = self.failed or runner.__module__
            return result

        runner.run = watched

    def problem(self):
        """Why a program that came to its end has not passed, or None."""
        if self.failed:
            return self.failed.split(".")[0] + ": tests failed"
        if self.tests.get("TextTestRunner") == 0:
            return "unittest: no tests were found"
        doctest = sys.modules.get("doctest")
        if getattr(doctest, "master", None) is not None and not self.tests.get("DocTestRunner"):
            return "doctest: no examples were found"
        return None


def watched(program):
    """The tally of a program; a runner is imported only where the program names it."""
    tally = Tally()
    if "unittest" in program:
        import unittest

        tally.watch(
            unittest.TextTestRunner, lambda r: r.testsRun + len(r.skipped), lambda r: not r.wasSuccessful()
        )
    if "doctest" in program:
        import doctest

        tally.watch(doctest.DocTestRunner, lambda r: r.attempted, lambda r: r.failed)
    return tally


def lower(limits):
    for name, limit in limits.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        try:
            hard = resource.getrlimit(kind)[1]
            lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (lowest, lowest))
        except (ValueError, OSError):
            pass


def become_script(program):
    """Write the program where tracebacks, `inspect` and the children of multiprocessing look for it;
    its path.
    """
    path = os.path.join(os.getcwd(), "program.py")
    with open(path, "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        file.write(program)
    main = sys.modules["__main__"]
    main.__file__ = path
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    sys.argv = [path]
    sys.path.insert(0, os.path.dirname(path))
    site.setquit()  # `exit` and `quit`, which an interpreter without site packages lacks
    site.sethelper()
    return path


def exits_at_the_end(error, program):
    """Whether a program's own last statement ended it with status 0:
    `unittest.main()`, `exit(doctest.testmod().failed)`.

    An exit from inside a function does not count, since that may be the very function under test.
    """
    if error.code is not None and not (isinstance(error.code, int) and error.code == 0):
        return False
    import ast

    place = error.__traceback__.tb_next  # past this file
    if place is None or place.tb_lineno < ast.parse(program).body[-1].lineno:
        return False
    callers = {type(builtins.exit).__call__.__code__.co_filename}
    if "unittest.main" in sys.modules:
        callers.add(str(sys.modules["unittest.main"].__file__))
    while place.tb_next is not None:
        place = place.tb_next
        if place.tb_frame.f_code.co_filename not in callers:
            return False
    return True


def words(error):
    try:
        return f"{type(error).__name__}: {error}"[:300].encode(errors="replace")
    except BaseException:
        return type(error).__name__.encode(errors="replace")


def show(error):
    """The traceback that a script would print."""
    with contextlib.suppress(BaseException):
        error.__traceback__ = error.__traceback__.tb_next  # past this file
        sys.excepthook(type(error), error, error.__traceback__)


def verdict(program, passed):
    """`passed`, or why the program has not."""
    path, tally, main = become_script(program), watched(program), sys.modules["__main__"].__dict__
    try:
        exec(compile(program, path, "exec"), main)
    except SystemExit as error:
        if not (any(tally.tests.values()) and exits_at_the_end(error, program)):
            return b"exited before the tests ended"
    except MemoryError:
        main.clear()
        return b"memory"
    except BaseException as error:
        show(error)
        return words(error)
    problem = tally.problem()
    return problem.encode() if problem else passed


def run():
    job = json.loads(sys.stdin.buffer.read())
    fd, me = job["fd"], os.getpid()
    os.set_inheritable(fd, False)
    lower(job["limits"])
    passed = job["secret"].encode()
    said = verdict(job["program"], passed)
    if os.getpid() != me:
        os._exit(0)  # a fork of the program came here, and only the program itself is judged
    for name in ("stdout", "stderr"):
        with contextlib.suppress(Exception):  # a program may have deleted them
            getattr(sys, name).flush()
    os.write(fd, said)
    os._exit(0 if said == passed else 1)


run()
