"""The evaluation of one finished stage: what it measures, where the numbers go, and how it resumes after an
interruption."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.encoding.tokenizer import stored_tokenizer
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store, read_json, write_json, write_text
from codemix.eval.evidence import scored
from codemix.eval.evidence.rows import row_text
from codemix.eval.measure.request import ENGINE_VERSION, Request, RowsByTask, TextsByTask
from codemix.eval.options import EvalOptions
from codemix.eval.task_shapes.example_files import Row, json_lines
from codemix.recipe.planning.plan import Plan, StagePlan
from codemix.train.run.lineage import one_tokenizer

if TYPE_CHECKING:
    from codemix.eval.engine.score import Engine

FORMAT = 1


def evaluate(
    plan: Plan,
    index: int,
    store: Store,
    manifests: Mapping[str, Manifest],
    stage_dir: Path,
    *,
    options: EvalOptions | None = None,
) -> Path:
    """The results.json with the scores of stage `index` of a plan; documents.jsonl and examples/<task>.jsonl
    are beside it.

    Measures bits per byte of every source in `manifests` that holds documents out, also those the stage did
    not read, and the recipe's tasks. What is already in the store is not measured again; each finished part
    survives an interruption.
    """
    options = options or EvalOptions()
    request = Request.of(plan, index, manifests, options)
    engine = cache(lambda: make_engine(plan.stages[index], store, manifests, stage_dir, options))
    measuring = _Measuring(plan, index, store, manifests, options, request, engine)
    final = store.path("evals", plan.stages[index].name, request.fingerprint)
    store.make(final, measuring.fill)
    return final / "results.json"


@dataclass(frozen=True)
class _Measuring:
    """The measurements of one request."""

    plan: Plan
    index: int
    store: Store
    manifests: Mapping[str, Manifest]
    options: EvalOptions
    request: Request
    engine: Callable[[], Engine]  # made when the first measurement asks for it

    @property
    def stage(self) -> StagePlan:
        return self.plan.stages[self.index]

    def fill(self, work: Path) -> None:
        """Write results.json and what is beside it into the folder `work`."""
        rows = self.request.rows()
        texts = self.request.texts(
            rows
        )  # before the scoring, so that a bad row is reported before hours of it
        tokenizer = one_tokenizer(self.manifests)
        results = _empty_results(self.stage, self.request.fingerprint, tokenizer["sha256"])
        if self.plan.recipe.evaluation.bits_per_byte:
            self._add_bits(work, results)
        if self.request.tasks:
            self._add_tasks(work, rows, results)
        if self.options.contamination:
            self._add_contamination(work, texts, results)
        self._write_evidence(work, results)
        write_json(work / "results.json", results)
        shutil.rmtree(work / "parts", ignore_errors=True)

    def _add_bits(self, work: Path, results: dict[str, Any]) -> None:
        max_bytes = self.plan.recipe.evaluation.max_bytes
        bits = _bits(work, self.engine, self.manifests, max_bytes)
        records = json_lines(bits.records)
        write_text(work / "documents.jsonl", records)
        results["bits_per_byte"] = bits.summaries
        results["bits_per_byte_macro"] = bits.macro

    def _add_tasks(self, work: Path, rows: RowsByTask, results: dict[str, Any]) -> None:
        from codemix.eval.measure.suite import run_tasks

        request = self.request
        keep = partial(part, work)
        suite = run_tasks(request.tasks, request.files, rows, self.engine, self.options, keep)
        results["tasks"] = suite.summaries
        results["aggregates"] = suite.aggregates
        for name, lines in suite.examples.items():
            write_text(work / "examples" / f"{name}.jsonl", lines)

    def _add_contamination(self, work: Path, texts: TextsByTask, results: dict[str, Any]) -> None:
        overlap = partial(
            _overlap,
            self.stage,
            self.manifests,
            self.engine,
            results,
            texts,
        )
        measured = {"bits": results["bits_per_byte"], "tasks": results["tasks"]}
        found = part(work, "contamination", overlap)
        for key, of_one in found.items():
            family, _, name = key.partition("/")
            measured[family][name]["contamination"] = of_one

    def _write_evidence(self, work: Path, results: Mapping[str, Any]) -> None:
        """What the stage read and how it scored, for `codemix mix`."""
        tokenizer = one_tokenizer(self.manifests)
        row = scored.scored_row(
            self.plan,
            self.index,
            self.store,
            results,
            self.request.measurement,
            tokenizer["vocab_size"],
        )
        if row is not None:
            line = f"{row_text(row)}\n"
            write_text(work / scored.FILE, line)


def _empty_results(stage: StagePlan, evaluation: str, tokenizer_sha256: str) -> dict[str, Any]:
    """A results.json to which the measurements are still to be added."""
    return {
        "format": FORMAT,
        "engine_version": ENGINE_VERSION,
        "stage": stage.name,
        "stage_fingerprint": stage.fingerprint,
        "fingerprint": evaluation,
        "tokenizer_sha256": tokenizer_sha256,
        "bits_per_byte": {},
        "bits_per_byte_macro": None,
        "tasks": {},
        "aggregates": {},
        "environment": environment(),
    }


def make_engine(
    stage: StagePlan, store: Store, manifests: Mapping[str, Manifest], stage_dir: Path, options: EvalOptions
) -> Engine:
    """The stage's final weights with their tokenizer, ready to score and to generate."""
    import jax

    from codemix.eval.engine.score import Engine
    from codemix.eval.engine.text import Text
    from codemix.train.model.decoder import init_decoder
    from codemix.train.model.mesh import mesh_of, shape_of, shardings
    from codemix.train.run.checkpoint import load_model

    tokenizer = one_tokenizer(manifests)
    vocab_size = tokenizer["vocab_size"]
    text = Text(str(stored_tokenizer(store, tokenizer["sha256"]).path), tokenizer["eos_id"])
    mesh = sharding = None
    if options.mesh is not None or jax.device_count() > 1:
        mesh = mesh_of(shape_of(options.mesh, stage.model))
        shapes = jax.eval_shape(lambda: init_decoder(stage.model, vocab_size, jax.random.key(0)))
        sharding = shardings(mesh, shapes)
    model = load_model(stage_dir, stage.model, vocab_size, sharding=sharding)
    dtype = stage.training.compute_dtype
    return Engine(
        model, text, longest=stage.seq_len, compute_dtype=dtype, batch_tokens=options.batch_tokens, mesh=mesh
    )


