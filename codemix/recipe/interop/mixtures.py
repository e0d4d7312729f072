"""Mixtures of other systems, read into a recipe and written from a plan; what does not add up is reported,
never smoothed.

`import_mixture` reads a Megatron blend, nanotron `data_stages`, Levanter `train_weights` or an OLMo-core
source mixture. `recipe_text` turns the result into a recipe to finish by hand: those formats name tokens, not
documents, so where the documents are is left to you. `export_mixture` writes a plan in any of the four.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.interop import writer
from codemix.recipe.interop.levanter import levanter
from codemix.recipe.interop.megatron import blend_words, megatron
from codemix.recipe.interop.nanotron import nanotron
from codemix.recipe.interop.olmo_core import olmo_core, sources_path
from codemix.recipe.interop.recipe_text import number_text, recipe_text
from codemix.recipe.interop.values import Exported, Imported, Phase, find_key, refusal, warning
from codemix.recipe.language import yaml_text
from codemix.recipe.language.quantities import show_share
from codemix.recipe.planning.plan import Plan

__all__ = ["KINDS", "export_mixture", "import_mixture", "parse_mixture", "recipe_text"]

READERS: Mapping[str, Callable[[str, str], Imported]] = {
    "megatron": megatron,
    "nanotron": nanotron,
    "levanter": levanter,
    "olmo-core": olmo_core,
}
WRITERS: Mapping[str, Callable[[Plan], Exported]] = {
    "megatron": writer.megatron,
    "nanotron": writer.nanotron,
    "levanter": writer.levanter,
    "olmo-core": writer.olmo_core,
}
KINDS = tuple(READERS)
_ANY_SHAPE = (  # other people's files take any shape
    AttributeError,
    IndexError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
    ZeroDivisionError,
)


def import_mixture(kind: str | None, path: str | Path) -> Imported:
    """The mixture in a file of another system; `kind` is one of KINDS, None to detect it from the content."""
    content = yaml_text.read_text(path)
    file = str(path)
    return parse_mixture(kind, content, file)


def parse_mixture(kind: str | None, content: str, file: str) -> Imported:
    """The mixture in `content`; `file` is the name that problems show. Raises CodemixError when it cannot be
    one.

    A sum that is not one is kept as written, and reported.
    """
    kind = kind or detect(content, file)
    if kind not in KINDS:
        what = f"`{kind}` is not a format that can be imported"
        raise refusal(what, *did_you_mean(kind, KINDS), rule="import-kind")
    try:
        imported = READERS[kind](content, file)
    except CodemixError as error:
        raise CodemixError(*map(_included, error.problems)) from None
    except _ANY_SHAPE as error:
        raise refusal(f"{file} is not shaped like a {kind} file", f"reading it stopped at: {error}") from None
    problems = list(imported.problems)
    for phase in imported.phases:
        problems += _adds_up(phase, kind)
    return replace(imported, problems=tuple(problems))


def detect(content: str, file: str) -> str:
    """Which of the formats this is. Raises CodemixError when it is none of them."""
    if blend_words(content):
        return "megatron"
    value = yaml_text.parse(content, file).value
    if isinstance(value, dict):
        if "data_stages" in value:
            return "nanotron"
        if find_key(value, "train_weights") is not None:
            return "levanter"
        if sources_path(value) is not None:
            return "olmo-core"
        if value.keys() & {"train", "valid", "test"}:
            return "megatron"
    raise refusal(
        f"{file} is none of the formats that can be imported",
        "Megatron: `30 path 70 path`, or JSON with `train:`",
        "others: `data_stages:`, `train_weights:` or `target_ratio:`",
        rule="import-kind",
    )


def _included(problem: Problem) -> Problem:
    """Of a tag such as `!include`, what to do with another system's file: deleting the tag would lose what it
    names.
    """
    if problem.rule != "yaml-tag":
        return problem
    hint = (
        "this file is put together by the other system; "
        "import the whole of it, with what the tag stands for written out"
    )
    return replace(problem, hints=(hint,))


def export_mixture(kind: str, plan: Plan) -> Exported:
    """A plan's mixtures in another system's format: shares as planned, in decimals that sum to exactly
    one.
    """
    if kind not in KINDS:
        what = f"`{kind}` is not a format that can be exported"
        raise refusal(what, *did_you_mean(kind, KINDS), rule="export-kind")
    return WRITERS[kind](plan)


def _adds_up(phase: Phase, kind: str) -> Iterator[Problem]:
    """A note of weights that do not sum to one."""
    total = phase.total
    if total in (0, 1) or (kind == "megatron" and total == 100):
        return
    summed = f"the weights of `{phase.name}` sum to {number_text(total)}"
    largest = phase.largest
    if phase.is_rounded:
        hint = f"`{largest.name}`, the largest, takes the rest"
        yield warning(f"{summed}, which is 1 but for rounding", hint, rule="import-rounding")
    elif total > 2 or kind == "megatron":  # counts or percentages: relative by intention
        hint = "the recipe keeps them as written, with `weights: relative`"
        yield warning(f"{summed}; they were meant as proportions", hint, rule="import-relative")
    else:
        written = show_share(largest.weight)
        trained = show_share(largest.weight / total)
        does = _what_it_does_with_a_sum(kind)
        yield warning(
            f"{summed}, not 1",
            f"{does}: `{largest.name}` is written {written} and trained at {trained}",
            "the recipe keeps the numbers as written, with `weights: relative`; `plan` shows both",
            rule="import-sum",
        )


def _what_it_does_with_a_sum(kind: str) -> str:
    if kind == "olmo-core":
        return "OLMo-core refuses such a sum or warns of it, by the API that reads it; divided by the sum"
    return f"{kind} silently divides by the sum"
