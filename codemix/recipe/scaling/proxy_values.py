"""The plain value of a proxy: a recipe with every source subsampled and every stage shortened by one ratio.

Epochs by stage and source are then the target's (arXiv 2606.07597: a proxy whose sources repeat as often as in
the target finds the target's mixture, one that does not is far off)."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, gcd, log2
from typing import Any

from codemix.recipe.language import schema
from codemix.recipe.language.layered_file import copied
from codemix.recipe.language.model_schema import PRESETS
from codemix.recipe.language.quantities import Length, exact_tokens, tokens_value
from codemix.recipe.language.source_graph import SourceGraph
from codemix.recipe.language.subsample import trained_share
from codemix.recipe.planning.plan import Plan, StagePlan

CAP_MARGIN = Fraction(11, 10)  # of `max_epochs`, for what documents of unequal length leave to chance
MAX_DISTANCE = 3.0  # powers of two by which a batch may be smaller or larger than that
NEGLIGIBLE = Fraction(1, 10_000)  # of a stage: less than a sample of documents leaves to chance
_SHAPE = ("d_model", "n_layers", "n_heads", "d_head", "d_ff")


@dataclass(frozen=True)
class Wanted:
    """What a proxy is asked to be."""

    ratio: Fraction  # of its tokens to the target's
    name: str
    preset: str | None = None
    learning_rate: float | None = None  # the highest of all stages


@dataclass(frozen=True)
class TooSmall:
    """Why a ratio does not work, the smallest that could, where that is known, and what to do where none does."""

    what: str
    at_least: Fraction = Fraction(0)
    remedy: str = "build or declare larger sources, or lengthen the stages"


@dataclass
class ProxyValues:
    """Makes the value; `refusals` say what of the target is too short for the ratio."""

    plan: Plan
    value: dict[str, Any]  # of the target
    wanted: Wanted
    refusals: list[TooSmall] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def made(self) -> dict[str, Any]:
        value = copied(self.value)
        value["name"] = self.wanted.name
        self._subsample(value["sources"])
        training = self.plan.recipe.training
        self._shrink_batch(value["training"], training.batch_size, "training")
        for stage, spec in zip(self.plan.stages, value["stages"], strict=True):
            self._shorten(stage, spec)
        if self.wanted.preset:
            _reshape(value["model"], self.wanted.preset)
        if self.wanted.learning_rate:
            self._scale_rates(value["stages"], self.wanted.learning_rate)
        return value

    @property
    def _ratio(self) -> Fraction:
        return self.wanted.ratio

    @property
    def _steps_ratio(self) -> Fraction:
        return self._ratio * self._divisor

    @functools.cached_property
    def _divisor(self) -> int:
        """By what batches are divided: by about the square root of 1/ratio, as the critical batch size grows with
        the tokens (arXiv 2410.21676), and so that stages come out in whole steps; steps then shrink by the rest."""
        divisors = self._divisors()
        near = {d for d in divisors if self._distance(d) <= MAX_DISTANCE}
        whole = {d for d in divisors if self._missed(d) <= Fraction(1, 2)}
        as_good = {d for d in divisors if self._missed_share(d) <= NEGLIGIBLE}
        best_first = [near & whole, near & as_good, whole, as_good]
        for chosen in best_first:
            if chosen:
                return min(chosen, key=self._distance)
        return min(divisors, key=self._missed)

    def _divisors(self) -> list[int]:
        """What divides every batch."""
        sizes: list[int] = []
        for stage in self.plan.stages:
            sizes += _sizes(stage.training.batch_size)
        common = gcd(*sizes)
        return [divisor for divisor in range(1, common + 1) if common % divisor == 0]

    def _distance(self, divisor: int) -> float:
        """How far a divisor is from the square root, as a power of two."""
        square = divisor**2 * self._ratio
        return abs(log2(square)) / 2

    def _missed(self, divisor: int) -> Fraction:
        """Rows by which whole steps miss the ratio, in the stage where they do most."""
        stages = self.plan.stages
        missed = [self._missed_by(stage, divisor) for stage in stages]
        return max(missed)

    def _missed_share(self, divisor: int) -> Fraction:
        """The same as a share of the stage."""
        shares: list[Fraction] = []
        for stage in self.plan.stages:
            rows = stage.rows * self._ratio
            shares.append(self._missed_by(stage, divisor) / rows)
        return max(shares)

    def _missed_by(self, stage: StagePlan, divisor: int) -> Fraction:
        _, size = stage.batches[-1]
        rows = stage.rows * self._ratio
        batch = Fraction(size, divisor)
        steps = round(rows / batch)
        return abs(steps * batch - rows)

    def _subsample(self, sources: dict[str, Any]) -> None:
        graph = SourceGraph(self.plan.recipe)
        for name in graph.tokenized:
            share = trained_share(graph, name) * self._ratio
            sources[name]["subsample"] = str(share)
        loosened: list[str] = []
        for name, epochs in _last_epochs(self.plan).items():
            source = self.plan.recipe.sources[name]
            cap = ceil(epochs * CAP_MARGIN * 100) / 100
            if cap > source.max_epochs and source.on_cap == "error":
                sources[name]["max_epochs"] = cap
                loosened.append(f"{name} {cap:g}")
        if loosened:
            listed = ", ".join(loosened)
            self.notes.append(
                f"`max_epochs` leaves room for a sample that holds less than its share: {listed}"
            )

    def _shorten(self, stage: StagePlan, spec: dict[str, Any]) -> None:
        """A stage's budget, its own batch size, and the lengths in its schedule."""
        self._shrink_batch(spec, stage.spec.batch_size, stage.name)
        asked_steps = stage.spec.steps
        if asked_steps is None:
            tokens = self._tokens(stage)
            spec["tokens"] = tokens_value(tokens)
        else:
            spec["steps"] = self._whole_steps(stage, asked_steps * self._steps_ratio)
        self._shorten_lengths(spec["learning_rate"], stage.spec.learning_rate, stage.name)

    def _shrink_batch(self, holder: dict[str, Any], batch: int | schema.BatchRamp | None, place: str) -> None:
        if isinstance(batch, int):
            holder["batch_size"] = batch // self._divisor
        elif batch is not None:
            ramp = holder["batch_size"]
            ramp["from"] = batch.from_ // self._divisor
            ramp["to"] = batch.to // self._divisor
            self._shorten_lengths(ramp, batch, place)

    def _shorten_lengths(self, holder: dict[str, Any], component: Any, place: str) -> None:
        """The lengths that a component has, in what `holder` writes of it."""
        for key, value in component:
            if key not in holder:
                continue
            if isinstance(value, Length):
                holder[key] = self._length(value, f"{key}` of `{place}")
            elif isinstance(value, int) and _counts_tokens(component, key):
                tokens = round(value * self._ratio)
                holder[key] = tokens_value(tokens)

    def _tokens(self, stage: StagePlan) -> int:
        """Tokens that come to whole steps: those asked for where that is the same, since they read well."""
        asked = stage.asked_tokens * self._ratio
        if len(stage.batches) > 1:
            return max(1, int(asked))
        _, size = stage.batches[0]
        batch = size // self._divisor
        rows = stage.rows * self._ratio
        steps = self._whole_steps(stage, rows / batch)
        tokens_per_step = batch * stage.seq_len
        is_whole = asked.denominator == 1
        if is_whole and asked // tokens_per_step == steps:
            return int(asked)
        return steps * tokens_per_step

    def _whole_steps(self, stage: StagePlan, steps: Fraction) -> int:
        whole = round(steps)
        if not whole:
            self.refusals.append(TooSmall(f"stage `{stage.name}` would be less than one step"))
        return max(1, whole)

    def _length(self, length: Length, place: str) -> Any:
        if length.tokens is not None:
            tokens = round(length.tokens * self._ratio)
            return f"{exact_tokens(tokens)} tokens"
        if not length.steps:
            return str(length) if length.share is not None else 0
        steps = length.steps * self._steps_ratio
        if steps < Fraction(1, 2):
            what = f"`{place}` ({length.steps:,} steps) would be less than one step"
            self.refusals.append(TooSmall(what, self._ratio / (2 * steps)))
        return f"{max(1, round(steps))} steps"

    def _scale_rates(self, stages: list[dict[str, Any]], highest: float) -> None:
        """Multiply every rate, so that the highest is the one asked for and their shape stays."""
        highest_now = 0.0
        for stage in self.plan.stages:
            for _, rate in _rates(stage.spec):
                highest_now = max(highest_now, rate)
        for stage, spec in zip(self.plan.stages, stages, strict=True):
            schedule = spec["learning_rate"]
            for key, rate in _rates(stage.spec):
                if key in schedule:
                    scaled = rate / highest_now * highest
                    schedule[key] = float(f"{scaled:.6g}")


