"""An imported mixture as the text of a recipe, with a comment wherever something is left to fill in."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from codemix.errors import printable
from codemix.recipe.interop.values import Imported, Phase, Weight
from codemix.recipe.language.yaml_text import name_text

SEQ_LEN, BATCH_SIZE = 4096, 512  # where the file has none
MODEL = {"preset": "120M"}
LEARNING_RATE = {"kind": "constant", "value": 0.0003}


def recipe_text(imported: Imported, name: str | None = None) -> str:
    """A recipe that validates, with the imported shares as written."""
    lines = [
        "codemix: 1",
        f"name: {name_text(name or imported.name)}",
        f"description: imported from a file of {imported.kind}",
        "",
        *_problem_lines(imported),
        *_tokenizer_lines(imported),
        "",
        *_source_lines(imported),
        "",
        _model_line(imported),
        _training_line(imported),
        "",
        "stages:",
    ]
    for phase in imported.phases:
        lines += _stage_lines(phase)
    return "\n".join(lines) + "\n"


def _problem_lines(imported: Imported) -> Iterator[str]:
    for problem in imported.problems:
        yield f"# {problem.severity}: {problem.what}"
        for hint in problem.hints:
            yield f"#   {hint}"


def _tokenizer_lines(imported: Imported) -> Iterator[str]:
    if imported.tokenizer:
        yield f"# The original tokenizer: {one_line(imported.tokenizer)}"
    yield "tokenizer: {kind: tokenizer_json, path: tokenizer.json} # fill in"


def _source_lines(imported: Imported) -> Iterator[str]:
    yield "# The other format names tokenized data; here a source is documents. Fill in where they are and,"
    yield "# until they are built, how many `tokens:` they hold, so that `plan` can count epochs."
    yield "sources:"
    sources: dict[str, Weight] = {}
    for phase in imported.phases:
        for weight in phase.weights:
            sources.setdefault(weight.name, weight)
    for source in sources.values():
        yield f"  {source.name}: # {one_line(source.location)}"
        yield f"    read: {{kind: jsonl, paths: [{source.name}/*.jsonl.zst]}} # fill in"
        if source.max_epochs is not None:
            yield f"    max_epochs: {source.max_epochs:g}"


def _model_line(imported: Imported) -> str:
    if imported.model:
        return f"model: {_flow(imported.model)}"
    return f"model: {_flow(MODEL)} # fill in: not in the file"


def _training_line(imported: Imported) -> str:
    training = {
        "seq_len": imported.seq_len or SEQ_LEN,
        "batch_size": imported.batch_size or BATCH_SIZE,
    }
    line = f"training: {_flow(training)}"
    unknown = []
    if imported.seq_len is None:
        unknown.append("seq_len")
    if imported.batch_size is None:
        unknown.append("batch_size")
    if unknown:
        line += f" # fill in {' and '.join(unknown)}: not in the file"
    return line


def _stage_lines(phase: Phase) -> Iterator[str]:
    yield f"  - name: {name_text(phase.name)}"
    yield f"    {_budget(phase)}"
    if phase.learning_rate:
        yield f"    learning_rate: {_flow(phase.learning_rate)}"
    else:
        why = f"fill in: {one_line(phase.no_rate)}; this value is ours"
        yield f"    learning_rate: {_flow(LEARNING_RATE)} # {why}"
    is_whole = phase.total in (1, 100) or phase.is_rounded
    if not is_whole:
        yield f"    weights: relative # they sum to {number_text(phase.total)}"
    yield "    mixture:"
    for weight in phase.weights:
        shown = _share(weight, phase) if is_whole else number_text(weight.weight)
        yield f"      {weight.name}: {shown}"


def _budget(phase: Phase) -> str:
    if phase.steps:
        return f"steps: {phase.steps}"
    if phase.tokens:
        return f"tokens: {phase.tokens}"
    return "tokens: 10B # fill in: not in the file"


def _share(weight: Weight, phase: Phase) -> str:
    """The share of a weight among those that sum to 1 or 100; the largest makes up for rounding."""
    if phase.is_rounded and weight is phase.largest:
        return f"rest # {number_text(weight.weight)}"
    percent = weight.weight if phase.total == 100 else weight.weight * 100
    return f"{number_text(percent)}%"


def _flow(fields: dict[str, Any]) -> str:
    """A YAML mapping on one line."""
    pairs = []
    for key, value in fields.items():
        pairs.append(f"{key}: {value}")
    inside = ", ".join(pairs)
    return f"{{{inside}}}"


def one_line(words: object) -> str:
    """Somebody's text as the end of a comment: it cannot break out of it."""
    return printable(" ".join(str(words).split()))


def number_text(value: Fraction) -> str:
    """A decimal, exact where one exists: every weight read from a file is one."""
    for places in range(19):
        scaled = value * 10**places
        if scaled.denominator == 1:
            digits = f"{scaled.numerator:0{places + 1}d}"
            return f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"{float(value):.12g}"
