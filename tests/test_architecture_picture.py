"""The picture in docs/design.md shows the folders and the imports that are there."""

import os
from pathlib import Path

from support.architecture_picture import LAYERS, layers, picture

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"


def test_the_picture_is_that_of_the_imports():
    """CODEMIX_UPDATE_GOLDEN=1 draws it again."""
    drawn = picture(ROOT / "codemix")
    if os.environ.get("CODEMIX_UPDATE_GOLDEN"):
        PICTURE.write_text(drawn)
    assert PICTURE.read_text() == drawn, (
        "draw it again: CODEMIX_UPDATE_GOLDEN=1 pytest tests/test_architecture_picture.py"
    )


def test_each_layer_imports_only_layers_below_it():
    for layer in layers(ROOT / "codemix"):
        below = LAYERS[LAYERS.index(layer.name) + 1 :]
        assert set(layer.uses) <= set(below), layer


def test_an_import_and_a_folder_change_the_picture(tmp_path):
    for name in LAYERS:
        (tmp_path / name).mkdir()
    before = picture(tmp_path)
    (tmp_path / "train" / "x.py").write_text("def f():\n    from codemix.data.store.store import Store\n")
    with_import = picture(tmp_path)
    (tmp_path / "data" / "shelves").mkdir()
    (tmp_path / "data" / "shelves" / "__init__.py").touch()
    assert "imports data<" not in before
    assert "imports data<" in with_import
    assert "shelves" not in with_import
    assert "shelves" in picture(tmp_path)
