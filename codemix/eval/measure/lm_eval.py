"""EleutherAI's lm-eval over a codemix checkpoint: its templates and metrics, our scores. Needs the extra `codemix[lm-eval]`.

Its built-in tasks run on local files, offline. Code tasks do not go this way (lm-eval fetches their metric from a hub
when it starts), nor do QuAC and StoryCloze: those stay with codemix's own engine, and each result says which it was.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codemix.errors import CodemixError
from codemix.eval.engine.generate import Decoding, generate
from codemix.eval.engine.score import Engine
from codemix.eval.task_shapes.example_files import digest, identities, json_lines
from codemix.eval.task_shapes.task import Outcome, Task, mean
from codemix.eval.task_shapes.written import gold_scores

TASKS = {  # kind -> lm-eval's file
    "boolq": "super_glue/boolq/default.yaml",
    "piqa": "piqa/piqa.yaml",
    "sciq": "sciq/sciq.yaml",
    "social_iqa": "siqa/siqa.yaml",
    "cb": "super_glue/cb/default.yaml",
    "copa": "super_glue/copa/default.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "winogrande": "winogrande/default.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "triviaqa": "triviaqa/default.yaml",
    "nq_open": "nq_open/nq_open.yaml",
}
OVERRIDES = {
    "boolq": {"doc_to_target": "{{answer|int}}"}
}  # BoolQ's own files say `answer`; lm-eval would take the missing `label` for a text


def language_model(engine: Engine, about: Mapping[str, Any] | None = None) -> Any:
    """An engine as lm-eval's `TemplateLM`. `about` goes into lm-eval's own results."""
    template_lm = _import().api.model.TemplateLM

    class CodemixLM(template_lm):
        tokenizer_name = "codemix"
        max_length = engine.longest

        @property
        def eot_token_id(self) -> int:
            return engine.text.eos_id

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            return engine.text.encode(string)

        def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
            return engine.text.pair(
                context, continuation
            )  # lm-eval's own loses text where a token holds some of both

        def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
            return [
                (s.log_p, s.greedy)
                for s in engine.score_tokens(
                    [(context, continuation) for _, context, continuation in requests]
                )
            ]

        def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
            return [
                s.log_p for s in engine.score_documents([engine.text.encode(r.args[0]) for r in requests])
            ]

        def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
            by_settings: dict[str, list[int]] = {}
            for number, request in enumerate(requests):
                by_settings.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(number)
            found = [""] * len(requests)
            for settings, numbers in by_settings.items():
                texts = generate(
                    engine,
                    [requests[n].args[0] for n in numbers],
                    decoding(json.loads(settings)),
                    label="lm-eval",
                )
                for n, [text] in zip(numbers, texts, strict=True):
                    found[n] = text.text
            return found

        def get_model_info(self) -> dict[str, Any]:
            return dict(about or {})

    return CodemixLM()


def decoding(settings: Mapping[str, Any]) -> Decoding:
    """lm-eval's generation settings as ours."""
    until = settings.get("until") or []
    return Decoding(
        max_tokens=int(settings.get("max_gen_toks", 256)),
        stop=(until,) if isinstance(until, str) else tuple(until),
        temperature=float(settings.get("temperature") or 0.0) if settings.get("do_sample", True) else 0.0,
        top_p=float(settings.get("top_p") or 1.0),
    )


