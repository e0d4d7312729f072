"""The weights of a Hugging Face folder as a decoder of ours: what fits and what does not, and the arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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
    layer_shape,
)
from codemix.train.model.config_json import TheirModel, mismatch, read_config, unsupported
from codemix.train.model.weight_files import ArrayHead, WeightFiles

if TYPE_CHECKING:
    import numpy as np
    from jax import Array

    from codemix.train.model.decoder import Decoder

EXACT = ("F32", "BF16", "F16")  # what float32 holds without loss
_LAYER = re.compile(r"layers\.\d+\.")
DERIVED = ".rotary_emb.inv_freq"  # old files keep these numbers, which follow from the base


def problems(folder: Path, ours: schema.Model, vocab_size: int | None = None) -> list[Problem]:
    """Everything in which a folder is not this model, from its config.json and the heads of its files; without
    a vocabulary, that is left open."""
    try:
        theirs = read_config(folder)
        arrays = WeightFiles(folder)
    except CodemixError as error:
        return list(error.problems)
    found = theirs.differences(ours)
    if vocab_size is not None:
        found += _vocabulary_problems(theirs, ours, vocab_size)
    for problem in array_problems(theirs, arrays):
        found.append(replace(problem, what=f"{folder}: {problem.what}"))
    return found


def array_problems(theirs: TheirModel, arrays: WeightFiles) -> list[Problem]:
    """Where the arrays are not those of the config.json beside them: names, shapes, types."""
    wanted = theirs.architecture.arrays(theirs.spec, theirs.rows)
    heads = arrays.heads
    found: list[Problem | None] = []
    for name, shape in wanted.items():
        head = heads.get(name)
        found.append(_array_problem(name, head, shape))
    if theirs.spec.tied_embeddings and UNEMBEDDING in heads:
        found.append(_tied_problem(arrays))
        wanted[UNEMBEDDING] = wanted[EMBEDDING]
    for name in sorted(heads.keys() - wanted.keys()):
        if not name.endswith(DERIVED):
            problem = unsupported(f"`{name}` has no place in a model of ours")
            found.append(problem)
    told = [problem for problem in found if problem is not None]
    return list(_by_kind(told))


def _by_kind(found: Iterable[Problem]) -> Iterator[Problem]:
    """The problems, those that are the same in several layers as one."""
    kinds: dict[str, list[Problem]] = {}
    for problem in found:
        kind = _LAYER.sub("layers.*.", problem.what)
        kinds.setdefault(kind, []).append(problem)
    for kind, alike in kinds.items():
        first = alike[0]
        if len(alike) > 1:
            count = f"{len(alike)} layers"
            first = replace(first, what=f"{kind} ({count})")
        yield first


def _array_problem(name: str, head: ArrayHead | None, shape: tuple[int, ...]) -> Problem | None:
    if head is None:
        return unsupported(f"there is no `{name}`, which config.json promises")
    if head.shape != shape:
        return unsupported(f"`{name}` is {list(head.shape)}, config.json says {list(shape)}")
    if head.dtype not in EXACT:
        return unsupported(f"`{name}` is {head.dtype}", f"one of {', '.join(EXACT)} can be continued")
    return None


def _tied_problem(arrays: WeightFiles) -> Problem | None:
    import numpy as np

    if np.array_equal(arrays.array(UNEMBEDDING), arrays.array(EMBEDDING)):
        return None
    what = f"`{UNEMBEDDING}` is not `{EMBEDDING}`, and config.json has `tie_word_embeddings: true`"
    return unsupported(what, "one of them is wrong: ask who made the model")


def _vocabulary_problems(theirs: TheirModel, ours: schema.Model, vocab_size: int) -> Iterator[Problem]:
    """The embedding's rows are the tokenizer's ids, with or without the padding of `vocab_multiple`."""
    if theirs.rows in (vocab_size, ours.vocab(vocab_size)):
        return
    rows = f"{theirs.rows:,} rows"
    what = f"the tokenizer has {vocab_size:,} ids and the model's embedding {rows}"
    hints = padding_hints(theirs.rows, vocab_size)
    yield mismatch(what, *hints)


def padding_hints(rows: int, vocab_size: int) -> list[str]:
    """How a recipe says that the rows after the tokenizer's ids are padding."""
    multiple = padding_multiple(rows, vocab_size)
    if multiple is None:
        return ["use the model's own tokenizer"]
    return [f"write `vocab_multiple: {multiple}` if the last {rows - vocab_size:,} rows are padding"]


