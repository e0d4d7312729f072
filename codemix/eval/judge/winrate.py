"""Win-rates: which of two sets of answers a judge prefers, both orders, with what may be luck,
length or position.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from codemix.data.store.store import write_json, write_text
from codemix.errors import CodemixError
from codemix.eval.judge.judge import Ask, Verdict, read_judge, verdict
from codemix.eval.judge.luck_and_length import bootstrap, length_controlled
from codemix.eval.judge.pairs import Answers, JudgedPair, Pair, check_pairs, labels
from codemix.eval.judge.replies import Replies
from codemix.eval.task_shapes.example_files import check_regular, json_lines

INVALID_LIMIT = 0.05  # above this share of unreadable verdicts there is no headline


@dataclass(frozen=True)
class WinRate:
    """Prompts that A won, lost or tied. `difference` (wins minus losses, the paper's figure) and `rate` (wins
    and half the ties) are shares of the valid prompts, None when too many verdicts could not be read.
    """

    a: str
    b: str
    judge: str
    wins: int
    losses: int
    ties_disagreement: int  # the orders preferred different answers
    ties_explicit: int  # the judge said so
    ties_equal: int  # equal or both empty: the judge was not asked
    invalid: int
    difference: float | None
    rate: float | None
    interval: tuple[float, float] | None  # 95%, of `difference`, bootstrapped over prompts
    length_controlled_rate: float | None
    mean_length_difference: float | None  # A minus B [characters]
    first_slot_share: float | None  # of the readable verdicts; 0.5 is no position bias
    order_agreement: float | None
    note: str

    @property
    def ties(self) -> int:
        return self.ties_disagreement + self.ties_explicit + self.ties_equal

    def as_json(self) -> dict[str, Any]:
        return {
            "format": 1,
            **asdict(self),
            "ties": self.ties,
            "prompts": self.wins + self.losses + self.ties + self.invalid,
        }

    def text(self) -> str:
        """A few lines for a terminal."""
        lines = [
            f"{self.a} against {self.b}, judged by {self.judge}: "
            f"{self.wins} wins, {self.ties} ties, {self.losses} losses, {self.invalid} invalid",
            f"  ties: {self.ties_disagreement} by disagreement, {self.ties_explicit} said so, "
            f"{self.ties_equal} equal answers",
        ]
        rates = []
        if self.difference is not None and self.interval is not None:
            low, high = self.interval
            rates.append(f"wins - losses {self.difference:+.1%} [{low:+.1%}, {high:+.1%}]")
        if self.rate is not None:
            rates.append(f"win-rate {self.rate:.1%}")
        if self.length_controlled_rate is not None:
            rates.append(f"at equal length {self.length_controlled_rate:.1%}")
        if rates:
            lines.append("  " + ", ".join(rates))
        if self.first_slot_share is not None:
            lines.append(f"  the first answer is preferred {self.first_slot_share:.1%} of the time")
        if self.order_agreement is not None:
            lines.append(f"  both orders agree on {self.order_agreement:.1%} of the prompts")
        if self.note:
            lines.append(f"  {self.note}")
        return "\n".join(lines)


def winrate(a: Path, b: Path, judge_file: Path, output: Path) -> WinRate:
    """The win-rate of answers `a` over answers `b`;
    verdicts.jsonl, replies.jsonl and winrate.json are left in `output`.

    Every pair is judged in both orders: a win needs both. Replies are kept, so an interrupted run resumes
    where it was.
    """
    judge, template = read_judge(Path(judge_file))
    ours = Answers(Path(a))
    theirs = Answers(Path(b))
    check_pairs(ours, theirs)
    pairs = [Pair(answer, theirs.by_id[key]) for key, answer in ours.by_id.items()]
    folder = Path(output)
    replies = Replies(judge, template, folder / "replies.jsonl")
    judged = _judged_pairs(pairs, replies)
    name_a, name_b = labels(ours, theirs)
    result = summarise(judged, name_a, name_b, judge.model)
    verdicts = map(asdict, judged)
    write_text(folder / "verdicts.jsonl", json_lines(verdicts))
    write_json(folder / "winrate.json", result.as_json())
    return result


def _judged_pairs(pairs: Sequence[Pair], replies: Replies) -> list[JudgedPair]:
    asks: list[Ask] = []
    for pair in pairs:
        if not pair.is_equal:
            asks += pair.asks
    verdicts = iter([verdict(reply) for reply in replies.get(asks)])
    judged = []
    for pair in pairs:
        both = None if pair.is_equal else (next(verdicts), next(verdicts))
        judged.append(pair.judged(both))
    return judged


def read_winrate(path: Path) -> dict[str, Any]:
    """What `winrate` left: its folder, or the winrate.json in it. Raises CodemixError for anything else."""
    path = path / "winrate.json" if path.is_dir() else path
    check_regular(path)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if {field.name for field in fields(WinRate)} <= result.keys():
            return result
    except (OSError, ValueError, AttributeError):
        pass
    hint = "name the folder of its `--output`, or the winrate.json in it"
    raise CodemixError(f"{path} is not a result of `codemix eval winrate`", hints=[hint], rule="winrate")


def summarise(pairs: Sequence[JudgedPair], a: str, b: str, judge: str) -> WinRate:
    """The counts and rates of judged pairs."""
    counts = Counter(pair.outcome for pair in pairs)
    valid = [pair for pair in pairs if pair.outcome != "invalid"]
    scores = [pair.score for pair in valid]
    lengths = [float(pair.length_difference) for pair in valid]
    invalid_share = counts["invalid"] / len(pairs)
    note = ""
    difference = rate = interval = length_controlled_rate = None
    if valid and invalid_share <= INVALID_LIMIT:
        won = [(1 + score) / 2 for score in scores]
        difference = sum(scores) / len(scores)
        rate = (1 + difference) / 2
        interval = bootstrap(scores)
        length_controlled_rate = length_controlled(won, lengths)
    else:
        note = (
            f"no headline: {counts['invalid']} of {len(pairs)} prompts have an unreadable verdict "
            f"({invalid_share:.0%}; the limit is {INVALID_LIMIT:.0%})"
        )
    return WinRate(
        a,
        b,
        judge,
        wins=counts["win"],
        losses=counts["loss"],
        ties_disagreement=counts["tie_disagreement"],
        ties_explicit=counts["tie_explicit"],
        ties_equal=counts["tie_equal"],
        invalid=counts["invalid"],
        difference=difference,
        rate=rate,
        interval=interval,
        length_controlled_rate=length_controlled_rate,
        mean_length_difference=sum(lengths) / len(lengths) if lengths else None,
        first_slot_share=_first_slot_share(pairs),
        order_agreement=_order_agreement(pairs),
        note=note,
    )


def _first_slot_share(pairs: Sequence[JudgedPair]) -> float | None:
    """How much of the verdicts that prefer an answer prefer the one shown first."""
    verdicts: Counter[Verdict] = Counter()
    for pair in pairs:
        verdicts.update(pair.verdicts or ())
    first = verdicts["A"]
    preferring = first + verdicts["B"]
    return first / preferring if preferring else None


AGREEING = ("win", "loss", "tie_explicit")  # outcomes of one verdict in both orders


def _order_agreement(pairs: Sequence[JudgedPair]) -> float | None:
    """How much of the prompts with two readable verdicts have the same one in both orders."""
    readable = 0
    agreeing = 0
    for pair in pairs:
        if pair.verdicts and pair.outcome != "invalid":
            readable += 1
            agreeing += pair.outcome in AGREEING
    return agreeing / readable if readable else None
