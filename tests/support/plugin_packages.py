"""Packages that offer components, installed into a folder as pip would: modules, metadata, entry points."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "example_plugin"


def install(
    folder: Path, name: str, entry_points: Mapping[str, Mapping[str, str]], *, version: str = "1.0"
) -> None:
    """Write the metadata of a package: `entry_points` by group."""
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    sections = []
    for group, points in entry_points.items():
        lines = [f"{point} = {value}" for point, value in points.items()]
        sections.append("\n".join([f"[{group}]", *lines]))
    (about / "entry_points.txt").write_text("\n\n".join(sections) + "\n")


def install_example(folder: Path, version: str = "1.0") -> None:
    """Install tests/example_plugin."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(folder, project["name"], project["entry-points"], version=version)
    shutil.copytree(EXAMPLE / "codemix_example", folder / "codemix_example")
