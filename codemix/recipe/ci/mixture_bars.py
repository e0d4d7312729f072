"""The mixtures of a recipe as bars of characters, which show in every comment: pictures by address do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from codemix.recipe.language.quantities import show_tokens
from codemix.recipe.language.tags import Family
from codemix.recipe.planning.plan import Plan

WIDTH = 30  # characters
INK: Mapping[Family, str] = {"text": "█", "code": "▒", "other": "·"}
LEGEND = ", ".join(f"{ink} {kind}" for kind, ink in INK.items())


def bars(before: Plan | None, after: Plan) -> list[str]:
    """A block in the colours of a diff: a line per stage, two of a stage that reads something else now."""
    was: dict[str, str] = {}
    if before is not None:
        was = _lines(before)
    now = _lines(after)
    lines = [f"Mixture: {LEGEND}", "", "```diff"]
    for name in dict.fromkeys([*was, *now]):
        lines += _changed(was.get(name), now.get(name))
    return [*lines, "```", ""]


def _changed(was: str | None, now: str | None) -> Iterator[str]:
    """A stage's lines, marked as a diff marks them."""
    if was == now:
        yield f"  {now}"
        return
    if was is not None:
        yield f"- {was}"
    if now is not None:
        yield f"+ {now}"


def _lines(plan: Plan) -> dict[str, str]:
    """A bar, the tokens and the shares of each stage, by its name."""
    lines = {}
    for stage in plan.stages:
        windows = stage.windows_by_family()
        shares = []
        for kind, n in windows.items():
            if n:
                shares.append(f"{n / stage.rows:.1%} {kind}")
        mixture = " : ".join(shares)
        tokens = show_tokens(stage.tokens)
        lines[stage.name] = f"{_bar(windows, stage.rows)}  {stage.name}: {tokens}, {mixture}"
    return lines


def _bar(windows: Mapping[Family, int], rows: int) -> str:
    """WIDTH characters; a kind's last one is where its share ends, rounded."""
    bar = ""
    end = 0
    for kind, n in windows.items():
        end += n
        length = round(end * WIDTH / rows)
        bar += INK[kind] * (length - len(bar))
    return bar
