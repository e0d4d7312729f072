"""A review as text for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from codemix.errors import printable
from codemix.recipe.ci.costs import Costs
from codemix.recipe.ci.effects import Effect
from codemix.recipe.ci.markdown import code
from codemix.recipe.ci.review import Point, Review, Reviewed
from codemix.recipe.diffs import diff_tables
from codemix.recipe.language.quantities import show_tokens
from codemix.recipe.planning.cost_estimate import show_amount, show_bytes
from codemix.tables import Table, terminal_width

Show = Callable[[Any], str]
FIRST = 12  # hexadecimal digits of a commit


def one_line(text: str) -> str:
    """A text of a stranger, such as a file's name, as it can be shown in a line."""
    words = printable(text).split()
    return " ".join(words)


def headline(review: Review) -> str:
    """How much is reviewed, against what."""
    base = code(one_line(review.base))
    against = f"{base} (merge base {review.merge_base[:FIRST]})"
    n = len(review.files)
    if not n:
        none = f"no recipe or study changed against {against}"
        return f"{none}; {review.n_changed_files:,} other files did"
    concerned = "recipe or study changed or starts" if n == 1 else "recipes and studies changed or start"
    said = f"{n:,} {concerned} from a changed one, against {against}"
    broken = [file for file in review.files if file.failed]
    if broken:
        said += f"; {len(broken):,} cannot be planned"
    return said


def why(file: Reviewed) -> str:
    """Why a file is reviewed, as Markdown."""
    said = file.why
    if file.other:
        said += f" {code(one_line(file.other))}"
    if file.before_cause:
        said += f"; could not be planned at the merge base: {code(one_line(file.before_cause))}"
    return said


def plain(markdown: str) -> str:
    """The same for a terminal."""
    return markdown.replace("`", "")


def phrases(file: Reviewed) -> list[str]:
    """The effects on a file; of a study, those of its points with how many have them."""
    if file.failed:
        return ["cannot be planned"]
    said = []
    n_points = len(file.points)
    for effect in file.effects:
        concerned = [point for point in file.points if effect in point.effects]
        phrase = effect.what
        if n_points > 1:
            phrase += f" [{len(concerned)} of {n_points} points]"
        said.append(phrase)
    return said


def cost_rows(review: Review) -> list[list[str]]:
    """Tokens, hours, dollars and bytes: before, after, the difference, and what is to be made."""
    sides = (review.before, review.after, review.to_make)
    training = [side.training for side in sides]
    tokens = [cost.tokens for cost in training]
    hours = [cost.chip_hours for cost in training]
    dollars = [cost.dollars for cost in training]
    shards = [side.shard_bytes for side in sides]
    return [
        _cost_row("tokens trained on", tokens, show_tokens),
        _cost_row(f"{review.after.chip} hours", hours, show_amount),
        _cost_row("USD", dollars, show_amount),
        _cost_row("shards", shards, show_bytes),
    ]


def _cost_row(name: str, amounts: Sequence[Any], show: Show) -> list[str]:
    before, after, to_make = amounts
    difference = change(after - before, show)
    return [
        name,
        show(before),
        show(after),
        difference,
        show(to_make),
    ]


def change(amount: Any, show: Show) -> str:
    """An amount with its sign."""
    if not amount:
        return "0"
    sign = "-" if amount < 0 else "+"
    return sign + show(abs(amount))


def cost_table(review: Review) -> Table:
    """The costs of the reviewed recipes together."""
    columns = ["of these recipes", ">before", ">after", ">change", ">to make anew"]
    table = Table("Costs", columns, cost_rows(review))
    table.notes.append(
        f"estimated at {review.after.mfu:.0%} of a {review.after.chip}'s peak; equal stages once"
    )
    return table


def as_text(review: Review) -> str:
    """The review for a terminal."""
    width = terminal_width()
    text = plain(headline(review)) + "\n"
    if review.files:
        table = Table("", ["recipe", "why", "effects"])
        for file in review.files:
            effects = "\n".join(phrases(file))
            row = [one_line(file.path), plain(why(file)), plain(effects)]
            table.rows.append(row)
        text += "\n".join(["", table.text(width), cost_table(review).text(width)])
    return text.rstrip()


def as_json(review: Review) -> dict[str, Any]:
    """The review for programs."""
    return {
        "base": one_line(review.base),
        "merge_base": review.merge_base,
        "changed_files": review.n_changed_files,
        "effects": [_effect(effect) for effect in review.effects],
        "costs": _sides(review),
        "chip": review.after.chip,
        "mfu": review.after.mfu,
        "files": [_file(file) for file in review.files],
    }


def _sides(review: Review) -> dict[str, Any]:
    return {
        "before": _costs(review.before),
        "after": _costs(review.after),
        "to_make": _costs(review.to_make),
    }


def _effect(effect: Effect) -> dict[str, str]:
    return {"category": effect.category, "what": effect.what}


def _costs(costs: Costs) -> dict[str, Any]:
    training = costs.training
    return {
        "tokens": training.tokens,
        "chip_hours": training.chip_hours,
        "dollars": training.dollars,
        "shard_bytes": costs.shard_bytes,
    }


def _file(file: Reviewed) -> dict[str, Any]:
    problems: Sequence[Any] = [problem.as_json() for problem in file.problems]
    return {
        "path": one_line(file.path),
        "why": plain(why(file)),
        "failed": file.failed,
        "effects": [_effect(effect) for effect in file.effects],
        "problems": problems,
        "recipes": [_point(point) for point in file.points],
    }


def _point(point: Point) -> dict[str, Any]:
    changes = None
    if point.changes is not None:
        changes = diff_tables.as_json(point.changes)
    return {
        "name": point.name,
        "effects": [_effect(effect) for effect in point.effects],
        "changes": changes,
    }
