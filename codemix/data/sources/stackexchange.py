"""StackExchange threads as text: the question, then its answers, best first.

For rows that hold a question and a list of answers, HTML or plain. (RedPajama's and SlimPajama's
StackExchange sets are text already: read those with `jsonl` and `where`.) The paper (arXiv 2408.10914,
section 2.1) counts StackExchange among its code-adjacent data, and takes it out of the text.
"""

from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from codemix.data.document import Drop
from codemix.data.inputs.conditions import MISSING, field_getter
from codemix.data.sources._discussion_threads import posts
from codemix.data.sources._rows import RowSource, Texter, string_getter
from codemix.data.text.html_text import html_to_text


class Stackexchange(RowSource):
    """StackExchange threads: a question and its answers, best first, as one text."""

    kind: Literal["stackexchange"] = "stackexchange"
    version: ClassVar[int] = 2
    question: str = Field("question", description="field of the question's text")
    title: str | None = Field(None, description="field of the title; null when there is none")
    answers: str = Field("answers", description="field of the list of answers")
    answer_text: str = Field("text", description="inside an answer: its text")
    answer_score: str = Field("score", description="inside an answer: its votes; missing counts as 0")
    answer_accepted: str | None = Field(
        "selected", description="inside an answer: whether the asker accepted it, which puts it first"
    )
    min_score: int | None = Field(None, description="answers with fewer votes are left out, unless accepted")
    max_answers: int | None = Field(None, ge=1, description="at most this many answers, the best")
    html: bool = Field(True, description="the posts are HTML")
    EXAMPLES: ClassVar = (
        {"kind": "stackexchange", "paths": "se/*.jsonl.zst", "answer_score": "pm_score"},
        {
            "kind": "stackexchange",
            "paths": "se/*.parquet",
            "title": "title",
            "min_score": 1,
            "max_answers": 3,
            "html": False,
        },
    )

    def text_fields(self) -> list[str]:
        return [self.question, self.answers]

    def optional_fields(self) -> list[str]:
        return [self.title] if self.title else []

    def texter(self) -> Texter:
        question = string_getter(self.question)
        get_answers = field_getter(self.answers)
        title = string_getter(self.title, optional=True) if self.title else lambda row: ""
        answer_text = string_getter(self.answer_text)
        score = field_getter(self.answer_score)
        accepted = field_getter(self.answer_accepted) if self.answer_accepted else lambda answer: False
        plain = html_to_text if self.html else str.strip

        def rank(answer: dict[str, Any]) -> _Rank:
            is_accepted = accepted(answer) not in _NOT_ACCEPTED
            votes = _number(score(answer))
            return _Rank(is_accepted, votes)

        def text(row: dict[str, Any]) -> str | Drop:
            given = get_answers(row)
            if given is MISSING:
                given = None
            unsorted = posts(given, self.answers)
            answers = sorted(unsorted, key=rank, reverse=True)  # stable: ties stay in order
            if self.min_score is not None:
                answers = [a for a in answers if rank(a).accepted or rank(a).score >= self.min_score]
            if not answers:
                return Drop("no_answer")
            head = plain(title(row))
            blocks = [head] if head else []
            blocks.append(f"Q: {plain(question(row))}")
            blocks += [f"A: {plain(answer_text(answer))}" for answer in answers[: self.max_answers]]
            return "\n\n".join(blocks) + "\n"

        return text


_NOT_ACCEPTED = (MISSING, None, False, 0, "false", "False")


class _Rank(NamedTuple):
    accepted: bool
    score: float


def _number(value: Any) -> float:
    """Votes, which some data sets hold as a text; 0 where there are none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
