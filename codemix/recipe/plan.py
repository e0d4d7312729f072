"""What will happen, in whole numbers: the plan of a recipe, stage by stage, before anything runs.

The plan is exact: the loader reads what it says, and the ledger after training equals it. Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from codemix.errors import Problem
from codemix.recipe import schema
from codemix.recipe.apportion import along_ramp, apportion
from codemix.recipe.fingerprint import fingerprint
from codemix.recipe.mixture import Found, Leaf, flatten
from codemix.recipe.quantities import Length, show_share, show_tokens

RAMP_SEGMENTS = 64  # a ramp is followed in at most this many stretches of constant shares


@dataclass(frozen=True)
class Pool:
    """What one epoch of a source holds: the tokens of its training shards, or a declared size for a source not built yet."""

    shard_tokens: tuple[int, ...]
    documents: int | None = None
    exact: bool = True  # from a manifest, not declared
    fingerprint: str = ""  # of the shards, or of the source's spec

    @property
    def tokens(self) -> int:
        return sum(self.shard_tokens)

    def windows(self, seq_len: int) -> int:
        """Windows of `seq_len` + 1 tokens at stride `seq_len`; none crosses a shard, the tails are left over."""
        return sum(max(0, (n - 1) // seq_len) for n in self.shard_tokens)


@dataclass(frozen=True)
class StageSource:
    """One source in one stage. `windows` are read from cursor `start` on; an epoch is `pool_windows` (None: size unknown)."""

    source: str
    share: Fraction  # asked, mean over the stage
    windows: int
    start: int
    pool_windows: int | None
    tags: Mapping[str, str]
    epochs_before: Fraction = Fraction(0)  # over the whole lineage
    pool_fingerprint: str = ""

    @property
    def epochs_after(self) -> Fraction | None:
        return self.epochs_before + Fraction(self.windows, self.pool_windows) if self.pool_windows else None


@dataclass(frozen=True)
class Segment:
    """Rows with constant shares: `counts` by source, in the order of `StagePlan.sources`; they sum to `rows`."""

    first_row: int
    rows: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class StagePlan:
    """One stage, resolved. Everything that decides its data and its updates is here or in `parent`."""

    name: str
    index: int  # in the recipe it stands in
    spec: schema.Stage
    model: schema.Model
    training: schema.Training  # with the stage's overrides
    seq_len: int
    batches: tuple[tuple[int, int], ...]  # (first step, rows a step), ascending
    steps: int
    rows: int
    asked_tokens: int
    seed: int
    init_seed: int
    sources: tuple[StageSource, ...]  # sorted by name
    segments: tuple[Segment, ...]
    fim: Mapping[str, Fraction]
    parent: StagePlan | None
    load: str | None  # "state" | "weights" | None (scratch)
    run_tokens: int  # of the lineage before this stage
    run_total: int  # of the lineage at the end of this recipe's last stage on it
    redistributed: Mapping[str, Fraction] = field(default_factory=dict)  # source -> share given, where `on_cap` changed it
    fingerprint: str = ""

    @property
    def tokens(self) -> int:
        return self.rows * self.seq_len

    @property
    def doc_mask(self) -> str:
        return self.training.doc_mask

    @property
    def reset_positions(self) -> bool:
        return self.training.reset_positions

    def batch_size(self, step: int) -> int:
        """Rows of a step."""
        return next(size for first, size in reversed(self.batches) if first <= step)

    def first_row(self, step: int) -> int:
        """Rows of the stage before a step."""
        total = 0
        for i, (first, size) in enumerate(self.batches):
            last = self.batches[i + 1][0] if i + 1 < len(self.batches) else step
            total += max(0, min(step, last) - first) * size
        return total

    def lr(self, step: int) -> float:
        """The learning rate of a step, by the stage's schedule."""
        schedule: Any = self.spec.learning_rate
        return schedule.lr(schedule.at(self, step))

    def planned_tokens(self) -> dict[str, int]:
        """Tokens by source, the ledger's left side."""
        return {s.source: s.windows * self.seq_len for s in self.sources}


@dataclass(frozen=True)
class Plan:
    """A recipe's stages, planned. `stages` are the recipe's own; a stage's `parent` may belong to another recipe."""

    recipe: schema.Recipe
    stages: tuple[StagePlan, ...]

    def stage(self, name: str) -> StagePlan:
        return next(s for s in self.stages if s.name == name)


@dataclass
class _Cursor:
    """How far a lineage has read one source."""

    pool: str
    seq_len: int
    seed: int
    position: int
    epochs: Fraction


