"""A diff of two plans as text, Markdown and JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from fractions import Fraction
from typing import Any

from codemix.recipe.diffs.diff import Diff, Move
from codemix.recipe.language.quantities import show_tokens
from codemix.tables import PIPE_WIDTH, Table


def as_json(found: Diff) -> dict[str, Any]:
    """Pairs are [before, after]; epochs are numbers."""
    out = dataclasses.asdict(found)
    for move in out["moves"]:
        move["epochs"] = [None if e is None else float(e) for e in move["epochs"]]
    return out | {"empty": found.empty}


def as_markdown(found: Diff) -> str:
    """Sentences first, then the tables."""
    lines = [f"### `{found.names[0]}` → `{found.names[1]}`", "", *(f"- {s}" for s in sentences(found)), ""]
    return "\n".join(lines + [t.markdown() for t in tables(found)]).rstrip() + "\n"


def as_text(found: Diff, width: int = PIPE_WIDTH) -> str:
    """The same for a terminal."""
    lines = [f"{found.names[0]} -> {found.names[1]}", ""]
    for sentence in sentences(found):
        lines += textwrap.wrap(sentence, max(width, 40), initial_indent="  ", subsequent_indent="    ")
    return "\n".join([*lines, "", *(t.text(width) for t in tables(found))]).replace("`", "").rstrip()


def sentences(found: Diff) -> list[str]:
    """What a reviewer asks first: what stays, what is built again, what is trained again."""
    if found.empty:
        return ["nothing differs that would be built, trained or measured"]
    out = []
    p = found.prefix
    if p.steps:
        out.append(
            f"steps 0-{p.steps - 1:,} read identical data ({show_tokens(p.tokens)} tokens)"
            + (": the whole run" if p.whole else "")
        )
    else:
        out.append("the data differ from step 0 on")
    if found.shared:
        names = ", ".join(f"`{a}`" if a == b else f"`{a}` = `{b}`" for a, b in found.shared)
        out.append(f"trained once for both: {names}")
    rebuilt = [f"`{s.source}` ({', '.join(s.parts) or 'new'})" for s in found.sources if s.exists[1]]
    if rebuilt:
        out.append(f"data to build: {', '.join(rebuilt)}")
    if gone := [f"`{s.source}`" for s in found.sources if not s.exists[1]]:
        out.append(f"no longer a source: {', '.join(gone)}")
    trained = [
        f"`{s.stage}` ({', '.join(s.parts) or 'new'})"
        for s in found.stages
        if s.exists[1] and s.stage not in {b for _, b in found.shared}
    ]
    if trained:
        out.append(f"stages to train: {', '.join(trained)}")
    if gone := [f"`{s.stage}`" for s in found.stages if not s.exists[1]]:
        out.append(f"no longer a stage: {', '.join(gone)}")
    return out


def tables(found: Diff) -> list[Table]:
    out = []
    if found.moves:
        table = Table(
            "Tokens moved",
            ["stage", "source", ">before", ">after", ">change", ">epochs before", ">epochs after"],
        )
        last = None
        for m in found.moves:
            table.rows.append(
                [
                    m.stage if m.stage != last else "",
                    m.source,
                    _tokens(m.tokens[0]),
                    _tokens(m.tokens[1]),
                    _change(m),
                    *map(_epochs, m.epochs),
                ]
            )
            last = m.stage
        out.append(table)
    if found.settings:
        rows = [[s.path, *("-" if v is None else v for v in s.values)] for s in found.settings]
        out.append(Table("Settings", ["what", "before", "after"], rows))
    return out


def _tokens(n: int | None) -> str:
    return "-" if n is None else f"{n:,}"


def _change(move: Move) -> str:
    relative = (
        f" ({move.moved / move.tokens[0]:+.1%})" if move.tokens[0] and move.tokens[1] and move.moved else ""
    )
    return f"{move.moved:+,}{relative}" if move.moved else "0"


def _epochs(value: Fraction | None) -> str:
    return "-" if value is None else f"{float(value):.3f}"
