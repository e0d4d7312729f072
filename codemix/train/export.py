"""A trained decoder as a Hugging Face folder, `CohereForCausalLM` name by name, and back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load_file, save_file

from codemix.data.store import disk_problem
from codemix.errors import CodemixError, Problem
from codemix.recipe import schema
from codemix.train.model import Blocks, Decoder, decoder

# Their matrices are [out, in] and flat; ours are [in..., out...]. One entry a matrix: (their name, dimensions of ours that are `in`).
MATRICES = {
    "query": ("self_attn.q_proj", 1), "key": ("self_attn.k_proj", 1), "value": ("self_attn.v_proj", 1), "out": ("self_attn.o_proj", 3),
    "gate": ("mlp.gate_proj", 1), "up": ("mlp.up_proj", 1), "down": ("mlp.down_proj", 1),
}  # fmt: skip


def export(
    model: Decoder, spec: schema.Model, folder: Path, *, seq_len: int, eos_id: int, dtype: str = "float32", tokenizer: Path | None = None
) -> Path:
    """The folder, holding config.json, model.safetensors and, when given, tokenizer.json.

    `dtype` is `float32` (nothing is lost) or `bfloat16`. The padding of the vocabulary is cut off.
    """
    _refuse_other_blocks(spec, folder)
    if dtype not in ("float32", "bfloat16"):
        raise CodemixError(f"weights are not exported as `{dtype}`", hints=["use `float32`, which loses nothing, or `bfloat16`"], rule="export-dtype")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_problem(error, folder) from error
    tensors = {name: np.ascontiguousarray(value.astype(dtype)) for name, value in _named(model)}
    aside = folder / "model.safetensors.part"
    save_file(tensors, aside, metadata={"format": "pt"})
    aside.replace(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config(spec, model.vocab_size, seq_len, eos_id, dtype), indent=2) + "\n", encoding="utf-8")
    if tokenizer is not None:
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n", encoding="utf-8")
    return folder


def config(spec: schema.Model, vocab_size: int, seq_len: int, eos_id: int, dtype: str = "float32") -> dict[str, Any]:
    """What config.json says. `rope_theta` stands twice: transformers 5 reads `rope_parameters`, older ones the bare key."""
    return {
        "architectures": ["CohereForCausalLM"], "model_type": "cohere", "vocab_size": vocab_size, "hidden_size": spec.d_model,
        "intermediate_size": spec.d_ff, "num_hidden_layers": spec.n_layers, "num_attention_heads": spec.n_heads,
        "num_key_value_heads": spec.kv_heads, "head_dim": spec.head_size, "hidden_act": "silu", "layer_norm_eps": spec.norm_eps,
        "logit_scale": spec.logit_scale, "rope_theta": spec.rope_theta, "rope_parameters": {"rope_type": "default", "rope_theta": spec.rope_theta},
        "max_position_embeddings": seq_len, "attention_bias": False, "attention_dropout": 0.0, "use_qk_norm": False,
        "tie_word_embeddings": spec.tied_embeddings, "bos_token_id": None, "eos_token_id": eos_id, "pad_token_id": None, "initializer_range": spec.init_std, "torch_dtype": dtype,
    }  # fmt: skip


def load_exported(folder: Path, spec: schema.Model, vocab_size: int) -> Decoder:
    """The decoder that `export` wrote. Raises CodemixError where names or shapes are not this model's."""
    _refuse_other_blocks(spec, folder)
    tensors = load_file(folder / "model.safetensors")
    G = spec.n_heads // spec.kv_heads
    tails = {  # our shape of one layer
        "query": (spec.d_model, spec.kv_heads, G, spec.head_size), "key": (spec.d_model, spec.kv_heads, spec.head_size),
        "value": (spec.d_model, spec.kv_heads, spec.head_size), "out": (spec.kv_heads, G, spec.head_size, spec.d_model),
        "gate": (spec.d_model, spec.d_ff), "up": (spec.d_model, spec.d_ff), "down": (spec.d_ff, spec.d_model),
    }  # fmt: skip

    def take(name: str) -> np.ndarray:
        if name not in tensors:
            raise CodemixError(f"{folder / 'model.safetensors'} has no `{name}`", hints=["is it of another shape?"], rule="export-mismatch")
        return np.asarray(tensors[name]).astype(np.float32)

    def padded(name: str) -> np.ndarray:
        table = take(name)
        return np.pad(table, ((0, spec.vocab(vocab_size) - len(table)), (0, 0)))

    def layers(ours: str) -> np.ndarray:
        each = [take(f"model.layers.{i}.{MATRICES[ours][0]}.weight").T for i in range(spec.n_layers)]
        if each[0].size != np.prod(tails[ours]):
            raise CodemixError(f"`{MATRICES[ours][0]}` is {each[0].shape}, this model's is {tails[ours]}", rule="export-mismatch")
        return np.stack([matrix.reshape(tails[ours]) for matrix in each])

    if spec.tied_embeddings and "lm_head.weight" in tensors:
        raise CodemixError(f"{folder / 'model.safetensors'} has an `lm_head.weight`, this model's embeddings are tied", rule="export-mismatch")
    norms = np.stack([take(f"model.layers.{i}.input_layernorm.weight") for i in range(spec.n_layers)])
    blocks = Blocks(norm=norms, **{ours: layers(ours) for ours in MATRICES})
    unembedding = None if spec.tied_embeddings else padded("lm_head.weight")
    model = decoder(spec, vocab_size, padded("model.embed_tokens.weight"), blocks, take("model.norm.weight"), unembedding)
    return jax.tree.map(jax.numpy.asarray, model)


def _refuse_other_blocks(spec: schema.Model, folder: Path) -> None:
    """Raises CodemixError for each choice that `CohereForCausalLM` has no name for."""
    choices = {"norm": ("layer", spec.norm), "positions": ("rope", spec.positions)}
    problems = [
        Problem(
            f"{folder}: `model.{name}: {ours}` cannot be a Hugging Face model: CohereForCausalLM has `{name}: {theirs}` only",
            hints=(f"train with `{name}: {theirs}` to export it; `codemix eval` reads this one as it is",), rule="export-unsupported",
        )
        for name, (theirs, ours) in choices.items() if ours != theirs
    ]  # fmt: skip
    if problems:
        raise CodemixError(*problems)


def _named(model: Decoder) -> Iterator[tuple[str, np.ndarray]]:
    """Every array by its Hugging Face name."""
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
