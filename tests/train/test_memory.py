"""Memory that is freed and taken again costs no page faults once glibc is told to keep it;
too little is said with a way out.
"""

import subprocess
import sys

import jax
import pytest

from codemix.errors import CodemixError
from codemix.train.run import memory

PROGRAM = """
import resource, sys
from codemix.train.run.memory import keep_freed_pages
kept = keep_freed_pages() if sys.argv[1] == "keep" else None
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(200 << 20)[:: 4096] = bytes(50 << 10)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


def test_pages_are_kept():
    if not sys.platform.startswith("linux"):
        pytest.skip("glibc only")

    def run(how):
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
        ).stdout.split()

    runs = {how: run(how) for how in ("keep", "not")}
    if runs["keep"][0] == "False":
        pytest.skip("this libc has no mallopt")
    assert int(runs["not"][1]) > int(runs["keep"][1])  # else this test shows nothing
    assert int(runs["keep"][1]) < 5_000


@pytest.mark.parametrize(
    "text",
    [
        "RESOURCE_EXHAUSTED: Failed to allocate",
        "INTERNAL: Error dispatching computation: Out of memory allocating 9 bytes.",
    ],
)
def test_too_little_memory_is_no_bug_and_has_a_way_out(text):
    with pytest.raises(CodemixError, match="--microbatches 2") as error, memory.explain_out_of_memory():
        raise jax.errors.JaxRuntimeError(text)
    assert error.value.problems[0].rule == "out-of-memory"
    with pytest.raises(jax.errors.JaxRuntimeError), memory.explain_out_of_memory():
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")
