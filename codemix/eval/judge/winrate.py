"""Win-rates: which of two sets of answers a judge prefers, both orders, with what may be luck, length or position."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from codemix.data.store.store import write_json, write_text
from codemix.errors import CodemixError
from codemix.eval.judge.judge import Ask, Replies, read_judge, verdict
from codemix.eval.task_shapes.example_files import check_regular, json_lines, read_rows

INVALID_LIMIT = 0.05  # above this share of unreadable verdicts there is no headline
RESAMPLES = 4000
STUB_NOTE = "stub judge: not a quality measure"


@dataclass(frozen=True)
class WinRate:
    """Prompts that A won, lost or tied. `difference` (wins minus losses, the paper's figure) and `rate` (wins and half the
    ties) are shares of the valid prompts, None when too many verdicts could not be read."""

    a: str
    b: str
    judge: str
    wins: int
    losses: int
    ties_disagreement: int  # each order preferred another one
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
            f"{self.a} against {self.b}, judged by {self.judge}: {self.wins} wins, {self.ties} ties, {self.losses} losses, {self.invalid} invalid",
            f"  ties: {self.ties_disagreement} by disagreement, {self.ties_explicit} said so, {self.ties_equal} equal answers",
        ]
        if self.difference is not None:
            low, high = self.interval
            lines.append(
                f"  wins - losses {self.difference:+.1%} [{low:+.1%}, {high:+.1%}], win-rate {self.rate:.1%}, "
                f"at equal length {self.length_controlled_rate:.1%}"
            )
        if self.first_slot_share is not None:
            lines.append(
                f"  the first answer is preferred {self.first_slot_share:.1%} of the time; both orders agree {self.order_agreement:.1%}"
            )
        return "\n".join([*lines, *([f"  {self.note}"] if self.note else [])])


def winrate(a: Path, b: Path, judge_file: Path, output: Path) -> WinRate:
    """The win-rate of answers `a` over answers `b`; verdicts.jsonl, replies.jsonl and winrate.json are left in `output`.

    Every pair is judged in both orders: a win needs both. Replies are kept, so an interrupted run goes on where it was.
    """
    judge, template = read_judge(Path(judge_file))
    ours, theirs = read_answers(Path(a)), read_answers(Path(b))
    _check_pairs(ours, theirs, a, b)
    pairs = [(ours[i], theirs[i]) for i in ours]
    open_ = [(x, y) for x, y in pairs if x["output"].strip() != y["output"].strip()]
    replies = Replies(judge, template, Path(output) / "replies.jsonl")
    asks = [
        Ask(_instruction(x), *order)
        for x, y in open_
        for order in ((x["output"], y["output"]), (y["output"], x["output"]))
    ]
    verdicts = [verdict(reply) for reply in replies.get(asks)]
    judged = {x["id"]: (verdicts[2 * i], verdicts[2 * i + 1]) for i, (x, _) in enumerate(open_)}
    items = [
        {
            "id": x["id"],
            "outcome": outcome(*judged[x["id"]]) if x["id"] in judged else "tie_equal",
            "verdicts": judged.get(x["id"]),
            "length_difference": len(x["output"]) - len(y["output"]),
        }
        for x, y in pairs
    ]
    note = STUB_NOTE if judge.stub else ""
    result = summarise(items, *_labels(ours, theirs, Path(a), Path(b)), judge.model, note)
    write_text(Path(output) / "verdicts.jsonl", json_lines(items))
    write_json(Path(output) / "winrate.json", result.as_json())
    return result


def read_winrate(path: Path) -> dict[str, Any]:
    """What `winrate` left: its folder, or the winrate.json in it. Raises CodemixError for anything else."""
    path = path / "winrate.json" if path.is_dir() else path
    check_regular(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if {field.name for field in fields(WinRate)} <= found.keys():
            return found
    except (OSError, ValueError, AttributeError):
        pass
    hint = "name the folder of its `--output`, or the winrate.json in it"
    raise CodemixError(f"{path} is no result of `codemix eval winrate`", hints=[hint], rule="winrate")


def outcome(first: str, second: str) -> str:
    """What the verdicts of both orders make: `first` with A in the first place, `second` with B there."""
    if "unparsed" in (first, second):
        return "invalid"
    mine = {first == "A", second == "B"}
    if "tie" in (first, second):
        return "tie_explicit" if first == second else "tie_disagreement"
    return "tie_disagreement" if len(mine) == 2 else "win" if mine == {True} else "loss"


def summarise(items: Sequence[dict[str, Any]], a: str, b: str, judge: str, note: str = "") -> WinRate:
    """The counts and rates of judged items."""
    n = {
        name: sum(i["outcome"] == name for i in items)
        for name in ("win", "loss", "tie_disagreement", "tie_explicit", "tie_equal", "invalid")
    }
    valid = [i for i in items if i["outcome"] != "invalid"]
    scores = [{"win": 1.0, "loss": -1.0}.get(i["outcome"], 0.0) for i in valid]
    readable = [(place, v) for i in items for place, v in enumerate(i["verdicts"] or ()) if v in ("A", "B")]
    both = [i["verdicts"] for i in items if i["verdicts"] and "unparsed" not in i["verdicts"]]
    share = n["invalid"] / len(items)
    headline = bool(valid) and share <= INVALID_LIMIT
    if not headline:
        said = f"no headline: {n['invalid']} of {len(items)} prompts have an unreadable verdict ({share:.0%}; the limit is {INVALID_LIMIT:.0%})"
        note = f"{note}; {said}" if note else said
    difference = sum(scores) / len(scores) if headline else None
    lengths = [float(i["length_difference"]) for i in valid]
    return WinRate(
        a,
        b,
        judge,
        n["win"],
        n["loss"],
        n["tie_disagreement"],
        n["tie_explicit"],
        n["tie_equal"],
        n["invalid"],
        difference=difference,
        rate=(1 + difference) / 2 if headline else None,
        interval=bootstrap(scores) if headline else None,
        length_controlled_rate=length_controlled([(1 + s) / 2 for s in scores], lengths)
        if headline
        else None,
        mean_length_difference=sum(lengths) / len(lengths) if lengths else None,
        first_slot_share=sum(v == "A" for _, v in readable) / len(readable) if readable else None,
        order_agreement=sum(outcome(*v) in ("win", "loss", "tie_explicit") for v in both) / len(both)
        if both
        else None,
        note=note,
    )


def bootstrap(scores: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95% percentile interval of the mean over resampled prompts. Where every prompt went one way resampling shows no luck at
    all; the other end is then what would still give so many wins in a row one time in forty."""
    import numpy as np

    values = np.asarray(scores, np.float64)
    # The counts of each score decide the mean, so resampling them is resampling the prompts; and mirrored scores mirror the interval.
    wins, losses, n = int((values > 0).sum()), int((values < 0).sum()), len(values)
    if n in (wins, losses):
        edge = 2 * 0.025 ** (1 / n) - 1
        return (edge, 1.0) if wins else (-1.0, -edge)
    few, many = sorted((wins, losses))
    draws = np.random.default_rng(seed).multinomial(n, [few / n, many / n, (n - few - many) / n], RESAMPLES)
    means = np.sort((draws[:, 1] - draws[:, 0]) / n * (1 if wins >= losses else -1))
    low, high = means[int(0.025 * RESAMPLES)], means[RESAMPLES - 1 - int(0.025 * RESAMPLES)]
    return float(low), float(high)


