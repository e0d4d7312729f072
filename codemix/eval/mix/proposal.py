"""The best mixture of fitted laws, as a convex programme.

minimise  sum_j a_j exp(t_j.w) + kl * sum_stages KL(w_s || q_s)
subject to w >= 0, each stage's shares summing to one, and linear bounds (Olmix, arXiv 2602.12237). That no
metric be worse than some value is a linear bound too: c + exp(t.w) <= v is t.w <= log(v - c).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

from codemix.errors import CodemixError, Problem
from codemix.eval.mix.interior_point import Convex, Polytope, least
from codemix.eval.mix.surrogate import Laws

_LOOSE = 1e-8  # share by which a bound gives way: the solver works strictly inside of all bounds
_EXACT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
_NOTHING = 1e-7  # share that is left out of a proposal


@dataclass(frozen=True)
class Bound:
    """`row.w <= most`, and what it means."""

    row: np.ndarray  # [domains]
    most: float
    what: str  # "`markup` at `max_epochs: 4`"


@dataclass(frozen=True)
class Region:
    """The mixtures that are allowed: shares of domains, stage after stage. A domain without a share in the
    prior gets none."""

    names: tuple[str, ...]  # of the domains
    stages: np.ndarray  # [domains]: the number of the stage that a domain belongs to
    prior: np.ndarray  # [domains]
    bounds: tuple[Bound, ...] = ()
    least: np.ndarray | float = 0.0  # [domains]: a smaller share would round to none

    @property
    def sums(self) -> np.ndarray:
        """Rows [stages, domains] that sum the shares of each stage."""
        numbers = np.unique(self.stages)
        belongs = numbers[:, None] == self.stages
        return belongs.astype(float)

    def only(self, domains: np.ndarray) -> Region:
        """The region with nothing but the domains that are marked."""
        places = np.flatnonzero(domains)
        bounds = []
        for bound in self.bounds:
            row = bound.row[places]
            bounds.append(replace(bound, row=row))
        return Region(
            names=tuple(self.names[place] for place in places),
            stages=self.stages[places],
            prior=self.prior[places],
            bounds=tuple(bounds),
        )

    @property
    def polytope(self) -> Polytope:
        """Every bound as a row; shares are not below nothing."""
        negative = -np.eye(len(self.names))
        rows = list(negative)
        most = [0.0] * len(rows)
        for bound in self.bounds:
            rows.append(bound.row)
            most.append(bound.most + _LOOSE)
        return Polytope(
            rows=np.array(rows),
            most=np.array(most),
            sums=self.sums,
        )

    def missed(self, mixture: np.ndarray) -> list[str]:
        """The bounds that a mixture breaks, in words, with by how much."""
        broken = []
        for bound in self.bounds:
            value = float(bound.row @ mixture)
            excess = value - bound.most
            if excess > 2 * _LOOSE:
                broken.append(f"{bound.what} (by {excess:.3g})")
        return broken

    def inside(self) -> np.ndarray:
        """A mixture far from every bound. Raises CodemixError with the bounds that leave none."""
        polytope = self.polytope
        n_bounds, n_domains = polytope.rows.shape
        ones = np.ones(n_bounds)
        whole = np.ones(len(polytope.sums))
        cost = np.zeros(n_domains + 1)
        cost[-1] = -1  # the room, the last variable, is to be large
        found = linprog(
            cost,
            A_ub=np.column_stack([polytope.rows, ones]),
            b_ub=polytope.most,
            A_eq=np.column_stack([polytope.sums, 0 * whole]),
            b_eq=whole,
            bounds=[(0, 1)] * n_domains + [(None, 1)],
            options=_EXACT,
        )
        if found.x is None or found.x[-1] <= _LOOSE / 100:
            raise self._no_room()
        return found.x[:-1]

    def _no_room(self) -> CodemixError:
        """What would have to give way, at the least, for there to be a mixture."""
        n_domains = len(self.names)
        n_bounds = len(self.bounds)
        rows = [bound.row for bound in self.bounds]
        most = [bound.most for bound in self.bounds]
        whole = np.ones(len(self.sums))
        gaps = np.eye(n_bounds)  # of the bounds, the last variables; their sum is to be small
        cost = np.zeros(n_domains + n_bounds)
        cost[n_domains:] = 1
        found = linprog(
            cost,
            A_ub=np.column_stack([rows, -gaps]),
            b_ub=most,
            A_eq=np.column_stack([self.sums, 0 * np.outer(whole, most)]),
            b_eq=whole,
        )
        what = "no mixture keeps all caps and limits"
        hints = ["raise a `max_epochs` or a limit, shorten the stage, or add a source"]
        if found.x is not None:
            missing = self.missed(found.x[:n_domains])
            hints.insert(0, f"the nearest one breaks {'; '.join(missing)}")
        return CodemixError(Problem(what, hints=tuple(hints), rule="mix-no-room"))


@dataclass(frozen=True)
class Objective:
    """What makes a mixture good: low losses by their weights, nearness to the prior, no loss much worse."""

    metrics: tuple[str, ...]
    weights: np.ndarray  # [metrics]
    kl: float
    no_worse_than: float | None = None  # of any metric over the prior's, as a share of it

    def value(
        self,
        laws: Laws,
        mixture: np.ndarray,
    ) -> float:
        """The weighted loss of a mixture, without the nearness to the prior."""
        [losses] = laws(mixture[None])
        return float(losses @ self.weights)

    def bounds(
        self,
        laws: Laws,
        prior: np.ndarray,
    ) -> list[Bound]:
        """What `no_worse_than` asks of each metric."""
        if self.no_worse_than is None:
            return []
        [at_prior] = laws(prior[None])
        worst = at_prior * (1 + self.no_worse_than)
        most = np.log(worst - laws.floor)
        bounds = []
        for metric, slopes, bound in zip(
            self.metrics,
            laws.slopes,
            most.tolist(),
            strict=True,
        ):
            what = f"`{metric}` within {self.no_worse_than:.2%} of the prior's"
            bounds.append(Bound(slopes, bound, what))
        return bounds


def propose(
    laws: Laws,
    objective: Objective,
    region: Region,
) -> np.ndarray:
    """The best mixture of a region [domains]; no share is less than a window, unless it is none.

    Raises CodemixError where no mixture is allowed.
    """
    more = objective.bounds(laws, region.prior)
    allowed = replace(region, bounds=(*region.bounds, *more))
    read = region.prior > 0
    while True:
        if not (region.sums @ read).all():
            what = "a stage is too short for a mixture: every share would round to no window"
            raise CodemixError(what, hints=["lengthen the stage"], rule="mix-no-room")
        mixture = _best_of(laws, objective, allowed, read)
        is_small = mixture < region.least
        too_small = read & is_small
        if not too_small.any():
            return mixture
        read = read & ~too_small


def _best_of(
    laws: Laws,
    objective: Objective,
    region: Region,
    read: np.ndarray,
) -> np.ndarray:
    """The best mixture of the domains that are marked; the others get nothing."""
    inner = region.only(read)
    cost = _Cost(laws.slopes[:, read], objective, inner.prior)
    function = Convex(cost.value, cost.gradient, cost.hessian)
    found = least(function, inner.polytope, inner.inside())
    found[found < _NOTHING] = 0
    mixture = np.zeros(len(region.names))
    mixture[read] = found
    sums = region.sums @ mixture
    return mixture / sums[region.stages]


@dataclass(frozen=True)
class _Cost:
    """What the best mixture has the least of, as a function of the shares of its domains."""

    slopes: np.ndarray  # [metrics, domains]
    objective: Objective
    prior: np.ndarray  # [domains]

    def pulls(self, mixture: np.ndarray) -> np.ndarray:
        """The weighted losses above their floors [metrics]."""
        power = np.exp(self.slopes @ mixture)
        return self.objective.weights * power

    def surprise(self, mixture: np.ndarray) -> np.ndarray:
        return np.log(mixture / self.prior)

    def value(self, mixture: np.ndarray) -> float:
        pulls = self.pulls(mixture)
        surprise = self.surprise(mixture)
        divergence = mixture @ surprise
        away = self.objective.kl * divergence
        total = pulls.sum() + away
        return float(total)

    def gradient(self, mixture: np.ndarray) -> np.ndarray:
        pulls = self.pulls(mixture)
        divergence = self.surprise(mixture) + 1
        away = self.objective.kl * divergence
        return pulls @ self.slopes + away

    def hessian(self, mixture: np.ndarray) -> np.ndarray:
        pulls = self.pulls(mixture)
        pulled = self.slopes.T * pulls
        away = np.diag(self.objective.kl / mixture)
        return pulled @ self.slopes + away
