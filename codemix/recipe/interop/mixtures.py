"""Mixtures of other systems, read into a recipe and written from a plan; what does not add up is said, never smoothed.

`import_mixture` reads a Megatron blend, nanotron `data_stages`, Levanter `train_weights` or an OLMo-core source
mixture. `recipe_text` turns the result into a recipe to finish by hand: those formats name tokens, not documents, so
where the documents are is left to you. `export_mixture` writes a plan in any of the four.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from codemix.errors import CodemixError, Problem, did_you_mean, printable
from codemix.recipe.interop import reader as interop_read
from codemix.recipe.interop import writer
from codemix.recipe.interop.values import Exported, Imported, Phase, Weight
from codemix.recipe.language import yaml_text
from codemix.recipe.language.quantities import show_share
from codemix.recipe.planning.plan import Plan

KINDS = ("megatron", "nanotron", "levanter", "olmo-core")


def import_mixture(kind: str | None, path: str | Path) -> Imported:
    """The mixture in a file of another system; `kind` is one of KINDS, None to let the content tell."""
    return parse_mixture(kind, yaml_text.read_text(path), str(path))


def parse_mixture(kind: str | None, content: str, file: str) -> Imported:
    """The mixture in `content`; `file` is the name that problems show. Raises CodemixError when it cannot be one.

    A sum that is not one is kept as written, and reported.
    """
    kind = kind or interop_read.detect(content, file)
    if kind not in KINDS:
        raise CodemixError(
            f"`{kind}` is not a format that can be imported",
            hints=did_you_mean(kind, KINDS),
            rule="import-kind",
        )
    reader: Callable[..., Imported] = getattr(interop_read, kind.replace("-", "_"))
    try:
        imported = reader(content, file)
    except CodemixError as error:
        raise CodemixError(*map(_included, error.problems)) from None
    # other people's files take any shape
    except (
        AttributeError,
        IndexError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    ) as error:
        raise CodemixError(
            f"{file} is not shaped like a {kind} file",
            hints=[f"reading it stopped at: {error}"],
            rule="import-file",
        ) from None
    problems = [*imported.problems, *_left_out(kind, content, file)]
    for phase in imported.phases:
        problems += _adds_up(phase, kind)
    return replace(imported, problems=tuple(problems))


READ = {  # the top-level keys of which something is read; anything else of a file is named as left out
    "nanotron": {"data_stages", "tokens", "parallelism", "optimizer", "model", "tokenizer"},
    "levanter": {
        "data",
        "trainer",
        "train_seq_len",
        "model",
        "train_weights",
        "configs",
        "components",
        "tokenizer",
    },
    "olmo-core": {
        "dataset",
        "sources",
        "source_configs",
        "name",
        "max_tokens",
        "requested_tokens",
        "sequence_length",
        "global_batch_size",
        "source_mixture",
        "data_loader",
        "train",
    },
    "megatron": {"train"},
}


def _left_out(kind: str, content: str, file: str) -> list[Problem]:
    """A note of the top-level keys that are not read."""
    value = None
    with suppress(CodemixError):  # words of a Megatron blend
        value = yaml_text.parse(content, file).value
    ignored = sorted(str(key) for key in value if key not in READ[kind]) if isinstance(value, dict) else []
    if not ignored:
        return []
    named = ", ".join(f"`{_one_line(key)[:40]}`" for key in ignored[:12]) + (
        ", ..." if len(ignored) > 12 else ""
    )
    what = f"not imported: {named}; a recipe says such things elsewhere, or not at all"
    return [Problem(what, rule="import-left-out", severity="warning")]


def _included(problem: Problem) -> Problem:
    """Of a tag such as `!include`, what to do with another system's file: deleting the tag would lose what it names."""
    if problem.rule != "yaml-tag":
        return problem
    hint = "this file is put together by the other system; import the whole of it, with what the tag stands for written out"
    return replace(problem, hints=(hint,))


def export_mixture(kind: str, plan: Plan) -> Exported:
    """A plan's mixtures in another system's format: shares as planned, in decimals that sum to exactly one."""
    if kind not in KINDS:
        raise CodemixError(
            f"`{kind}` is not a format that can be exported",
            hints=did_you_mean(kind, KINDS),
            rule="export-kind",
        )
    return getattr(writer, kind.replace("-", "_"))(plan)


def rounded(phase: Phase) -> bool:
    """Whether the weights sum to one but for the rounding of floating-point numbers."""
    return phase.total != 1 and abs(phase.total - 1) < Fraction(1, 10**9)


