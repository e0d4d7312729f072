"""A proxy of a recipe whose sources repeat as often as in the target, or why there is none of that size."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from pydantic_core import PydanticCustomError

from codemix.errors import CodemixError, Problem
from codemix.recipe.checks import validation
from codemix.recipe.checks.validation import Checked
from codemix.recipe.language import schema, yaml_text
from codemix.recipe.language.quantities import read_share
from codemix.recipe.language.recipe_file import RecipeFile, of_document
from codemix.recipe.language.yaml_edit import edited
from codemix.recipe.planning.plan import Plan, Pool, StageSource
from codemix.recipe.planning.source_identity import spec_fingerprints
from codemix.recipe.scaling.proxy_values import NEGLIGIBLE, ProxyValues, TooSmall, Wanted

MIN_WINDOWS = 100  # of a source: the sample of fewer is not like the whole


@dataclass(frozen=True)
class Proxy:
    """A recipe and its proxy, planned."""

    target: Plan
    plan: Plan
    text: str  # of the proxy's file
    notes: tuple[str, ...]


def scale_down(source: RecipeFile, target: Plan, pools: Mapping[str, Pool], wanted: Wanted) -> Proxy:
    """The proxy of a recipe that is planned as `target`, over `pools` of the sources that are built.

    Raises CodemixError where it would not repeat its sources as the target does, with the smallest ratio that
    works."""
    _refuse_other_recipes(source, target)
    attempt = _Attempt(source, target, pools, wanted)
    reasons = attempt.reasons()
    if not reasons:
        return attempt.proxy
    hint = f"no ratio of the form 1/n works; {reasons[-1].remedy}"
    works = _smallest_that_works(source, target, pools, wanted, reasons)
    if works is not None:
        hint = f"the smallest ratio of the form 1/n that works is `--tokens {works}`"
    problems = [Problem(reason.what, rule="scale-down") for reason in reasons]
    problems[-1] = replace(problems[-1], hints=(hint,))
    raise CodemixError(*problems)


def _refuse_other_recipes(source: RecipeFile, target: Plan) -> None:
    for i, stage in enumerate(target.recipe.stages):
        start = stage.init_from
        if isinstance(start, schema.InitFrom) and start.recipe is not None:
            what = f"stage `{stage.name}` starts from `{start.recipe}`, which is trained in full"
            where = source.document.where(("stages", i, "init_from"))
            hint = "write the stages that it starts from into this recipe, and scale them down together"
            raise CodemixError(Problem(what, where, (hint,), "scale-down"))


def _smallest_that_works(
    source: RecipeFile,
    target: Plan,
    pools: Mapping[str, Pool],
    wanted: Wanted,
    reasons: list[TooSmall],
) -> Fraction | None:
    """The smallest ratio 1/n above the wanted one: n shrinks until one works, then grows halfway back."""

    def works(n: int) -> bool:
        smaller = replace(wanted, ratio=Fraction(1, n))
        attempt = _Attempt(source, target, pools, smaller)
        return not attempt.reasons()

    known = max(reason.at_least for reason in reasons)
    fails = math.ceil(1 / max(known, wanted.ratio)) + 1
    n = fails - 1
    if Fraction(1, n) == wanted.ratio:
        fails = n
        n -= 1
    while n > 1 and not works(n):
        fails = n
        n = min(n - 1, n * 9 // 10)
    if n <= 1:
        return None
    while fails - n > 1:
        middle = (n + fails) // 2
        if works(middle):
            n = middle
        else:
            fails = middle
    return Fraction(1, n)


class _Attempt:
    """A proxy of one size, and what is wrong with it."""

    def __init__(self, source: RecipeFile, target: Plan, pools: Mapping[str, Pool], wanted: Wanted):
        self.target = target
        self.wanted = wanted
        values = ProxyValues(target, source.document.value, wanted)
        value = values.made()
        self.refusals = values.refusals
        self.notes = values.notes
        self.text = edited(source.document, value)
        self.checked = self._check(source.document.file, pools)
        unused = _unused_silences(self.checked)
        if unused:
            value["silence"] = {rule: why for rule, why in value["silence"].items() if rule not in unused}
            if not value["silence"]:
                del value["silence"]
            self.text = edited(source.document, value)
            self.checked = self._check(source.document.file, pools)

    @property
    def proxy(self) -> Proxy:
        plan = self.checked.require()
        notes = [*self.notes, *self._whole_steps(plan)]
        return Proxy(self.target, plan, self.text, tuple(notes))

    def _whole_steps(self, plan: Plan) -> Iterator[str]:
        """Stages that end on a whole step more than a row from their share of the target's."""
        ratio = self.wanted.ratio
        pairs = zip(self.target.stages, plan.stages, strict=True)
        for before, after in pairs:
            wanted = before.rows * ratio
            missed = float(after.rows - wanted)
            if abs(missed) > 1:
                yield f"{after.name} ends on a whole step: {missed:+,.1f} of {after.rows:,} windows"

    def _check(self, file: str, pools: Mapping[str, Pool]) -> Checked:
        """The proxy, planned over the share of what is built that it will have."""
        document = yaml_text.parse(self.text, file)
        recipe_file = of_document(document)
        specs = spec_fingerprints(recipe_file.recipe)
        ratio = self.wanted.ratio
        expected: dict[str, Pool] = {}
        for name, pool in pools.items():
            fingerprint = specs[name]
            expected[name] = _sampled(pool, ratio, fingerprint)
        return validation.check(recipe_file, expected)

    def reasons(self) -> list[TooSmall]:
        """Why this ratio does not work; empty where it does."""
        if self.refusals:
            return self.refusals
        short = list(self._short_sources())
        if short:
            return short
        if self.checked.errors:
            first = self.checked.errors[0]
            return [TooSmall(f"at {self.wanted.ratio} of the tokens, {first.what}")]
        return list(self._other_epochs())

    def _short_sources(self) -> Iterator[TooSmall]:
        seen: set[str] = set()
        for _, whole, part in self._side_by_side():
            windows = part.pool_windows
            if windows is None or not whole.pool_windows or windows >= MIN_WINDOWS or part.source in seen:
                continue
            seen.add(part.source)
            what = f"`{part.source}` would keep {windows:,} windows, and fewer than {MIN_WINDOWS} are too few"
            yield TooSmall(what, Fraction(MIN_WINDOWS, whole.pool_windows))

    def _other_epochs(self) -> Iterator[TooSmall]:
        ratio = self.wanted.ratio
        for stage, whole, part in self._side_by_side():
            wanted = whole.windows * ratio
            missed = abs(part.windows - wanted)
            allowed = 1 + ratio + wanted * NEGLIGIBLE
            if missed > allowed + self._handed_over(stage):
                reads = f"stage `{stage}` would read {part.windows:,} windows of `{part.source}`"
                instead = f"instead of {float(wanted):,.1f}"
                remedy = "give the stages batch sizes with a common divisor"
                yield TooSmall(f"{reads} {instead}: its batches do not divide", remedy=remedy)

    def _handed_over(self, stage: str) -> float:
        """Windows by which what sources at their caps hand over may differ: a window more or less of a source is
        `max_epochs` more or fewer that it may give."""
        planned = self.checked.plan.stage(stage)
        handed_over = 0.0
        for name in planned.redistributed:
            source = self.target.recipe.sources[name]
            if source.on_cap == "redistribute":
                handed_over += source.max_epochs
        return handed_over

    def _side_by_side(self) -> Iterator[tuple[str, StageSource, StageSource]]:
        """What each stage reads of each source: the stage's name, the source in the target, in the proxy."""
        proxy = self.checked.plan
        for before, after in zip(self.target.stages, proxy.stages, strict=True):
            name = before.name
            sources = zip(before.sources, after.sources, strict=True)
            for whole, part in sources:
                yield name, whole, part


