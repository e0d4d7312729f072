"""The Hugging Face architectures that a model of ours can be, name by name. No heavy imports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.language import schema

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
TURNED = ("query", "key")  # by their position
EMBEDDING = "model.embed_tokens.weight"
UNEMBEDDING = "lm_head.weight"
FINAL_NORM = "model.norm.weight"
_ONLY = {"hidden_act": "silu", "attention_bias": False}


@dataclass(frozen=True)
class Architecture:
    """One of their classes: what it asks of a model, and how it says the same."""

    name: str  # as `--architecture` takes it, and `model_type`
    model_class: str
    needs: Mapping[str, Any]  # field of the recipe's model -> the only value that it has a name for
    norms: Mapping[str, str]  # norms of a layer: ours -> theirs
    pairs: str  # which places of a head RoPE turns together: `neighbours`, or `halves`
    eps: str  # its key of `norm_eps`
    only: Mapping[str, Any]  # its key -> the only value that ours can be, which is also its default
    defaults: Mapping[str, Any]  # field of ours -> what it is where config.json does not say

    def problems(self, spec: schema.Model) -> list[Problem]:
        """Each choice of a model that it has no name for; known from the recipe alone."""
        found = []
        for field, theirs in self.needs.items():
            ours = getattr(spec, field)
            if ours == theirs:
                continue
            what = (
                f"`model.{field}: {ours}` cannot be a Hugging Face model: "
                f"{self.model_class} has `{field}: {theirs}` only"
            )
            hint = f"train with `{field}: {theirs}` to export it; `codemix eval` reads this one as it is"
            found.append(Problem(what, hints=(hint,), rule="export-unsupported"))
        return found

    def config(
        self, spec: schema.Model, vocab_size: int, seq_len: int, eos_id: int, dtype: str
    ) -> dict[str, Any]:
        """What config.json says. `rope_theta` appears twice: transformers 5 reads `rope_parameters`, older
        ones the bare key.

        A document begins after the EOS of the one before, so EOS is BOS too. It is not padding here: the
        embedding of a padding token gets no gradient, and a model that is trained further would never learn
        to end.
        """
        shared = {
            "architectures": [self.model_class],
            "model_type": self.name,
            "vocab_size": vocab_size,
            "hidden_size": spec.d_model,
            "intermediate_size": spec.d_ff,
            "num_hidden_layers": spec.n_layers,
            "num_attention_heads": spec.n_heads,
            "num_key_value_heads": spec.kv_heads,
            "head_dim": spec.head_size,
            "rope_theta": spec.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": spec.rope_theta},
            "max_position_embeddings": seq_len,
            "attention_dropout": 0.0,
            "tie_word_embeddings": spec.tied_embeddings,
            "bos_token_id": eos_id,
            "eos_token_id": eos_id,
            "pad_token_id": None,
            "initializer_range": spec.init_std,
            "torch_dtype": dtype,
            self.eps: spec.norm_eps,
        }
        if "logit_scale" not in self.needs:
            shared["logit_scale"] = spec.logit_scale
        return shared | dict(self.only)

    def arrays(self, spec: schema.Model, rows: int) -> dict[str, tuple[int, ...]]:
        """The shape of every array by its name, where the embedding has `rows` rows."""
        D = spec.d_model
        table = (rows, D)
        vector = (D,)
        shapes: dict[str, tuple[int, ...]] = {}
        shapes[EMBEDDING] = table
        shapes[FINAL_NORM] = vector
        if not spec.tied_embeddings:
            shapes[UNEMBEDDING] = table
        for layer in range(spec.n_layers):
            for norm in self.norms.values():
                shapes[in_layer(layer, norm)] = vector
            for ours, (theirs, n_in) in MATRICES.items():
                shape = layer_shape(spec, ours)
                inputs = math.prod(shape[:n_in])
                outputs = math.prod(shape[n_in:])
                shapes[in_layer(layer, theirs)] = (outputs, inputs)
        return shapes


COHERE = Architecture(
    name="cohere",
    model_class="CohereForCausalLM",
    needs={"block": "parallel", "norm": "layer", "qk_norm": False, "positions": "rope"},
    norms={"norm": "input_layernorm"},
    pairs="neighbours",
    eps="layer_norm_eps",
    only=_ONLY | {"use_qk_norm": False},
    defaults={"norm_eps": 1e-5, "logit_scale": 0.0625, "tied_embeddings": True},
)
LLAMA = Architecture(
    name="llama",
    model_class="LlamaForCausalLM",
    needs={"block": "sequential", "norm": "rms", "qk_norm": False, "positions": "rope", "logit_scale": 1.0},
    norms={"norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"},
    pairs="halves",
    eps="rms_norm_eps",
    only=_ONLY | {"mlp_bias": False},
    defaults={"norm_eps": 1e-6, "logit_scale": 1.0, "tied_embeddings": False},
)
ARCHITECTURES = {architecture.name: architecture for architecture in (COHERE, LLAMA)}


def architecture_of(spec: schema.Model) -> Architecture:
    """The one that a model's block is."""
    return LLAMA if spec.block == "sequential" else COHERE


def architecture_named(name: str) -> Architecture:
    """Raises CodemixError (`export-architecture`) for a name that is not in ARCHITECTURES."""
    if name not in ARCHITECTURES:
        raise CodemixError(
            f"models are not exported as `{name}`",
            hints=did_you_mean(name, ARCHITECTURES),
            rule="export-architecture",
        )
    return ARCHITECTURES[name]


def in_layer(layer: int, name: str) -> str:
    """The full name of an array of one layer."""
    return f"model.layers.{layer}.{name}.weight"


def layer_shape(spec: schema.Model, ours: str) -> tuple[int, ...]:
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