def _last_epochs(plan: Plan) -> dict[str, Fraction]:
    """How often each source of known size is read at the end of the lineages that read it most."""
    epochs: dict[str, Fraction] = {}
    for stage in plan.stages:
        for source in stage.sources:
            after = source.epochs_after or Fraction(0)
            epochs[source.source] = max(after, epochs.get(source.source, after))
    return epochs


def _sizes(batch: int | schema.BatchRamp) -> list[int]:
    if isinstance(batch, int):
        return [batch]
    return [batch.from_, batch.to]


def _counts_tokens(component: Any, key: str) -> bool:
    """Whether a field is a number of tokens."""
    schema_of_all = type(component).model_json_schema()
    properties = schema_of_all["properties"]
    about = json.dumps(properties.get(key))
    return '"format": "tokens"' in about


def _rates(spec: schema.Stage) -> Iterator[tuple[str, float]]:
    """The rates that a stage's schedule gives as numbers."""
    for key, value in spec.learning_rate:
        if isinstance(value, float):
            yield key, value


def _reshape(model: dict[str, Any], preset: str) -> None:
    """Another shape; what else the model says stays."""
    shape: Mapping[str, int] = PRESETS[preset]
    if "preset" in model:
        model["preset"] = preset
    for key in _SHAPE:
        if key in model:
            model[key] = shape[key]
    if "n_kv_heads" in model:
        model["n_kv_heads"] = shape["n_heads"]
