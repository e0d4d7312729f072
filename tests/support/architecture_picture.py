"""The layers and rooms of codemix as an SVG, drawn from the folders and the imports between them."""

import ast
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

FOUNDATIONS = "foundations"  # the modules beside the folders, and the sandbox, which need no layer
LAYERS = ("cli", "api", "eval", "train", "data", "recipe", FOUNDATIONS)  # from the top of the picture
ROW, PITCH, WIDTH, LEFT = 66, 84, 1010, 150
BOX, GAP, BOX_HEIGHT = 7.1, 8, 22  # pixels per letter of a room's name, between boxes, of a box
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2933 }
  .layer { fill: #eef2f6; stroke: #b8c4d0 } .room { fill: #ffffff; stroke: #8fa1b3 }
  .name { font-weight: 600; font-size: 14px } .uses { fill: #52606d }
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
    bands = [band(layer, PITCH * i) for i, layer in enumerate(layers(package))]
    height = PITCH * len(bands) - (PITCH - ROW)
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {WIDTH + 2} {height + 2}" role="img">'
    title = "<title>Layers of codemix; each imports only layers below it</title>"
    return "\n".join([opening, title, f"<style>{STYLE}</style>", *bands, "</svg>", ""])


def band(layer: Layer, top: int) -> str:
    uses = f"imports {', '.join(layer.uses)}" if layer.uses else "imports no other layer"
    parts = [
        f'<rect class="layer" x="0" y="{top}" width="{WIDTH}" height="{ROW}" rx="6"/>',
        f'<text class="name" x="14" y="{top + 27}">{escape(layer.name)}</text>',
        f'<text class="uses" x="14" y="{top + 51}">{escape(uses)}</text>',
    ]
    x = float(LEFT)
    for room in layer.rooms:
        width = BOX * len(room) + 14
        parts.append(
            f'<rect class="room" x="{x:g}" y="{top + 10}" width="{width:g}" height="{BOX_HEIGHT}" rx="4"/>'
        )
        parts.append(f'<text x="{x + width / 2:g}" y="{top + 25}" text-anchor="middle">{escape(room)}</text>')
        x = round(x + width + GAP, 1)
    return "\n".join(parts)