def padding_multiple(rows: int, vocab_size: int) -> int | None:
    """The smallest `vocab_multiple` that pads the tokenizer's ids to these rows; None where none does."""
    for multiple in range(1, 1025):
        padded = -(-vocab_size // multiple) * multiple
        if padded == rows:
            return multiple
    return None


def load_pretrained(folder: Path, spec: schema.Model, vocab_size: int, like: Decoder) -> Decoder:
    """The decoder in float32, one array after another put where those of `like` are (arrays, or shapes with
    shardings), with the base of its angles, which a stage may change. Raises CodemixError with each
    difference."""
    found = problems(folder, spec, vocab_size)
    if found:
        raise CodemixError(*found)
    from codemix.train.model.decoder import Blocks, decoder

    arrays = _OurArrays(WeightFiles(folder), spec)
    layers = {}
    for name in MATRICES:
        layers[name] = _placed(arrays.matrices(name), getattr(like.blocks, name))
    for name, theirs in arrays.architecture.norms.items():
        layers[name] = _placed(arrays.stacked(theirs), getattr(like.blocks, name))
    embedding = _placed(arrays.table(EMBEDDING, vocab_size), like.embedding)
    norm = _placed(arrays.exact(FINAL_NORM), like.norm)
    unembedding = None
    if like.unembedding is not None:
        unembedding = _placed(arrays.table(UNEMBEDDING, vocab_size), like.unembedding)
    loaded = decoder(spec, vocab_size, embedding, Blocks(**layers), norm, unembedding)
    return replace(loaded, rope_theta=like.rope_theta)


def _placed(array: np.ndarray, like: Array) -> Array:
    """An array on the devices of another, each holding only its part."""
    import jax
    import jax.numpy as jnp

    if like.sharding is None:
        return jnp.asarray(array)
    return jax.make_array_from_callback(array.shape, like.sharding, array.__getitem__)


class _OurArrays:
    """The arrays of a folder in our shapes, in float32."""

    def __init__(self, files: WeightFiles, spec: schema.Model):
        self.files = files
        self.spec = spec
        self.architecture: Architecture = architecture_of(spec)

    def exact(self, name: str) -> np.ndarray:
        """One, under its Hugging Face name."""
        return self.files.array(name).astype("float32")

    def table(self, name: str, vocab_size: int) -> np.ndarray:
        """An embedding, with the padding of the vocabulary: the file's own, or zeros."""
        import numpy as np

        table = self.exact(name)
        missing = self.spec.vocab(vocab_size) - len(table)
        return np.pad(table, ((0, missing), (0, 0)))

    def matrices(self, ours: str) -> np.ndarray:
        """One of `MATRICES` of all layers."""
        theirs, _ = MATRICES[ours]
        shape = layer_shape(self.spec, ours)
        stacked = self.stacked(theirs).swapaxes(1, 2)
        layers = stacked.reshape(self.spec.n_layers, *shape)
        if ours in TURNED and self.architecture.pairs == "halves":
            return _neighbours(layers)
        return layers

    def stacked(self, theirs: str) -> np.ndarray:
        """The arrays of all layers under one of their names."""
        import numpy as np

        names = [in_layer(layer, theirs) for layer in range(self.spec.n_layers)]
        return np.stack([self.exact(name) for name in names])


def _neighbours(weights: np.ndarray) -> np.ndarray:
    """Queries' or keys' weights whose pairs are halves of a head, with the pairs as neighbours: ours."""
    *shape, head = weights.shape
    as_halves = weights.reshape(*shape, 2, head // 2)
    as_pairs = as_halves.swapaxes(-1, -2)
    return as_pairs.reshape(weights.shape)
