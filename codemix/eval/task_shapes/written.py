"""Tasks whose answer is written by the model: compared with known answers, or run against tests."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from codemix.eval.task_shapes.example_files import digest, identities
from codemix.eval.task_shapes.task import Groups, Outcome, Task, mean

if TYPE_CHECKING:
    from codemix.eval.engine.score import Engine


class Written(Task):
    """What tasks share whose answer is generated."""

    stop: ClassVar[tuple[str, ...]] = ()
    max_tokens: int = Field(
        64,
        ge=1,
        le=4096,
        description="tokens written at most; fewer where the model cannot look at twice as many",
    )

    def prompt(self, row: dict[str, Any]) -> str:
        raise NotImplementedError

    def gold(self, row: dict[str, Any]) -> str:
        """The reference, as it would follow the prompt: its bits per byte are the steadiest measure of a small model."""
        raise NotImplementedError

    def texts(self, rows):
        return [prompt + gold for prompt, gold in self.references(rows)]

    def references(self, rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
        """(prompt, reference) of each row. Raises CodemixError for a row without either."""
        found = self.each(rows, lambda row: (self.prompt(row), self.gold(row)))
        for number, pair in enumerate(found):
            if not all(isinstance(text, str) for text in pair):
                raise self.bad(number, "its prompt or its reference is not text")
            if not pair[1].strip():
                raise self.bad(number, "its reference is empty")
        return found

    def written(self, engine, rows, *, temperature=0.0, top_p=1.0, samples=1, seed=0):
        """(records without verdicts, texts by example, what to say about decoding)."""
        from codemix.eval.engine.generate import Decoding, generate

        prompts, references = zip(*self.references(rows), strict=True)
        decoding = Decoding(self.max_tokens, self.stop, temperature, top_p, samples, seed).within(
            engine.longest
        )
        gold = gold_scores(engine, prompts, references, self.kind)
        found = generate(engine, prompts, decoding, label=self.kind)
        records = [
            {
                "id": name,
                "prompt_sha256": digest(prompt),
                "output": [g.text for g in made],
                "finish": [g.finish for g in made],
                **bits,
            }
            for name, prompt, made, bits in zip(identities(rows), prompts, found, gold, strict=True)
        ]
        about = {
            "decoding": vars(decoding) | {"stop": list(decoding.stop)},
            "prompts_cut": sum(made[0].truncated for made in found),
        }
        return records, [[g.text for g in made] for made in found], about


class Answer(Written):
    """A short answer, written greedily and compared with the known ones."""

    metric: ClassVar[str] = "exact_match"

    def answers(self, row: dict[str, Any]) -> list[str]:
        raise NotImplementedError

    def credit(self, text: str, answers: Sequence[str]) -> float:
        """How right a text is that is not empty."""
        return float(comparable(text) in map(comparable, answers))

    def gold(self, row):
        return f" {next(filter(str.strip, self.answers(row)))}"

    def references(self, rows):
        for number, answers in enumerate(self.each(rows, self.answers)):
            if not all(isinstance(a, str) for a in answers) or not any(map(str.strip, answers)):
                raise self.bad(number, "it has no answer, or one that is not text")
        return super().references(rows)

    def run(self, engine, rows, options):
        records, texts, about = self.written(engine, rows)
        for record, row, [text] in zip(records, rows, texts, strict=True):
            correct = self.credit(text, self.answers(row)) if text.strip() else 0.0
            record |= {"gold": self.answers(row)[:20], "predicted": text, "correct": correct}
        score, stderr = mean([r["correct"] for r in records])
        return Outcome(self.metric, score, stderr, records, about=about)


class ClosedBook(Answer):
    """A question answered from memory: any of its known answers counts. lm-eval's templates and stop strings."""

    group: ClassVar[Groups] = "knowledge"
    template: ClassVar[str] = "lm-eval 0.4.13"
    columns: ClassVar[tuple[str, ...]] = ("question", "answer")
    split: ClassVar[str] = "validation"
    stop: ClassVar[tuple[str, ...]] = ("\n", ".", ",")


