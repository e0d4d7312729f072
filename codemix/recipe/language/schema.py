"""What a recipe may say. Every class is a node of the YAML; docs/recipe.md is generated from the descriptions here.

Knobs that the paper (arXiv 2408.10914) leaves unstated carry a default of ours and say so.
"""

from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from codemix.recipe.language import component
from codemix.recipe.language.component import Spec
from codemix.recipe.language.quantities import Bytes, LengthField, Share, Tokens, exact_share, read_share

MAX_EPOCHS = 1000
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.+-]{0,63}$")]


class Ramp(Spec):
    """A share that changes linearly over the stage; its tokens are the exact integral, the mean of both ends."""

    from_: Share = Field(alias="from", description="share at the first step of the stage")
    to: Share = Field(description="share at the last step of the stage")

    @property
    def mean(self) -> Fraction:
        return (self.from_ + self.to) / 2


class Group(Spec):
    """A group inside a mixture: its share of the whole and how it divides inside."""

    share: "Weight" = Field(description="share of the enclosing mixture")
    of: "Mixture" = Field(description="shares inside this group; they sum to 100%")

    @model_validator(mode="after")
    def _plain_share(self):
        if isinstance(self.share, Group):
            raise PydanticCustomError(
                "weight",
                "the share of a group is another group",
                {"hints": ["write `share:` as a share, `rest` or a ramp"]},
            )
        return self


def _weight(value: Any) -> Any:
    """A share, `rest`, a ramp, a nested group, or (under `weights: relative`) a plain number."""
    if isinstance(value, (Fraction, Ramp, Group)) or value == "rest":
        return value
    if isinstance(value, dict):
        return (Group if {"share", "of"} & set(value) else Ramp).model_validate(
            value.get("ramp", value) if set(value) == {"ramp"} else value
        )
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value  # has no unit: recipe/planning/mixture.py refuses it unless the stage says `weights: relative`
    return read_share(value)


def _show_weight(value: Any) -> Any:
    return exact_share(value) if isinstance(value, Fraction) else value


Weight = Annotated[
    Any,
    BeforeValidator(_weight),
    PlainSerializer(_show_weight),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "description": "a share, e.g. 90%, or `rest`"},
                {"type": "number", "description": "only under `weights: relative`"},
                {"type": "object", "description": "a ramp {from, to} or a group {share, of}"},
            ]
        }
    ),
]
Mixture = dict[Name, Weight]


class Replace(Spec):
    """Replace a share of a group (or source) by another, everything else keeping its proportions."""

    share: Share = Field(description="how much of `of` is replaced, as a share of `of`")
    of: Name = Field(description="the group or source that gives way")
    by: Name = Field(description="the group or source that takes its place")


class Limit(Spec):
    """A bound on a marginal of the mixture, in tokens, checked on the final whole numbers."""

    where: dict[str, str | list[str]] = Field(
        description="tags that a source must carry to count, e.g. {kind: code}"
    )
    of: dict[str, str | list[str]] | None = Field(
        None, description="the whole that shares refer to; default every source"
    )
    max: Share | None = Field(None, description="at most this share")
    min: Share | None = Field(None, description="at least this share")

    @model_validator(mode="after")
    def _one_bound(self):
        if self.max is None and self.min is None:
            raise PydanticCustomError(
                "limit", "a limit needs `max:` or `min:`", {"hints": ["for example `max: 25%`"]}
            )
        return self


class SourceSpec(Spec):
    """Where documents come from, what is done to them, and how often they may be read."""

    read: component.field("source") = Field(description="the component that yields documents")
    ops: tuple[component.field("op"), ...] = Field((), description="filters and transforms, in order")
    tags: dict[str, str] = Field(
        {}, description="axes: kind, language, quality, licence, ... for limits, reports and marginals"
    )
    tokens: Tokens | None = Field(
        None, description="declared size [tokens], used by `plan` until the source is built", gt=0
    )
    documents: int | None = Field(
        None, description="declared number of documents, for weights by documents", gt=0
    )
    max_epochs: float = Field(
        1.0,
        gt=0,
        le=MAX_EPOCHS,
        description="how often a token may be read over the whole lineage; the paper does not say, 1 is ours",
    )
    on_cap: Literal["error", "redistribute"] = Field(
        "error",
        description="over the cap: refuse, or hand the excess to the rest of its mixture at plan time",
    )
    held_out: Share = Field(
        Fraction(0), description="documents (by hash) never trained on and used for bits per byte"
    )
    on_bad: Literal["error", "skip"] = Field(
        "error", description="an unreadable document: stop the build, or skip and count it"
    )
    max_bad: Share = Field(
        Fraction(1, 1000),
        description="with `on_bad: skip`, the share of unreadable documents that still stops the build",
    )
    notes: str = ""


