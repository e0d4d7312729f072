"""EleutherAI's lm-eval over a codemix checkpoint: its templates and metrics, our scores.
Needs the extra `codemix[lm-eval]`.

Its built-in tasks run on local files, offline. Code tasks do not go this way (lm-eval fetches their metric
from a hub when it starts), nor do QuAC and StoryCloze: those stay with codemix's own engine, and each result
says which it was.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codemix.errors import CodemixError
from codemix.eval.engine.generate import Decoding, generate
from codemix.eval.engine.score import Engine
from codemix.eval.task_shapes.choice import Choice
from codemix.eval.task_shapes.example_files import Row, digest, identities, json_lines
from codemix.eval.task_shapes.task import Task, TaskResult, mean
from codemix.eval.task_shapes.written import Answer, Reference, gold_scores

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
Requests = Sequence[Any]  # lm-eval's instances, or its token triples
LogLikelihood = tuple[float, bool]  # [nats], and whether the continuation is the likeliest
# BoolQ's own files say `answer`; lm-eval would take the missing `label` for a text.
OVERRIDES = {"boolq": {"doc_to_target": "{{answer|int}}"}}


def language_model(engine: Engine, about: Mapping[str, Any] | None = None) -> Any:
    """An engine as lm-eval's `TemplateLM`. `about` goes into lm-eval's own results."""
    template_lm: Any = _import().api.model.TemplateLM

    class CodemixLM(template_lm):
        tokenizer_name = "codemix"
        max_length = engine.longest

        @property
        def eot_token_id(self) -> int:
            return engine.text.eos_id

        # lm-eval's own loses text where a token holds some of both.
        _encode_pair = staticmethod(engine.text.pair)

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            tokens = engine.text.encode(string)
            return tokens

        def _loglikelihood_tokens(self, requests: Requests, **_: Any) -> list[LogLikelihood]:
            pairs = []
            for _, context, continuation in requests:
                pairs.append((context, continuation))
            scores = engine.score_tokens(pairs)
            return [(score.log_p, score.greedy) for score in scores]

        def loglikelihood_rolling(self, requests: Requests, disable_tqdm: bool = False) -> list[float]:
            documents = []
            for request in requests:
                text = request.args[0]
                documents.append(engine.text.encode(text))
            scores = engine.score_documents(documents)
            return [score.log_p for score in scores]

        def generate_until(self, requests: Requests, disable_tqdm: bool = False) -> list[str]:
            texts = [""] * len(requests)
            for settings, numbers in _by_settings(requests).items():
                prompts = [requests[number].args[0] for number in numbers]
                how = decoding(json.loads(settings))
                answers = generate(engine, prompts, how, label="lm-eval")
                for number, [answer] in zip(numbers, answers, strict=True):
                    texts[number] = answer.text
            return texts

        def get_model_info(self) -> dict[str, Any]:
            return dict(about or {})

    return CodemixLM()


def _by_settings(requests: Requests) -> Mapping[str, list[int]]:
    """The numbers of the requests to generate, by their settings as JSON."""
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        _, settings = request.args
        key = json.dumps(settings, sort_keys=True)
        numbers[key].append(number)
    return numbers


def decoding(settings: Mapping[str, Any]) -> Decoding:
    """lm-eval's generation settings as ours."""
    until = settings.get("until") or []
    temperature = settings.get("temperature") or 0.0
    is_sampled = settings.get("do_sample", True)
    return Decoding(
        max_tokens=int(settings.get("max_gen_toks", 256)),
        stop=(until,) if isinstance(until, str) else tuple(until),
        temperature=float(temperature) if is_sampled else 0.0,
        top_p=float(settings.get("top_p") or 1.0),
    )


def run(task: Task, rows: Sequence[Row], engine: Engine) -> TaskResult:
    """A task as lm-eval asks it and counts it, on the same rows. Its metric is lm-eval's own."""
    lm_eval = _import()
    samples = _samples(lm_eval, task, rows, engine)
    if len(samples) != len(rows):
        raise CodemixError(
            f"lm-eval scored {len(samples)} examples of `{task.kind}`, the file has {len(rows)}",
            rule="lm-eval",
        )
    about = {
        "engine": f"lm-eval {lm_eval.__version__}",
        "template": f"lm-eval {lm_eval.__version__} {TASKS[task.kind]}",
    }
    if isinstance(task, Choice):
        return _of_choices(task, rows, samples, engine, about)
    assert isinstance(task, Answer)  # TASKS holds no others
    return _of_answers(task, rows, samples, engine, about)


