"""A trained decoder as a Hugging Face folder, `CohereForCausalLM` name by name, and back. Standard library
and pydantic at import.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.store import disk_problem
from codemix.errors import CodemixError, Problem
from codemix.files import replacing
from codemix.recipe.language import schema

if TYPE_CHECKING:
    import numpy as np
    from jax import Array

    from codemix.train.model.decoder import Decoder

DTYPES = ("float32", "bfloat16")  # the first loses nothing

# Their matrices are [out, in] and flat; ours are [in..., out...].
# One entry per matrix: (their name, dimensions of ours that are `in`).
MATRICES = {
    "query": ("self_attn.q_proj", 1),
    "key": ("self_attn.k_proj", 1),
    "value": ("self_attn.v_proj", 1),
    "out": ("self_attn.o_proj", 3),
    "gate": ("mlp.gate_proj", 1),
    "up": ("mlp.up_proj", 1),
    "down": ("mlp.down_proj", 1),
}


def problems(spec: schema.Model) -> list[Problem]:
    """Each choice of a model that `CohereForCausalLM` has no name for; known from the recipe alone."""
    found = []
    for name, theirs, ours in (("norm", "layer", spec.norm), ("positions", "rope", spec.positions)):
        if ours != theirs:
            what = (
                f"`model.{name}: {ours}` cannot be a Hugging Face model: "
                f"CohereForCausalLM has `{name}: {theirs}` only"
            )
            hint = f"train with `{name}: {theirs}` to export it; `codemix eval` reads this one as it is"
            found.append(Problem(what, hints=(hint,), rule="export-unsupported"))
    return found


def check(spec: schema.Model, dtype: str) -> None:
    """Raises CodemixError with everything that forbids an export, before anything is read or written."""
    found = problems(spec)
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
    """The folder, holding config.json, generation_config.json, model.safetensors and, when given, the
    tokenizer's two files.

    `dtype` is `float32` (nothing is lost) or `bfloat16`. The padding of the vocabulary is cut off.
    """
    check(spec, dtype)
    import numpy as np
    from safetensors.numpy import save_file

    files = {
        "config.json": config(spec, model.vocab_size, seq_len, eos_id, dtype),
        "generation_config.json": generation_config(eos_id),
    }
    if tokenizer is not None:
        files |= _tokenizer_files(json.loads(tokenizer.read_text(encoding="utf-8")), seq_len, eos_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        tensors = {name: np.ascontiguousarray(value.astype(dtype)) for name, value in _named(model)}
        with replacing(folder / "model.safetensors") as temporary:
            temporary.touch()
            mode = (
                temporary.stat().st_mode
            )  # what the umask says; safetensors makes a file for the owner alone
            save_file(tensors, temporary, metadata={"format": "pt"})
            temporary.chmod(mode)
    except OSError as error:
        raise disk_problem(error, folder) from error
    return folder


def config(
    spec: schema.Model, vocab_size: int, seq_len: int, eos_id: int, dtype: str = "float32"
) -> dict[str, Any]:
    """What config.json says. `rope_theta` appears twice: transformers 5 reads `rope_parameters`, older ones
    the bare key.

    A document begins after the EOS of the one before, so EOS is BOS too. It is not padding here: the
    embedding of a padding token gets no gradient, and a model that is trained further would never learn to
    end.
    """
    return {
        "architectures": ["CohereForCausalLM"],
        "model_type": "cohere",
        "vocab_size": vocab_size,
        "hidden_size": spec.d_model,
        "intermediate_size": spec.d_ff,
        "num_hidden_layers": spec.n_layers,
        "num_attention_heads": spec.n_heads,
        "num_key_value_heads": spec.kv_heads,
        "head_dim": spec.head_size,
        "hidden_act": "silu",
        "layer_norm_eps": spec.norm_eps,
        "logit_scale": spec.logit_scale,
        "rope_theta": spec.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": spec.rope_theta},
        "max_position_embeddings": seq_len,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_qk_norm": False,
        "tie_word_embeddings": spec.tied_embeddings,
        "bos_token_id": eos_id,
        "eos_token_id": eos_id,
        "pad_token_id": None,
        "initializer_range": spec.init_std,
        "torch_dtype": dtype,
    }


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
    if unsupported := problems(spec):
        raise CodemixError(*unsupported)
    from codemix.train.model.decoder import Blocks, decoder

    tensors = _Tensors(folder / "model.safetensors", spec)
    unembedding = None
    if not spec.tied_embeddings:
        unembedding = tensors.table("lm_head.weight", vocab_size)
    elif "lm_head.weight" in tensors.by_name:
        raise CodemixError(
            f"{tensors.path} has an `lm_head.weight`, this model's embeddings are tied",
            rule="export-mismatch",
        )
    matrices = {name: tensors.matrices(name) for name in MATRICES}
    return decoder(
        spec,
        vocab_size,
        tensors.table("model.embed_tokens.weight", vocab_size),
        Blocks(norm=tensors.norms(), **matrices),
        tensors.array("model.norm.weight"),
        unembedding,
    )


class _Tensors:
    """The arrays of model.safetensors in our shapes."""

    def __init__(self, path: Path, spec: schema.Model):
        from safetensors.numpy import load_file

        self.path = path
        self.spec = spec
        self.by_name = load_file(path)

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

    def norms(self) -> Array:
        return self._stacked("input_layernorm")

    def matrices(self, ours: str) -> Array:
        """One of `MATRICES` of all layers."""
        theirs, _ = MATRICES[ours]
        stacked = self._stacked(theirs).swapaxes(1, 2)
        shape = _layer_shape(self.spec, ours)
        if stacked[0].size != math.prod(shape):
            raise CodemixError(
                f"`{theirs}` is {stacked.shape[1:]}, this model's is {shape}", rule="export-mismatch"
            )
        return stacked.reshape(self.spec.n_layers, *shape)

    def _stacked(self, theirs: str) -> Array:
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


def _named(model: Decoder) -> Iterator[tuple[str, np.ndarray]]:
    """Every array by its Hugging Face name."""
    import numpy as np

    vocabulary = slice(model.vocab_size)
    yield "model.embed_tokens.weight", np.asarray(model.embedding)[vocabulary]
    if model.unembedding is not None:
        yield "lm_head.weight", np.asarray(model.unembedding)[vocabulary]
    yield "model.norm.weight", np.asarray(model.norm)
    norms = np.asarray(model.blocks.norm)
    for i, norm in enumerate(norms):
        yield f"model.layers.{i}.input_layernorm.weight", norm
    for ours, (theirs, n_in) in MATRICES.items():
        matrices = np.asarray(getattr(model.blocks, ours))
        for i, matrix in enumerate(matrices):
            inputs = math.prod(matrix.shape[:n_in])
            columns = matrix.reshape(inputs, -1)
            yield f"model.layers.{i}.{theirs}.weight", columns.T
