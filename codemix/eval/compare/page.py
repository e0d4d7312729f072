"""The comparison of runs as a page: the question, then what the numbers allow to say about it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.eval.compare import change_sections, paper
from codemix.eval.compare.answer import answer, listed
from codemix.eval.compare.caveats import caveats
from codemix.eval.compare.findings import Findings, Question, compare_variants
from codemix.eval.compare.losses import losses_section
from codemix.eval.compare.paper_layout import paper_layout_section
from codemix.eval.compare.provenance import ledger_section, provenance_section
from codemix.eval.compare.recipe_differences import recipes_section
from codemix.eval.compare.run_inputs import RunInputs, load
from codemix.eval.compare.score_sections import bits_section, tasks_section
from codemix.eval.compare.seeds_section import seeds_section
from codemix.eval.compare.sweep_section import sweep_section
from codemix.eval.compare.trajectories import trajectories_section
from codemix.eval.compare.variant_names import find_baseline
from codemix.eval.compare.winrate_section import winrate_section
from codemix.eval.judge.winrate import read_winrate
from codemix.eval.pages.page import Note, Page
from codemix.eval.pages.publishing import publish
from codemix.files import digest
from codemix.recipe.language.component import identity

FOOTER = (
    "Made by codemix. Intervals: 95%, paired bootstrap over documents; "
    "bits are summed over documents and divided once by their bytes. For bits per byte, lower is better."
)


def compare(
    runs: Iterable[RunInputs],
    store: Store,
    *,
    question: str = "",
    baseline: str | None = None,
    overlay_paper: bool = False,
    winrates: Iterable[Path] = (),
    missing: Iterable[str] = (),
) -> Path:
    """The HTML page, with its Markdown and JSON twins beside it, that compares at least two runs.

    A run of which another trainer trained the stages, and logged them, has losses in place of scores.

    `baseline` names the run that changes are relative to; the first when not given. `winrates`: results of
    `codemix eval winrate`; `missing`: recipes that belong here and are not trained. Raises CodemixError for
    fewer than two recipes or an unknown baseline.
    """
    variants = load(runs)
    if len(variants) < 2:
        raise CodemixError(
            "a comparison needs two runs of different recipes, or of one in two trainers",
            hints=["give another recipe, or a study"],
            rule="compare-two",
        )
    base = find_baseline(variants, baseline)
    judged = [read_winrate(Path(path)) for path in winrates]
    asked = Question(question, overlay_paper, judged, sorted(missing))
    findings = compare_variants(variants, base, asked)
    recipes = [identity(run.plan.recipe) for variant in variants for run in variant.runs]
    name = f"compare-{digest(recipes)[:8]}"
    return publish(store, name, findings.as_json(), lambda: page(findings), stem="compare")


def page(findings: Findings) -> Page:
    """The comparison as a page."""
    sections = [
        change_sections.against_baseline(findings),
        paper_layout_section(findings),
        bits_section(findings),
        trajectories_section(findings),
        sweep_section(findings),
        change_sections.initialisation(findings),
        change_sections.quality(findings),
        change_sections.cooldown(findings),
        tasks_section(findings),
        losses_section(findings),
        seeds_section(findings.seeds, findings.base),
        winrate_section(findings),
        recipes_section(findings),
        ledger_section(findings.everything),
        paper.care_section(findings.question.overlay_paper),
        provenance_section(findings.everything),
    ]
    return Page(
        kind="comparison",
        title=findings.question.text or f"{_others(findings)} against {findings.base.name}",
        answer=answer(findings),
        remark=_remark(findings),
        notes=_notes(findings),
        sections=[section for section in sections if section is not None],
        footer=FOOTER,
    )


def _others(findings: Findings) -> str:
    names = []
    for variant in findings.everything:
        if variant is not findings.base:
            names.append(variant.name)
    if len(names) == 1:
        return names[0]
    return f"{len(names)} recipes"


def _remark(findings: Findings) -> str:
    recipes = set()
    n_runs = 0
    for variant in findings.everything:
        content = identity(variant.first.plan.recipe)
        recipes.add(digest(content))
        n_runs += len(variant.runs)
    n_recipes = len(recipes)
    noun = "recipe" if n_recipes == 1 else "recipes"
    counts = f"{n_recipes} {noun}, {n_runs} runs"
    return f"{counts}; baseline `{findings.base.name}`; changes are relative to it."


def _notes(findings: Findings) -> list[Note]:
    ranked = [variant for variant in findings.variants if variant.name not in findings.other_length]
    notes = caveats(ranked, findings.logged)
    if findings.logged:
        logged = [variant.name for variant in findings.logged]
        said = "their losses are from its log, and they have no scores"
        notes.append(Note("plain", f"Another trainer trained stages of {listed(logged)}: {said}."))
    if findings.question.missing:
        names = listed(findings.question.missing)
        notes.append(Note("warn", f"Left out, because not every stage is trained: {names}."))
    if findings.other_length:
        names = listed(findings.other_length)
        text = (
            "Not as long as the baseline, "
            "so compared only where stages are equally long (proportion, quality): "
            f"{names}."
        )
        notes.append(Note("plain", text))
    return notes
