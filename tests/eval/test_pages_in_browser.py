"""The pages in a real browser: nothing fetched, no complaint, no overflow, readable in every scheme,
usable by keyboard.
"""

import os
from pathlib import Path

import pytest
from support.browser import browser, chromium
from support.synthetic_run import MIXTURES, SOURCES, manifest, planned, write_run

from codemix.data.store.store import Store
from codemix.eval.compare.page import compare
from codemix.eval.compare.run_inputs import RunInputs
from codemix.eval.report.page import report

pytestmark = [
    pytest.mark.optional("drives a headless Chromium"),
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium on this machine"),
]
VIEWS = {
    "light": dict(width=1280),
    "dark": dict(width=1280, scheme="dark"),
    "narrow": dict(width=420),
    "narrow-dark": dict(width=420, scheme="dark"),
    "print": dict(width=800, media="print"),
}
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
    return {
        "report": report(one.plan, store, manifests, one.stage_dirs, one.eval_paths),
        "compare": compare(
            runs,
            store,
            question="Does code in the start help text?",
            baseline="text-only",
            overlay_paper=True,
        ),
    }


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("which", ["report", "compare"])
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
