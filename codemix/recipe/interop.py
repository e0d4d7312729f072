"""Mixtures of other systems, read into a recipe and written from a plan; what does not add up is said, never smoothed.

`import_mixture` reads a Megatron blend, nanotron `data_stages`, Levanter `train_weights` or an OLMo-core source
mixture. `recipe_text` turns the result into a recipe to finish by hand: those formats name tokens, not documents, so
where the documents are is left to you. `export_mixture` writes a plan in any of the four.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from codemix.errors import CodemixError, Problem, did_you_mean, printable
from codemix.recipe import interop_read, interop_write, text
from codemix.recipe.interop_values import Exported, Imported, Phase, Weight
from codemix.recipe.plan import Plan
from codemix.recipe.quantities import show_share

KINDS = ("megatron", "nanotron", "levanter", "olmo-core")


def import_mixture(kind: str | None, path: str | Path) -> Imported:
    """The mixture in a file of another system; `kind` is one of KINDS, None to let the content tell."""
    return parse_mixture(kind, text.read_text(path), str(path))


def parse_mixture(kind: str | None, content: str, file: str) -> Imported:
    """The mixture in `content`; `file` is the name that problems show. Raises CodemixError when it cannot be one.

    A sum that is not one is kept as written, and reported.
    """
    kind = kind or interop_read.detect(content, file)
    if kind not in KINDS:
        raise CodemixError(f"`{kind}` is not a format that can be imported", hints=did_you_mean(kind, KINDS), rule="import-kind")
    reader: Callable[..., Imported] = getattr(interop_read, kind.replace("-", "_"))
    try:
        imported = reader(content, file)
    # other people's files take any shape
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CodemixError(f"{file} is not shaped like a {kind} file", hints=[f"reading it stopped at: {error}"], rule="import-file") from None
    problems = [*imported.problems]
    for phase in imported.phases:
        problems += _adds_up(phase, kind)
    return replace(imported, problems=tuple(problems))


def export_mixture(kind: str, plan: Plan) -> Exported:
    """A plan's mixtures in another system's format: shares as planned, in decimals that sum to exactly one."""
    if kind not in KINDS:
        raise CodemixError(f"`{kind}` is not a format that can be exported", hints=did_you_mean(kind, KINDS), rule="export-kind")
    return getattr(interop_write, kind.replace("-", "_"))(plan)


def _adds_up(phase: Phase, kind: str) -> list[Problem]:
    if phase.total in (0, 1) or (kind == "megatron" and phase.total == 100):
        return []
    if phase.total > 2 or kind == "megatron":  # counts or percentages: relative by intention
        return [Problem(
            f"the weights of `{phase.name}` sum to {_number(phase.total)}; they were meant as proportions",
            hints=("the recipe keeps them as written, with `weights: relative`",), rule="import-relative", severity="warning",
        )]  # fmt: skip
    largest = max(phase.weights, key=lambda w: w.weight)
    return [Problem(
        f"the weights of `{phase.name}` sum to {_number(phase.total)}, not 1",
        hints=(
            f"{kind} divides by the sum in silence: `{largest.name}` is written {show_share(largest.weight)} "
            f"and trained at {show_share(largest.weight / phase.total)}",
            "the recipe keeps the numbers as written, with `weights: relative`; `plan` shows both",
        ),
        rule="import-sum", severity="warning",
    )]  # fmt: skip


def recipe_text(imported: Imported, name: str | None = None) -> str:
    """A recipe that validates, with the imported shares as written and a comment wherever you have something to fill in."""
    lines = ["codemix: 1", f"name: {text.name_text(name or imported.name)}", f"description: imported from a {imported.kind} file", ""]
    lines += [f"# {line}" for p in imported.problems for line in (f"{p.severity}: {p.what}", *(f"  {h}" for h in p.hints))]
    lines += [f"# The original tokenizer: {_one_line(imported.tokenizer)}"] if imported.tokenizer else []
    lines += ["tokenizer: {kind: tokenizer_json, path: tokenizer.json} # fill in", ""]
    lines += ["# The other format names tokenized data; here a source is documents. Fill in where they are and, until they are"]
    lines += ["# built, how many `tokens:` they hold, so that `plan` can count epochs.", "sources:"]
    seen: dict[str, Weight] = {}
    for weight in (w for phase in imported.phases for w in phase.weights):
        seen.setdefault(weight.name, weight)
    for weight in seen.values():
        lines += [f"  {weight.name}: # {_one_line(weight.location)}", f"    read: {{kind: jsonl, paths: [{weight.name}/*.jsonl.zst]}} # fill in"]
        lines += [f"    max_epochs: {weight.max_epochs:g}"] if weight.max_epochs is not None else []
    model = imported.model or {"preset": "120M"}
    lines += ["", "model: {" + ", ".join(f"{k}: {v}" for k, v in model.items()) + "}" + ("" if imported.model else " # fill in: not in the file")]
    seq_len, batch = imported.seq_len or 4096, imported.batch_size or 512
    unknown = [n for n, v in (("seq_len", imported.seq_len), ("batch_size", imported.batch_size)) if v is None]
    lines += [
        f"training: {{seq_len: {seq_len}, batch_size: {batch}}}" + (f" # fill in {' and '.join(unknown)}: not in the file" if unknown else ""),
        "",
        "stages:",
    ]
    for phase in imported.phases:
        lines += _stage_lines(phase)
    return "\n".join(lines) + "\n"


def _stage_lines(phase: Phase) -> list[str]:
    budget = f"steps: {phase.steps}" if phase.steps else f"tokens: {phase.tokens}" if phase.tokens else "tokens: 10B # fill in: not in the file"
    lines = [f"  - name: {text.name_text(phase.name)}", f"    {budget}"]
    rate = phase.learning_rate or {"kind": "constant", "value": 0.0003}
    lines += [
        "    learning_rate: {"
        + ", ".join(f"{k}: {v}" for k, v in rate.items())
        + "}"
        + ("" if phase.learning_rate else " # fill in: not in the file")
    ]
    whole = phase.total == 1 or phase.total == 100
    lines += ([] if whole else [f"    weights: relative # they sum to {_number(phase.total)}"]) + ["    mixture:"]
    factor = 1 if phase.total == 100 else 100
    return lines + [f"      {w.name}: {_number(w.weight * factor)}%" if whole else f"      {w.name}: {_number(w.weight)}" for w in phase.weights]


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
