"""The page of a search for a mixture: what is proposed, what it should gain, and what speaks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from codemix.eval.evidence.table import Table
from codemix.eval.mix import charts
from codemix.eval.mix.charts import Row, panel_name
from codemix.eval.mix.intervals import Interval, fit_resamples
from codemix.eval.mix.landscape import Effect, Landscape, Slice, effects, slices
from codemix.eval.mix.measures import even_measure
from codemix.eval.mix.moved_shares import moved_shares
from codemix.eval.mix.prediction import Fitted, predict
from codemix.eval.mix.quality import Quality, quality_table
from codemix.eval.mix.search import Answer
from codemix.eval.mix.seeds import seeds_section
from codemix.eval.mix.slice_chart import surface
from codemix.eval.mix.surrogate import fit
from codemix.eval.pages.page import Figure, Note, Page, PageTable, Section, Tile

FOOTER = "Made by codemix from rows of evidence. Intervals hold the truth in 95 of 100 cases where the law, with its misfit, describes the runs."
CANNOT_TELL = "cannot tell from the prior"
MAX_PANELS = 12
EFFECT_TITLE = "The effect of each share."
EFFECT_WORDS = (
    "The gain over the prior when one share moves and the others keep their proportions, with its interval; drawn "
    "where runs had that share, which the ticks below are. Above 0 is better."
)


def proposal_page(answer: Answer) -> Page:
    """The page of a proposal."""
    shares, gains = answer.tables()
    landscape = answer.landscape
    sections = [
        Section("mixture", "The proposed mixture", "", [_shares_figure(answer, PageTable.of(shares))]),
        Section("gains", "What it should gain", "", [_gains_figure(answer, PageTable.of(gains))]),
        _effects_section(landscape.effects, _proposed_shares(answer)),
        _trade_off_section(answer),
    ]
    marks = {"prior": answer.region.prior, "proposed": answer.proposal.mixture}
    sections += _slice_sections(landscape.slices, marks, answer.evidence)
    sections.append(_quality_section(answer.quality))
    sections.append(seeds_section(answer.evidence))
    gain = answer.proposal.gain
    return Page(
        kind="mixture",
        title=answer.space.study.name,
        answer=_sentences(answer),
        remark=answer.space.study.spec.question or "",
        tiles=[
            Tile("predicted gain", _rounded(gain.value), _bounds(gain)),
            Tile("runs", f"{len(answer.evidence.runs):,}", f"{len(answer.evidence.metrics)} metrics"),
            Tile(
                "nearest run",
                f"{answer.reach.nearest:.0%}",
                f"typical between runs {answer.reach.typical:.0%}",
            ),
            Tile("moved", f"{_moved(answer):.0%}", "of the tokens go to another domain"),
        ],
        notes=[Note("warn", note) for note in answer.notes],
        sections=sections,
        footer=FOOTER,
    )


def fit_page(
    evidence: Table,
    quality: Sequence[Quality],
    notes: Sequence[str],
    title: str,
    tree_ranks: list[float] | None = None,
) -> Page:
    """The page of fitted laws alone, around the mean mixture of the runs."""
    laws = fit(evidence.shares, evidence.losses)
    fitted = Fitted(evidence, laws, fit_resamples(evidence))
    middle = evidence.shares.mean(0)
    measure = even_measure(evidence.losses)
    found = effects(fitted, middle, moved_shares(evidence, {}), [measure])
    landscape = Landscape(found, slices(fitted, middle, found, measure), None)
    n_runs = len(evidence.runs)
    ranks = [of_metric.spearman for of_metric in quality]
    mean_rank = sum(ranks) / len(ranks)
    sections = [_quality_section(quality, tree_ranks), _effects_section(landscape.effects, {})]
    sections += _slice_sections(landscape.slices, {"prior: the mean of the runs": middle}, evidence)
    sections.append(seeds_section(evidence))
    answer = f"Held-out runs are ranked with a mean Spearman correlation of {mean_rank:.3f} over the metrics."
    return Page(
        kind="laws of a mixture",
        title=title,
        answer=[
            answer,
            "The prior of this page is the mean mixture of the runs; gains are means over the metrics, in their standard deviations.",
        ],
        tiles=[Tile("runs", f"{n_runs:,}"), Tile("metrics", str(len(evidence.metrics)))],
        notes=[Note("warn", note) for note in notes],
        sections=sections,
        footer=FOOTER,
    )


def _sentences(answer: Answer) -> list[str]:
    stages = []
    for stage, shares in zip(answer.space.stages, answer.shares, strict=True):
        parts = [f"{float(share):.1%} {name}" for name, share in shares.items()]
        mixture = ", ".join(parts)
        stages.append(f"`{stage.name}` {mixture}")
    gain = answer.proposal.gain
    said = f"The objective should gain {gain.value:.4f} ({_bounds(gain)})."
    if not gain.excludes_zero:
        said = f"**{CANNOT_TELL.capitalize()}**: {said}"
    mixtures = "; then ".join(stages)
    return [f"{mixtures}.", said]


def _bounds(interval: Interval) -> str:
    low = _rounded(interval.low)
    high = _rounded(interval.high)
    return f"{low} to {high}"


def _rounded(gain: float) -> str:
    return charts.signed_number(round(gain, 4))


def _moved(answer: Answer) -> float:
    """The share of the tokens that another domain gets, over the stages that vary."""
    difference = answer.proposal.mixture - answer.region.prior
    change = np.abs(difference).sum() / 2
    n_stages = len(answer.space.stages)
    return float(change / n_stages)


def _shares_figure(answer: Answer, table: PageTable) -> Figure:
    title = "Shares."
    words = "Diamonds are the proposed shares with their intervals, circles the prior."
    shown = []
    for name, interval, prior in zip(
        answer.region.names,
        answer.proposal.shares,
        answer.region.prior.tolist(),
        strict=True,
    ):
        is_clear = not interval.low <= prior <= interval.high
        text = f"{interval.value:.1%}"
        if not is_clear:
            text += f" {CANNOT_TELL}"
        shade = charts.FAMILY_SHADES[answer.families[name]]
        shown.append(Row(name, interval, text, shade, prior, is_clear))
    svg = charts.rows("shares", title, words, shown, "share of the tokens of the stage", charts.share_tick)
    return Figure(title, svg, words, table, open=True)


def _gains_figure(answer: Answer, table: PageTable) -> Figure:
    title = "Gains."
    words = "The fall of each loss from the base recipe's mixture to the proposed one; pale where its interval holds 0."
    names = ["objective", *answer.evidence.metrics]
    intervals = [answer.proposal.gain, *answer.proposal.gains]
    shown = []
    for name, interval in zip(names, intervals, strict=True):
        is_clear = interval.excludes_zero
        text = _rounded(interval.value)
        if not is_clear:
            text += f" {CANNOT_TELL}"
        shown.append(Row(name, interval, text, is_clear=is_clear))
    svg = charts.rows("gains", title, words, shown, "gain", charts.gain_tick)
    return Figure(title, svg, words, table, open=True)


def _proposed_shares(answer: Answer) -> dict[str, float]:
    shares = {}
    for effect in answer.landscape.effects:
        shares[panel_name(effect)] = float(effect.share.of(answer.proposal.mixture))
    return shares


def _effects_section(found: Sequence[Effect], proposed: Mapping[str, float]) -> Section:
    """The shares of code, then those that matter most."""
    shown = _shown(found)
    table = _effects_table(found)
    svg = charts.effects("effects", EFFECT_TITLE, EFFECT_WORDS, shown, proposed)
    section = Section("effects", "What each share does", "")
    section.blocks.append(Figure(EFFECT_TITLE, svg, EFFECT_WORDS, table))
    if len(shown) < len(found):
        n_left = len(found) - len(shown)
        section.blocks.append(Note("plain", f"{n_left} shares that matter less are in the table alone."))
    return section


def _shown(found: Sequence[Effect]) -> list[Effect]:
    """All code, and the domains with the largest effects, in their order."""
    all_code = [effect for effect in found if not effect.share.is_single]
    single = [effect for effect in found if effect.share.is_single]
    ranges = [effect.range for effect in single]
    ranges.sort(reverse=True)
    n_single = MAX_PANELS - len(all_code)
    kept = ranges[:n_single]
    least = kept[-1]
    large = [effect for effect in single if effect.range >= least]
    return all_code + large


def _effects_table(found: Sequence[Effect]) -> PageTable:
    """The gain of each measure at the least and the largest share that runs had."""
    columns = ["share", "of", "least", "gain there", "most", "gain there"]
    table = PageTable("Gains at the ends", columns, "llrrrr", id="effects-table")
    for effect in found:
        for measure, band in effect.gains.items():
            cells = [panel_name(effect), measure]
            for end in (0, -1):
                interval = band.at(end)
                gain = _rounded(interval.value)
                cells.append(f"{effect.levels[end]:.1%}")
                cells.append(f"{gain} ({_bounds(interval)})")
            table.rows.append(cells)
    return table


def _trade_off_section(answer: Answer) -> Section:
    section = Section("trade-off", "Code against text")
    curve = answer.landscape.trade_off
    if curve is None:
        what = "The objective has no metrics of code beside metrics of text, so there is nothing to weigh."
        section.blocks.append(Note("plain", what))
        return section
    title = "The trade-off between code and text."
    words = (
        "The best mixtures as the objective goes from the text metrics alone to the code metrics alone, in steps of "
        "10%, each as near to the prior as the study asks. Lines are intervals."
    )
    columns = ["weight of code", "gain of text", "gain of code", "mixture"]
    table = PageTable("The trade-off", columns, "rrrl", id="trade-off-table")
    for place, weight in enumerate(curve.weights.tolist()):
        mixture = zip(answer.region.names, curve.mixtures[place].tolist(), strict=True)
        parts = [f"{name} {share:.1%}" for name, share in mixture]
        text = _rounded(curve.text.value[place])
        code = _rounded(curve.code.value[place])
        table.rows.append([f"{weight:.0%}", text, code, ", ".join(parts)])
    by_name = {measure.name: measure.weights for measure in answer.measures}
    at_proposal = predict(answer.fitted, answer.region.prior, answer.proposal.mixture[None])
    code_gain = at_proposal.gain(by_name["code"])
    text_gain = at_proposal.gain(by_name["text"])
    proposed = (code_gain.at(0), text_gain.at(0))
    svg = charts.trade_off("trade", title, words, curve, proposed)
    section.blocks.append(Figure(title, svg, words, table))
    return section


def _slice_sections(
    found: Sequence[Slice],
    marks: Mapping[str, np.ndarray],
    evidence: Table,
) -> list[Section]:
    if not found:
        return []
    section = Section("surface", "The surface")
    for number, cut in enumerate(found):
        first, second = cut.shares
        title = f"The gain over the shares of {first.name} and {second.name}."
        words = (
            "The stronger the colour the better, dashed lines are worse than the prior, the thick line is as good. Points are runs; far "
            "from all of them the surface is the law alone."
        )
        if not cut.third:
            words += " The other domains keep the prior's proportions."
        svg = surface(f"surface{number}", title, words, cut, marks, evidence.shares)
        section.blocks.append(Figure(title, svg, words, _slice_table(cut)))
    return [section]


def _slice_table(cut: Slice) -> PageTable:
    """The best places of a slice."""
    first, second = cut.shares
    headings = [first.name, second.name, "gain"]
    table = PageTable("The best ten places", headings, "rrr")
    best = np.argsort(-cut.gain)[:10]
    places = cut.places(cut.mixtures)
    for place in best.tolist():
        pair = places[place].tolist()
        cells = [f"{share:.0%}" for share in pair]
        gain = cut.gain[place]
        table.rows.append([*cells, _rounded(gain)])
    return table


def _quality_section(
    quality: Sequence[Quality],
    tree_ranks: list[float] | None = None,
) -> Section:
    lead = "Every run is predicted by laws that were fitted to others."
    shown = quality_table(list(quality), [], tree_ranks)
    table = PageTable.of(shown, id="quality-table")
    return Section("quality", "How well the laws predict", lead, [table])
