"""A stage that starts from a Hugging Face model: the model found, held against the recipe and its tokenizer,
and loaded. Nothing heavy at import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.data.encoding.tokenizer import stored_tokenizer
from codemix.data.inputs.locations import locate
from codemix.errors import CodemixError, Problem
from codemix.recipe.language import schema
from codemix.recipe.language.finding import Finding
from codemix.recipe.planning.cost_estimate import vocabulary
from codemix.train.model.config_json import mismatch, read_config

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan, StagePlan
    from codemix.train.model.decoder import Decoder
    from codemix.train.run.context import RunContext


def config_findings(plan: Plan, data_root: Path) -> Iterator[Finding]:
    """Where the model of a recipe is not that of the config.json it starts from; nothing where that is not on
    this machine."""
    for stage, start in _starts(plan):
        try:
            folder = locate(start.huggingface, data_root)
        except CodemixError:
            continue
        try:
            found = read_config(folder).differences(plan.recipe.model)
        except CodemixError as error:
            found = list(error.problems)
        yield from _at(stage, found)


def findings(plan: Plan, data_root: Path) -> Iterator[Finding]:
    """Everything about the models a recipe starts from that would stop training, but for the values of their
    arrays, which are not read."""
    for stage, start in _starts(plan):
        try:
            folder = locate(start.huggingface, data_root)
            found = _differences(folder, plan, vocabulary(plan) or None, _named_tokenizer(plan, data_root))
        except CodemixError as error:
            found = list(error.problems)
        yield from _at(stage, found)


def changed(plan: Plan, data_root: Path) -> Iterator[Problem]:
    """The models whose arrays are not those that the recipe names. Reads all of them, once for each state of
    the files."""
    for _, start in _starts(plan):
        try:
            refuse_changed(locate(start.huggingface, data_root), start)
        except CodemixError as error:
            yield from error.problems


def refuse_changed(folder: Path, start: schema.Pretrained) -> None:
    """Raises CodemixError (`pretrained-changed`) when the arrays of a folder are not those that are named."""
    from codemix.train.model.weight_files import WeightFiles

    found = WeightFiles(folder).digest()
    if found != start.sha256:
        raise CodemixError(
            f"the arrays in {folder} are not those that the recipe names: their SHA-256 is {found}, not {start.sha256}",
            hints=["fetch the model again, or write the new one if another model is meant"],
            rule="pretrained-changed",
        )


def load(context: RunContext, stage: StagePlan, start: schema.Pretrained) -> Decoder:
    """The weights that a stage starts from, on the devices of its step. Raises CodemixError with each
    difference."""
    from codemix.train.model.pretrained import load_pretrained

    folder = locate(start.huggingface, context.options.data_root)
    stored = stored_tokenizer(context.store, context.tokenizer["sha256"])
    found = _differences(folder, context.plan, context.vocab_size, stored.path)
    if found:
        raise CodemixError(*found)
    refuse_changed(folder, start)
    like = context.step(stage).shapes().model
    return load_pretrained(folder, context.plan.recipe.model, context.vocab_size, like)


def _starts(plan: Plan) -> Iterator[tuple[StagePlan, schema.Pretrained]]:
    for stage in plan.stages:
        if stage.pretrained is not None:
            yield stage, stage.pretrained


def _at(stage: StagePlan, problems: list[Problem]) -> Iterator[Finding]:
    for problem in problems:
        yield Finding(("stages", stage.index, "init_from", "huggingface"), problem)


def _differences(folder: Path, plan: Plan, vocab_size: int | None, tokenizer: Path | None) -> list[Problem]:
    from codemix.train.model.pretrained import problems

    found = problems(folder, plan.recipe.model, vocab_size)
    if tokenizer is not None:
        found += tokenizer_problems(folder, tokenizer)
    return found


def _named_tokenizer(plan: Plan, data_root: Path) -> Path | None:
    """The recipe's tokenizer.json where it names one; others are known when the data are built."""
    tokenizer = plan.recipe.tokenizer
    if tokenizer.kind != "tokenizer_json":
        return None
    return locate(tokenizer.path, data_root)


def tokenizer_problems(folder: Path, ours: Path) -> list[Problem]:
    """Where the tokenizer of a model is not the recipe's: its ids would mean different text."""
    from codemix.data.encoding.tokenizer_differences import differing_parts

    theirs = folder / "tokenizer.json"
    if not theirs.is_file():
        what = f"{theirs} is not there, so nobody can tell whether the recipe's tokenizer is the model's"
        return [mismatch(what, "save it with `AutoTokenizer.from_pretrained(...).save_pretrained(...)`")]
    if parts := differing_parts(ours, theirs):
        what = f"the recipe's tokenizer is not that of {folder}: {', '.join(parts)} differ"
        return [mismatch(what, "write `tokenizer: {kind: tokenizer_json, path: FOLDER/tokenizer.json}`")]
    return []
