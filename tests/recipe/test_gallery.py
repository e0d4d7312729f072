"""The gallery of shipped recipes: every one with a picture and a copy to start from."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from codemix import cli
from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.language import recipe_file, yaml_text
from codemix.recipe.reference.gallery import gallery
from codemix.recipe.reference.mixture_picture import BOTTOM, TOP, WIDTH, mixture_svg
from codemix.recipe.studies import study
from codemix.recipe.studies.shipped import copy_shipped, shipped

ROOT = Path(__file__).parents[2]
NAMES = list(shipped())
SVG = "{http://www.w3.org/2000/svg}"


def test_every_shipped_file_is_in_the_gallery_with_its_picture():
    files = sorted((ROOT / "recipes").rglob("*.yaml"))
    assert sorted(NAMES) == sorted(path.stem for path in files)
    made = gallery()
    page = made["recipes.md"]
    for one in shipped().values():
        assert f"### {one.name}\n" in page and f"`recipes/{one.place}`" in page
    for name in made.keys() - {"recipes.md"}:
        assert f"]({name})" in page


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_shows_the_whole_of_every_token(name):
    document = yaml_text.load(shipped()[name].path)
    if recipe_file.is_study(document):
        return
    picture = ElementTree.fromstring(mixture_svg(validation.check_document(document).require()))
    areas = {}
    for rect in picture.findall(f"{SVG}rect")[1:]:
        if float(rect.get("y")) < BOTTOM:
            place = (float(rect.get("x")), float(rect.get("width")))
            areas[place] = areas.get(place, 0) + float(rect.get("height"))
    assert all(abs(height - (BOTTOM - TOP)) < 0.1 for height in areas.values())
    assert abs(sum(width for _, width in areas) - WIDTH) < 0.5
    texts = " ".join(text.text for text in picture.findall(f"{SVG}text"))
    assert texts


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_plans_as_the_original_does(name, tmp_path):
    target = tmp_path / "own" / "mine.codemix.yaml"
    assert copy_shipped(name, target)[0] == target
    document = yaml_text.load(target)
    if recipe_file.is_study(document):
        loaded = study.of_document(document)
        assert loaded.name == "mine" and study.check(loaded).require()
        return
    copy = validation.check_document(document).require()
    original = validation.check_document(yaml_text.load(shipped()[name].path)).require()
    assert copy.recipe.name == "mine"
    assert [stage.fingerprint for stage in copy.stages] == [stage.fingerprint for stage in original.stages]


def test_what_cannot_be_copied(tmp_path):
    with pytest.raises(CodemixError, match="no shipped recipe `balanced-to-txt`") as refused:
        copy_shipped("balanced-to-txt", tmp_path / "x.yaml")
    assert "balanced-to-text" in refused.value.problems[0].hints[0]
    (tmp_path / "one-stage.yaml").write_text("mine")
    with pytest.raises(CodemixError, match="one-stage.yaml exists already"):
        copy_shipped("study-code-proportion", tmp_path / "x.yaml")
    assert not (tmp_path / "x.yaml").exists()


def test_init_from_a_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["init", "--from", "quickstart", "mine.yaml"])
    assert stop.value.code == 0 and "codemix validate mine.yaml" in capsys.readouterr().out
    assert "\nname: mine\n" in (tmp_path / "mine.yaml").read_text()


@pytest.mark.optional("builds a wheel and installs it")
def test_a_wheel_holds_the_recipes(tmp_path):
    pytest.importorskip("pip")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    import zipfile

    (wheel,) = tmp_path.glob("*.whl")
    held = [name for name in zipfile.ZipFile(wheel).namelist() if "/data/share/codemix/recipes/" in name]
    assert len(held) == len(NAMES)