def environment() -> dict[str, Any]:
    """What ran: versions and device, for the record; not a part of the identity."""
    import jax

    import codemix

    return {
        "codemix": codemix.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
    }


def part(work: Path, name: str, compute: Callable[[], Any]) -> Any:
    """A part of the results, computed once and kept as JSON beside the work in progress."""
    path = work / "parts" / f"{name}.json"
    if not path.is_file():
        write_json(path, compute())
    return read_json(path)


@dataclass
class AllBits:
    """Bits per byte of every source that holds documents out:
    summaries by source, and one record per document.
    """

    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: list[Row] = field(default_factory=list)

    @property
    def macro(self) -> float | None:
        """The mean over sources, each counting as one."""
        values = [summary["bits_per_byte"] for summary in self.summaries.values()]
        if not values:
            return None
        return sum(values) / len(values)


def _bits(
    work: Path, engine: Callable[[], Engine], manifests: Mapping[str, Manifest], max_bytes: int
) -> AllBits:
    from codemix.eval.measure.bits_per_byte import bits_per_byte

    bits = AllBits()
    for source, manifest in sorted(manifests.items()):
        if not manifest.documents("held_out"):
            continue

        def measure(manifest: Manifest = manifest) -> Any:
            return bits_per_byte(engine(), manifest, max_bytes)

        measured = part(work, f"bits-{source}", measure)
        if measured is not None:
            summary, records = measured
            bits.summaries[source] = summary
            bits.records += records
    return bits


def _overlap(
    stage: StagePlan,
    manifests: Mapping[str, Manifest],
    engine: Callable[[], Engine],
    results: dict[str, Any],
    texts: TextsByTask,
) -> dict[str, Any]:
    """By `bits/<source>` and `tasks/<name>`, how much of the evaluated text the run has read."""
    from codemix.eval.measure.bits_per_byte import scored_tokens
    from codemix.eval.measure.contamination import overlap

    tokens: dict[str, Any] = {}
    for source, summary in results["bits_per_byte"].items():
        tokens[f"bits/{source}"] = scored_tokens(manifests[source], summary["max_bytes"])
    for name, of_task in texts.items():
        tokens[f"tasks/{name}"] = [engine().text.encode(text) for text in of_task]
    return overlap(stage, manifests, tokens)
