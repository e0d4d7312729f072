"""What a recipe may say about training: how batches become updates."""

from typing import Annotated, Literal

from pydantic import Field

from codemix.recipe.language.component import Spec
from codemix.recipe.language.quantities import LengthField


class Optimizer(Spec):
    """AdamW (paper section 2.3). Its betas, weight decay and clipping are not stated in the paper; these are
    ours."""

    kind: Literal["adamw"] = "adamw"
    b1: float = Field(0.9, ge=0, lt=1)
    b2: float = Field(0.95, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    decay_embeddings: bool = Field(
        False,
        description="whether weight decay acts on the embedding and, if untied, the unembedding; "
        "never on norms",
    )
    clip: float | None = Field(1.0, gt=0, description="global gradient norm; null to switch off")


BatchSize = Annotated[int, Field(ge=1, le=2**24)]


class BatchRamp(Spec):
    """A batch size that grows linearly over the first `over` of the stage, in `n_steps` equal stretches."""

    from_: BatchSize = Field(alias="from")
    to: BatchSize
    over: LengthField
    n_steps: int = Field(8, ge=1, le=1024, description="stretches of constant batch size on the way")


class Training(Spec):
    """How batches become updates. A stage may override the first four."""

    seq_len: int = Field(ge=8, le=2**22, description="tokens per row [tokens]")
    batch_size: BatchSize | BatchRamp = Field(description="rows per step [sequences]")
    doc_mask: Literal["none", "segment"] = Field(
        "none", description="segment: attention and loss stay inside a document; paper unstated, default ours"
    )
    reset_positions: bool = Field(
        False, description="positions restart at each document; paper unstated, default ours"
    )
    optimizer: Optimizer = Optimizer.model_construct()
    z_loss: float = Field(0.0, ge=0, description="weight of log(Z)^2, reported separately")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of values zeroed while training, in the rows of the embedding and in what each "
        "layer adds by attention and by MLP; never among attention's weights; paper unstated, 0 is ours",
    )
    compute_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 on accelerators, float32 on CPU; master weights are float32"
    )
