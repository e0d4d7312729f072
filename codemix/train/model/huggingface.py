"""A trained decoder as a Hugging Face folder, name by name that of `CohereForCausalLM` or `LlamaForCausalLM`
(architectures.py), and back. Standard library and pydantic at import.
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
from codemix.train.model.architectures import MATRICES, TURNED, Architecture, architecture_of
from codemix.train.model.weight_files import read_weights, write_weights

if TYPE_CHECKING:
    import numpy as np
    from jax import Array

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


def load_exported(folder: Path, spec: schema.Model, vocab_size: int) -> Decoder:
    """The decoder that `export` wrote. Raises CodemixError where names or shapes are not this model's."""
    check(spec, "float32")
    from codemix.train.model.decoder import Blocks, decoder

    tensors = _Tensors(folder, spec)
    unembedding = None
    if not spec.tied_embeddings:
        unembedding = tensors.table("lm_head.weight", vocab_size)
    elif "lm_head.weight" in tensors.by_name:
        raise CodemixError(
            f"{tensors.path} has an `lm_head.weight`, this model's embeddings are tied",
            rule="export-mismatch",
        )
    layers = {name: tensors.matrices(name) for name in MATRICES}
    for ours, theirs in tensors.architecture.norms.items():
        layers[ours] = tensors.stacked(theirs)
    return decoder(
        spec,
        vocab_size,
        tensors.table("model.embed_tokens.weight", vocab_size),
        Blocks(**layers),
        tensors.array("model.norm.weight"),
        unembedding,
    )


class _Tensors:
    """The arrays of an exported folder in our shapes."""

    def __init__(self, folder: Path, spec: schema.Model):
        self.path = folder
        self.spec = spec
        self.architecture = architecture_of(spec)
        self.by_name = read_weights(folder)

    def array(self, name: str) -> Array:
        """One, under its Hugging Face name, in float32."""
        import jax.numpy as jnp

        if name not in self.by_name:
            hint = "does the folder hold a model of a different shape?"
            raise CodemixError(f"{self.path} has no `{name}`", hints=[hint], rule="export-mismatch")
        return jnp.asarray(self.by_name[name]).astype(jnp.float32)

    def table(self, name: str, vocab_size: int) -> Array:
        """An embedding, with the padding of the vocabulary."""
        import jax.numpy as jnp

        table = self.array(name)
        missing = self.spec.vocab(vocab_size) - len(table)
        return jnp.pad(table, ((0, missing), (0, 0)))

    def matrices(self, ours: str) -> Array:
        """One of `MATRICES` of all layers."""
        theirs, _ = MATRICES[ours]
        stacked = self.stacked(theirs).swapaxes(1, 2)
        shape = _layer_shape(self.spec, ours)
        if stacked[0].size != math.prod(shape):
            raise CodemixError(
                f"`{theirs}` is {stacked.shape[1:]}, this model's is {shape}", rule="export-mismatch"
            )
        layers = stacked.reshape(self.spec.n_layers, *shape)
        if ours in TURNED and self.architecture.pairs == "halves":
            return _neighbours(layers)
        return layers

    def stacked(self, theirs: str) -> Array:
        """The arrays of all layers under one of their names."""
        import jax.numpy as jnp

        layers = range(self.spec.n_layers)
        return jnp.stack([self.array(f"model.layers.{i}.{theirs}.weight") for i in layers])


def _layer_shape(spec: schema.Model, ours: str) -> tuple[int, ...]:
    """The shape of one layer of a matrix of ours."""
    D, F, K, H = spec.d_model, spec.d_ff, spec.kv_heads, spec.head_size
    G = spec.n_heads // K
    shapes = {
        "query": (D, K, G, H),
        "key": (D, K, H),
        "value": (D, K, H),
        "out": (K, G, H, D),
        "gate": (D, F),
        "up": (D, F),
        "down": (F, D),
    }
    return shapes[ours]


def _neighbours(weights: Array) -> Array:
    """Queries' or keys' weights whose pairs are halves of a head, with the pairs as neighbours: ours."""
    *shape, head = weights.shape
    as_halves = weights.reshape(*shape, 2, head // 2)
    as_pairs = as_halves.swapaxes(-1, -2)
    return as_pairs.reshape(weights.shape)


def _named(model: Decoder, architecture: Architecture) -> Iterator[tuple[str, np.ndarray]]:
    """Every array by its Hugging Face name, in float32."""
    import numpy as np

    from codemix.train.model.rope import halves

    vocabulary = slice(model.vocab_size)
    yield "model.embed_tokens.weight", np.asarray(model.embedding)[vocabulary]
    if model.unembedding is not None:
        yield "lm_head.weight", np.asarray(model.unembedding)[vocabulary]
    yield "model.norm.weight", np.asarray(model.norm)
    for ours, theirs in architecture.norms.items():
        norms = np.asarray(getattr(model.blocks, ours))
        for i, norm in enumerate(norms):
            yield f"model.layers.{i}.{theirs}.weight", norm
    for ours, (theirs, n_in) in MATRICES.items():
        weights = getattr(model.blocks, ours)
        if ours in TURNED and architecture.pairs == "halves":
            weights = halves(weights)
        matrices = np.asarray(weights)
        for i, matrix in enumerate(matrices):
            inputs = math.prod(matrix.shape[:n_in])
            columns = matrix.reshape(inputs, -1)
            yield f"model.layers.{i}.{theirs}.weight", columns.T