def _samples(lm_eval: Any, task: Task, rows: Sequence[Row], engine: Engine) -> list[Row]:
    """What lm-eval logs of each example, in the order of the rows."""
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
    return sorted(results["samples"][name], key=lambda sample: sample["doc_id"])


def _of_answers(
    task: Answer, rows: Sequence[Row], samples: Sequence[Row], engine: Engine, about: dict[str, Any]
) -> TaskResult:
    prompts = [sample["arguments"][0][0] for sample in samples]
    references = [Reference(prompt, task.gold(row)) for prompt, row in zip(prompts, rows, strict=True)]
    gold = gold_scores(engine, references, task.kind)
    records = []
    for name, row, sample, prompt, bits in zip(identities(rows), rows, samples, prompts, gold, strict=True):
        text = sample["filtered_resps"][0]
        record = {
            "id": name,
            "prompt_sha256": digest(prompt),
            "gold": task.answers(row)[:20],
            "predicted": text,
            "correct": float(sample["exact_match"]) if text.strip() else 0.0,  # lm-eval credits silence
        }
        records.append(record | bits)
    return _result("exact_match", records, about)


def _of_choices(
    task: Choice, rows: Sequence[Row], samples: Sequence[Row], engine: Engine, about: dict[str, Any]
) -> TaskResult:
    questions = task.each(rows, task.question)
    golds = [question.gold for question in questions]
    is_normalised = task.normalise != "none" and "acc_norm" in samples[0]
    metric = "acc_norm" if is_normalised else "acc"
    records = []
    for name, sample, gold in zip(identities(rows), samples, golds, strict=True):
        record = _choice(engine, name, sample, gold)
        records.append(record | {"correct": float(sample[metric])})
    about = about | {"lm_eval_metric": metric}
    return _result("accuracy", records, about, _chance(records))


def _chance(records: Sequence[Row]) -> float:
    """What guessing scores."""
    chances = [1 / len(record["log_p"]) for record in records]
    n = len(chances)
    return sum(chances) / n


def _choice(engine: Engine, name: str, sample: Mapping[str, Any], gold: int) -> Row:
    log_p = [float(answer[0][0]) for answer in sample["resps"]]
    if not 0 <= gold < len(log_p) or not all(map(math.isfinite, log_p)):
        raise CodemixError(
            f"lm-eval: example {name} has the right answer {gold} of {len(log_p)} and scores {log_p}",
            rule="task-data",
        )
    predicted = log_p.index(max(log_p))
    # A missing column makes lm-eval compare with a text, silently.
    if bool(sample["acc"]) != (predicted == gold):
        what = f"lm-eval does not take choice {gold} of example {name} for the right one"
        raise CodemixError(what, hints=["check the columns of the file"], rule="task-data")
    contexts = [context for context, _ in sample["arguments"]]
    n_bytes = [engine.text.cut([argument])[0].n_bytes for argument in sample["arguments"]]
    return {
        "id": name,
        "prompt_sha256": digest("\0".join(contexts)),
        "gold": gold,
        "predicted": predicted,
        "log_p": log_p,
        "bytes": n_bytes,
        "gold_bits": -log_p[gold] / math.log(2),
        "gold_bytes": n_bytes[gold],
    }


def _result(
    metric: str, records: list[Row], about: dict[str, Any], chance: float | None = None
) -> TaskResult:
    correct = [record["correct"] for record in records]
    headline = mean(correct)
    return TaskResult(metric, headline.value, headline.stderr, records, chance=chance, about=about)


def _write_task(folder: Path, task: Task, rows: Sequence[Row], package: Path) -> str:
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
    cache = os.path.join(tempfile.gettempdir(), f"codemix-lm-eval-{os.getuid()}")
    os.environ.setdefault("HF_DATASETS_CACHE", cache)
    try:
        import lm_eval
        import lm_eval.api.model
        import lm_eval.tasks
    except ImportError:
        raise CodemixError(
            "lm-eval is not installed", hints=["pip install 'codemix[lm-eval]'"], rule="needs-extra"
        ) from None
    return lm_eval
