"""The layers and rooms of codemix as an SVG, drawn from the folders and the imports between them."""

import ast
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

FOUNDATIONS = "foundations"  # the modules beside the folders, and the sandbox, which need no layer
LAYERS = ("cli", "api", "eval", "train", "data", "recipe", FOUNDATIONS)  # from the top of the picture
WIDTH = 760
LEFT = 240  # of the first room
LETTER = 7.1  # width of a letter in a room's name
BOX_HEIGHT = 22
GAP = 8
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2933 }
  .layer { fill: #eef2f6; stroke: #b8c4d0 } .room { fill: #ffffff; stroke: #8fa1b3 }
  .name { font-weight: 600; font-size: 14px } .uses { fill: #52606d; font-size: 10.5px }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb } .layer { fill: #1f2933; stroke: #52606d } .room { fill: #323f4b; stroke: #7b8794 }
    .uses { fill: #9aa5b1 }
  }
"""


@dataclass(frozen=True)
class Layer:
    name: str
    rooms: tuple[str, ...]  # its folders
    uses: tuple[str, ...]  # the layers that it imports, from the top


def layer_of(module: str) -> str | None:
    """The layer of `codemix.data.store.store`, or None for another package's module."""
    parts = module.split(".")
    if parts[0] != "codemix" or len(parts) == 1:
        return None
    return parts[1] if parts[1] in LAYERS else FOUNDATIONS


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def layers(package: Path) -> list[Layer]:
    """The layers of the package, the uppermost first."""
    return [read_layer(package, name) for name in LAYERS]


def read_layer(package: Path, name: str) -> Layer:
    if name == FOUNDATIONS:
        modules = [path for path in package.glob("*.py") if not path.stem.startswith("__")]
        folders = [path.parent for path in package.glob("*/__init__.py") if path.parent.name not in LAYERS]
        paths = modules + [path for folder in folders for path in folder.rglob("*.py")]
        rooms = {path.stem for path in modules + folders}
    else:
        paths = list((package / name).rglob("*.py"))
        rooms = {path.parent.name for path in (package / name).glob("*/__init__.py")}
    imported = {layer_of(module) for path in paths for module in imported_modules(path)}
    uses = tuple(other for other in LAYERS if other in imported and other != name)
    return Layer(name, tuple(sorted(rooms)), uses)


def picture(package: Path) -> str:
    """The SVG: a band per layer, with its rooms and the layers that it imports, which all lie below it."""
    bands = []
    top = 0
    for layer in layers(package):
        rows = rows_of(layer.rooms)
        bands.append(band(layer, rows, top))
        top += band_height(rows) + 2 * GAP
    height = top - 2 * GAP
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {WIDTH + 2} {height + 2}" role="img">'
    title = "<title>Layers of codemix; each imports only layers below it</title>"
    return "\n".join([opening, title, f"<style>{STYLE}</style>", *bands, "</svg>", ""])


def box_width(room: str) -> float:
    return round(LETTER * len(room) + 14, 1)


def rows_of(rooms: tuple[str, ...]) -> list[list[str]]:
    """The rooms, broken into rows that fit beside the layer's name."""
    rows: list[list[str]] = [[]]
    x = float(LEFT)
    for room in rooms:
        if x + box_width(room) > WIDTH - GAP:
            rows.append([])
            x = LEFT
        rows[-1].append(room)
        x += box_width(room) + GAP
    return rows


def band_height(rows: list[list[str]]) -> int:
    return max(62, GAP + len(rows) * (BOX_HEIGHT + GAP))


def band(layer: Layer, rows: list[list[str]], top: int) -> str:
    uses = f"imports {', '.join(layer.uses)}" if layer.uses else "imports no other layer"
    parts = [
        f'<rect class="layer" x="0" y="{top}" width="{WIDTH}" height="{band_height(rows)}" rx="6"/>',
        f'<text class="name" x="14" y="{top + 26}">{escape(layer.name)}</text>',
        f'<text class="uses" x="14" y="{top + 48}">{escape(uses)}</text>',
    ]
    for number, row in enumerate(rows):
        parts += boxes(row, top + GAP + number * (BOX_HEIGHT + GAP))
    return "\n".join(parts)


def boxes(rooms: list[str], top: int) -> list[str]:
    parts = []
    x = float(LEFT)
    for room in rooms:
        width = box_width(room)
        size = f'width="{width:g}" height="{BOX_HEIGHT}"'
        parts.append(f'<rect class="room" x="{x:g}" y="{top}" {size} rx="4"/>')
        middle = round(x + width / 2, 1)
        parts.append(f'<text x="{middle:g}" y="{top + 15}" text-anchor="middle">{escape(room)}</text>')
        x = round(x + width + GAP, 1)
    return parts