class Dedup(Spec):
    """Remove duplicates within and across sources; where copies meet, the source named first keeps its own."""

    kind: Literal["exact", "minhash"] = Field(description="equal text, or MinHash near-duplicates")
    sources: tuple[Name, ...] = Field(
        min_length=1, description="in order of preference: earlier sources keep their copy"
    )
    n_grams: int = Field(5, ge=1, le=50, description="[minhash] words a shingle")
    buckets: int = Field(14, ge=1, le=1000, description="[minhash] bands")
    hashes_per_bucket: int = Field(
        8, ge=1, le=1000, description="[minhash] rows a band; similarity threshold ~ (1/buckets)^(1/hashes)"
    )
    normalize: Literal["code", "prose"] = Field(
        "prose",
        description="[minhash] prose folds case, digits and punctuation; code keeps them, and leaves out a licence at the head of a file",
    )


PRESETS = {  # shapes are ours: the paper gives parameter counts only (these have 467.7M and 2.80B with a tied 256k vocabulary)
    "470M": dict(d_model=1024, n_layers=16, n_heads=8, d_head=128, d_ff=2816),
    "2.8B": dict(d_model=2560, n_layers=27, n_heads=20, d_head=128, d_ff=6912),
    "120M": dict(d_model=768, n_layers=12, n_heads=6, d_head=128, d_ff=2048),
}


