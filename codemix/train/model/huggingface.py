"""A trained decoder as a Hugging Face folder, `CohereForCausalLM` name by name, and back. Standard library and pydantic at import."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.store import disk_problem
from codemix.errors import CodemixError, Problem
from codemix.files import replacing
from codemix.recipe.language import schema

if TYPE_CHECKING:
    import numpy as np

    from codemix.train.model.decoder import Decoder

DTYPES = ("float32", "bfloat16")  # the first loses nothing

# Their matrices are [out, in] and flat; ours are [in..., out...]. One entry a matrix: (their name, dimensions of ours that are `in`).
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
    choices = {"norm": ("layer", spec.norm), "positions": ("rope", spec.positions)}
    return [
        Problem(
            f"`model.{name}: {ours}` cannot be a Hugging Face model: CohereForCausalLM has `{name}: {theirs}` only",
            hints=(f"train with `{name}: {theirs}` to export it; `codemix eval` reads this one as it is",),
            rule="export-unsupported",
        )
        for name, (theirs, ours) in choices.items()
        if ours != theirs
    ]


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
    """The folder, holding config.json, generation_config.json, model.safetensors and, when given, the tokenizer's two files.

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
        with replacing(folder / "model.safetensors") as temporary:
            temporary.touch()
            mode = (
                temporary.stat().st_mode
            )  # what the umask says; safetensors makes its file for the owner alone
            save_file(
                {name: np.ascontiguousarray(value.astype(dtype)) for name, value in _named(model)},
                temporary,
                metadata={"format": "pt"},
            )
            temporary.chmod(mode)
    except OSError as error:
        raise disk_problem(error, folder) from error
    return folder


def config(
    spec: schema.Model, vocab_size: int, seq_len: int, eos_id: int, dtype: str = "float32"
) -> dict[str, Any]:
    """What config.json says. `rope_theta` stands twice: transformers 5 reads `rope_parameters`, older ones the bare key.

    A document begins after the EOS of the one before, so EOS is BOS too. It is no padding here: the embedding of a padding token
    gets no gradient, and a model that is trained further would never learn to end.
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
    """What generation_config.json says: where a text begins, where it ends, and with what rows of unequal length are filled."""
    return {"bos_token_id": eos_id, "eos_token_id": eos_id, "pad_token_id": eos_id}


def _tokenizer_files(made: dict[str, Any], seq_len: int, eos_id: int) -> dict[str, Any]:
    """tokenizer.json and tokenizer_config.json, which together give the ids that training saw.

    Nothing is added to a text, nothing is cut or padded unasked, and text that spells a special token stays text.
    """
    eos = next(token["content"] for token in made["added_tokens"] if token["id"] == eos_id)
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
        "tokenizer.json": made | {"post_processor": None, "truncation": None, "padding": None},
        "tokenizer_config.json": settings,
    }


def load_exported(folder: Path, spec: schema.Model, vocab_size: int) -> Decoder:
    """The decoder that `export` wrote. Raises CodemixError where names or shapes are not this model's."""
    if found := problems(spec):
        raise CodemixError(*found)
    import jax
    import numpy as np
    from safetensors.numpy import load_file

    from codemix.train.model.decoder import Blocks, decoder

    tensors = load_file(folder / "model.safetensors")
    G = spec.n_heads // spec.kv_heads
    tails = {  # our shape of one layer
        "query": (spec.d_model, spec.kv_heads, G, spec.head_size),
        "key": (spec.d_model, spec.kv_heads, spec.head_size),
        "value": (spec.d_model, spec.kv_heads, spec.head_size),
        "out": (spec.kv_heads, G, spec.head_size, spec.d_model),
        "gate": (spec.d_model, spec.d_ff),
        "up": (spec.d_model, spec.d_ff),
        "down": (spec.d_ff, spec.d_model),
    }

    def take(name: str) -> np.ndarray:
        if name not in tensors:
            raise CodemixError(
                f"{folder / 'model.safetensors'} has no `{name}`",
                hints=["is it of another shape?"],
                rule="export-mismatch",
            )
        return np.asarray(tensors[name]).astype(np.float32)

    def padded(name: str) -> np.ndarray:
        table = take(name)
        return np.pad(table, ((0, spec.vocab(vocab_size) - len(table)), (0, 0)))

    def layers(ours: str) -> np.ndarray:
        each = [take(f"model.layers.{i}.{MATRICES[ours][0]}.weight").T for i in range(spec.n_layers)]
        if each[0].size != np.prod(tails[ours]):
            raise CodemixError(
                f"`{MATRICES[ours][0]}` is {each[0].shape}, this model's is {tails[ours]}",
                rule="export-mismatch",
            )
        return np.stack([matrix.reshape(tails[ours]) for matrix in each])

    if spec.tied_embeddings and "lm_head.weight" in tensors:
        raise CodemixError(
            f"{folder / 'model.safetensors'} has an `lm_head.weight`, this model's embeddings are tied",
            rule="export-mismatch",
        )
    norms = np.stack([take(f"model.layers.{i}.input_layernorm.weight") for i in range(spec.n_layers)])
    blocks = Blocks(norm=norms, **{ours: layers(ours) for ours in MATRICES})
    unembedding = None if spec.tied_embeddings else padded("lm_head.weight")
    model = decoder(
        spec, vocab_size, padded("model.embed_tokens.weight"), blocks, take("model.norm.weight"), unembedding
    )
    return jax.tree.map(jax.numpy.asarray, model)


def _named(model: Decoder) -> Iterator[tuple[str, np.ndarray]]:
    """Every array by its Hugging Face name."""
    import numpy as np

    yield "model.embed_tokens.weight", np.asarray(model.embedding)[: model.vocab_size]
    if model.unembedding is not None:
        yield "lm_head.weight", np.asarray(model.unembedding)[: model.vocab_size]
    yield "model.norm.weight", np.asarray(model.norm)
    norms = np.asarray(model.blocks.norm)
    for i, norm in enumerate(norms):
        yield f"model.layers.{i}.input_layernorm.weight", norm
    for ours, (theirs, n_in) in MATRICES.items():
        stacked = np.asarray(getattr(model.blocks, ours))
        for i, matrix in enumerate(stacked):
            yield f"model.layers.{i}.{theirs}.weight", matrix.reshape(int(np.prod(matrix.shape[:n_in])), -1).T
