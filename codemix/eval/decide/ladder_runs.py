"""The runs of a ladder: one mixture at several sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.eval.decide.outcomes import Place, is_same, mixture, require_one_measurement
from codemix.eval.evidence.rows import Row
from codemix.eval.evidence.scored import ERROR, GOLD
from codemix.eval.evidence.tabulation import chosen_metrics, missing_metrics
from codemix.recipe.language.quantities import show_tokens

FEWEST = 3  # different models, and different numbers of tokens: each law has two parameters of its own and one shared
FEWEST_RUNS = 6  # one more than the parameters
SCORE = "score"  # of a task, one less its error
_ALONG = 0.05  # by how much tokens must vary beside parameters, in logarithms
_NAMED = 3  # sources in a candidate's name


@dataclass(frozen=True, order=True)
class Size:
    parameters: int
    tokens: int

    @property
    def compute(self) -> int:
        return self.parameters * self.tokens

    @property
    def name(self) -> str:
        return f"{show_tokens(self.parameters)} parameters, {show_tokens(self.tokens)} tokens"


@dataclass(frozen=True)
class Sizes:
    """As columns."""

    n: np.ndarray  # parameters
    d: np.ndarray  # tokens

    @classmethod
    def of(cls, sizes: Sequence[Size]) -> Sizes:
        n = []
        d = []
        for size in sizes:
            n.append(float(size.parameters))
            d.append(float(size.tokens))
        return cls(np.array(n), np.array(d))

    @property
    def models(self) -> set[float]:
        return set(self.n.tolist())

    @property
    def largest(self) -> Size:
        """By compute."""
        compute = self.n * self.d
        place = compute.argmax()
        n = self.n[place]
        d = self.d[place]
        return Size(int(n), int(d))


@dataclass
class LadderRuns:
    """The runs of one mixture. Runs of one size, such as several seeds, count as one for the law of a loss."""

    name: str
    mixture: Mapping[Place, float]
    rows: list[Row] = field(default_factory=list)

    @property
    def by_size(self) -> dict[Size, list[Row]]:
        found: dict[Size, list[Row]] = {}
        for row in self.rows:
            found.setdefault(size_of(row), []).append(row)
        return found

    @property
    def sizes(self) -> Sizes:
        return Sizes.of(list(self.by_size))

    @property
    def losses(self) -> list[str]:
        """The metrics of all runs that are no errors."""
        losses = []
        for metric in self._metrics:
            if not metric.startswith(f"{ERROR}/"):
                losses.append(metric)
        return losses

    @property
    def scores(self) -> dict[str, str]:
        """Of each score the loss that it follows."""
        found = {}
        for metric in self._metrics:
            kind, _, task = metric.partition("/")
            loss = f"{GOLD}/{task}"
            if kind == ERROR and loss in self._metrics:
                found[f"{SCORE}/{task}"] = loss
        return found

    @property
    def _metrics(self) -> list[str]:
        return list(self.rows[0].metrics)

    def each(self, metric: str) -> np.ndarray:
        """Of every run."""
        values = [value_of(row, metric) for row in self.rows]
        return np.array(values)

    def means(self, metric: str) -> np.ndarray:
        """Of every size."""
        means = []
        for rows in self.by_size.values():
            values = [value_of(row, metric) for row in rows]
            means.append(np.mean(values))
        return np.array(means)

    def loss_at(self, metric: str, size: Size) -> float:
        rows = self.by_size[size]
        values = [value_of(row, metric) for row in rows]
        mean = np.mean(values)
        return float(mean)

    def without_largest(self) -> tuple[LadderRuns, LadderRuns]:
        """The runs of all but the largest model, and those of the largest."""
        largest = max(size_of(row).parameters for row in self.rows)
        smaller = LadderRuns(self.name, self.mixture)
        held_out = LadderRuns(self.name, self.mixture)
        for row in self.rows:
            part = held_out if row.parameters == largest else smaller
            part.rows.append(row)
        return smaller, held_out


def value_of(row: Row, metric: str) -> float:
    """A metric of a run; a score is what its error leaves of one."""
    kind, _, task = metric.partition("/")
    if kind == SCORE:
        return 1 - row.metrics[f"{ERROR}/{task}"]
    return row.metrics[metric]


def size_of(row: Row) -> Size:
    tokens = [stage.tokens or 0 for stage in row.stages]
    return Size(row.parameters or 0, sum(tokens))


def ladder_runs(rows: Sequence[Row], metrics: Sequence[str] = ("*",)) -> list[LadderRuns]:
    """The runs by mixture, in the order of the rows. `metrics` are names or patterns.

    Raises CodemixError for rows without a size, of several tokenizers or measurements, or that lack a metric.
    """
    require_one_measurement(rows)
    chosen = chosen_metrics(rows, metrics)
    problems: list[Problem] = []
    found: list[LadderRuns] = []
    for row in rows:
        problems += _faults(row, rows[0])
        of_row = [name for name in chosen if name in row.metrics]
        kept = {name: row.metrics[name] for name in of_row}
        _add(found, row.model_copy(update={"metrics": kept}))
    for runs in found:
        for row in runs.rows:
            problems += missing_metrics(row, list(runs.rows[0].metrics))
        problems += _two_rates(runs)
    if problems:
        raise CodemixError(*problems)
    return found


def _add(found: list[LadderRuns], row: Row) -> None:
    read = mixture(row)
    for runs in found:
        if is_same(runs.mixture, read):
            runs.rows.append(row)
            return
    found.append(LadderRuns(_described(read), read, [row]))


def _described(read: Mapping[Place, float]) -> str:
    """A mixture by its largest shares, the largest first."""
    shares: dict[str, float] = {}
    for (_, source), share in read.items():
        earlier = shares.get(source, 0.0)
        shares[source] = earlier + share
    order = Counter(shares)
    named = []
    for source, share in order.most_common(_NAMED):
        named.append(f"{source} {share:.0%}")
    if len(shares) > _NAMED:
        named.append("...")
    return ", ".join(named)


def _faults(row: Row, first: Row) -> Iterator[Problem]:
    if not row.parameters or not all(stage.tokens for stage in row.stages):
        what = f"the run `{row.run}` does not say how many parameters it has and how many tokens it read"
        hint = "give `mix import` its `--parameters` and `--tokens`"
        yield Problem(what, hints=(hint,), rule="evidence")
    if row.tokenizer != first.tokenizer:
        what = f"`{first.run}` and `{row.run}` have different tokenizers"
        hint = "a ladder is of runs that differ in their size only"
        yield Problem(what, hints=(hint,), rule="evidence-mixed")


def _two_rates(runs: LadderRuns) -> Iterator[Problem]:
    """Runs of one size and mixture that differ in their learning rates."""
    for size, rows in runs.by_size.items():
        first, *others = rows
        for other in others:
            rates = [[stage.learning_rate for stage in row.stages] for row in (first, other)]
            if rates[0] != rates[1]:
                what = f"`{first.run}` and `{other.run}`, of {size.name}, have different learning rates"
                hint = "leave the runs of all rates but one out"
                yield Problem(what, hints=(hint,), rule="evidence-mixed")
                return


def too_few(runs: LadderRuns) -> str:
    """Why the law of a loss has no one answer; nothing where it has."""
    sizes = runs.sizes
    n_models = len(sizes.models)
    budgets = set(sizes.d.tolist())
    if n_models < FEWEST or len(budgets) < FEWEST or len(sizes.n) < FEWEST_RUNS:
        return (
            f"{len(sizes.n)} sizes of {n_models} models and {len(budgets)} numbers of tokens; at least "
            f"{FEWEST_RUNS} of {FEWEST} and {FEWEST} are needed"
        )
    slope = np.polyfit(np.log(sizes.n), np.log(sizes.d), 1)
    left = np.log(sizes.d) - np.polyval(slope, np.log(sizes.n))
    if left.std() < _ALONG:
        return "tokens grow with parameters in all runs, so what each does cannot be told apart"
    return ""


def find_baseline(found: Sequence[LadderRuns], name: str | None) -> LadderRuns:
    """The runs called `name`; the first with enough of them where no name is given. Raises CodemixError."""
    if name is None:
        for runs in found:
            if not too_few(runs):
                return runs
        reason = too_few(found[0])
        what = f"too few runs for a ladder of `{found[0].name}`: {reason}"
        raise CodemixError(Problem(what, hints=("docs/mixing.md shows a ladder",), rule="evidence-few"))
    for runs in found:
        if runs.name == name:
            return runs
    names = [runs.name for runs in found]
    hints = did_you_mean(name, names) or (f"there are: {'; '.join(names)}",)
    raise CodemixError(Problem(f"there is no candidate `{name}`", hints=hints, rule="evidence"))
