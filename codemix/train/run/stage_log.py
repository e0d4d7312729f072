"""What another trainer writes about a stage that it reads from codemix, so that reports can be made of it.

FOLDER/lineage.json    which stage of which data it is; recipe.yaml the whole recipe
       metrics.jsonl   a line per step, as `codemix train` writes it
       ledger.json     tokens by source of the steps that were logged; when all of them are
       done.json       that all of them are
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codemix.data.loader.order import Order
from codemix.data.store.stages import finished_facts, is_done
from codemix.data.store.store import read_json, write_json, write_text
from codemix.errors import CodemixError
from codemix.recipe.language.yaml_text import dump
from codemix.train.run.ledger import Ledger
from codemix.train.run.lineage import lineage, one_tokenizer
from codemix.train.run.metrics import MetricsFile

if TYPE_CHECKING:
    from codemix.data.store.manifest import Manifest
    from codemix.recipe.planning.plan import Plan, StagePlan

TRAINER = "elsewhere"  # in lineage.json, where codemix's own stages have nothing
_BLOCK = 2**16  # rows counted at once


class StageLog:
    """The log of one stage, written by one process.

    log = run.log("init", "logs/init")
    log.step(step, loss=loss)     # after each step
    log.close()                   # after the last
    """

    def __init__(self, plan: Plan, stage: StagePlan, manifests: Mapping[str, Manifest], folder: Path):
        self.stage = stage
        self.folder = folder
        self._file: MetricsFile | None = None
        self._next = 0
        if (folder / "lineage.json").exists():
            _refuse_other(stage, folder)
            return
        if folder.exists() and any(folder.iterdir()):
            raise CodemixError(
                f"{folder} holds something else",
                hints=["name a folder that is empty or not there"],
                rule="foreign-log",
            )
        record = lineage(plan, stage, manifests, one_tokenizer(manifests))
        recipe = plan.recipe.model_dump(mode="json", by_alias=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "recipe.yaml", dump(recipe))
        write_json(folder / "lineage.json", record | {"trainer": TRAINER})

    def __repr__(self) -> str:
        return f"StageLog({self.stage.name}, {self.folder})"

    def step(self, step: int, *, loss: float, **values: float) -> None:
        """Note step `step` of the stage, from 0, with its mean loss [nats/token] over all hosts, and with any
        other values: `lr`, `grad_norm` and `tokens_per_s` are drawn in the report.

        The first call of a process may go back to a step that is logged already, as a run that resumes from
        its checkpoint does: later lines are then dropped. Raises CodemixError (`foreign-log`) for a step that
        is not the next one.
        """
        self._require_inside(step)
        if self._file is None:
            self._file = self._opened_at(step)
        elif step != self._next:
            raise self._not_next(step, self._next)
        done = step + 1
        line = {
            "step": done,
            "run_step": self.stage.run_steps + done,
            "tokens": self._tokens_of_run(done),
            "train/loss_nats_per_token": float(loss),
        }
        for name, value in values.items():
            line[name] = float(value)
        self._file.write(line | {"time": time.time()})
        self._next = done

    def close(self) -> Path:
        """Write the ledger, where every step was logged; the folder, for `codemix report --run`."""
        if self._file is not None:
            self._file.sync()
            self._file.close()
            self._file = None
        if self._next < self.stage.steps:
            return self.folder
        ledger = Ledger(self.stage, self._rows_by_source(), self.stage.steps)
        write_json(self.folder / "ledger.json", ledger.close())
        write_json(self.folder / "done.json", finished_facts(self.stage))
        return self.folder

    def __enter__(self) -> StageLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _require_inside(self, step: int) -> None:
        if 0 <= step < self.stage.steps:
            return
        last = self.stage.steps - 1
        raise CodemixError(
            f"stage `{self.stage.name}` has no step {step:,}",
            hints=[f"its steps are 0 to {last:,}, wherever it stands in a run"],
            rule="foreign-log",
        )

    def _opened_at(self, step: int) -> MetricsFile:
        if is_done(self.folder):
            raise CodemixError(
                f"{self.folder} is the log of a stage that is finished",
                hints=["log another run of it in another folder"],
                rule="foreign-log",
            )
        file = MetricsFile(self.folder / "metrics.jsonl", step)
        if len(file.kept) != step:
            file.close()
            raise self._not_next(step, len(file.kept))
        return file

    def _not_next(self, step: int, expected: int) -> CodemixError:
        return CodemixError(
            f"step {step:,} of stage `{self.stage.name}` is logged where step {expected:,} comes next",
            hints=["log every step once, in order; a step that was read and not logged is not in the ledger"],
            rule="foreign-log",
        )

    def _tokens_of_run(self, steps: int) -> int:
        """Tokens of the run when `steps` of this stage are done."""
        rows = self.stage.rows
        if steps < self.stage.steps:
            rows = self.stage.first_row(steps)
        return self.stage.run_tokens + rows * self.stage.seq_len

    def _rows_by_source(self) -> dict[str, int]:
        """Rows of the whole stage by source, counted in its order."""
        stage = self.stage
        order = Order(stage)
        names = [planned.source for planned in stage.sources]
        counts = np.zeros(len(names), np.int64)
        for first in range(0, stage.rows, _BLOCK):
            stop = min(first + _BLOCK, stage.rows)
            rows = order.between(first, stop)
            counts += np.bincount(rows.source, minlength=len(names))
        return dict(zip(names, counts.tolist(), strict=True))


def stage_of_log(folder: Path) -> dict[str, Any]:
    """The lineage of a log. Raises CodemixError (`foreign-log`) for a folder that is none."""
    path = folder / "lineage.json"
    if not path.exists():
        raise CodemixError(
            f"{folder} is not the log of a stage",
            hints=["`codemix.open(RECIPE).log(STAGE, FOLDER)` writes one, in another trainer"],
            rule="foreign-log",
        )
    return read_json(path)


def logs_by_stage(folders: Iterable[Path]) -> dict[str, Path]:
    """Stage fingerprint -> its log. Raises CodemixError (`foreign-log`) for two logs of one stage."""
    logs: dict[str, Path] = {}
    for folder in folders:
        found = stage_of_log(folder)
        first = logs.setdefault(found["fingerprint"], folder)
        if first != folder:
            raise CodemixError(
                f"{first} and {folder} are both logs of stage `{found['stage']}`",
                hints=["give one of them; another seed or another recipe is another stage"],
                rule="foreign-log",
            )
    return logs


def _refuse_other(stage: StagePlan, folder: Path) -> None:
    found = stage_of_log(folder)
    if found["fingerprint"] != stage.fingerprint:
        there = f"`{found['stage']}` ({found['fingerprint'][:12]})"
        raise CodemixError(
            f"{folder} is the log of {there}, this is `{stage.name}` ({stage.fingerprint[:12]})",
            hints=[
                "log each stage in a folder of its own; a changed recipe or other data make another stage"
            ],
            rule="foreign-log",
        )
