"""A trained decoder as a Hugging Face folder, name by name that of `CohereForCausalLM` or `LlamaForCausalLM`
(architectures.py); pretrained.py reads it back. Standard library and pydantic at import.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.store import disk_problem
from codemix.errors import CodemixError, Problem
from codemix.recipe.language import schema
from codemix.train.model.architectures import (
    EMBEDDING,
    FINAL_NORM,
    MATRICES,
    TURNED,
    UNEMBEDDING,
    Architecture,
    architecture_of,
    in_layer,
)
from codemix.train.model.weight_files import write_weights

if TYPE_CHECKING:
    import numpy as np

    from codemix.train.model.decoder import Decoder

DTYPES = ("float32", "bfloat16")  # the first loses nothing


def problems(spec: schema.Model) -> list[Problem]:
    """Each choice of a model that their architecture has no name for; known from the recipe alone."""
    return architecture_of(spec).problems(spec)


def check(spec: schema.Model, dtype: str, architecture: Architecture | None = None) -> None:
    """Raises CodemixError with everything that forbids an export, before anything is read or written."""
    found = (architecture or architecture_of(spec)).problems(spec)
    if dtype not in DTYPES:
        hint = "use `float32`, which loses nothing, or `bfloat16`"
        found.append(Problem(f"weights are not exported as `{dtype}`", hints=(hint,), rule="export-dtype"))
    if found:
        raise CodemixError(*found)


def export(
    model: Decoder,
    spec: schema.Model,
    folder: Path,
    *,
    seq_len: int,
    eos_id: int,
    dtype: str = "float32",
    tokenizer: Path | None = None,
) -> Path:
    """The folder, holding config.json, generation_config.json, the weights (in several files above 5 GB) and,
    when given, the tokenizer's two files.

    `dtype` is `float32` (nothing is lost) or `bfloat16`. The padding of the vocabulary is cut off.
    """
    check(spec, dtype)
    architecture = architecture_of(spec)
    files = {
        "config.json": architecture.config(spec, model.vocab_size, seq_len, eos_id, dtype),
        "generation_config.json": generation_config(eos_id),
    }
    if tokenizer is not None:
        content = json.loads(tokenizer.read_text(encoding="utf-8"))
        files |= _tokenizer_files(content, seq_len, eos_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        _write_weights(model, architecture, dtype, folder)
    except OSError as error:
        raise disk_problem(error, folder) from error
    return folder


def _write_weights(model: Decoder, architecture: Architecture, dtype: str, folder: Path) -> None:
    import numpy as np

    width = 4 if dtype == "float32" else 2
    named = list(_named(model, architecture))
    sizes = {}
    for name, array in named:
        sizes[name] = array.size * width
    tensors = ((name, np.ascontiguousarray(array.astype(dtype))) for name, array in named)
    write_weights(tensors, sizes, folder)


def generation_config(eos_id: int) -> dict[str, Any]:
    """What generation_config.json says: where a text begins, where it ends,
    and what fills rows of unequal length.
    """
    return {"bos_token_id": eos_id, "eos_token_id": eos_id, "pad_token_id": eos_id}


def _tokenizer_files(tokenizer: dict[str, Any], seq_len: int, eos_id: int) -> dict[str, Any]:
    """tokenizer.json and tokenizer_config.json, which together give the ids that training saw.

    Nothing is added to a text, nothing is cut or padded unasked, and text that spells a special token stays
    text.
    """
    eos = next(token["content"] for token in tokenizer["added_tokens"] if token["id"] == eos_id)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos,
        "pad_token": eos,
        "padding_side": "left",
        "model_max_length": seq_len,
        "split_special_tokens": True,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    return {
        "tokenizer.json": tokenizer | {"post_processor": None, "truncation": None, "padding": None},
        "tokenizer_config.json": settings,
    }


def _named(model: Decoder, architecture: Architecture) -> Iterator[tuple[str, np.ndarray]]:
    """Every array by its Hugging Face name, in float32."""
    import numpy as np

    from codemix.train.model.rope import halves

    vocabulary = slice(model.vocab_size)
    yield EMBEDDING, np.asarray(model.embedding)[vocabulary]
    if model.unembedding is not None:
        yield UNEMBEDDING, np.asarray(model.unembedding)[vocabulary]
    yield FINAL_NORM, np.asarray(model.norm)
    for ours, theirs in architecture.norms.items():
        norms = np.asarray(getattr(model.blocks, ours))
        for i, norm in enumerate(norms):
            yield in_layer(i, theirs), norm
    for ours, (theirs, n_in) in MATRICES.items():
        weights = getattr(model.blocks, ours)
        if ours in TURNED and architecture.pairs == "halves":
            weights = halves(weights)
        matrices = np.asarray(weights)
        for i, matrix in enumerate(matrices):
            inputs = math.prod(matrix.shape[:n_in])
            columns = matrix.reshape(inputs, -1)
            yield in_layer(i, theirs), columns.T
