"""The lines of a recipe that continue a Hugging Face model: `codemix import-model`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.errors import CodemixError, Problem


@dataclass(frozen=True)
class ModelLines:
    """What a recipe says to start from a model, and what a person should know about it."""

    fields: dict[str, Any]  # of the recipe: `tokenizer`, `model`, `stages`
    notes: tuple[str, ...]

    def text(self) -> str:
        from codemix.recipe.language.yaml_text import dump

        return "".join([*(f"# {note}\n" for note in self.notes), dump(self.fields)])


def model_lines(name: str, data_root: Path) -> ModelLines:
    """The lines for the folder `name` below the data root. All of its arrays are read, to name them.

    Raises CodemixError with everything that cannot be continued.
    """
    from codemix.data.inputs.locations import locate
    from codemix.train.model.config_json import read_config
    from codemix.train.model.pretrained import array_problems
    from codemix.train.model.weight_files import WeightFiles

    folder = locate(name, data_root)
    theirs = read_config(folder)
    arrays = WeightFiles(folder)
    problems = array_problems(theirs, arrays)
    tokenizer = {"kind": "tokenizer_json", "path": f"{name.rstrip('/')}/tokenizer.json"}
    padding: dict[str, int] = {}
    try:
        facts = _tokenizer_facts(folder, theirs.eos_id)
        tokenizer["eos"] = facts["eos_token"]
        padding = _padding(theirs.rows, facts["vocab_size"])
    except CodemixError as error:
        problems += error.problems
    if problems:
        raise CodemixError(*problems)
    model = theirs.spec.model_dump(mode="json", exclude_unset=True, exclude_none=True) | padding
    start = {"huggingface": name, "sha256": arrays.digest()}
    parameters = theirs.spec.parameters(theirs.rows)
    notes = [
        f"{theirs.architecture.model_class}, {parameters:,} parameters, made for {theirs.longest or '?'} tokens"
    ]
    if padding:
        notes.append(f"the last {theirs.rows - facts['vocab_size']:,} rows of its embedding are padding")
    notes.append("to score it as it came too, put a stage of one step at a rate of 1e-30 before this one")
    stage = {"name": "continued", "init_from": start}
    return ModelLines({"tokenizer": tokenizer, "model": model, "stages": [stage]}, tuple(notes))


def _padding(rows: int, vocab_size: int) -> dict[str, int]:
    """`vocab_multiple`, where the embedding has more rows than the tokenizer has ids."""
    from codemix.train.model.config_json import mismatch
    from codemix.train.model.pretrained import padding_multiple

    if rows == vocab_size:
        return {}
    multiple = padding_multiple(rows, vocab_size)
    if multiple is None:
        what = f"the tokenizer has {vocab_size:,} ids and the model's embedding {rows:,} rows"
        raise CodemixError(mismatch(what, "take the model's own tokenizer, all of its added tokens included"))
    return {"vocab_multiple": multiple}


def _tokenizer_facts(folder: Path, eos_id: int | None) -> dict[str, Any]:
    """What a manifest would say of the model's tokenizer, with the model's own end of a document."""
    from codemix.data.encoding.tokenizer import describe
    from codemix.data.encoding.tokenizer_faults import refuse_unfaithful
    from codemix.data.tokenizers.tokenizer_json import TokenizerJson

    file = folder / "tokenizer.json"
    if not file.is_file():
        hint = "save it with `AutoTokenizer.from_pretrained(...).save_pretrained(...)`"
        raise CodemixError(Problem(f"{file} is not there", hints=(hint,), rule="pretrained-mismatch"))
    made = TokenizerJson(path=file.name).make((file,), lambda: iter(()))
    refuse_unfaithful(made, str(file))
    added = made.get_added_tokens_decoder()
    ends = added[eos_id].content if eos_id in added else None
    return describe(made, file, ends)
