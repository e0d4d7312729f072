"""What a compiled step takes of a chip's memory, and what the compiler says where it does not fit."""

from __future__ import annotations

import re
from typing import Any

from codemix.train.aot.report import Lack, Memory
from codemix.train.run.memory import is_out_of_memory

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "": 1}

_LACKS = (  # how compilers say it: (needed)(unit) ... (available)(unit)
    re.compile(r"\(([\d.]+)([KMGT]?)i?B?\) exceeds available \w+ \(([\d.]+)([KMGT]?)"),
    re.compile(r"[Uu]sed ([\d.]+)([KMGT]?)i?B? of ([\d.]+)([KMGT]?)"),
)


def memory_of(compiled: Any) -> Memory:
    """What a compiled program needs on each chip."""
    analysis = compiled.memory_analysis()
    outputs = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    live = analysis.argument_size_in_bytes + analysis.temp_size_in_bytes + outputs
    return Memory(
        arguments=analysis.argument_size_in_bytes,
        temporaries=analysis.temp_size_in_bytes,
        outputs=outputs,
        program=analysis.generated_code_size_in_bytes,
        peak=getattr(analysis, "peak_memory_in_bytes", 0) or live,
    )


def out_of_memory(message: str) -> Lack | None:
    """What a program needs and a chip has, by the compiler's message;
    None if that is about something else.
    """
    if not is_out_of_memory(message):
        return None
    for pattern in _LACKS:
        if match := pattern.search(message):
            needed, needed_unit, available, available_unit = match.groups()
            return Lack(
                int(float(needed) * _UNITS[needed_unit]), int(float(available) * _UNITS[available_unit])
            )
    return Lack()
