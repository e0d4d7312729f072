"""The end of another host, said in words: the runtime under JAX ends this process with a C++ trace and
SIGABRT instead.

It offers no hook that works (`missed_heartbeat_callback` throws std::bad_cast), so its standard error goes
through a file whose content is passed on, and SIGABRT is answered: with the user's words where the runtime
wrote that a host was lost, as ever where it wrote something else.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import signal
import sys
import tempfile
import threading
import time

from codemix.errors import EXIT_PROBLEM

PASS_ON_S = 0.2  # a file rather than a pipe: nothing that writes to it ever waits for this interpreter
_FATAL = re.compile(rb"(?m)^F\d{4} |^\*\*\* Check failure")
_LOST = (b"distributed service detected fatal errors", b"coordination service", b"CoordinationService")


class RuntimeWords:
    """Passes on what is written to file descriptor 2, but for the last words of a runtime that lost another
    host.
    """

    def __init__(self, words: str):
        self._words = words
        self._terminal = os.dup(2)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        self._passed_on = 0
        self._lock = threading.Lock()
        os.dup2(self._file.fileno(), 2)
        sys.stderr = os.fdopen(
            os.dup(self._terminal), "w", buffering=1, errors="backslashreplace"
        )  # what Python says has no detour
        threading.Thread(target=self._pass_on_forever, daemon=True).start()
        atexit.register(self.restore)
        self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._aborted)  # kept alive: C holds its address
        libc = ctypes.CDLL(None)
        libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
        libc.signal(signal.SIGABRT, ctypes.cast(self._handler, ctypes.c_void_p))

    def _aborted(self, _: int) -> None:
        held_back = self._rest()
        if any(sign in held_back for sign in _LOST):
            os.write(self._terminal, self._words.encode())
            os._exit(EXIT_PROBLEM)
        os.write(self._terminal, held_back)  # and abort() continues

    def _pass_on_forever(self) -> None:
        while True:
            time.sleep(PASS_ON_S)
            self._pass_on()

    def _pass_on(self) -> None:
        with self._lock:
            rest = self._rest()
            fatal = _FATAL.search(rest)
            ready = rest[: fatal.start()] if fatal else rest
            os.write(self._terminal, ready)
            self._passed_on += len(ready)

    def _rest(self) -> bytes:
        file = self._file.fileno()
        size = os.fstat(file).st_size
        n_new = size - self._passed_on
        return os.pread(file, n_new, self._passed_on)

    def restore(self) -> None:
        """Give descriptor 2 back, with all that was written to it."""
        self._pass_on()
        os.dup2(self._terminal, 2)