class Program(Written):
    """A program, written and then run against tests in the sandbox; pass@k without bias from n samples."""

    group: ClassVar[Groups] = "code"
    version: ClassVar[int] = 2  # of the sandbox: what passes there
    samples: int = Field(1, ge=1, le=1000, description="programs written for each example")
    k: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1,), min_length=1, description="pass@k for each; the first is the headline. Needs samples >= k"
    )
    temperature: float = Field(0.0, ge=0, le=5, description="0: the likeliest token; pass@1 is greedy then")
    top_p: float = Field(
        1.0, gt=0, le=1, description="sample from the likeliest tokens that hold this much of the mass"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="decides the samples when the temperature is above 0")
    timeout_s: float = Field(10.0, gt=0, le=600, description="time each program has [s]")
    max_tokens: int = Field(
        512,
        ge=1,
        le=4096,
        description="tokens written at most; fewer where the model cannot look at twice as many",
    )

    @model_validator(mode="after")
    def _enough_samples(self):
        if max(self.k) > self.samples:
            what = f"pass@{max(self.k)} needs {max(self.k)} samples, and `samples` is {self.samples}"
            raise PydanticCustomError("pass-at-k", what, {"hints": [f"set `samples: {max(self.k)}` or more"]})
        if self.samples > 1 and not self.temperature:
            what = "{samples} samples at temperature 0 are one text {samples} times: pass@k says no more than pass@1"
            hints = ["set a `temperature:` such as 0.8, or leave `samples` and `k` out"]
            raise PydanticCustomError("greedy-samples", what, {"samples": self.samples, "hints": hints})
        return self

    def program(self, row: dict[str, Any], text: str) -> str:
        """What is run: it passes when it comes to its end."""
        raise NotImplementedError

    def run(self, engine, rows, options):
        from codemix.eval.task_shapes.pass_at_k import pass_at_k
        from codemix.sandbox.sandbox import ISOLATION, isolation_available, run_many

        isolation = isolation_available(unsafe=options.unsafe)
        sampling = dict(temperature=self.temperature, top_p=self.top_p, samples=self.samples, seed=self.seed)
        records, texts, about = self.written(engine, rows, **sampling)
        programs = [self.program(row, text) for row, made in zip(rows, texts, strict=True) for text in made]
        verdicts = iter(
            run_many(programs, timeout_s=self.timeout_s, unsafe=options.unsafe, workers=options.workers)
        )
        values: dict[int, list[float]] = {k: [] for k in self.k}
        for record in records:
            found = [next(verdicts) for _ in range(self.samples)]
            reasons = [
                v.reason if text.strip() else "empty" for v, text in zip(found, record["output"], strict=True)
            ]
            passed = sum(v.passed for v, reason in zip(found, reasons, strict=True) if reason != "empty")
            record |= {"passed": passed, "samples": self.samples, "reasons": reasons}
            for k in self.k:
                values[k].append(pass_at_k(self.samples, passed, k))
            record["correct"] = values[self.k[0]][-1]
        score, stderr = mean(values[self.k[0]])
        reasons = [reason for record in records for reason in record["reasons"]]
        more = {f"pass@{k}": mean(v)[0] for k, v in values.items()}
        more |= {"timeouts": reasons.count("timeout"), "empty": reasons.count("empty")}
        return Outcome(
            f"pass@{self.k[0]}",
            score,
            stderr,
            records,
            more=more,
            about=about | {"isolation": ISOLATION[isolation]},
        )


def gold_scores(
    engine: Engine, prompts: Sequence[str], golds: Sequence[str], label: str
) -> list[dict[str, Any]]:
    """Bits and bytes of each reference after its prompt."""
    scores = engine.score_continuations(list(zip(prompts, golds, strict=True)), label=f"{label}: references")
    return [{"gold_bits": s.bits, "gold_bytes": s.n_bytes} for s in scores]


def normal(text: str) -> str:
    """An answer as SQuAD and TriviaQA compare it: lower case, no punctuation, no articles, single spaces."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def comparable(text: str) -> str:
    """`normal`, or where that leaves nothing ("The The", "!!!", the letter "A") the text as written, in lower case.

    So nothing that is written equals an answer only because both normalise to nothing.
    """
    return normal(text) or " ".join(text.lower().split())