class Model(Spec):
    """A decoder with parallel attention and MLP, SwiGLU, no biases (by default as Hugging Face's `CohereForCausalLM`).
    The paper states the block, not the shape; shapes are ours."""

    preset: Literal["470M", "2.8B", "120M"] | None = Field(
        None, description="a named shape (ours); other fields override it"
    )
    d_model: int = Field(ge=8, le=65536)
    n_layers: int = Field(ge=1, le=1024)
    n_heads: int = Field(ge=1, le=1024)
    n_kv_heads: int | None = Field(None, ge=1, description="grouped-query attention; default n_heads")
    d_head: int | None = Field(None, ge=2, le=1024, description="default d_model / n_heads")
    d_ff: int = Field(ge=8, le=262144)
    positions: Literal["rope", "none"] = Field(
        "rope",
        description="rope: queries and keys turn with their position; none: no encoding at all; the paper does not say, rope is ours",
    )
    rope_theta: float = Field(10000.0, gt=0, description="base of the angles; unused under `positions: none`")
    norm: Literal["layer", "rms"] = Field(
        "layer",
        description="layer: LayerNorm without bias; rms: RMSNorm, which subtracts no mean; the paper does not say, layer is ours",
    )
    norm_eps: float = Field(1e-5, gt=0)
    logit_scale: float = Field(
        1.0, gt=0, description="logits are multiplied by this (Cohere's checkpoints use 0.0625)"
    )
    tied_embeddings: bool = Field(
        True,
        description="false: an unembedding, as large as the embedding, makes the logits; the paper does not say, tied is ours",
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
        if isinstance(value, dict) and isinstance(value.get("preset"), str) and value["preset"] in PRESETS:
            return PRESETS[value["preset"]] | value
        return value

    @model_validator(mode="after")
    def _shapes(self):
        if self.d_head is None and self.d_model % self.n_heads:
            raise PydanticCustomError(
                "shape",
                f"d_model {self.d_model} does not divide by n_heads {self.n_heads}",
                {"hints": ["give `d_head:`, or change one"]},
            )
        if (self.n_kv_heads or self.n_heads) > self.n_heads or self.n_heads % (
            self.n_kv_heads or self.n_heads
        ):
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
        return -(-vocab_size // self.vocab_multiple) * self.vocab_multiple

    def block_parameters(self) -> int:
        h, k, d = self.n_heads * self.head_size, self.kv_heads * self.head_size, self.d_model
        return d * (2 * h + 2 * k) + 3 * d * self.d_ff + d

    def parameters(self, vocab_size: int) -> int:
        """All parameters; a tied embedding counts once."""
        return (
            (2 - self.tied_embeddings) * self.vocab(vocab_size) * self.d_model
            + self.n_layers * self.block_parameters()
            + self.d_model
        )

    def flops_per_token(self, vocab_size: int, seq_len: int) -> int:
        """Training FLOPs a token: 6 (blocks + V d) + 6 L H d_head T for causal attention; the lookup is not counted, so tied or not is equal."""
        matmul = self.n_layers * self.block_parameters() + self.vocab(vocab_size) * self.d_model
        return 6 * matmul + 6 * self.n_layers * self.n_heads * self.head_size * seq_len


class Optimizer(Spec):
    """AdamW (paper section 2.3). Its betas, weight decay and clipping are not stated in the paper; these are ours."""

    kind: Literal["adamw"] = "adamw"
    b1: float = Field(0.9, ge=0, lt=1)
    b2: float = Field(0.95, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    decay_embeddings: bool = Field(
        False,
        description="whether weight decay acts on the embedding and, if untied, the unembedding; never on norms",
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

    seq_len: int = Field(ge=8, le=2**22, description="tokens a row [tokens]")
    batch_size: BatchSize | BatchRamp = Field(description="rows a step [sequences]")
    doc_mask: Literal["none", "segment"] = Field(
        "none", description="segment: attention and loss stay inside a document; paper unstated, default ours"
    )
    reset_positions: bool = Field(
        False, description="positions start again at each document; paper unstated, default ours"
    )
    optimizer: Optimizer = Optimizer()
    z_loss: float = Field(0.0, ge=0, description="weight of log(Z)^2, reported apart")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of values zeroed while training, in the rows of the embedding and in what each layer adds by attention and by MLP; "
        "never among attention's weights; paper unstated, 0 is ours",
    )
    compute_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 on accelerators, float32 on CPU; master weights are float32"
    )


class InitFrom(Spec):
    """Start a stage from an earlier stage of this recipe, or from another recipe's stage."""

    recipe: str | None = Field(
        None, description="path of the other recipe, relative to this file; default this recipe"
    )
    stage: Name = Field(description="stage to start from")
    load: Literal["weights", "state"] = Field(
        "state", description="weights only, or weights with optimizer state"
    )


class Stage(Spec):
    """The unit of training: tokens, mixture and learning rate together, so that they cannot drift apart."""

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"name", "notes", "description"})
    name: Name
    tokens: Tokens | None = Field(
        None, gt=0, description="budget; rounded down to whole steps, and `plan` says by how much"
    )
    steps: int | None = Field(None, gt=0, le=10**10, description="budget in steps, instead of tokens")
    mixture: Mixture = Field(min_length=1, description="shares of groups and sources, summing to 100%")
    weights: Literal["percent", "relative"] = Field(
        "percent", description="relative: plain numbers, divided by their sum, as you asked"
    )
    by: Literal["tokens", "documents"] = Field(
        "tokens",
        description="what the shares count; with documents, `plan` prints the token shares they imply",
    )
    replace: tuple[Replace, ...] = Field((), description="applied after the mixture, in order")
    learning_rate: component.field("schedule") = Field(description="the schedule of this stage")
    optimizer_state: Literal["keep", "reset"] = Field(
        "keep", description="Adam moments from the parent stage; paper unstated, default ours"
    )
    cursor: Literal["continue", "restart", "disjoint"] = Field(
        "continue",
        description="continue each source where the parent stopped; restart its order; or read only what the lineage has not, and refuse to wrap",
    )
    seq_len: int | None = Field(None, ge=8, le=2**22)
    batch_size: BatchSize | BatchRamp | None = None
    doc_mask: Literal["none", "segment"] | None = None
    reset_positions: bool | None = None
    fim: dict[Name, Share] = Field({}, description="fill-in-the-middle rate by group or source")
    fim_spm: Share = Field(
        Fraction(1, 2), description="share of fill-in-the-middle windows in suffix-prefix-middle order"
    )
    limits: tuple[Limit, ...] = ()
    init_from: InitFrom | Literal["scratch"] | None = Field(
        None, description="default: the stage before this one; `scratch` starts anew"
    )
    seed: Seed | None = Field(
        None, description="decides data order and what dropout drops in this stage; default the recipe's"
    )
    average_seeds: tuple[Seed, ...] = Field(
        (), description="train this stage once a seed and average the weights (soup)"
    )
    description: str = ""
    notes: str = ""

    @model_validator(mode="after")
    def _one_budget(self):
        if (self.tokens is None) == (self.steps is None):
            raise PydanticCustomError(
                "budget",
                "a stage needs exactly one of `tokens:` and `steps:`",
                {"hints": ["for example `tokens: 200B`"]},
            )
        if len(set(self.average_seeds)) != len(self.average_seeds):
            raise PydanticCustomError(
                "seeds",
                "a seed stands twice in `average_seeds`",
                {"hints": ["the average of equal weights is no average"]},
            )
        return self


class Evaluation(Spec):
    """What is measured after each stage."""

    bits_per_byte: bool = Field(True, description="per source, on its held-out documents")
    max_bytes: Bytes = Field(10**6, ge=1, description="held-out text a source that is scored [bytes]")
    tasks: tuple[component.field("task"), ...] = ()


class Recipe(Spec):
    """A data recipe: sources, filters, tokenizer, model, and the stages that use them."""

    codemix: Literal[1] = Field(description="version of this format")
    name: Name
    description: str = ""
    notes: str = ""
    seed: Seed = Field(0, description="decides initial weights, data order and what dropout drops")
    tokenizer: component.field("tokenizer")
    sources: dict[Name, SourceSpec] = Field(min_length=1)
    dedup: tuple[Dedup, ...] = ()
    groups: dict[Name, Mixture] = Field({}, description="named mixtures that stages can use like sources")
    limits: tuple[Limit, ...] = Field((), description="limits that hold in every stage")
    model: Model
    training: Training
    stages: tuple[Stage, ...] = Field(min_length=1)
    evaluation: Evaluation = Evaluation()
    silence: dict[str, str] = Field(
        {}, description="warnings you decided to accept: rule name -> your reason"
    )


Group.model_rebuild()
