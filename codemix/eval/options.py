"""How an evaluation is run on this machine. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codemix.errors import CodemixError


@dataclass(frozen=True)
class EvalOptions:
    """Where and how an evaluation runs.
    Of these only `harness` and `contamination` are part of its identity.
    """

    data: Path | None = None  # folder of the tasks' files, as `fetch_data` makes it
    data_root: Path = Path(".")  # what a task's own `path:` is relative to
    mesh: Mapping[str, int] | None = None  # devices by axis (data, fsdp, model); None: every device
    batch_tokens: int | None = None
    unsafe_exec: str | None = None  # "subprocess": consent to run model-written code without bubblewrap
    workers: int | None = None  # programs that run at once
    harness: str | None = None  # "lm-eval": score the tasks through that package
    contamination: bool = True  # look for the evaluated text in what the run read

    def __post_init__(self) -> None:
        _require_value("unsafe_exec", self.unsafe_exec, "subprocess")
        _require_value("harness", self.harness, "lm-eval")

    @property
    def unsafe(self) -> bool:
        return self.unsafe_exec == "subprocess"


def _require_value(name: str, value: str | None, allowed: str) -> None:
    if value in (None, allowed):
        return
    raise CodemixError(
        f"`{name}` is {value!r}", hints=[f"the one value it takes is `{allowed}`"], rule="eval-option"
    )
