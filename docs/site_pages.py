"""A hook of mkdocs: the pages of the site that are not files of docs/.

README.md, CONTRIBUTING.md and CHANGELOG.md are at the top of the repository, where people look for them, so links
lead from there into `docs/` and from docs/ to `../`. On the site all pages are in one folder.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
FROM_THE_TOP = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
API = {  # heading -> what the page shows below it
    "A recipe, opened": ("codemix.api.run.open_run", "codemix.api.run.Run", "codemix.api.run.Finished"),
    "A stage, as a sequence": (
        "codemix.data.loader.stage_sequence.StageRows",
        "codemix.data.loader.stage_sequence.StageSteps",
        "codemix.data.loader.stage_sequence.LabelledRows",
    ),
    "Recipes, compared": ("codemix.api.comparison.compare",),
    "Options": (
        "codemix.train.run.options.TrainOptions",
        "codemix.train.run.options.StepMetrics",
        "codemix.eval.options.EvalOptions",
    ),
    "Errors": ("codemix.errors.CodemixError", "codemix.errors.Problem", "codemix.errors.Where"),
    "Documents": (
        "codemix.data.document.Document",
        "codemix.data.document.Drop",
        "codemix.data.document.Unreadable",
    ),
    "Component interfaces": (
        "codemix.data.interfaces.DocumentReader",
        "codemix.data.interfaces.Op",
        "codemix.data.interfaces.ProseOp",
        "codemix.train.schedule.Schedule",
        "codemix.train.schedule.Position",
        "codemix.eval.task_shapes.task.Task",
    ),
}
API_INTRODUCTION = (
    "`codemix.open` is `open_run` below; the other names of `codemix` are as shown. "
    "[Python](python.md) shows how to use them, [Add a component](extend.md) what the interfaces are for."
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, page in FROM_THE_TOP.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "api.md", content=api_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page's links, as they lead from one page of the site to another."""
    markdown = re.sub(r"\]\((?:\.\./|docs/)", "](", markdown)
    for name, site_page in FROM_THE_TOP.items():
        markdown = markdown.replace(f"]({name}", f"]({site_page}")
    return markdown


def api_page() -> str:
    parts = ["# Python API", API_INTRODUCTION]
    for heading, names in API.items():
        parts.append(f"## {heading}")
        parts += [f"::: {name}" for name in names]
    return "\n\n".join(parts) + "\n"