def length_controlled(won: Sequence[float], lengths: Sequence[float]) -> float:
    """The win-rate that a logistic model of the outcome on tanh(standardised length difference) predicts at no difference.

    Follows AlpacaEval 2 (arXiv 2404.04475) without its term for an instruction's difficulty, which needs many models.
    A small ridge keeps the fit finite where one side wins everything.
    """
    import numpy as np

    y, x = np.asarray(won, np.float64), np.asarray(lengths, np.float64)
    scale = (
        math.sqrt(float((x**2).mean())) or 1.0
    )  # about zero, so that exchanging A and B changes the sign and nothing else
    design, ridge, weights = (
        np.stack([np.ones_like(x), np.tanh(x / scale)], 1),
        np.diag([1e-3, 1e-3]),
        np.zeros(2),
    )
    for _ in range(100):
        p = 1 / (1 + np.exp(-design @ weights))
        step = np.linalg.solve(
            design.T @ (design * (p * (1 - p))[:, None]) + ridge, design.T @ (y - p) - ridge @ weights
        )
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
                f"{path}: the id {row['id']!r} is there twice",
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
                f"{a} and {b} were written with other settings: {json.dumps(x)} and {json.dumps(y)}",
                hints=["write both with the same `--max-tokens`, `--temperature` and `--seed`"],
                rule="answers",
            )


def _instruction(row: dict[str, Any]) -> str:
    return row.get("instruction") or row.get("prompt") or ""


def _labels(ours: dict[str, Any], theirs: dict[str, Any], a: Path, b: Path) -> tuple[str, str]:
    """Names of both sides: their stages, their files where those are equal, their paths where those are too."""
    stages = [
        str(next(iter(answers.values())).get("stage") or path.stem)
        for answers, path in ((ours, a), (theirs, b))
    ]
    return next(
        (x, y)
        for x, y in (stages, (a.stem, b.stem), (str(a), str(b) if str(a) != str(b) else f"{b} again"))
        if x != y
    )
