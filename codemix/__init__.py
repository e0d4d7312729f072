"""codemix: how much code, which kind, at which stage of pretraining, as a recipe that can be reviewed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from codemix.api.comparison import compare
    from codemix.api.run import Finished, Run
    from codemix.api.run import open_run as open
    from codemix.errors import CodemixError, Problem
    from codemix.eval.options import EvalOptions
    from codemix.train.run.options import StepMetrics, TrainOptions

_PLACES = {  # name -> where it is; imported when it is first asked for, so that `codemix validate` stays fast
    "open": "codemix.api.run:open_run",
    "compare": "codemix.api.comparison:compare",
    "Run": "codemix.api.run:Run",
    "Finished": "codemix.api.run:Finished",
    "TrainOptions": "codemix.train.run.options:TrainOptions",
    "StepMetrics": "codemix.train.run.options:StepMetrics",
    "EvalOptions": "codemix.eval.options:EvalOptions",
    "CodemixError": "codemix.errors:CodemixError",
    "Problem": "codemix.errors:Problem",
}
__all__ = [
    "CodemixError",
    "EvalOptions",
    "Finished",
    "Problem",
    "Run",
    "StepMetrics",
    "TrainOptions",
    "compare",
    "open",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    globals()[name] = getattr(importlib.import_module(module), attribute)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
