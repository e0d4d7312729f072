"""Memory: the message when a device has too little;
on a CPU, pages that one step used are kept for the next.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

import jax

from codemix.errors import CodemixError

# <malloc.h>
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
M_ARENA_MAX = -8


def keep_freed_pages() -> bool:
    """Whether glibc now keeps freed memory for this process. Call it before JAX starts its threads.

    XLA's CPU client takes a step's temporaries from malloc and frees them at its end. glibc hands blocks of
    that size back to the system, so every step pays a page fault for each 4 KiB again: 105,000 of them and a
    fifth of the time at 1.3M parameters. With one arena, no separate mappings and no trimming there are none;
    the price is a larger resident size.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    settings = {M_ARENA_MAX: 1, M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1}
    return all(mallopt(option, value) for option, value in settings.items())


def is_out_of_memory(message: str) -> bool:
    """Whether an error of jax says that memory ran out; its type and its code differ by backend."""
    return "RESOURCE_EXHAUSTED" in message or "out of memory" in message.lower()


@contextlib.contextmanager
def explain_out_of_memory() -> Iterator[None]:
    """The user's words for a device that has too little memory."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(str(error)):
            raise
        hints = [
            "`codemix train` with `--microbatches 2` or more holds fewer rows at once, with `--remat full` less of each",
            "neither changes the result beyond rounding: the same command with them resumes from the newest checkpoint",
        ]
        raise CodemixError(
            f"out of memory: {str(error).splitlines()[0]}", hints=hints, rule="out-of-memory"
        ) from error
