"""What a recipe may say about its model, with the parameters and FLOPs that follow."""

import math
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from codemix.recipe.language.component import Spec

# shapes are ours: the paper gives parameter counts only (these have 467.7M and 2.80B with a tied 256k
# vocabulary)
PRESETS: dict[str, dict[str, Any]] = {
    "470M": dict(d_model=1024, n_layers=16, n_heads=8, d_head=128, d_ff=2816),
    "2.8B": dict(d_model=2560, n_layers=27, n_heads=20, d_head=128, d_ff=6912),
    "120M": dict(d_model=768, n_layers=12, n_heads=6, d_head=128, d_ff=2048),
    "60M": dict(d_model=512, n_layers=10, n_heads=4, d_head=128, d_ff=1408),
}


class Model(Spec):
    """A decoder with parallel attention and MLP, SwiGLU, no biases (by default as Hugging Face's
    `CohereForCausalLM`). The paper states the block, not the shape; shapes are ours."""

    ADDED_LATER: ClassVar[frozenset[str]] = frozenset({"block", "qk_norm"})

    preset: Literal["470M", "2.8B", "120M", "60M"] | None = Field(
        None, description="a named shape (ours); other fields override it"
    )
    d_model: int = Field(ge=8, le=65536)
    n_layers: int = Field(ge=1, le=1024)
    n_heads: int = Field(ge=1, le=1024)
    n_kv_heads: int | None = Field(None, ge=1, description="grouped-query attention; default n_heads")
    d_head: int | None = Field(None, ge=2, le=1024, description="default d_model / n_heads")
    d_ff: int = Field(ge=8, le=262144)
    block: Literal["parallel", "sequential"] = Field(
        "parallel",
        description="parallel: attention and MLP read one norm of the same input (the paper's); sequential: the "
        "MLP reads a norm of its own after attention, as in `LlamaForCausalLM` (ours: with `norm: rms` such a "
        "model can be exported for Llama's readers)",
    )
    positions: Literal["rope", "none"] = Field(
        "rope",
        description="rope: queries and keys turn with their position; none: no encoding at all; "
        "the paper does not say, rope is ours",
    )
    rope_theta: float = Field(10000.0, gt=0, description="base of the angles; unused under `positions: none`")
    norm: Literal["layer", "rms"] = Field(
        "layer",
        description="layer: LayerNorm without bias; rms: RMSNorm, which subtracts no mean; "
        "the paper does not say, layer is ours",
    )
    qk_norm: bool = Field(
        False,
        description="true: queries and keys are normed over all heads before they turn, with gains of their own, as "
        "OLMo 2 and 3 state; false: they are not (ours, as the paper does not say)",
    )
    norm_eps: float = Field(1e-5, gt=0)
    logit_scale: float = Field(
        1.0, gt=0, description="logits are multiplied by this (Cohere's checkpoints use 0.0625)"
    )
    tied_embeddings: bool = Field(
        True,
        description="false: an unembedding, as large as the embedding, makes the logits; "
        "the paper does not say, tied is ours",
    )
    init: Literal["glorot_normal", "normal"] = Field(
        "glorot_normal", description="paper section 3.1: glorot-normal"
    )
    init_std: float = Field(
        0.02, gt=0, description="standard deviation under `init: normal`, and of the embeddings [ours]"
    )
    vocab_multiple: int = Field(
        1, ge=1, le=1024, description="pad the embedding to a multiple of this, for sharding"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, value: Any) -> Any:
        preset = value.get("preset") if isinstance(value, dict) else None
        if isinstance(preset, str) and preset in PRESETS:
            return {**PRESETS[preset], **value}
        return value

    @model_validator(mode="after")
    def _shapes(self):
        if self.d_head is None and self.d_model % self.n_heads:
            raise PydanticCustomError(
                "shape",
                f"d_model {self.d_model} does not divide by n_heads {self.n_heads}",
                {"hints": ["give `d_head:`, or change one"]},
            )
        if self.n_heads % self.kv_heads:
            raise PydanticCustomError(
                "shape",
                f"n_heads {self.n_heads} does not divide by n_kv_heads {self.n_kv_heads}",
                {"hints": []},
            )
        if self.positions == "rope" and self.head_size % 2:
            raise PydanticCustomError(
                "shape",
                f"d_head {self.head_size} is odd; RoPE turns pairs",
                {"hints": ["use an even `d_head:`"]},
            )
        return self

    @property
    def head_size(self) -> int:
        return self.d_head or self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        return self.n_kv_heads or self.n_heads

    def vocab(self, vocab_size: int) -> int:
        """Rows of the embedding for a tokenizer of `vocab_size`."""
        multiples = math.ceil(vocab_size / self.vocab_multiple)
        return multiples * self.vocab_multiple

    def block_parameters(self) -> int:
        """Parameters of one layer: four projections of attention, three of the MLP, and its norms."""
        query_width = self.n_heads * self.head_size
        key_width = self.kv_heads * self.head_size
        attention = self.d_model * (2 * query_width + 2 * key_width)
        mlp = 3 * self.d_model * self.d_ff
        n_norms = 2 if self.block == "sequential" else 1
        norms = n_norms * self.d_model
        if self.qk_norm:
            norms += query_width + key_width
        return attention + mlp + norms

    def parameters(self, vocab_size: int) -> int:
        """All parameters; a tied embedding counts once."""
        embedding = self.vocab(vocab_size) * self.d_model
        n_embeddings = 1 if self.tied_embeddings else 2
        blocks = self.n_layers * self.block_parameters()
        return n_embeddings * embedding + blocks + self.d_model

    def flops_per_token(self, vocab_size: int, seq_len: int) -> int:
        """Training FLOPs per token: 6 (blocks + V d) + 6 L H d_head T for causal attention.

        The lookup is not counted, so that tied or not is equal.
        """
        blocks = self.n_layers * self.block_parameters()
        unembedding = self.vocab(vocab_size) * self.d_model
        query_width = self.n_heads * self.head_size
        attention = self.n_layers * query_width * seq_len
        multiplications = blocks + unembedding + attention
        return 6 * multiplications
