"""A program that runs, from outside: it is handed its job, its output is gathered, bounded, and it is stopped at
its limits of time, memory and output.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time

from codemix.sandbox.memory import too_much

OUTPUT_BYTES = 2**20  # more is taken for a flood and stops the program
KEPT_BYTES = 2**14
LOOK_S = 0.1  # between two looks at the memory of a program


class Watch:
    """Stops a program at its deadline, and when its processes together hold more memory than it may."""

    def __init__(self, process: subprocess.Popen, deadline: float, memory_bytes: int):
        self._process, self._memory_bytes = process, memory_bytes
        self._deadline = deadline
        self._next_look = time.monotonic() + LOOK_S

    def reason(self) -> str:
        """Why it must be stopped now, or ""."""
        now = time.monotonic()
        if now >= self._deadline:
            return "timeout"
        if now < self._next_look:
            return ""
        exceeded = too_much(self._process.pid, self._memory_bytes)
        self._next_look = time.monotonic() + LOOK_S
        return "memory" if exceeded else ""

    def patience(self) -> float:
        """How long one may wait for something else before asking again [seconds]."""
        remaining = self._deadline - time.monotonic()
        return max(0.0, min(LOOK_S, remaining))


def exchange(process: subprocess.Popen, verdict: int, job: bytes, watch: Watch) -> tuple[str, bytes, bytes]:
    """Hands the job over and gathers verdict and output, bounded.
    First of the three: why it was stopped, or "".
    """
    assert process.stdin is not None and process.stdout is not None  # both are pipes
    said = b""
    output = b""
    size = 0
    stdin, stdout = process.stdin.fileno(), process.stdout.fileno()
    for fd in (stdin, stdout, verdict):
        os.set_blocking(fd, False)
    with selectors.DefaultSelector() as waiting:
        waiting.register(stdin, selectors.EVENT_WRITE)
        waiting.register(stdout, selectors.EVENT_READ)
        waiting.register(verdict, selectors.EVENT_READ)
        ended = False
        while {stdout, verdict} & set(waiting.get_map()):
            if stopped := watch.reason():
                return stopped, said, output
            ready = waiting.select(0 if ended else watch.patience())
            if not ready and ended:
                break  # a child left behind holds the pipes open
            ended = process.poll() is not None
            for key, _ in ready:
                if key.fd == stdin:
                    try:
                        job = job[os.write(stdin, job[: 2**16]) :]
                    except BrokenPipeError:
                        job = b""
                    if not job:
                        waiting.unregister(stdin)
                        process.stdin.close()
                    continue
                chunk = os.read(key.fd, 2**16)
                if not chunk:
                    waiting.unregister(key.fd)
                elif key.fd == verdict:
                    said = (said + chunk)[:1024]
                else:
                    size += len(chunk)
                    output = (output + chunk)[:KEPT_BYTES]
                    if size > OUTPUT_BYTES:
                        return "output", said, output
    # Pipes may close a moment before the process does, or long before.
    while process.poll() is None:
        if stopped := watch.reason():
            return stopped, said, output
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(watch.patience())
    return "", said, output