End = tuple[StagePlan, dict[str, _Cursor]]  # a planned stage, and how far its lineage has read each source
Outside = Callable[[int, schema.InitFrom], End | None]  # finds the stage of another recipe that stage i starts from


class Planner:
    """Plans a recipe against `pools`; problems are collected, never raised."""

    def __init__(self, recipe: schema.Recipe, pools: Mapping[str, Pool], outside: Outside | None = None):
        self.recipe, self.pools, self.outside = recipe, pools, outside
        self.problems: list[Found] = []
        self.ends: dict[str, End] = {}

    def plan(self) -> Plan:
        stages = [self._stage(i) for i in range(len(self.recipe.stages))]
        finished: dict[int, StagePlan] = {}  # id of a draft -> the stage with its run's total, final parent and fingerprint
        for draft, total in zip(stages, self._run_totals(stages), strict=True):
            stage = dataclasses.replace(draft, run_total=total, parent=finished.get(id(draft.parent), draft.parent))
            finished[id(draft)] = dataclasses.replace(stage, fingerprint=stage_fingerprint(stage))
        self.ends = {name: (finished[id(draft)], cursors) for name, (draft, cursors) in self.ends.items()}
        return Plan(self.recipe, tuple(finished.values()))

    def _run_totals(self, stages: list[StagePlan]) -> list[int]:
        """For each stage the tokens at the end of the last stage that descends from it in this recipe."""
        totals = [s.run_tokens + s.tokens for s in stages]
        for i in range(len(stages) - 1, -1, -1):
            for j in range(i + 1, len(stages)):
                if stages[j].parent is stages[i]:
                    totals[i] = max(totals[i], totals[j])
        return totals

    def _stage(self, index: int) -> StagePlan:
        spec, recipe = self.recipe.stages[index], self.recipe
        overrides = {k: v for k in ("seq_len", "batch_size", "doc_mask", "reset_positions") if (v := getattr(spec, k)) is not None}
        training = recipe.training.model_copy(update=overrides)
        parent, cursors, load = self._parent(index)
        batches, steps, rows, asked = batch_plan(spec, training)
        seed = recipe.seed if spec.seed is None else spec.seed
        if rows == 0:
            at, needed = ("stages", index, "tokens"), batches[0][1] * training.seq_len
            self._found(
                at,
                "stage-too-short",
                f"the stage is shorter than one step ({needed:,} tokens)",
                f"give it at least {show_tokens(needed)} tokens, or a smaller batch_size",
            )
        leaves, found = flatten(recipe, index)
        broken = bool(found)
        self.problems += found
        starts = {leaf.source: self._start(index, leaf, training.seq_len, seed, cursors, spec) for leaf in leaves}
        redistributed: dict[str, Fraction] = {}
        if not broken and leaves and rows:
            if spec.by == "documents":
                leaves = self._by_tokens(index, leaves)
            asked_leaves = leaves
            leaves = self._redistribute(index, leaves, rows, training.seq_len, cursors, starts)
            redistributed = {a.source: b.mean for a, b in zip(asked_leaves, leaves, strict=True) if a.mean != b.mean}
            segments = _segments(leaves, rows)
            shares = {leaf.source: leaf.mean for leaf in asked_leaves}
        else:
            segments, shares, leaves = (), {}, []
        sources = []
        for i, leaf in enumerate(leaves):
            windows, pool = sum(s.counts[i] for s in segments), self.pools.get(leaf.source)
            cursor = cursors.get(leaf.source)
            pool_print = pool.fingerprint if pool else ""
            before = cursor.epochs if cursor and cursor.pool == pool_print else Fraction(0)
            pool_windows = pool.windows(training.seq_len) if pool else None
            source = StageSource(
                leaf.source, shares[leaf.source], windows, starts[leaf.source], pool_windows, recipe.sources[leaf.source].tags, before, pool_print
            )
            sources.append(source)
            self._check(index, leaf, source, rows, training.seq_len, spec)
            cursors[leaf.source] = _Cursor(pool_print, training.seq_len, seed, source.start + windows, source.epochs_after or before)
        stage = StagePlan(
            name=spec.name, index=index, spec=spec, model=recipe.model, training=training, seq_len=training.seq_len, batches=batches, steps=steps,
            rows=rows, asked_tokens=asked, seed=seed, init_seed=recipe.seed, sources=tuple(sources), segments=segments, fim=self._fim(index, leaves),
            parent=parent, load=load, run_tokens=parent.run_tokens + parent.tokens if parent else 0, run_total=0, redistributed=redistributed,
        )  # fmt: skip
        self.ends[spec.name] = (stage, cursors)
        return stage

    def _parent(self, index: int) -> tuple[StagePlan | None, dict[str, _Cursor], str | None]:
        spec = self.recipe.stages[index]
        if spec.init_from == "scratch" or (spec.init_from is None and index == 0):
            return None, {}, None
        if spec.init_from is None:
            parent, cursors = self.ends[self.recipe.stages[index - 1].name]
        elif spec.init_from.recipe is None:
            found = self.ends.get(spec.init_from.stage)
            if found is None:
                self._found(
                    ("stages", index, "init_from", "stage"),
                    "unknown-stage",
                    f"there is no earlier stage `{spec.init_from.stage}`",
                    f"earlier stages: {', '.join(self.ends) or 'none'}",
                )
                return None, {}, None
            parent, cursors = found
        else:
            found = self.outside(index, spec.init_from) if self.outside else None
            if found is None:
                return None, {}, None
            parent, cursors = found
        if parent.model != self.recipe.model:
            self._found(
                ("stages", index, "init_from"),
                "model-changes",
                f"stage `{parent.name}` has another model than this recipe",
                "give both recipes the same `model:`",
            )
        load = (
            "weights"
            if spec.optimizer_state == "reset" or (isinstance(spec.init_from, schema.InitFrom) and spec.init_from.load == "weights")
            else "state"
        )
        return parent, {k: dataclasses.replace(v) for k, v in cursors.items()}, load

    def _start(self, index: int, leaf: Leaf, seq_len: int, seed: int, cursors: dict[str, _Cursor], spec: schema.Stage) -> int:
        cursor, pool = cursors.get(leaf.source), self.pools.get(leaf.source)
        if cursor is None or spec.cursor == "restart" or (pool is not None and cursor.pool != pool.fingerprint):
            return 0
        for name, then, now in (("seq_len", cursor.seq_len, seq_len), ("seed", cursor.seed, seed)):
            if then != now:
                self._found(
                    leaf.path, "cursor-changes", f"`{leaf.source}` cannot continue: {name} changes from {then} to {now}, which is another order of other windows",
                    "say `cursor: restart` in this stage; some text may then be read again, and `plan` counts it", f"or keep {name} at {then}",
                )  # fmt: skip
                return 0
        return cursor.position

    def _by_tokens(self, index: int, leaves: list[Leaf]) -> list[Leaf]:
        """Shares of documents as the shares of tokens that they imply."""
        lengths = []
        for leaf in leaves:
            pool = self.pools.get(leaf.source)
            if pool is None or not pool.documents:
                self._found(
                    leaf.path,
                    "documents-unknown",
                    f"the number of documents of `{leaf.source}` is unknown, so its share of documents has no size in tokens",
                    "declare `tokens:` and `documents:` of the source, or build it first",
                )
                return leaves
            lengths.append(Fraction(pool.tokens, pool.documents))
        totals = [sum(getattr(x, end) * n for x, n in zip(leaves, lengths, strict=True)) for end in ("start", "end")]
        return [dataclasses.replace(x, start=x.start * n / totals[0], end=x.end * n / totals[1]) for x, n in zip(leaves, lengths, strict=True)]

    def _left(self, leaf: Leaf, seq_len: int, cursors: dict[str, _Cursor]) -> int | None:
        """Windows that the lineage may still read of a source, or None when its size is unknown."""
        pool = self.pools.get(leaf.source)
        if pool is None:
            return None
        cursor, source = cursors.get(leaf.source), self.recipe.sources[leaf.source]
        used = cursor.epochs if cursor and cursor.pool == pool.fingerprint else Fraction(0)
        exact = (Fraction(str(source.max_epochs)) - used) * pool.windows(seq_len)
        return max(0, exact.numerator // exact.denominator)

    def _redistribute(
        self, index: int, leaves: list[Leaf], rows: int, seq_len: int, cursors: dict[str, _Cursor], starts: dict[str, int]
    ) -> list[Leaf]:
        """Hand what a source over its cap cannot give to its siblings, then to the groups around, exactly."""
        capped: set[str] = set()
        for _ in range(len(leaves)):
            over = []
            for leaf in leaves:
                left = self._left(leaf, seq_len, cursors)
                if (
                    left is not None
                    and self.recipe.sources[leaf.source].on_cap == "redistribute"
                    and leaf.source not in capped
                    and leaf.mean * rows > left
                ):
                    over.append((leaf, Fraction(left, rows) / leaf.mean))
            if not over:
                return leaves
            leaf, factor = over[0]
            capped.add(leaf.source)
            freed = (leaf.start * (1 - factor), leaf.end * (1 - factor))
            for depth in range(len(leaf.groups), -1, -1):
                takers = [x for x in leaves if x.source not in capped and x.groups[:depth] == leaf.groups[:depth]]
                if takers:
                    break
            else:
                takers = []
            if not takers:
                self._found(
                    leaf.path,
                    "nothing-left",
                    "every source of this mixture is at its `max_epochs`; nothing can take the rest",
                    "raise a `max_epochs`, or shorten the stage",
                )
                return leaves
            whole = sum(x.mean for x in takers)
            leaves = [
                dataclasses.replace(x, start=x.start * factor, end=x.end * factor) if x.source == leaf.source
                else dataclasses.replace(x, start=x.start + freed[0] * x.mean / whole, end=x.end + freed[1] * x.mean / whole) if x in takers
                else x for x in leaves
            ]  # fmt: skip
        return leaves

    def _check(self, index: int, leaf: Leaf, s: StageSource, rows: int, seq_len: int, spec: schema.Stage) -> None:
        if s.windows == 0 and leaf.mean > 0 and rows:
            least = Fraction(1, rows)
            self._found(
                leaf.path, "zero-windows", f"`{s.source}` is asked for {show_share(leaf.mean)} of {rows:,} windows, which rounds to none",
                f"raise its share to {show_share(least)}, lengthen the stage to {show_tokens(-(-seq_len * leaf.mean.denominator // leaf.mean.numerator))} tokens, or remove it",
            )  # fmt: skip
        if s.pool_windows is None:
            return
        if s.pool_windows == 0:
            self._found(
                leaf.path,
                "source-too-short",
                f"`{s.source}` has no window of {seq_len} tokens: its largest shard has {max(self.pools[s.source].shard_tokens, default=0):,}",
                "use a shorter seq_len, or more data",
            )
            return
        source = self.recipe.sources[s.source]
        cap, after = Fraction(str(source.max_epochs)), s.epochs_after
        if after > cap:
            left = max(Fraction(0), (cap - s.epochs_before) * s.pool_windows)
            left_windows = left.numerator // left.denominator
            pool_tokens, asked = s.pool_windows * seq_len, s.windows * seq_len
            share_fix, rows_fix = Fraction(left_windows, rows), left_windows / leaf.mean
            hints = [
                f"it has {show_tokens(pool_tokens)} tokens and is asked for {show_tokens(asked)}"
                + (f" after {float(s.epochs_before):.2f} epochs in earlier stages" if s.epochs_before else "")
            ]
            if left_windows:
                hints.append(
                    f"lower its share to {_down(share_fix)} of stage `{spec.name}`, the stage to {show_tokens(int(rows_fix) * seq_len)} tokens, or raise `max_epochs` to {_up(after)}"
                )
            else:
                hints.append(f"remove it from this stage, or raise its `max_epochs` to {_up(after)}")
            if source.on_cap == "error":
                hints.append("or say `on_cap: redistribute` in the source, and its siblings take the rest")
            self._found(
                leaf.path, "max-epochs", f"`{s.source}` would be read {float(after):.2f} times by the end of stage `{spec.name}` (limit `max_epochs: {source.max_epochs:g}`)", *hints
            )
        elif spec.cursor == "disjoint" and s.start + s.windows > s.pool_windows:
            fresh = max(0, s.pool_windows - s.start)
            self._found(
                leaf.path, "cursor-disjoint", f"`{s.source}` has {fresh:,} unread windows, and the `cursor: disjoint` stage `{spec.name}` asks for {s.windows:,}",
                f"lower its share to {_down(Fraction(fresh, rows))}, or say `cursor: continue` and let it repeat",
            )  # fmt: skip

    def _fim(self, index: int, leaves: list[Leaf]) -> dict[str, Fraction]:
        rates: dict[str, Fraction] = {}
        for name, rate in self.recipe.stages[index].fim.items():
            inside = [x.source for x in leaves if x.source == name or name in x.groups]
            if not inside and leaves:
                self._found(
                    ("stages", index, "fim", name),
                    "unknown-source",
                    f"`{name}` is not in this stage's mixture",
                    f"known here: {', '.join(sorted({x.source for x in leaves}))}",
                    on_key=True,
                )
            for source in inside:
                if source in rates and rates[source] != rate:
                    self._found(
                        ("stages", index, "fim", name), "fim-twice", f"`{source}` is given two fill-in-the-middle rates", "name it once", on_key=True
                    )
                rates[source] = rate
        return dict(sorted(rates.items()))

    def _found(self, path: tuple, rule: str, what: str, *hints: str, on_key: bool = False) -> None:
        self.problems.append(Found(path, Problem(what, hints=tuple(hints), rule=rule), on_key))


def batch_plan(spec: schema.Stage, training: schema.Training) -> tuple[tuple[tuple[int, int], ...], int, int, int]:
    """Batches `((first step, rows), ...)`, steps, rows and asked tokens of a stage; a token budget is rounded down to whole steps."""
    size, seq_len = training.batch_size, training.seq_len
    if isinstance(size, int):
        steps = spec.steps if spec.steps is not None else spec.tokens // (size * seq_len)
        return ((0, size),), steps, steps * size, spec.tokens if spec.tokens is not None else steps * size * seq_len
    sizes = [size.from_ + round(Fraction((size.to - size.from_) * i, size.n_steps)) for i in range(size.n_steps)] + [size.to]
    batches, step, rows = [], 0, 0
    budget = None if spec.tokens is None else spec.tokens // seq_len  # rows
    for i, rows_a_step in enumerate(sizes):
        batches.append((step, rows_a_step))
        if i == size.n_steps:
            steps = spec.steps - step if spec.steps is not None else (budget - rows) // rows_a_step
        else:
            steps = _stretch(size.over, i, size.n_steps, spec, rows_a_step * seq_len)
            steps = min(steps, spec.steps - step) if spec.steps is not None else min(steps, (budget - rows) // rows_a_step)
        step, rows = step + max(0, steps), rows + max(0, steps) * rows_a_step
    kept = tuple(b for b, after in zip(batches, [*batches[1:], (step, 0)], strict=True) if after[0] > b[0]) or (batches[0],)
    return kept, step, rows, spec.tokens if spec.tokens is not None else rows * seq_len


def _stretch(over: Length, i: int, n: int, spec: schema.Stage, tokens_per_step: int) -> int:
    """Steps of the i-th of `n` equal stretches of a batch ramp."""
    if over.steps is not None or (over.share is not None and spec.steps is not None):
        total = over.steps if over.steps is not None else over.share * spec.steps
        return int(total * (i + 1) // n - total * i // n)
    tokens = over.tokens if over.tokens is not None else over.share * spec.tokens
    return max(1, round(Fraction(tokens, n) / tokens_per_step))


def _segments(leaves: list[Leaf], rows: int) -> tuple[Segment, ...]:
    if all(x.start == x.end for x in leaves):
        return (Segment(0, rows, tuple(apportion(rows, [x.mean for x in leaves]))),)
    pieces = max(1, min(RAMP_SEGMENTS, rows // (4 * len(leaves))))
    out, first = [], 0
    for length, counts in along_ramp(rows, [x.start for x in leaves], [x.end for x in leaves], pieces):
        out.append(Segment(first, length, tuple(counts)))
        first += length
    return tuple(out)


def stage_fingerprint(stage: StagePlan) -> str:
    """The identity of a stage by its effects: equal data, order, updates and start give an equal fingerprint, however they were written."""
    schedule: Any = stage.spec.learning_rate
    return fingerprint({
        "parent": None if stage.parent is None else [stage.parent.fingerprint, stage.load], "init_seed": stage.init_seed if stage.parent is None else None,
        "model": stage.model.model_copy(update={"preset": None}), "training": stage.training.model_copy(update={"batch_size": 1}),
        "batches": stage.batches, "steps": stage.steps, "seed": stage.seed, "average_seeds": stage.spec.average_seeds,
        "learning_rate": schedule, "run_total": stage.run_total if schedule.needs_run_total else None,
        "fim": dict(stage.fim), "fim_spm": stage.spec.fim_spm if stage.fim else None,
        "sources": [[s.source, s.pool_fingerprint, s.start, s.windows, s.pool_windows] for s in stage.sources],
        "segments": [[s.first_row, s.rows, s.counts] for s in stage.segments],
    })  # fmt: skip


def _down(share: Fraction) -> str:
    """A percentage that, read back, is not above `share`."""
    return f"{int(share * 10000) / 100:g}%" if share >= Fraction(1, 100) else f"{int(share * 10**7) / 10**5:g}%"


def _up(number: Fraction) -> str:
    return f"{float(-(-number * 100 // 1) / 100):g}"