def _sampled(pool: Pool, ratio: Fraction, fingerprint: str) -> Pool:
    """What a sample of a source that is built is expected to hold, in as many shards."""
    shards = tuple(int(tokens * ratio) for tokens in pool.shard_tokens)
    documents = pool.documents
    if documents is not None:
        documents = documents * ratio
    return Pool(shards, documents, exact=False, fingerprint=fingerprint)


def _unused_silences(checked: Checked) -> set[str]:
    unused: set[str] = set()
    for problem in checked.problems:
        if problem.rule == "silence-unused" and problem.where is not None:
            unused.add(problem.where.path.split(".", 1)[1])
    return unused


def read_ratio(text: str) -> Fraction:
    """A proxy's share of the tokens. Raises CodemixError for one that cannot be read, or makes nothing
    smaller."""
    hint = "for example `1/16` or `6.25%`"
    is_bare = re.fullmatch(r"[0-9]*[.]?[0-9]+", text)
    try:
        ratio = read_share(float(text) if is_bare else text)
    except PydanticCustomError as error:
        hints = (error.context or {}).get("hints", [hint])
        raise CodemixError(error.message(), hints=hints, rule="scale-down") from None
    if not 0 < ratio < 1:
        what = f"a proxy has a part of the target's tokens, and `{text}` is not one"
        raise CodemixError(what, hints=[hint], rule="scale-down")
    return ratio
