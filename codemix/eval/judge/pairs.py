"""Pairs of answers to one prompt: read from two files, asked about in both orders, and what became of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from codemix.errors import CodemixError
from codemix.eval.judge.judge import Ask, Verdict
from codemix.eval.task_shapes.example_files import Row, read_rows

Verdicts = tuple[Verdict, Verdict]  # with A first, with B first
SCORES = {"win": 1.0, "loss": -1.0}  # every other outcome is 0


@dataclass(frozen=True)
class JudgedPair:
    """What became of one prompt: one line of verdicts.jsonl.
    `verdicts` of both orders, where the judge was asked.
    """

    id: str
    outcome: str
    verdicts: Verdicts | None
    length_difference: int

    @property
    def score(self) -> float:
        return SCORES.get(self.outcome, 0.0)


def outcome(first: Verdict, second: Verdict) -> str:
    """What the verdicts of both orders make: `first` with A in the first place, `second` with B there."""
    if "unparsed" in (first, second):
        return "invalid"
    if first == second == "tie":
        return "tie_explicit"
    if "tie" in (first, second) or first == second:  # one letter in both orders: the place decided
        return "tie_disagreement"
    return "win" if first == "A" else "loss"


class Answers:
    """The answers of a file, by id."""

    def __init__(self, path: Path):
        self.path = path
        self.by_id = read_answers(path)

    @property
    def stage(self) -> str:
        """The stage that wrote them, or the name of their file."""
        first = next(iter(self.by_id.values()))
        stage = first.get("stage") or self.path.stem
        return str(stage)


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt."""

    a: Row
    b: Row

    @property
    def is_equal(self) -> bool:
        """Whether there is nothing to judge."""
        a = self.a["output"].strip()
        b = self.b["output"].strip()
        return a == b

    @property
    def asks(self) -> list[Ask]:
        """What the judge is asked: which is better, in both orders."""
        instruction = self.a.get("instruction") or self.a.get("prompt") or ""
        a = self.a["output"]
        b = self.b["output"]
        a_first = Ask(instruction, a, b)
        b_first = Ask(instruction, b, a)
        return [a_first, b_first]

    def judged(self, verdicts: Verdicts | None) -> JudgedPair:
        a_length = len(self.a["output"])
        b_length = len(self.b["output"])
        return JudgedPair(
            id=self.a["id"],
            outcome=outcome(*verdicts) if verdicts else "tie_equal",
            verdicts=verdicts,
            length_difference=a_length - b_length,
        )


def read_answers(path: Path) -> dict[str, Row]:
    """Answers by id, as `codemix eval generate` writes them."""
    found: dict[str, Row] = {}
    for number, row in enumerate(read_rows(path)):
        if missing := [k for k in ("id", "prompt_sha256", "output") if not isinstance(row.get(k), str)]:
            what = f"{path}, row {number}: `{missing[0]}` is missing"
            raise CodemixError(what, hints=["`codemix eval generate` writes such files"], rule="answers")
        if row["id"] in found:
            raise CodemixError(
                f"{path}: the id {row['id']!r} occurs twice",
                hints=["each prompt needs an id of its own"],
                rule="answers",
            )
        found[row["id"]] = row
    if not found:
        raise CodemixError(f"{path} holds no answers", rule="answers")
    return found


def check_pairs(ours: Answers, theirs: Answers) -> None:
    """Raises CodemixError unless both sides answer the same prompts with the same settings."""
    a = ours.path
    b = theirs.path
    only = sorted(ours.by_id.keys() ^ theirs.by_id.keys())
    if only:
        raise CodemixError(
            f"{a} and {b} do not answer the same prompts: {len(only)} differ, such as {only[0]!r}",
            hints=["write both from one prompt file"],
            rule="answers",
        )
    for key, row in ours.by_id.items():
        other = theirs.by_id[key]
        if row["prompt_sha256"] != other["prompt_sha256"]:
            raise CodemixError(
                f"the prompt {key!r} differs between {a} and {b}",
                hints=["write both from one prompt file"],
                rule="answers",
            )
        x = row.get("decoding")
        y = other.get("decoding")
        if x != y:
            raise CodemixError(
                f"{a} and {b} were written with different settings: {json.dumps(x)} and {json.dumps(y)}",
                hints=["write both with the same `--max-tokens`, `--temperature` and `--seed`"],
                rule="answers",
            )


def labels(ours: Answers, theirs: Answers) -> tuple[str, str]:
    """Names of both sides: their stages, their files where those are equal,
    their paths where those are too.
    """
    a = ours.path
    b = theirs.path
    if ours.stage != theirs.stage:
        return ours.stage, theirs.stage
    if a.stem != b.stem:
        return a.stem, b.stem
    if str(a) != str(b):
        return str(a), str(b)
    return str(a), f"{b} again"
