"""The evaluation of one finished stage: what it measures, where the numbers go, and how it goes on after an interruption."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from codemix.data.encoding.tokenizer import TokenizerFile
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store, read_json, write_json, write_text
from codemix.errors import CodemixError
from codemix.eval.task_shapes.example_files import json_lines
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.planning.plan import Plan, StagePlan
from codemix.train.run.lineage import one_tokenizer

FORMAT = 1
ENGINE_VERSION = 2  # raised when the same checkpoint and text would score otherwise


@dataclass(frozen=True)
class EvalOptions:
    """Place, not meaning."""

    data: Path | None = None  # folder of the tasks' files, as `fetch_data` makes it
    data_root: Path = Path(".")  # what a task's own `path:` is relative to
    mesh: Mapping[str, int] | None = (
        None  # devices by axis (data, fsdp, model); None: every device, as in training
    )
    batch_tokens: int | None = None
    unsafe_exec: str | None = None  # "subprocess": consent to run model-written code without bubblewrap
    workers: int | None = None  # programs that run at once
    harness: str | None = None  # "lm-eval": score the tasks through that package
    contamination: bool = True  # look for the evaluated text in what the run read

    def __post_init__(self):
        for name, allowed in (("unsafe_exec", "subprocess"), ("harness", "lm-eval")):
            if getattr(self, name) not in (None, allowed):
                raise CodemixError(
                    f"`{name}` is {getattr(self, name)!r}",
                    hints=[f"the one value it takes is `{allowed}`"],
                    rule="eval-option",
                )

    @property
    def unsafe(self) -> bool:
        return self.unsafe_exec == "subprocess"


def evaluate(
    plan: Plan,
    index: int,
    store: Store,
    manifests: Mapping[str, Manifest],
    stage_dir: Path,
    *,
    options: EvalOptions | None = None,
) -> Path:
    """The results.json with the scores of stage `index` of a plan; documents.jsonl and examples/<task>.jsonl lie beside it.

    Measures bits per byte of every source in `manifests` that holds documents out, also those the stage did not read, and
    the recipe's tasks. What is already in the store is not measured again; each finished part survives an interruption.
    """
    options = options or EvalOptions()
    stage, evaluation = plan.stages[index], plan.recipe.evaluation
    tasks, data, print_ = _asked(plan, index, manifests, options)
    final = store.path("evals", stage.name, print_)
    if (final / "results.json").is_file():
        return final / "results.json"
    rows = {name: task.rows(data[name]) for name, task in tasks.items()}
    texts = {
        name: task.texts(rows[name]) for name, task in tasks.items()
    }  # here, so that a bad row is said before hours of scoring
    engine = None

    def ready():
        nonlocal engine
        engine = engine or make_engine(stage, store, manifests, stage_dir, options)
        return engine

    with store.building(final) as work:
        results = {
            "format": FORMAT,
            "engine_version": ENGINE_VERSION,
            "stage": stage.name,
            "stage_fingerprint": stage.fingerprint,
            "fingerprint": print_,
            "tokenizer_sha256": one_tokenizer(manifests)["sha256"],
            "bits_per_byte": {},
            "bits_per_byte_macro": None,
            "tasks": {},
            "aggregates": {},
            "environment": environment(),
        }
        if evaluation.bits_per_byte:
            results["bits_per_byte"], records = _bits(work, ready, manifests, evaluation.max_bytes)
            write_text(work / "documents.jsonl", json_lines(records))
            values = [summary["bits_per_byte"] for summary in results["bits_per_byte"].values()]
            results["bits_per_byte_macro"] = sum(values) / len(values) if values else None
        if tasks:
            from codemix.eval.measure.suite import run_tasks

            found = run_tasks(tasks, data, rows, ready, options, partial(part, work))
            results["tasks"], results["aggregates"], examples = found
            for name, lines in examples.items():
                write_text(work / "examples" / f"{name}.jsonl", lines)
        if options.contamination:
            for name, found in part(
                work, "contamination", lambda: _overlap(stage, manifests, ready, results, texts)
            ).items():
                family, _, name = name.partition("/")
                results["bits_per_byte" if family == "bits" else "tasks"][name]["contamination"] = found
        write_json(work / "results.json", results)
        shutil.rmtree(work / "parts", ignore_errors=True)
    return final / "results.json"


def results_path(
    plan: Plan, index: int, store: Store, manifests: Mapping[str, Manifest], options: EvalOptions
) -> Path:
    """Where `evaluate` leaves, or left, the results of a stage."""
    return (
        store.path("evals", plan.stages[index].name, _asked(plan, index, manifests, options)[2])
        / "results.json"
    )


def _asked(
    plan: Plan, index: int, manifests: Mapping[str, Manifest], options: EvalOptions
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Tasks by name, their files of examples, and the fingerprint of it all."""
    tasks = named_tasks(plan.recipe.evaluation.tasks)
    data = {name: task.find(options) for name, task in tasks.items()}
    return (
        tasks,
        data,
        evaluation_fingerprint(plan, index, manifests, {name: d.sha256 for name, d in data.items()}, options),
    )


