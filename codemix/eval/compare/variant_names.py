"""What variants are called: short names, and the one that a user means by a name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from codemix.errors import CodemixError, did_you_mean
from codemix.eval.compare.variants import Run, Variant

SEED = re.compile(r"[-_.]seed[-_]?\d+\Z")
ELSEWHERE = " (another trainer)"
LAST_WORD = re.compile(r"[^-_.]*\Z")


def short_names(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Recipe names without `-seed3` and without their common start; whole where two would be alike."""
    recipes = []
    seedless = []
    for runs in groups:
        recipe = runs[0].facts.recipe
        trainer = ELSEWHERE if runs[0].facts.elsewhere else ""
        recipes.append(recipe + trainer)
        seedless.append((SEED.sub("", recipe) if len(runs) > 1 else recipe) + trainer)
    names = _without_common_start(seedless)
    if not _are_distinct(names) or not all(names):
        names = seedless
    if not _are_distinct(names):
        names = recipes
    return _numbered(names)


def _are_distinct(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names)


def _without_common_start(names: Sequence[str]) -> list[str]:
    """Names without the words that all of them begin with."""
    if len(names) < 2:
        return list(names)
    start = os.path.commonprefix(list(names))
    whole_words = LAST_WORD.sub("", start)
    return [name.removeprefix(whole_words) for name in names]


def _numbered(names: Sequence[str]) -> list[str]:
    """Names, with their place behind those that are not unique."""
    numbered = []
    for place, name in enumerate(names, 1):
        is_unique = names.count(name) == 1
        numbered.append(name if is_unique else f"{name} ({place})")
    return numbered


def find_baseline(variants: Sequence[Variant], name: str | None) -> Variant:
    """The variant that `name` (short, whole, or of one seed) refers to; the first when no name is given. It is
    one that codemix trained, where there is any.
    """
    trained_here = [variant for variant in variants if not variant.elsewhere]
    possible = trained_here or variants
    if name is None:
        return possible[0]
    for variant in possible:
        recipes = [run.facts.recipe for run in variant.runs]
        if name == variant.name or name in recipes:
            return variant
    known = [variant.name for variant in possible]
    unscored = [variant.name for variant in variants if variant not in possible]
    if name in unscored:
        raise CodemixError(
            f"the baseline `{name}` was trained by another trainer and has no scores",
            hints=[f"take one that has: {', '.join(known)}"],
            rule="baseline",
        )
    raise CodemixError(
        f"the baseline `{name}` is not one of the runs", hints=did_you_mean(name, known), rule="baseline"
    )
