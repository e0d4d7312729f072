"""The environment variables that are codemix's own, read here only; docs/environment.md lists them.

They say where and how, never what. Those of command-line options are read by the options, which take the names from
here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from codemix.errors import CodemixError

STORE = "CODEMIX_STORE"
DATA_ROOT = "CODEMIX_DATA_ROOT"
EVAL_DATA = "CODEMIX_EVAL_DATA"
CACHE = "CODEMIX_CACHE"
CACHE_GB = "CODEMIX_CACHE_GB"
BASE = "CODEMIX_BASE"
FAIL_ON = "CODEMIX_FAIL_ON"
DEBUG = "CODEMIX_DEBUG"
SLURM_PARTITION = "CODEMIX_SLURM_PARTITION"
SLURM_QOS = "CODEMIX_SLURM_QOS"
SLURM_TIME = "CODEMIX_SLURM_TIME"
SLURM_MEM_GB = "CODEMIX_SLURM_MEM_GB"
SLURM_ENV = "CODEMIX_SLURM_ENV"
RAY_MEM_GB = "CODEMIX_RAY_MEM_GB"
GB = 10**9  # bytes

_DURATION = re.compile(r"\d+-\d+(:\d+){0,2}|\d+(:\d+){0,2}")  # as sbatch(1) reads `--time`


def text(name: str, default: str) -> str:
    """The value of a variable, or the default where it is not set."""
    return os.environ.get(name, default)


def is_set(name: str) -> bool:
    """Whether a variable has a value."""
    return bool(os.environ.get(name))


def folder(name: str) -> Path | None:
    """The folder that a variable names; None where it is empty or not set. Raises CodemixError when it is not one."""
    value = text(name, "")
    if not value:
        return None
    if Path(value).is_dir():
        return Path(value)
    raise _refusal(name, value, "a folder that is there", "correct it, or unset it")


def cache() -> Path:
    """Where copies of what is elsewhere lie, which may be deleted at any time."""
    of_user = text("XDG_CACHE_HOME", "") or Path.home() / ".cache"
    default = Path(of_user) / "codemix"
    return Path(text(CACHE, "") or default)


def cache_bytes() -> int | None:
    """How much of these copies may lie there; None for no limit. Raises CodemixError for what is no number."""
    if not is_set(CACHE_GB):
        return None
    return whole_number(CACHE_GB, 100) * GB


def whole_number(name: str, default: int) -> int:
    """Above 0. Raises CodemixError for anything else."""
    value = text(name, str(default))
    if value.isdecimal() and int(value) > 0:
        return int(value)
    raise _refusal(name, value, "a whole number above 0", f"`export {name}={default}`, or unset it")


def slurm_duration(name: str, default: str) -> str:
    """A time limit as Slurm writes it. Raises CodemixError for anything else."""
    value = text(name, default)
    if _DURATION.fullmatch(value):
        return value
    hint = "minutes, hours:minutes:seconds or days-hours:minutes:seconds, for example `24:00:00`"
    raise _refusal(name, value, "a time limit of Slurm", hint)


def _refusal(name: str, value: str, wanted: str, hint: str) -> CodemixError:
    what = f"the environment variable {name} is `{value}`, not {wanted}"
    hints = [hint]
    return CodemixError(what, hints=hints, rule="environment-variable")
