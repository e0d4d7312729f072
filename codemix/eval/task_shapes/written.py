"""Tasks whose answer is written by the model: compared with known answers, or run against tests."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from codemix.eval.task_shapes.example_files import Row, digest, identities
from codemix.eval.task_shapes.task import Groups, Task, TaskResult, mean

if TYPE_CHECKING:
    from codemix.eval.engine.generate import Decoding
    from codemix.eval.engine.score import Engine
    from codemix.eval.options import EvalOptions
    from codemix.sandbox.sandbox import Result


SHOWN_ANSWERS = 20  # of the known ones, in a record
PASSED = "passed"  # the sandbox's reason for a program that passed


class Reference(NamedTuple):
    """A prompt, and a right answer as it would follow it."""

    prompt: str
    gold: str


@dataclass(frozen=True)
class Generations:
    """What a model wrote: records without verdicts, texts by example, and how they were decoded."""

    records: list[Row]
    texts: Sequence[Sequence[str]]
    about: dict[str, Any]


class Written(Task):
    """What tasks share whose answer is generated."""

    stop: ClassVar[tuple[str, ...]] = ()
    max_tokens: int = Field(
        64,
        ge=1,
        le=4096,
        description="tokens written at most; fewer where the model cannot look at twice as many",
    )

    def prompt(self, row: Row) -> str:
        raise NotImplementedError

    def gold(self, row: Row) -> str:
        """The reference, as it would follow the prompt: its bits per byte are the steadiest measure of a
        small model.
        """
        raise NotImplementedError

    def texts(self, rows: Sequence[Row]) -> list[str]:
        texts = []
        for prompt, gold in self.references(rows):
            texts.append(prompt + gold)
        return texts

    def references(self, rows: Sequence[Row]) -> list[Reference]:
        """The prompt and reference of each row. Raises CodemixError for a row without either."""
        references = self.each(rows, lambda row: Reference(self.prompt(row), self.gold(row)))
        for number, reference in enumerate(references):
            if not all(isinstance(text, str) for text in reference):
                raise self.bad(number, "its prompt or its reference is not text")
            if not reference.gold.strip():
                raise self.bad(number, "its reference is empty")
        return references

    def decoding(self) -> Decoding:
        """How the model writes: greedily, unless a task says otherwise."""
        from codemix.eval.engine.generate import Decoding

        return Decoding(self.max_tokens, self.stop)

    def written(self, engine: Engine, rows: Sequence[Row]) -> Generations:
        from codemix.eval.engine.generate import generate

        references = self.references(rows)
        prompts = [reference.prompt for reference in references]
        decoding = self.decoding().within(engine.longest)
        gold = gold_scores(engine, references, self.kind)
        answers = generate(engine, prompts, decoding, label=self.kind)
        records = []
        for name, prompt, samples, bits in zip(identities(rows), prompts, answers, gold, strict=True):
            record = {
                "id": name,
                "prompt_sha256": digest(prompt),
                "output": [sample.text for sample in samples],
                "finish": [sample.finish for sample in samples],
            }
            records.append(record | bits)
        about = {
            "decoding": vars(decoding) | {"stop": list(decoding.stop)},
            "prompts_cut": sum(samples[0].truncated for samples in answers),
        }
        return Generations(records, [record["output"] for record in records], about)


class Answer(Written):
    """A short answer, written greedily and compared with the known ones."""

    metric: ClassVar[str] = "exact_match"

    def answers(self, row: Row) -> list[str]:
        raise NotImplementedError

    def credit(self, text: str, answers: Sequence[str]) -> float:
        """How right a text is that is not empty."""
        right = {comparable(answer) for answer in answers}
        is_right = comparable(text) in right
        return float(is_right)

    def gold(self, row: Row) -> str:
        first = next(filter(str.strip, self.answers(row)))
        return f" {first}"

    def references(self, rows: Sequence[Row]) -> list[Reference]:
        for number, answers in enumerate(self.each(rows, self.answers)):
            if not _hold_an_answer(answers):
                raise self.bad(number, "it has no answer, or one that is not text")
        return super().references(rows)

    def run(self, engine: Engine, rows: Sequence[Row], options: EvalOptions) -> TaskResult:
        written = self.written(engine, rows)
        earned = []
        for record, row, [text] in zip(written.records, rows, written.texts, strict=True):
            answers = self.answers(row)
            record["gold"] = answers[:SHOWN_ANSWERS]
            record["predicted"] = text
            record["correct"] = self.credit(text, answers) if text.strip() else 0.0
            earned.append(record["correct"])
        headline = mean(earned)
        return TaskResult(
            self.metric,
            headline.value,
            headline.stderr,
            written.records,
            about=written.about,
        )


def _hold_an_answer(answers: Sequence[Any]) -> bool:
    """Whether all are texts, and one is not empty."""
    for answer in answers:
        if not isinstance(answer, str):
            return False
    return any(map(str.strip, answers))


class ClosedBook(Answer):
    """A question answered from memory: any of its known answers counts.
    lm-eval's templates and stop strings.
    """

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

    def program(self, row: Row, text: str) -> str:
        """What is run: it passes when it comes to its end."""
        raise NotImplementedError

    def decoding(self) -> Decoding:
        from codemix.eval.engine.generate import Decoding

        return Decoding(self.max_tokens, self.stop, self.temperature, self.top_p, self.samples, self.seed)

    def run(self, engine: Engine, rows: Sequence[Row], options: EvalOptions) -> TaskResult:
        from codemix.eval.task_shapes.pass_at_k import pass_at_k
        from codemix.sandbox.sandbox import ISOLATION, isolation_available, run_many

        isolation = isolation_available(unsafe=options.unsafe)
        written = self.written(engine, rows)
        programs = []
        for row, texts in zip(rows, written.texts, strict=True):
            programs += [self.program(row, text) for text in texts]
        verdicts = iter(
            run_many(programs, timeout_s=self.timeout_s, unsafe=options.unsafe, workers=options.workers)
        )
        values: dict[int, list[float]] = {k: [] for k in self.k}
        counts: Counter[str] = Counter()
        for record, texts in zip(written.records, written.texts, strict=True):
            reasons = [_reason(text, next(verdicts)) for text in texts]
            passed = reasons.count(PASSED)
            for k in self.k:
                values[k].append(pass_at_k(self.samples, passed, k))
            record["passed"] = passed
            record["samples"] = self.samples
            record["reasons"] = reasons
            record["correct"] = values[self.k[0]][-1]
            counts.update(reasons)
        headline = mean(values[self.k[0]])
        more: dict[str, float] = {f"pass@{k}": mean(of_k).value for k, of_k in values.items()}
        more["timeouts"] = counts["timeout"]
        more["empty"] = counts["empty"]
        return TaskResult(
            f"pass@{self.k[0]}",
            headline.value,
            headline.stderr,
            written.records,
            more=more,
            about=written.about | {"isolation": ISOLATION[isolation]},
        )


def _reason(text: str, verdict: Result) -> str:
    """What became of a program: an empty one counts as failed, whatever it did."""
    return verdict.reason if text.strip() else "empty"


def gold_scores(engine: Engine, references: Sequence[Reference], label: str) -> list[Row]:
    """Bits and bytes of each reference after its prompt."""
    scored = []
    for score in engine.score_continuations(references, label=f"{label}: references"):
        bits = {"gold_bits": score.bits, "gold_bytes": score.n_bytes}
        scored.append(bits)
    return scored


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(a|an|the)\b")


def normal(text: str) -> str:
    """An answer as SQuAD and TriviaQA compare it: lower case, no punctuation, no articles, single spaces."""
    letters = text.lower().translate(_NO_PUNCTUATION)
    words = _ARTICLE.sub(" ", letters).split()
    return " ".join(words)


def comparable(text: str) -> str:
    """`normal`, or where that leaves nothing ("The The", "!!!", the letter "A") the text as written,
    in lower case.

    So nothing that is written equals an answer only because both normalise to nothing.
    """
    as_written = text.lower().split()
    return normal(text) or " ".join(as_written)
