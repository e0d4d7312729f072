"""MixMin (arXiv 2502.10510): the best mixture without a swarm, from one small model for each domain.

Minimised over w is `-mean_x log sum_i w_i p_i(x)`, with p_i(x) what the model of domain i gives to an example x of
the text that matters. The problem is convex and knows nothing of repetition, caps or limits: a second opinion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from codemix.errors import CodemixError, Problem, Where
from codemix.recipe.language.component import Spec

GAP = 1e-4  # nats for each example by which the mixture may miss the best
MAX_STEPS = 100_000


class ExampleLoss(Spec):
    """A line of the file: one example, and what the model of each domain loses on it."""

    example: str = Field(min_length=1)
    nats: dict[str, float] = Field(min_length=1, description="the whole example's loss, by domain")


def read_losses(path: Path, domains: Sequence[str]) -> np.ndarray:
    """The losses [examples, domains] of a file of JSON lines. Raises CodemixError with every line that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CodemixError(f"cannot read the losses in {path}: {error}", rule="proxy-losses") from None
    found: dict[str, list[float]] = {}
    problems = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            loss = ExampleLoss.model_validate_json(line)
            fault = _fault(loss, domains, found)
        except ValidationError as error:
            first = error.errors()[0]
            fault = f"this is not an example's loss: {first['msg'].lower()}"
        if fault:
            where = Where(str(path), number, 1)
            hint = "see docs/mixing.md for what the file holds"
            problems.append(Problem(fault, where, (hint,), "proxy-losses"))
            continue
        found[loss.example] = [loss.nats[name] for name in domains]
    if problems:
        raise CodemixError(*problems)
    if not found:
        raise CodemixError(f"there is no example in {path}", rule="proxy-losses")
    return np.array(list(found.values()))


def _fault(
    loss: ExampleLoss,
    domains: Sequence[str],
    before: dict[str, list[float]],
) -> str:
    """What is wrong with a line; nothing where it is right."""
    if loss.example in before:
        return f"the example `{loss.example}` is there twice"
    missing = [name for name in domains if name not in loss.nats]
    if missing:
        return f"there is no loss of a model of `{missing[0]}`"
    unknown = [name for name in loss.nats if name not in domains]
    if unknown:
        return f"`{unknown[0]}` is no domain; they are {', '.join(domains)}"
    values = np.array(list(loss.nats.values()))
    if not np.isfinite(values).all() or values.min() < 0:
        return "a loss is a finite number of nats, not below 0"
    return ""


def best_mixture(nats: np.ndarray) -> np.ndarray:
    """The mixture [domains] with the least loss over examples [examples, domains], by expectation maximisation:
    every domain takes its part of every example. It stops within GAP of the best, which the largest mean part by
    share bounds (Karush-Kuhn-Tucker)."""
    least = nats.min(1, keepdims=True)
    chances = np.exp(least - nats)
    n_domains = nats.shape[1]
    mixture = np.full(n_domains, 1 / n_domains)
    for _ in range(MAX_STEPS):
        of_mixture = chances @ mixture
        relative = chances / of_mixture[:, None]
        pull = relative.mean(0)
        if pull.max() <= 1 + GAP:
            break
        mixture = mixture * pull
    return mixture
