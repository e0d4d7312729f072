"""The points of a study with `mix:`: the prior with several seeds, each domain up and out once, and random
mixtures; every one planned in whole windows, so that caps and limits hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from codemix.errors import CodemixError, Problem
from codemix.recipe.checks import validation
from codemix.recipe.language.layered_file import copied, get
from codemix.recipe.language.overrides import layered, put
from codemix.recipe.language.quantities import exact_share, show_share
from codemix.recipe.planning.apportion import apportion
from codemix.recipe.studies.draws import Draws
from codemix.recipe.studies.mix_space import MixSpace, VariedStage, mix_space, with_shares
from codemix.recipe.studies.points import Point
from codemix.recipe.studies.study_spec import Study
from codemix.tables import Table

GRAIN = 10**4  # shares are whole multiples of 0.01%
UP = 3  # times its prior that a domain gets in the point `up`, but at most halfway to all
_MAX_TRIES = 200  # draws of one point that may break a cap
Shares = Sequence[Mapping[str, Fraction]]  # by varied stage, of its domains


@dataclass(frozen=True)
class SwarmPoint:
    """A point's name, the shares of every varied stage, and its seed if it is not the base recipe's."""

    name: str
    shares: Shares
    seed: int | None = None


@dataclass(frozen=True)
class Swarm:
    """The points, and those that caps or limits forbid."""

    space: MixSpace
    points: tuple[SwarmPoint, ...]
    left_out: tuple[str, ...]

    def table(self) -> Table:
        """The shares of every point."""
        columns = ["point"]
        for stage in self.space.stages:
            for domain in stage.domains:
                several = len(self.space.stages) > 1
                columns.append(f">{stage.name}.{domain.name}" if several else f">{domain.name}")
        rows = []
        for point in self.points:
            row = [point.name]
            for shares in point.shares:
                row += map(show_share, shares.values())
            rows.append(row)
        notes = []
        if self.left_out:
            names = ", ".join(self.left_out)
            notes.append(f"not possible within caps and limits: {names}")
        return Table(f"{len(rows)} points", columns, rows, notes)

    def as_json(self) -> dict[str, Any]:
        points = {}
        for point in self.points:
            stages = {}
            for stage, shares in zip(self.space.stages, point.shares, strict=True):
                stages[stage.name] = {name: exact_share(share) for name, share in shares.items()}
            points[point.name] = {"stages": stages, "seed": point.seed}
        return {"points": points, "left_out": list(self.left_out)}


def swarm_points(study: Study) -> Iterator[Point]:
    """Every point as a recipe's document."""
    swarm = draw_swarm(mix_space(study))
    for point in swarm.points:
        yield _document(swarm.space, point)


def draw_swarm(space: MixSpace) -> Swarm:
    """The points of a space, the same each time. Raises CodemixError where the prior itself is not allowed,
    or nearly nothing else is."""
    base = validation.check(space.base)
    base.require()
    prior = _prior(space)
    points = []
    for i in range(space.mix.prior_seeds):
        seed = space.base.recipe.seed + i
        points.append(SwarmPoint(f"prior-seed{i}", prior, seed))
    left_out = []
    for point in _one_at_a_time(space, prior):
        if _is_allowed(space, point):
            points.append(point)
        else:
            left_out.append(point.name)
    draws = Draws(space.mix.seed)
    n_random = max(0, n_points(space) - len(points))
    for i in range(n_random):
        points.append(_drawn(space, draws, f"p{i:03}", points))
    return Swarm(space, tuple(points), tuple(left_out))


def n_points(space: MixSpace) -> int:
    """How many points the swarm has: three times the domains, or 20 more than they, unless the study says."""
    if space.mix.points is not None:
        return space.mix.points
    n_domains = sum(len(stage.domains) for stage in space.stages)
    return max(3 * n_domains, n_domains + 20)


def _prior(space: MixSpace) -> Shares:
    shares = []
    for stage in space.stages:
        shares.append({domain.name: domain.prior for domain in stage.domains})
    return shares


def _one_at_a_time(space: MixSpace, prior: Shares) -> Iterator[SwarmPoint]:
    """Each domain up and out once, the rest keeping its proportions and other stages the prior."""
    several = len(space.stages) > 1
    for place, stage in enumerate(space.stages):
        prefix = f"{stage.name}-" if several else ""
        for domain in stage.domains:
            if not 0 < domain.prior < 1:
                continue
            halfway = (1 + domain.prior) / 2
            up = min(UP * domain.prior, halfway)
            for kind, share in (("up", up), ("out", Fraction(0))):
                shares = list(prior)
                shares[place] = _with(stage, domain.name, share)
                yield SwarmPoint(f"{kind}-{prefix}{domain.name}", shares)


def _with(stage: VariedStage, name: str, share: Fraction) -> dict[str, Fraction]:
    """The prior of a stage with another share of one domain."""
    exact = {}
    for domain in stage.domains:
        if domain.name == name:
            exact[domain.name] = share
        else:
            rest = 1 - stage.prior_of(name)
            exact[domain.name] = domain.prior / rest * (1 - share)
    return _rounded(exact)


def _drawn(
    space: MixSpace,
    draws: Draws,
    name: str,
    earlier: Sequence[SwarmPoint],
) -> SwarmPoint:
    """A random mixture that is allowed, and that no earlier point has."""
    known = [point.shares for point in earlier]
    for _ in range(_MAX_TRIES):
        shares = []
        for stage in space.stages:
            prior = [float(domain.prior) for domain in stage.domains]
            mixture = draws.mixture(prior)
            exact = {}
            for domain, share in zip(stage.domains, mixture, strict=True):
                exact[domain.name] = Fraction(share)
            shares.append(_rounded(exact))
        point = SwarmPoint(name, shares)
        if shares not in known and _is_allowed(space, point):
            return point
    where = space.study.document.where(("mix",), key=True)
    what = f"{_MAX_TRIES} random mixtures in a row broke a cap or a limit, or were there already"
    hints = (
        "ask for fewer `points:`, raise a `max_epochs` or a limit, shorten the stage, or leave a source out of the mixture",
    )
    raise CodemixError(Problem(what, where, hints, "mix-no-room"))


def _rounded(exact: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """Shares as whole multiples of the grain."""
    total = sum(exact.values())
    parts = [share / total for share in exact.values()]
    counts = apportion(GRAIN, parts)
    shares = {}
    for name, count in zip(exact, counts, strict=True):
        shares[name] = Fraction(count, GRAIN)
    return shares


def _is_allowed(space: MixSpace, point: SwarmPoint) -> bool:
    """Whether the point's plan, in whole windows, keeps every rule."""
    name = space.base.recipe.name
    recipe = space.with_shares(point.shares, name)
    checked = validation.check(recipe)
    return not checked.errors


def _document(space: MixSpace, point: SwarmPoint) -> Point:
    study = space.study
    document = layered(space.base.document, study.document.file)
    for place, stage in enumerate(space.stages):
        at = ("stages", stage.index, "mixture")
        written = copied(get(document.value, at))
        mixture = with_shares(written, point.shares[place])
        origin = ("mix", "stages", place)
        put(document, at, mixture, study.document, origin)
    if point.seed is not None:
        put(document, ("seed",), point.seed, study.document, ("mix",))
    name = f"{study.name}-{point.name}"
    put(document, ("name",), name, study.document, ("study",))
    return Point(point.name, document)
