"""What a run found, in one or two sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codemix.eval.pages.facts import RunFacts, StageFacts
from codemix.eval.pages.page import signed
from codemix.eval.pages.results import pooled
from codemix.eval.stats import Difference

FAMILY_NAMES = {"code": "code", "text": "text", "other": "the other sources"}  # in the order of sentences
LEAST_MOVE = 0.005  # of the first score; smaller moves between stages are not named


def answer(facts: RunFacts) -> list[str]:
    """The sentences at the head of the report."""
    scored = facts.scored_stages
    if not scored:
        n_trained = sum(stage.training.trained for stage in facts.stages)
        stages = f"{n_trained} of {len(facts.stages)} stages are trained"
        return [f"{stages}; nothing is scored yet, so there is no answer."]
    first = scored[0]
    last = scored[-1]
    sentence = "; ".join(_clauses(facts, first, last))
    if first is not last:
        sentence = f"from `{first.name}` to `{last.name}`, {sentence}"
    sentences = [f"{sentence[0].upper()}{sentence[1:]}."]
    moves = _largest_moves(facts, scored)
    if moves:
        sentences.append(moves)
    return sentences


def _clauses(facts: RunFacts, first: StageFacts, last: StageFacts) -> list[str]:
    """One clause per family that the last stage scores."""
    clauses = []
    for family, subject in FAMILY_NAMES.items():
        sources = facts.of_family(family, [s for s in facts.families if s in last.scores.sources])
        end = pooled(last.scores.sources, sources)
        if end is None:
            continue
        start = None if first is last else pooled(first.scores.sources, sources)
        if start is None:
            clauses.append(f"held-out {subject} costs **{end:.3f}** bits per byte after `{last.name}`")
        else:
            clauses.append(_move(subject, start, end, facts.moves.get(family)))
    return clauses


def _move(subject: str, start: float, end: float, interval: Difference | None) -> str:
    """One family's change, called only when the interval over its documents excludes zero."""
    bits = f"bits per byte of held-out {subject}"
    path = f"from {start:.3f} to **{end:.3f}**"
    change = signed(end / start - 1)
    if interval is None:
        return f"{bits} went {path} ({change})"
    low = signed(interval.low / interval.a)
    high = signed(interval.high / interval.a)
    if not interval.excludes_zero:
        values = f"{start:.3f} and {end:.3f}"
        return f"{bits} did not move beyond noise ({values}, {low} to {high})"
    verb = "fell"
    if end > start:
        verb = "rose"
    return f"{bits} {verb} {path} ({change} [{low}, {high}])"


@dataclass(frozen=True)
class _Step:
    """A family's bits per byte before and after one stage."""

    stage: str
    before: float
    after: float

    @property
    def size(self) -> float:
        return abs(self.after - self.before)


def _largest_moves(facts: RunFacts, scored: Sequence[StageFacts]) -> str:
    """The stage at which each family moved most, when stages can be told apart."""
    if len(scored) < 3:
        return ""
    moves = []
    for family in ("code", "text"):
        sources = facts.of_family(family, facts.families)
        values = [pooled(stage.scores.sources, sources) for stage in scored]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            continue
        names = [stage.name for stage in scored[1:]]
        steps = map(_Step, names, known, known[1:])
        largest = max(steps, key=lambda step: step.size)
        if largest.size >= LEAST_MOVE * known[0]:
            moves.append(
                f"{family} moved most in `{largest.stage}` ({largest.before:.3f} to {largest.after:.3f})"
            )
    if not moves:
        return ""
    remark = "One run, one seed: `codemix compare` says whether another recipe does better than noise."
    return f"{'; '.join(moves).capitalize()}. {remark}"
