"""Win-rates: which of two sets of answers a judge prefers, both orders, with what may be luck,
length or position.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from codemix.data.store.store import write_json, write_text
from codemix.errors import CodemixError
from codemix.eval.judge.judge import Ask, Replies, Verdict, read_judge, verdict
from codemix.eval.task_shapes.example_files import Row, check_regular, json_lines, read_rows

INVALID_LIMIT = 0.05  # above this share of unreadable verdicts there is no headline
RESAMPLES = 4000


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
        if self.difference is not None and self.interval is not None:
            low, high = self.interval
            lines.append(
                f"  wins - losses {self.difference:+.1%} [{low:+.1%}, {high:+.1%}], win-rate {self.rate:.1%}, "
                f"at equal length {self.length_controlled_rate:.1%}"
            )
        if self.first_slot_share is not None:
            lines.append(
                f"  the first answer is preferred {self.first_slot_share:.1%} of the time; "
                f"both orders agree {self.order_agreement:.1%}"
            )
        if self.note:
            lines.append(f"  {self.note}")
        return "\n".join(lines)


@dataclass(frozen=True)
class JudgedPair:
    """What became of one prompt: one line of verdicts.jsonl.
    `verdicts` of both orders, where the judge was asked.
    """

    id: str
    outcome: str
    verdicts: tuple[Verdict, Verdict] | None
    length_difference: int

    @property
    def score(self) -> float:
        return {"win": 1.0, "loss": -1.0}.get(self.outcome, 0.0)


def winrate(a: Path, b: Path, judge_file: Path, output: Path) -> WinRate:
    """The win-rate of answers `a` over answers `b`;
    verdicts.jsonl, replies.jsonl and winrate.json are left in `output`.

    Every pair is judged in both orders: a win needs both. Replies are kept, so an interrupted run resumes
    where it was.
    """
    judge, template = read_judge(Path(judge_file))
    ours, theirs = read_answers(Path(a)), read_answers(Path(b))
    _check_pairs(ours, theirs, a, b)
    pairs = [(ours[i], theirs[i]) for i in ours]
    different = [(x, y) for x, y in pairs if x["output"].strip() != y["output"].strip()]
    asks: list[Ask] = []
    for x, y in different:
        asks.append(Ask(_instruction(x), x["output"], y["output"]))
        asks.append(Ask(_instruction(x), y["output"], x["output"]))
    replies = Replies(judge, template, Path(output) / "replies.jsonl")
    verdicts = iter([verdict(reply) for reply in replies.get(asks)])
    verdicts_by_id = {x["id"]: (next(verdicts), next(verdicts)) for x, _ in different}
    judged = [_judged_pair(x, y, verdicts_by_id.get(x["id"])) for x, y in pairs]
    labels = _labels(ours, theirs, Path(a), Path(b))
    result = summarise(judged, *labels, judge.model)
    write_text(Path(output) / "verdicts.jsonl", json_lines(map(asdict, judged)))
    write_json(Path(output) / "winrate.json", result.as_json())
    return result


def _judged_pair(x: Row, y: Row, verdicts: tuple[Verdict, Verdict] | None) -> JudgedPair:
    length_difference = len(x["output"]) - len(y["output"])
    if verdicts is None:
        return JudgedPair(x["id"], "tie_equal", None, length_difference)
    return JudgedPair(x["id"], outcome(*verdicts), verdicts, length_difference)


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


def outcome(first: Verdict, second: Verdict) -> str:
    """What the verdicts of both orders make: `first` with A in the first place, `second` with B there."""
    if "unparsed" in (first, second):
        return "invalid"
    if first == second == "tie":
        return "tie_explicit"
    if "tie" in (first, second) or first == second:  # one letter in both orders: the place decided
        return "tie_disagreement"
    return "win" if first == "A" else "loss"


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
    verdicts = Counter(verdict for pair in pairs for verdict in pair.verdicts or ())
    preferring = verdicts["A"] + verdicts["B"]
    return verdicts["A"] / preferring if preferring else None


def _order_agreement(pairs: Sequence[JudgedPair]) -> float | None:
    """How much of the prompts with two readable verdicts have the same one in both orders."""
    readable = [pair for pair in pairs if pair.verdicts and pair.outcome != "invalid"]
    agreeing = [pair for pair in readable if pair.outcome in ("win", "loss", "tie_explicit")]
    return len(agreeing) / len(readable) if readable else None


def bootstrap(scores: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95% percentile interval of the mean over resampled prompts. Where every prompt went one way resampling
    shows no luck at all; the other end is then what would still give as many wins in a row one time in forty.
    """
    import numpy as np

    values = np.asarray(scores, np.float64)
    n = len(values)
    wins = int((values > 0).sum())
    losses = int((values < 0).sum())
    if n in (wins, losses):
        edge = 2 * 0.025 ** (1 / n) - 1
        return (edge, 1.0) if wins else (-1.0, -edge)
    # The counts of each score decide the mean, so resampling them is resampling the prompts; and mirrored
    # scores mirror the interval.
    few, many = sorted((wins, losses))
    shares = [few / n, many / n, (n - few - many) / n]
    draws = np.random.default_rng(seed).multinomial(n, shares, RESAMPLES)
    sign = 1 if wins >= losses else -1
    differences = draws[:, 1] - draws[:, 0]
    means = np.sort(differences / n * sign)
    tail = int(0.025 * RESAMPLES)
    return float(means[tail]), float(means[RESAMPLES - 1 - tail])


