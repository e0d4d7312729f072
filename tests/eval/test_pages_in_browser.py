"""The pages in a real browser: nothing fetched, no complaint, no overflow, readable in every scheme,
usable by keyboard.
"""

import json
import os
from pathlib import Path

import pytest
from support.base_recipe import recipe_text
from support.browser import browser, chromium
from support.inspections import inspection_of
from support.mixture_laws import SPLIT, STUDY, evidence_rows
from support.synthetic_run import MIXTURES, SOURCES, manifest, planned, write_run

from codemix.data.store.store import Store
from codemix.eval.compare.page import compare
from codemix.eval.compare.run_inputs import RunInputs
from codemix.eval.inspection.page import page as inspection_page
from codemix.eval.mix.page import proposal_page
from codemix.eval.mix.search import search
from codemix.eval.pages.rendering import html
from codemix.eval.report.page import report
from codemix.recipe.studies.mix_space import mix_space
from codemix.recipe.studies.study import load_study

pytestmark = [
    pytest.mark.optional("drives a headless Chromium"),
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium on this machine"),
]
VIEWS = {
    f"{width}-{scheme}": dict(width=width, scheme=scheme)
    for width in (400, 1300, 2000)
    for scheme in ("light", "dark")
} | {"print": dict(width=800, media="print")}
INSPECTED = {name: inspection_of(name, language) for name, language in (("docs", "en"), ("stdlib", "Python"))}
CLIPPED = """
[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.className)
"""
FINDINGS = """
axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
  .filter(v => ['serious', 'critical'].includes(v.impact)).map(v => [v.id, v.nodes.map(n => n.html.slice(0, 120))]))
"""
CONTRASTS = """
(() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return c.startsWith('color(') ? m.slice(0, 4).map((v, i) => i < 3 ? v * 255 : v) : m; };
  const light = rgb => { const [r, g, b] = rgb.slice(0, 3).map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0.5) return c; } return [255, 255, 255]; };
  const bad = [];
  for (const e of document.querySelectorAll('main *, header *, nav *')) {
    if (e.closest('svg') || !e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push([e.tagName, e.className, e.textContent.trim().slice(0, 30), ratio]);
  }
  return bad;
})()
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    store, manifests = Store(tmp_path_factory.mktemp("store")), {n: manifest(n) for n in SOURCES}
    runs = []
    for name in MIXTURES:
        plan = planned(name)
        runs.append(RunInputs(plan, manifests, *write_run(store, plan)))
    one = runs[0]
    inspection = store.root / "inspection.html"
    inspection.write_text(html(inspection_page(one.plan.recipe, INSPECTED)))
    return {
        "inspection": inspection,
        "mix": mixture_page(tmp_path_factory.mktemp("mix")),
        "report": report(one.plan, store, manifests, one.stage_dirs, one.eval_paths),
        "compare": compare(
            runs,
            store,
            question="Does code in the start help text?",
            baseline="text-only",
            overlay_paper=True,
        ),
    }


def mixture_page(folder):
    (folder / "base.yaml").write_text(recipe_text(SPLIT))
    (folder / "study.yaml").write_text(STUDY)
    space = mix_space(load_study(folder / "study.yaml"))
    answer = search(space, evidence_rows(), folder / "store", folder, "best", resamples=20)
    path = folder / "mix.html"
    path.write_text(html(proposal_page(answer)))
    return path


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def axe():
    """The accessibility checker axe-core, where npm has installed it."""
    path = Path(os.environ.get("CODEMIX_AXE", "node_modules/axe-core/axe.min.js"))
    if not path.is_file():
        pytest.skip("there is no axe-core: `npm install axe-core`, or name its axe.min.js in CODEMIX_AXE")
    return path.read_text()


@pytest.mark.parametrize("view", ["400-light", "1300-dark", "2000-light"])
@pytest.mark.parametrize("which", ["report", "compare", "inspection", "mix"])
def test_the_accessibility_checker_finds_nothing_serious(pages, tab, axe, which, view):
    tab.open(pages[which], **VIEWS[view])
    tab.value(f"{axe};1")
    assert tab.promised(FINDINGS) == []


@pytest.mark.parametrize("which", ["report", "compare", "mix"])
def test_nothing_is_out_of_sight_without_a_sign(pages, tab, which):
    """On a desk nothing scrolls; on a phone only figures do, and say so, and tables are lists of cards."""
    tab.open(pages[which], width=1300)
    assert tab.value(CLIPPED) == []
    tab.open(pages[which], width=400)
    assert {"plotbox" in name for name in tab.value(CLIPPED)} == {True}
    assert "Swipe" in tab.value("getComputedStyle(document.querySelector('.plotbox'), '::before').content")
    assert tab.value(
        "[...document.querySelectorAll('.cards td')].filter(e => e.checkVisibility())"
        ".every(e => e.getBoundingClientRect().right <= innerWidth)"
    )


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("which", ["report", "compare", "inspection", "mix"])
def test_a_page_in_every_view(pages, tab, which, view):
    tab.requests.clear()
    tab.complaints.clear()
    tab.open(pages[which], **VIEWS[view])
    picture = tab.picture()
    if folder := os.environ.get("CODEMIX_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{which}-{view}.png").write_bytes(picture)
    assert len(picture) > 20_000
    assert {url for url in tab.requests if not url.startswith("data:")} == {pages[which].resolve().as_uri()}
    assert tab.complaints == []
    assert tab.value("document.scrollingElement.scrollWidth - innerWidth") <= 0
    assert tab.value(CONTRASTS) == []


def test_the_keyboard_reaches_everything(pages, tab):
    tab.open(pages["report"])
    tab.press("Tab", 9)
    assert (
        tab.value("document.activeElement.className") == "skip"
        and tab.value("document.activeElement.getBoundingClientRect().left") > 0
    )
    tab.press("Enter", 13, "\r")
    assert tab.value("location.hash") == "#main"
    tab.value("document.querySelector('summary').focus()")
    tab.press("Enter", 13, "\r")
    assert tab.value("document.querySelector('details').open") is True
    assert tab.value(
        "[...document.querySelectorAll('svg')].every(s => s.querySelector('title') && document.getElementById(s.getAttribute('aria-labelledby').split(' ')[0]))"
    )


def test_it_prints_with_its_tables_unfolded(pages, tab):
    tab.open(pages["report"], media="print", width=800)
    assert tab.value(
        "[...document.querySelectorAll('details table')].every(t => t.getBoundingClientRect().height > 20)"
    )
    content = tab.pdf()
    assert content.startswith(b"%PDF") and len(content) > 30_000
    if folder := os.environ.get("CODEMIX_SCREENSHOTS"):
        (Path(folder) / "report.pdf").write_bytes(content)


def pick(tab, **values):
    """Fill in the form of the samples; which ids are shown then, in their order, kept ones first."""
    for name, value in values.items():
        tab.value(f"document.querySelector('.samples form').elements['{name}'].value = {json.dumps(value)}")
    tab.value("document.querySelector('.samples form').dispatchEvent(new Event('input'))")
    return tab.value(
        "[...document.querySelectorAll('.samples article')].filter(e => e.checkVisibility())"
        ".map(e => e.querySelector('h4').textContent)"
    )


def test_samples_are_picked_found_and_ordered(pages, tab):
    tab.open(pages["inspection"])
    all_ids = pick(tab)
    assert len(all_ids) == 2 * (4 + 4 + 2)
    of_docs = pick(tab, source="docs")
    assert of_docs and all(name.startswith("docs") for name in of_docs)
    kept = [name for name in of_docs if "kept" in name]
    by_reason = pick(tab, reason="01-size/too_small")  # what was kept stays beside it
    assert by_reason == [*kept, *(name for name in of_docs if "small" in name)]
    assert pick(tab, reason="", words="NEEDLE") == ["docs/kept#1"]
    assert tab.value("CSS.highlights.get('found').size") == 2
    assert "1 kept and 0 dropped" in tab.value("document.querySelector('.samples output').value")
    assert pick(tab, words="", order="score, highest first")[:4] == [f"docs/kept#{n}" for n in (3, 2, 1, 0)]
    assert pick(tab, order="score, lowest first")[:4] == [f"docs/kept#{n}" for n in (0, 1, 2, 3)]
    assert pick(tab, source="", language="Python", order="") == [n for n in all_ids if n.startswith("stdlib")]
    tab.value("document.querySelector('.samples button').click()")
    assert pick(tab) == all_ids


def test_without_scripts_the_samples_are_all_there(pages):
    text = pages["inspection"].read_text()
    assert text.count("<article ") == 20 and "<form hidden>" in text and text.count("<script>") == 1
