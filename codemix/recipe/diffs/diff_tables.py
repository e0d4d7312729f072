"""A diff of two plans as text, Markdown and JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from codemix.recipe.diffs.diff import Diff, Move, SourceChange, StageChange
from codemix.recipe.diffs.identical_data import Prefix
from codemix.recipe.diffs.settings import Setting
from codemix.recipe.language.quantities import show_tokens
from codemix.tables import PIPE_WIDTH, Table


def as_json(diff: Diff) -> dict[str, Any]:
    """Pairs are [before, after]; epochs are numbers."""
    content = dataclasses.asdict(diff)
    for move in content["moves"]:
        move["epochs"] = [None if e is None else float(e) for e in move["epochs"]]
    content["empty"] = diff.empty
    return content


def as_markdown(diff: Diff) -> str:
    """Sentences first, then the tables."""
    before, after = diff.names
    lines = [f"### `{before}` → `{after}`", ""]
    lines += [f"- {sentence}" for sentence in sentences(diff)]
    lines.append("")
    lines += [table.markdown() for table in tables(diff)]
    return "\n".join(lines).rstrip() + "\n"


def as_text(diff: Diff, width: int = PIPE_WIDTH) -> str:
    """The same for a terminal."""
    before, after = diff.names
    lines = [f"{before} -> {after}", ""]
    for sentence in sentences(diff):
        wrapped = textwrap.wrap(sentence, max(width, 40), initial_indent="  ", subsequent_indent="    ")
        lines += wrapped
    lines.append("")
    lines += [table.text(width) for table in tables(diff)]
    text = "\n".join(lines).rstrip()
    return text.replace("`", "").rstrip()


def sentences(diff: Diff) -> list[str]:
    """What a reviewer asks first: what stays, what is built again, what is trained again."""
    if diff.empty:
        return ["nothing differs that would be built, trained or measured"]
    shared = [_same_stage(*names) for names in diff.shared]
    trained_once = {after for _, after in diff.shared}
    to_train = [s for s in diff.stages if s.exists[1] and s.stage not in trained_once]
    lists = {
        "renamed": [f"`{before}` to `{after}`" for before, after in diff.renamed],
        "trained once for both": shared,
        "data to build": [_with_parts(s.source, s) for s in diff.sources if s.exists[1]],
        "no longer a source": [f"`{s.source}`" for s in diff.sources if not s.exists[1]],
        "stages to train": [_with_parts(s.stage, s) for s in to_train],
        "no longer a stage": [f"`{s.stage}`" for s in diff.stages if not s.exists[1]],
    }
    said = [_prefix(diff.prefix)]
    if diff.renamed and not diff.stages:
        lists["renamed"][-1] += ", nothing is trained again"
    for label, names in lists.items():
        if names:
            said.append(f"{label}: {', '.join(names)}")
    return said


def _prefix(prefix: Prefix) -> str:
    if not prefix.steps:
        return "the data differ from step 0 on"
    tokens = show_tokens(prefix.tokens)
    to_the_end = ": the whole run" if prefix.whole else ""
    return f"steps 0-{prefix.steps - 1:,} read identical data ({tokens} tokens){to_the_end}"


def _same_stage(before: str, after: str) -> str:
    if before == after:
        return f"`{before}`"
    return f"`{before}` = `{after}`"


def _with_parts(name: str, change: SourceChange | StageChange) -> str:
    parts = ", ".join(change.parts) or "new"
    return f"`{name}` ({parts})"


def tables(diff: Diff) -> list[Table]:
    """Tokens moved and settings that differ; none where there are none."""
    shown = []
    if diff.moves:
        shown.append(_moves_table(diff.moves))
    if diff.settings:
        shown.append(_settings_table(diff.settings))
    return shown


def _moves_table(moves: Iterable[Move]) -> Table:
    columns = ["stage", "source", ">before", ">after", ">change", ">epochs before", ">epochs after"]
    table = Table("Tokens moved", columns)
    last_stage = None
    for move in moves:
        row = [
            move.stage if move.stage != last_stage else "",
            move.source,
            *map(_tokens, move.tokens),
            _change(move),
            *map(_epochs, move.epochs),
        ]
        table.rows.append(row)
        last_stage = move.stage
    return table


def _settings_table(settings: Iterable[Setting]) -> Table:
    table = Table("Settings", ["what", "before", "after"])
    for setting in settings:
        values = ["-" if value is None else value for value in setting.values]
        table.rows.append([setting.path, *values])
    return table


def _tokens(n: int | None) -> str:
    return "-" if n is None else f"{n:,}"


def _change(move: Move) -> str:
    if not move.moved:
        return "0"
    before, after = move.tokens
    change = f"{move.moved:+,}"
    if before and after:
        change += f" ({move.moved / before:+.1%})"
    return change


def _epochs(value: Fraction | None) -> str:
    return "-" if value is None else f"{float(value):.3f}"