def length_controlled(won: Sequence[float], lengths: Sequence[float]) -> float:
    """The win-rate that a logistic model of the outcome on tanh(standardised length difference) predicts at
    no difference.

    Follows AlpacaEval 2 (arXiv 2404.04475) without its term for an instruction's difficulty, which needs many
    models. A small ridge keeps the fit finite where one side wins everything.
    """
    import numpy as np

    y = np.asarray(won, np.float64)
    x = np.asarray(lengths, np.float64)
    # About zero, so that exchanging A and B changes the sign and nothing else.
    scale = math.sqrt(float((x**2).mean())) or 1.0
    design = np.stack([np.ones_like(x), np.tanh(x / scale)], 1)
    ridge = np.diag([1e-3, 1e-3])
    weights = np.zeros(2)
    for _ in range(100):
        p = 1 / (1 + np.exp(-design @ weights))
        variance = (p * (1 - p))[:, None]
        hessian = design.T @ (design * variance) + ridge
        gradient = design.T @ (y - p) - ridge @ weights
        step = np.linalg.solve(hessian, gradient)
        weights += step
        if np.abs(step).max() < 1e-10:
            break
    return float(1 / (1 + math.exp(-weights[0])))


def read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """Answers by id, as `codemix eval generate` writes them."""
    found: dict[str, dict[str, Any]] = {}
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


def _check_pairs(ours: dict[str, Any], theirs: dict[str, Any], a: Path, b: Path) -> None:
    if ours.keys() != theirs.keys():
        only = sorted(ours.keys() ^ theirs.keys())
        raise CodemixError(
            f"{a} and {b} do not answer the same prompts: {len(only)} differ, such as {only[0]!r}",
            hints=["write both from one prompt file"],
            rule="answers",
        )
    for i in ours:
        if ours[i]["prompt_sha256"] != theirs[i]["prompt_sha256"]:
            raise CodemixError(
                f"the prompt {i!r} differs between {a} and {b}",
                hints=["write both from one prompt file"],
                rule="answers",
            )
        if (x := ours[i].get("decoding")) != (y := theirs[i].get("decoding")):
            raise CodemixError(
                f"{a} and {b} were written with different settings: {json.dumps(x)} and {json.dumps(y)}",
                hints=["write both with the same `--max-tokens`, `--temperature` and `--seed`"],
                rule="answers",
            )


def _instruction(row: dict[str, Any]) -> str:
    return row.get("instruction") or row.get("prompt") or ""


def _labels(ours: dict[str, Any], theirs: dict[str, Any], a: Path, b: Path) -> tuple[str, str]:
    """Names of both sides: their stages, their files where those are equal,
    their paths where those are too.
    """
    first_of_each = (next(iter(ours.values())), next(iter(theirs.values())))
    stages = [str(row.get("stage") or path.stem) for row, path in zip(first_of_each, (a, b), strict=True)]
    if stages[0] != stages[1]:
        return stages[0], stages[1]
    if a.stem != b.stem:
        return a.stem, b.stem
    if str(a) != str(b):
        return str(a), str(b)
    return str(a), f"{b} again"