def run(task: Task, rows: Sequence[dict[str, Any]], engine: Engine) -> Outcome:
    """A task as lm-eval asks it and counts it, on the same rows. Its metric is lm-eval's own."""
    lm_eval = _import()
    with tempfile.TemporaryDirectory(prefix="codemix-") as folder:
        name = _write_task(Path(folder), task, rows, Path(lm_eval.__file__).parent)
        manager = lm_eval.tasks.TaskManager(include_path=folder, include_defaults=False)
        results = lm_eval.simple_evaluate(
            model=language_model(engine),
            tasks=[name],
            task_manager=manager,
            bootstrap_iters=0,
            log_samples=True,
        )
    samples = sorted(results["samples"][name], key=lambda s: s["doc_id"])
    if len(samples) != len(rows):
        raise CodemixError(
            f"lm-eval scored {len(samples)} examples of `{task.kind}`, the file has {len(rows)}",
            rule="lm-eval",
        )
    about = {
        "engine": f"lm-eval {lm_eval.__version__}",
        "template": f"lm-eval {lm_eval.__version__} {TASKS[task.kind]}",
    }
    ids = identities(rows)
    if "acc" not in samples[0]:
        references = gold_scores(
            engine, [s["arguments"][0][0] for s in samples], [task.gold(row) for row in rows], task.kind
        )
        records = [
            {
                "id": i,
                "prompt_sha256": digest(s["arguments"][0][0]),
                "gold": task.answers(row)[:20],
                "predicted": s["filtered_resps"][0],
                "correct": float(s["exact_match"]) if s["filtered_resps"][0].strip() else 0.0,
                **reference,
            }  # lm-eval credits silence
            for i, row, s, reference in zip(ids, rows, samples, references, strict=True)
        ]
        return _outcome("exact_match", records, about)
    golds = [question.gold for question in task.each(rows, task.question)]
    records = [_choice(engine, i, s, gold) for i, s, gold in zip(ids, samples, golds, strict=True)]
    measure = (
        "acc_norm" if getattr(task, "normalise", "none") != "none" and "acc_norm" in samples[0] else "acc"
    )
    for record, sample in zip(records, samples, strict=True):
        record["correct"] = float(sample[measure])
    chance = sum(1 / len(r["log_p"]) for r in records) / len(records)
    return _outcome("accuracy", records, about | {"lm_eval_metric": measure}, chance)


def _choice(engine: Engine, name: str, sample: Mapping[str, Any], gold: int) -> dict[str, Any]:
    log_p = [float(answer[0][0]) for answer in sample["resps"]]
    if not 0 <= gold < len(log_p) or not all(map(math.isfinite, log_p)):
        raise CodemixError(
            f"lm-eval: example {name} has the right answer {gold} of {len(log_p)} and scores {log_p}",
            rule="task-data",
        )
    predicted = log_p.index(max(log_p))
    if bool(sample["acc"]) != (
        predicted == gold
    ):  # a missing column makes lm-eval compare with a text, without a word
        what = f"lm-eval does not take choice {gold} of example {name} for the right one"
        raise CodemixError(what, hints=["check the columns of the file"], rule="task-data")
    n_bytes = [engine.text.cut([argument])[0].n_bytes for argument in sample["arguments"]]
    return {
        "id": name,
        "prompt_sha256": digest("\0".join(a[0] for a in sample["arguments"])),
        "gold": gold,
        "predicted": predicted,
        "log_p": log_p,
        "bytes": n_bytes,
        "gold_bits": -log_p[gold] / math.log(2),
        "gold_bytes": n_bytes[gold],
    }


def _outcome(
    metric: str, records: list[dict[str, Any]], about: dict[str, Any], chance: float | None = None
) -> Outcome:
    score, stderr = mean([r["correct"] for r in records])
    return Outcome(metric, score, stderr, records, chance=chance, about=about)


def _write_task(folder: Path, task: Task, rows: Sequence[dict[str, Any]], package: Path) -> str:
    """A task file that is lm-eval's own one, on our rows; JSON is YAML."""
    name = f"codemix_{task.kind}"
    data = folder / "rows.jsonl"
    data.write_text(json_lines(rows), encoding="utf-8")
    content = {
        "include": str(package / "tasks" / TASKS[task.kind]),
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"validation": str(data)}},
        "training_split": None,
        "validation_split": "validation",
        "test_split": None,
        "fewshot_split": None,
        **OVERRIDES.get(task.kind, {}),
    }
    (folder / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")
    return name


def _import() -> Any:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything it needs is here
    os.environ.setdefault(
        "HF_DATASETS_CACHE", os.path.join(tempfile.gettempdir(), f"codemix-lm-eval-{os.getuid()}")
    )
    try:
        import lm_eval
        import lm_eval.api.model
        import lm_eval.tasks
    except ImportError:
        raise CodemixError(
            "lm-eval is not installed", hints=["pip install 'codemix[lm-eval]'"], rule="needs-extra"
        ) from None
    return lm_eval
