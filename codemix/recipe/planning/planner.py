"""Makes the plan of a recipe: stage after stage, with a cursor in each source that the lineage has read."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from fractions import Fraction

from codemix.recipe.language import schema
from codemix.recipe.language.finding import Finding, finding
from codemix.recipe.language.quantities import exact_share, tokens_at_least
from codemix.recipe.planning.budget import batch_plan, segments, windows_of
from codemix.recipe.planning.epoch_caps import Cursor, Reading, check_source, redistribute, windows_left
from codemix.recipe.planning.mixture import Leaf, flatten
from codemix.recipe.planning.plan import Plan, Pool, Segment, StagePlan, StageSource, stage_fingerprint
from codemix.recipe.planning.source_identity import spec_fingerprints

End = tuple[StagePlan, dict[str, Cursor]]  # a planned stage, and how far its lineage has read each source
Outside = Callable[
    [int, schema.InitFrom], End | None
]  # finds the stage of another recipe that stage i starts from


class Planner:
    """Plans a recipe against `pools`; problems are collected, never raised."""

    def __init__(self, recipe: schema.Recipe, pools: Mapping[str, Pool], outside: Outside | None = None):
        self.recipe, self.pools, self.outside = recipe, pools, outside
        self.problems: list[Finding] = []
        self.ends: dict[str, End] = {}

    def plan(self) -> Plan:
        stages = [self._stage(i) for i in range(len(self.recipe.stages))]
        finished: dict[
            int, StagePlan
        ] = {}  # id of a draft -> the stage with its run's total, final parent and fingerprint
        for draft, total in zip(stages, self._run_totals(stages), strict=True):
            stage = dataclasses.replace(
                draft, run_total=total, parent=finished.get(id(draft.parent), draft.parent)
            )
            finished[id(draft)] = dataclasses.replace(stage, fingerprint=stage_fingerprint(stage))
        self.ends = {name: (finished[id(draft)], cursors) for name, (draft, cursors) in self.ends.items()}
        return Plan(self.recipe, tuple(finished.values()))

    def _run_totals(self, stages: list[StagePlan]) -> list[int]:
        """For each stage the tokens at the end of the last stage that descends from it in this recipe."""
        totals = {id(s): s.run_tokens + s.tokens for s in stages}
        for stage in reversed(stages):  # a parent stands before its children
            if id(stage.parent) in totals:
                totals[id(stage.parent)] = max(totals[id(stage.parent)], totals[id(stage)])
        return [totals[id(s)] for s in stages]

    def _stage(self, index: int) -> StagePlan:
        spec, recipe = self.recipe.stages[index], self.recipe
        overrides = {
            k: v
            for k in ("seq_len", "batch_size", "doc_mask", "reset_positions")
            if (v := getattr(spec, k)) is not None
        }
        training = recipe.training.model_copy(update=overrides)
        seed = recipe.seed if spec.seed is None else spec.seed
        parent, cursors, load = self._parent(index)
        batches, steps, rows, asked = batch_plan(spec, training)
        if rows == 0:
            needed = batches[0][1] * training.seq_len
            hint = f"give it at least {tokens_at_least(needed)} tokens, or a smaller batch_size"
            self._found(
                ("stages", index, "tokens"),
                "stage-too-short",
                f"the stage is shorter than one step ({needed:,} tokens)",
                hint,
            )
        sources, pieces, leaves, given = self._sources(index, training.seq_len, seed, batches, rows, cursors)
        stage = StagePlan(
            name=spec.name,
            index=index,
            spec=spec,
            model=recipe.model,
            training=training,
            seq_len=training.seq_len,
            batches=batches,
            steps=steps,
            rows=rows,
            asked_tokens=asked,
            seed=seed,
            init_seed=recipe.seed,
            sources=sources,
            segments=pieces,
            fim=self._fim(index, leaves),
            parent=parent,
            load=load,
            run_tokens=parent.run_tokens + parent.tokens if parent else 0,
            run_total=0,
            redistributed=given,
        )
        self.ends[spec.name] = (stage, cursors)
        return stage

    def _sources(
        self,
        index: int,
        seq_len: int,
        seed: int,
        batches: tuple[tuple[int, int], ...],
        rows: int,
        cursors: dict[str, Cursor],
    ) -> tuple[tuple[StageSource, ...], tuple[Segment, ...], list[Leaf], dict[str, Fraction]]:
        """What the stage reads of each source and in which stretches, its leaves, and the shares that caps changed; moves the cursors on."""
        spec = self.recipe.stages[index]
        asked, problems = flatten(self.recipe, index)
        self.problems += problems
        seeds = spec.average_seeds or (seed,)
        starts = {leaf.source: self._start(leaf, seq_len, seeds, cursors, spec) for leaf in asked}
        if problems or not asked or not rows:
            return (), (), [], {}
        if spec.by == "documents":
            asked = self._by_tokens(asked)
        left = {
            x.source: windows_left(self.recipe.sources[x.source], p, cursors.get(x.source), seq_len)
            for x in asked
            if (p := self.pools.get(x.source))
        }
        leaves, problems = redistribute(
            asked, rows, {n: w for n, w in left.items() if self.recipe.sources[n].on_cap == "redistribute"}
        )
        self.problems += problems
        pieces = segments(leaves, rows)

        def takers(name: str) -> bool:
            spread, problems = redistribute(
                asked,
                rows,
                {
                    n: w
                    for n, w in left.items()
                    if n == name or self.recipe.sources[n].on_cap == "redistribute"
                },
            )
            return not problems and all(
                n <= left.get(x.source, rows)
                for x, n in zip(spread, windows_of(segments(spread, rows)), strict=True)
            )

        reading = Reading(spec, rows, seq_len, max(size for _, size in batches), len(batches) > 1, takers)
        sources = []
        for leaf, before, windows in zip(leaves, asked, windows_of(pieces), strict=True):
            name, cursor, pool = leaf.source, cursors.get(leaf.source), self.pools.get(leaf.source)
            source = StageSource(
                name,
                share=before.mean,
                windows=windows,
                start=starts[name],
                pool_windows=pool.windows(seq_len) if pool else None,
                tags=self.recipe.sources[name].tags,
                epochs_before=cursor.epochs_of(pool) if cursor else Fraction(0),
                pool_fingerprint=self._made(name),
            )
            sources.append(source)
            self.problems += check_source(leaf, source, self.recipe.sources[name], pool, reading)
            end, furthest = source.start + source.windows, 0
            if cursor and cursor.pool == source.pool_fingerprint:
                furthest = cursor.furthest if (cursor.seq_len, cursor.seeds) == (seq_len, seeds) else None
            furthest = None if furthest is None else max(furthest, end)
            cursors[name] = Cursor(
                source.pool_fingerprint,
                seq_len,
                seeds,
                end,
                source.epochs_after or source.epochs_before,
                furthest,
            )
        given = {a.source: b.mean for a, b in zip(asked, leaves, strict=True) if a.mean != b.mean}
        return tuple(sources), pieces, leaves, given

    def _parent(self, index: int) -> tuple[StagePlan | None, dict[str, Cursor], str | None]:
        """The stage before, how far its lineage has read, and what is loaded of it."""
        spec, at = self.recipe.stages[index], ("stages", index, "init_from")
        if spec.init_from == "scratch" or (spec.init_from is None and index == 0):
            return None, {}, None
        if spec.init_from is None:
            found = self.ends[self.recipe.stages[index - 1].name]
        elif spec.init_from.recipe is not None:
            found = self.outside(index, spec.init_from) if self.outside else None
        elif (found := self.ends.get(spec.init_from.stage)) is None:
            earlier = f"earlier stages: {', '.join(self.ends) or 'none'}"
            self._found(
                (*at, "stage"),
                "unknown-stage",
                f"there is no earlier stage `{spec.init_from.stage}`",
                earlier,
            )
        if found is None:
            return None, {}, None
        parent, cursors = found
        if parent.model != self.recipe.model:
            what = f"stage `{parent.name}` has another model than this recipe"
            self._found(at, "model-changes", what, "give both recipes the same `model:`")
        only_weights = spec.optimizer_state == "reset" or (
            isinstance(spec.init_from, schema.InitFrom) and spec.init_from.load == "weights"
        )
        return (
            parent,
            {k: dataclasses.replace(v) for k, v in cursors.items()},
            "weights" if only_weights else "state",
        )

    def _start(
        self, leaf: Leaf, seq_len: int, seeds: tuple[int, ...], cursors: dict[str, Cursor], spec: schema.Stage
    ) -> int:
        """The window of a source at which the stage goes on."""
        cursor = cursors.get(leaf.source)
        if cursor is None or spec.cursor == "restart" or cursor.pool != self._made(leaf.source):
            return 0
        for name, then, now in (("seq_len", (cursor.seq_len,), (seq_len,)), ("seed", cursor.seeds, seeds)):
            if len({*then, *now}) > 1:
                then, now = (", ".join(map(str, values)) for values in (then, now))
                what = f"`{leaf.source}` cannot continue: {name} changes from {then} to {now}, which is another order of other windows"
                restart = "say `cursor: restart` in this stage; some text may then be read again, and `plan` counts it"
                self._found(leaf.path, "cursor-changes", what, restart, f"or keep {name} at {then}")
                return 0
        if spec.cursor != "disjoint":
            return cursor.position
        if cursor.furthest is None:
            what = f"`{leaf.source}` was read in another order before it was restarted, so nobody knows which of its windows are unread"
            self._found(
                leaf.path,
                "cursor-disjoint",
                what,
                "say `cursor: continue`, or restart no stage before under another seq_len or seed",
            )
            return cursor.position
        return cursor.furthest

    def _made(self, name: str) -> str:
        """The identity of a source's data: of what is built or declared, or of its spec while its size is unknown."""
        return self.pools[name].fingerprint if name in self.pools else self._specs[name]

    @functools.cached_property
    def _specs(self) -> dict[str, str]:
        return spec_fingerprints(self.recipe)

    def _by_tokens(self, leaves: list[Leaf]) -> list[Leaf]:
        """Shares of documents as the shares of tokens that they imply."""
        lengths = []
        for leaf in leaves:
            pool = self.pools.get(leaf.source)
            if pool is None or not pool.documents:
                what = f"the number of documents of `{leaf.source}` is unknown, so its share of documents has no size in tokens"
                self._found(
                    leaf.path,
                    "documents-unknown",
                    what,
                    "declare `tokens:` and `documents:` of the source, or build it first",
                )
                return leaves
            lengths.append(Fraction(pool.tokens, pool.documents))
        totals = [
            sum(getattr(x, end) * n for x, n in zip(leaves, lengths, strict=True)) for end in ("start", "end")
        ]
        return [
            dataclasses.replace(x, start=x.start * n / totals[0], end=x.end * n / totals[1])
            for x, n in zip(leaves, lengths, strict=True)
        ]

    def _fim(self, index: int, leaves: list[Leaf]) -> dict[str, Fraction]:
        """Fill-in-the-middle rates by source."""
        rates: dict[str, Fraction] = {}
        asked = self.recipe.stages[index].fim
        for name, rate in asked.items():
            at = ("stages", index, "fim", name)
            inside = [x for x in leaves if x.source == name or any(name in groups for groups in x.places)]
            if not inside and leaves:
                known = f"known here: {', '.join(sorted({x.source for x in leaves}))}"
                self._found(
                    at, "unknown-source", f"`{name}` is not in this stage's mixture", known, on_key=True
                )
            for source, places in ((x.source, x.places) for x in inside):
                if source != name and not all(name in groups for groups in places):
                    if source not in asked:
                        what = f"`{name}` holds only a part of `{source}` in this stage, and a source has one fill-in-the-middle rate"
                        self._found(
                            at,
                            "fim-part",
                            what,
                            f"give `{source}` its own rate beside it, `{source}: {exact_share(rate)}`",
                            on_key=True,
                        )
                elif rates.setdefault(source, rate) != rate:
                    self._found(
                        at,
                        "fim-twice",
                        f"`{source}` is given two fill-in-the-middle rates",
                        "name it once",
                        on_key=True,
                    )
        return dict(sorted(rates.items()))

    def _found(self, path: tuple, rule: str, what: str, *hints: str, on_key: bool = False) -> None:
        self.problems.append(finding(path, rule, what, *hints, on_key=on_key))
