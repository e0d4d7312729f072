"""Colours and patterns of sources: no two alike, told apart by every kind of eye, in light and in dark."""

import itertools
import re

import numpy as np
import pytest

from codemix.eval.pages import palette, rendering
from codemix.eval.pages.page import Mark, Page, PageTable, Section

# What a dichromat sees, in linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
EYES = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
TAGS = {
    "docs": {"kind": "text"},
    "web": {"kind": "code"},
    "stdlib": {"kind": "code"},
    "maths": {},
    "md": {"kind": "markup"},
}


def linear(colour):
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    return TO_LAB @ np.cbrt(TO_LMS @ np.clip(rgb, 0, 1))


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_any_two_colours_stay_apart(theme, eye):
    seen = {name: oklab(EYES[eye] @ linear(pair[theme])) for name, pair in palette.PALETTE.items()}
    near = {
        (a, b): float(np.linalg.norm(seen[a] - seen[b]))
        for a, b in itertools.combinations(seen, 2)
        if np.linalg.norm(seen[a] - seen[b]) < 0.1
    }
    assert near == {}


def contrast(a, b):
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", palette.PALETTE)
def test_every_colour_stands_out_on_its_card(name):
    light, dark = palette.PALETTE[name]
    assert contrast(light, "#ffffff") >= 3 and contrast(dark, "#171b21") >= 3


def test_a_source_keeps_its_shade_whatever_the_order():
    shades = palette.shades(TAGS)
    assert shades == palette.shades(dict(reversed(TAGS.items())))
    assert {name: shade.colour for name, shade in shades.items()} == {
        "docs": "text-1",
        "md": "code-1",
        "stdlib": "code-2",
        "web": "code-3",
        "maths": "other-1",
    }


@pytest.mark.parametrize("tags", [{"kind": "text"}, {"kind": "code"}, {}], ids=["text", "code", "other"])
def test_no_two_of_thirty_sources_look_alike(tags):
    names = [f"source{i:02}" for i in range(30)]
    shades = palette.shades({name: tags for name in names})
    for look in ("hatch", "dash", "pattern"):
        looks = {(shade.colour, str(getattr(shade, look))) for shade in shades.values()}
        assert len(looks) == 30, look


def test_no_two_of_thirty_runs_look_alike():
    names = [f"run{i:02}" for i in range(31)]
    shades = palette.run_shades(names, "run07")
    assert "run07" not in shades and len(set(shades.values())) == 30


def test_every_pattern_is_drawn_beside_names_too():
    css = (rendering.TEMPLATES / "page.css").read_text()
    drawn = {int(number) for number in re.findall(r"\.p(\d) \{ background-image", css)}
    assert drawn == set(range(1, len(palette.HATCHES)))
    assert len(palette.HATCHES) == len(set(palette.HATCHES)) == len(set(palette.DASHES))


def test_a_row_that_continues_the_one_above_has_no_empty_header():
    table = PageTable("t", ["a", "b", "c", "d"], "llrr", [["x", "1", "2", "3"], ["", "4", "5", "6"]])
    marked = PageTable("u", ["a", "b"], "lr", [[Mark("docs", swatch=palette.Shade("text-2", 4)), "1"]])
    html = rendering.html(Page("k", "t", ["a"], sections=[Section("s", "S", blocks=[table, marked])]))
    assert '<th scope="row" role="rowheader" class="l"></th>' not in html
    assert html.count('data-label="d"') == 2 and html.count('class="cards"') == 1
    assert '<span class="swatch p4" style="--c:var(--text-2)"></span>' in html
