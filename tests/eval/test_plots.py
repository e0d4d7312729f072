"""Figures: colours that hold still and can be seen, labels that do not collide,
SVG that is safe beside another.
"""

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.eval.pages import plots
from codemix.eval.report import charts
from codemix.eval.report.loss_chart import Boundary, losses

TAGS = {
    "docs": {"kind": "text"},
    "web": {"kind": "code"},
    "stdlib": {"kind": "code"},
    "maths": {},
    "md": {"kind": "markup"},
}


def contrast(a: str, b: str) -> float:
    def light(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    low, high = sorted([light(a), light(b)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", plots.PALETTE)
def test_every_colour_stands_out_on_its_card(name):
    light, dark = plots.PALETTE[name]
    assert contrast(light, "#ffffff") >= 3 and contrast(dark, "#171b21") >= 3


def test_a_source_keeps_its_colour_whatever_the_order():
    shades = plots.colours(TAGS)
    assert shades == plots.colours(dict(reversed(TAGS.items())))
    assert shades == {
        "docs": "text-1",
        "md": "code-1",
        "stdlib": "code-2",
        "web": "code-3",
        "maths": "other-1",
    }


def test_more_sources_than_colours_differ_by_their_dashes():
    tags = {f"lang{i:02}": {"kind": "code"} for i in range(12)}
    shades = plots.colours(tags)
    looks = {(shades[n], str(plots.dash(n, shades))) for n in tags}
    assert len(looks) == 12


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
        plots.colours(TAGS),
    )
    assert "web" in drawing and ">docs<" not in drawing


def test_long_names_take_no_room_from_the_bars():
    def height(names):
        shades = plots.colours({n: {"kind": "code"} for n in names})
        return float(
            re.search(
                r'viewBox="0 0 [\d.]+ ([\d.]+)"',
                charts.scores("k", "t", "d", {n: [2.0, 1.9] for n in names}, ["a", "b"], shades, "bits"),
            )[1]
        )

    assert height([f"{'x' * 60}-{i}" for i in range(8)]) > height([f"x{i}" for i in range(8)]) + 300
