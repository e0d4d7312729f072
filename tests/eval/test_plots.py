"""Figures: labels that do not collide, curves that can be read, SVG that is safe beside another."""

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.eval.pages import palette, plots
from codemix.eval.pages.run_axis import Boundary
from codemix.eval.report import charts, loss_chart
from codemix.eval.report.charts import FunnelPart
from codemix.eval.report.loss_chart import losses

TAGS = {"docs": {"kind": "text"}, "web": {"kind": "code"}}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9))
def test_labels_move_apart_and_keep_their_order(positions):
    placed = plots.spread_labels(positions, 0.3)
    order = sorted(range(len(positions)), key=positions.__getitem__)
    gaps = [placed[b] - placed[a] for a, b in zip(order, order[1:], strict=False)]
    assert all(gap >= 0.3 - 1e-3 for gap in gaps)
    assert sum(placed) == pytest.approx(sum(positions), abs=1e-6)
    if all(b - a >= 0.3 for a, b in zip(sorted(positions), sorted(positions)[1:], strict=False)):
        assert placed == positions


def draw(key="a", title="T & <t>"):
    return charts.throughput(
        key,
        title,
        'says "so"',
        [(0, 1.0), (10, None), (20, 3.0)],
        [Boundary("one", 0, 10), Boundary("two", 10, 20)],
    )


def test_svg_is_inline_labelled_and_free_of_colours_of_its_own():
    drawing = draw()
    tree = ET.fromstring(drawing)
    assert (
        tree[0].text == "T & <t>" and tree[1].text == 'says "so"' and tree.get("aria-labelledby") == "a-t a-d"
    )
    assert (
        "width" not in tree.attrib
        and "<?xml" not in drawing
        and "<style" not in drawing
        and "<metadata" not in drawing
    )
    painted = {c.lower() for c in re.findall(r"(?:fill|stroke):\s*([^;\"]+)", drawing)}
    assert painted <= {"none", "currentcolor"} | {c for c in painted if c.startswith("var(--")}


def test_two_figures_share_no_id_and_equal_ones_are_equal():
    one, two = draw("one"), draw("two")
    assert not set(re.findall(r'\bid="([^"]+)"', one)) & set(re.findall(r'\bid="([^"]+)"', two))
    assert draw("one") == one


def test_drawing_leaves_no_trace_in_matplotlib():
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw()
    assert dict(matplotlib.rcParams) == before


def test_curves_with_gaps_and_without_points_are_drawn():
    drawing = losses(
        "l",
        "t",
        "d",
        {"web": [(0, 3.0), (5, None), (9, 2.0)], "docs": [(0, None)]},
        [],
        [(0, 1e-3)],
        [Boundary("s", 0, 10)],
        palette.shades(TAGS),
    )
    assert "web" in drawing and ">docs<" not in drawing


def test_long_names_take_no_room_from_the_bars():
    def height(names):
        shades = palette.shades({n: {"kind": "code"} for n in names})
        return float(
            re.search(
                r'viewBox="0 0 [\d.]+ ([\d.]+)"',
                charts.scores("k", "t", "d", {n: [2.0, 1.9] for n in names}, ["a", "b"], shades, "bits"),
            )[1]
        )

    assert height([f"{'x' * 60}-{i}" for i in range(8)]) > height([f"x{i}" for i in range(8)]) + 300


def funnel_texts(parts):
    drawing = charts.funnel("f", "t", "d", {"docs": parts}, palette.shades(TAGS))
    return re.findall(r"<text[^>]*>([^<]+)</text>", drawing)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(61, "short_doc_reason 61%"), (17, "short_doc_reason"), (8, "8%"), (2, None)],
)
def test_a_reason_is_written_only_as_far_as_its_part_of_the_bar_is_wide(share, expected):
    parts = [FunnelPart("short_doc_reason", share), FunnelPart("kept", 100 - share)]
    texts = funnel_texts(parts)
    shown = [text for text in texts if text.startswith("short_doc") or text == f"{share}%"]
    assert shown == ([expected] if expected else [])


BOUNDARIES = [Boundary("one", 0, 100), Boundary("two", 100, 200)]


def smoothed(y):
    x = [float(tokens) for tokens in range(1, 201)]
    return loss_chart.smoothed(loss_chart._Line("a", x, list(y), {}), BOUNDARIES)


def test_smoothing_keeps_a_slope_and_flattens_noise():
    slope = [5 - 0.01 * i for i in range(200)]
    assert smoothed(slope) == pytest.approx(slope)
    noisy = [v + (0.5 if i % 2 else -0.5) for i, v in enumerate(slope)]
    inner = range(10, 90)
    assert max(abs(smoothed(noisy)[i] - slope[i]) for i in inner) < 0.15


def test_smoothing_stops_at_the_edges_of_stages_and_at_gaps():
    step = [1.0] * 100 + [9.0] * 100
    assert smoothed(step) == step
    gap = [1.0] * 50 + [float("nan")] + [9.0] * 149
    values = smoothed(gap)
    assert values[49] == 1.0 and values[50] != values[50] and values[51] == 9.0