def named_tasks(tasks) -> dict[str, Any]:
    """Tasks by the name their results go by: the kind, or the task's own `name:`. Raises CodemixError when two share one."""
    named: dict[str, Any] = {}
    for task in tasks:
        name = task.name or task.kind
        if name in named:
            raise CodemixError(
                f"two tasks are called `{name}`",
                hints=["give one of them a `name:` of its own"],
                rule="task-twice",
            )
        named[name] = task
    return named


def evaluation_fingerprint(
    plan: Plan, index: int, manifests: Mapping[str, Manifest], data: Mapping[str, str], options: EvalOptions
) -> str:
    """The identity of an evaluation: the weights, what is measured, and the content of the text it is measured on."""
    evaluation = plan.recipe.evaluation
    return fingerprint(
        {
            "engine": ENGINE_VERSION,
            "stage": plan.stages[index].fingerprint,
            "evaluation": evaluation,
            "data": dict(data),
            "names": list(data),
            "held_out": {
                s: [[x.sha256, x.docs_sha256] for x in m.shards("held_out")] for s, m in manifests.items()
            }
            if evaluation.bits_per_byte
            else {},
            "contamination": options.contamination,
            "harness": options.harness,
        }
    )


def make_engine(
    stage: StagePlan, store: Store, manifests: Mapping[str, Manifest], stage_dir: Path, options: EvalOptions
):
    """The stage's final weights with their tokenizer, ready to score and to generate."""
    import jax

    from codemix.eval.engine.score import Engine
    from codemix.eval.engine.text import Text
    from codemix.train.model.decoder import init_decoder
    from codemix.train.model.mesh import mesh_of, shape_of, shardings
    from codemix.train.run.checkpoint import load_model

    tokenizer = one_tokenizer(manifests)
    text = Text(tokenizer_file(store, tokenizer["sha256"]).path, tokenizer["eos_id"])
    mesh = sharding = None
    if options.mesh is not None or jax.device_count() > 1:
        mesh = mesh_of(shape_of(options.mesh, stage.model))
        sharding = shardings(
            mesh,
            jax.eval_shape(lambda: init_decoder(stage.model, tokenizer["vocab_size"], jax.random.key(0))),
        )
    model = load_model(stage_dir, stage.model, tokenizer["vocab_size"], sharding=sharding)
    dtype = stage.training.compute_dtype
    return Engine(
        model, text, longest=stage.seq_len, compute_dtype=dtype, batch_tokens=options.batch_tokens, mesh=mesh
    )


def tokenizer_file(store: Store, sha256: str) -> TokenizerFile:
    """The stored tokenizer with this content hash. Raises CodemixError when the store does not hold it."""
    for meta in sorted((store.root / "tokenizers").glob("*/meta.json")):
        if read_json(meta).get("sha256") == sha256:
            return TokenizerFile.load(meta.parent)
    raise CodemixError(
        f"the store has no tokenizer {sha256[:12]}, with which the shards were made",
        hints=["run `codemix build-data` with the same recipe and store"],
        rule="tokenizer-missing",
    )


def environment() -> dict[str, Any]:
    """What ran: versions and device, for the record; no part of identity."""
    import jax

    import codemix

    return {
        "codemix": codemix.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
    }


def part(work: Path, name: str, compute) -> dict[str, Any]:
    """A part of the results, computed once and kept beside the work in progress."""
    path = work / "parts" / f"{name}.json"
    if not path.is_file():
        write_json(path, compute())
    return read_json(path)


def _bits(
    work: Path, ready, manifests: Mapping[str, Manifest], max_bytes: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from codemix.eval.measure.bits_per_byte import bits_per_byte

    summaries, records = {}, []
    for source in sorted(manifests):
        if manifests[source].documents("held_out"):
            found = part(work, f"bits-{source}", lambda: bits_per_byte(ready(), manifests[source], max_bytes))  # noqa: B023 -- called at once
            if found is not None:
                summaries[source] = found[0]
                records += found[1]
    return summaries, records


def _overlap(
    stage: StagePlan,
    manifests: Mapping[str, Manifest],
    ready,
    results: dict[str, Any],
    texts: Mapping[str, list[str]],
) -> dict[str, Any]:
    """By `bits/<source>` and `tasks/<name>`, how much of the evaluated text the run has read."""
    from codemix.eval.measure import bits_per_byte as bits
    from codemix.eval.measure.contamination import overlap

    tokens: dict[str, Any] = {}
    for source, summary in results["bits_per_byte"].items():
        manifest = manifests[source]
        chosen = bits.subset([d for d in bits.held_out(manifest) if d.bytes], summary["max_bytes"])
        tokens[f"bits/{source}"] = bits.tokens(manifest, chosen)
    tokens |= {
        f"tasks/{name}": [ready().text.encode(text) for text in of_task] for name, of_task in texts.items()
    }
    return overlap(stage, manifests, tokens)