def _adds_up(phase: Phase, kind: str) -> list[Problem]:
    if phase.total in (0, 1) or (kind == "megatron" and phase.total == 100):
        return []
    if rounded(phase):
        largest = max(phase.weights, key=lambda w: w.weight)
        what = f"the weights of `{phase.name}` sum to {_number(phase.total)}, which is 1 but for rounding"
        hint = f"`{largest.name}`, the largest, takes the rest"
        return [Problem(what, hints=(hint,), rule="import-rounding", severity="warning")]
    if phase.total > 2 or kind == "megatron":  # counts or percentages: relative by intention
        return [
            Problem(
                f"the weights of `{phase.name}` sum to {_number(phase.total)}; they were meant as proportions",
                hints=("the recipe keeps them as written, with `weights: relative`",),
                rule="import-relative",
                severity="warning",
            )
        ]
    largest = max(phase.weights, key=lambda w: w.weight)
    does = f"{kind} divides by the sum in silence"
    if kind == "olmo-core":
        does = "OLMo-core refuses such a sum or warns of it, by the API that reads it; divided by the sum"
    return [
        Problem(
            f"the weights of `{phase.name}` sum to {_number(phase.total)}, not 1",
            hints=(
                f"{does}: `{largest.name}` is written {show_share(largest.weight)} "
                f"and trained at {show_share(largest.weight / phase.total)}",
                "the recipe keeps the numbers as written, with `weights: relative`; `plan` shows both",
            ),
            rule="import-sum",
            severity="warning",
        )
    ]


def recipe_text(imported: Imported, name: str | None = None) -> str:
    """A recipe that validates, with the imported shares as written and a comment wherever you have something to fill in."""
    lines = [
        "codemix: 1",
        f"name: {yaml_text.name_text(name or imported.name)}",
        f"description: imported from a {imported.kind} file",
        "",
    ]
    lines += [
        f"# {line}"
        for p in imported.problems
        for line in (f"{p.severity}: {p.what}", *(f"  {h}" for h in p.hints))
    ]
    lines += [f"# The original tokenizer: {_one_line(imported.tokenizer)}"] if imported.tokenizer else []
    lines += ["tokenizer: {kind: tokenizer_json, path: tokenizer.json} # fill in", ""]
    lines += [
        "# The other format names tokenized data; here a source is documents. Fill in where they are and, until they are"
    ]
    lines += ["# built, how many `tokens:` they hold, so that `plan` can count epochs.", "sources:"]
    seen: dict[str, Weight] = {}
    for weight in (w for phase in imported.phases for w in phase.weights):
        seen.setdefault(weight.name, weight)
    for weight in seen.values():
        lines += [
            f"  {weight.name}: # {_one_line(weight.location)}",
            f"    read: {{kind: jsonl, paths: [{weight.name}/*.jsonl.zst]}} # fill in",
        ]
        lines += [f"    max_epochs: {weight.max_epochs:g}"] if weight.max_epochs is not None else []
    model = imported.model or {"preset": "120M"}
    lines += [
        "",
        "model: {"
        + ", ".join(f"{k}: {v}" for k, v in model.items())
        + "}"
        + ("" if imported.model else " # fill in: not in the file"),
    ]
    seq_len, batch = imported.seq_len or 4096, imported.batch_size or 512
    unknown = [
        n for n, v in (("seq_len", imported.seq_len), ("batch_size", imported.batch_size)) if v is None
    ]
    lines += [
        f"training: {{seq_len: {seq_len}, batch_size: {batch}}}"
        + (f" # fill in {' and '.join(unknown)}: not in the file" if unknown else ""),
        "",
        "stages:",
    ]
    for phase in imported.phases:
        lines += _stage_lines(phase)
    return "\n".join(lines) + "\n"


def _stage_lines(phase: Phase) -> list[str]:
    budget = (
        f"steps: {phase.steps}"
        if phase.steps
        else f"tokens: {phase.tokens}"
        if phase.tokens
        else "tokens: 10B # fill in: not in the file"
    )
    lines = [f"  - name: {yaml_text.name_text(phase.name)}", f"    {budget}"]
    rate = phase.learning_rate or {"kind": "constant", "value": 0.0003}
    lines += [
        "    learning_rate: {"
        + ", ".join(f"{k}: {v}" for k, v in rate.items())
        + "}"
        + ("" if phase.learning_rate else f" # fill in: {_one_line(phase.no_rate)}; this value is ours")
    ]
    whole = phase.total in (1, 100) or rounded(phase)
    lines += ([] if whole else [f"    weights: relative # they sum to {_number(phase.total)}"]) + [
        "    mixture:"
    ]
    factor = 1 if phase.total == 100 else 100
    if rounded(phase):
        largest = max(phase.weights, key=lambda w: w.weight)
        return lines + [
            f"      {w.name}: rest # {_number(w.weight)}"
            if w is largest
            else f"      {w.name}: {_number(w.weight * 100)}%"
            for w in phase.weights
        ]
    return lines + [
        f"      {w.name}: {_number(w.weight * factor)}%" if whole else f"      {w.name}: {_number(w.weight)}"
        for w in phase.weights
    ]


def _one_line(words: object) -> str:
    """Somebody's text as the end of a comment: it cannot break out of it."""
    return printable(" ".join(str(words).split()))


def _number(value: Fraction) -> str:
    """A decimal, exact where one exists: every weight read from a file is one."""
    for places in range(0, 19):
        scaled = value * 10**places
        if scaled.denominator == 1:
            text = f"{scaled.numerator:0{places + 1}d}"
            return text if places == 0 else f"{text[:-places]}.{text[-places:]}"
    return f"{float(value):.12g}"
