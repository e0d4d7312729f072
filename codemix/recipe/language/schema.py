"""What a recipe may say. Every class is a node of the YAML; docs/recipe.md is generated from the descriptions
here.

Knobs that the paper (arXiv 2408.10914) leaves unstated carry a default of ours and say so."""

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from codemix.recipe.language import component
from codemix.recipe.language.component import Spec
from codemix.recipe.language.mixture_schema import Group, Limit, Mixture, Name, Ramp, Replace
from codemix.recipe.language.model_schema import PRESETS, Model
from codemix.recipe.language.quantities import Bytes, PositiveShare, Share, Tokens
from codemix.recipe.language.training_schema import BatchRamp, BatchSize, Optimizer, Training

__all__ = [
    "MAX_EPOCHS",
    "PRESETS",
    "BatchRamp",
    "Dedup",
    "Evaluation",
    "Group",
    "InitFrom",
    "Limit",
    "Mixture",
    "Model",
    "Name",
    "Optimizer",
    "Pretrained",
    "Ramp",
    "Recipe",
    "Replace",
    "SourceSpec",
    "Stage",
    "Training",
]

MAX_EPOCHS = 1000
Seed = Annotated[int, Field(ge=0, lt=2**63)]

if TYPE_CHECKING:  # their classes are in the layers above, which declare what each family can do
    ReaderField: TypeAlias = Any
    OpField: TypeAlias = Any
    TokenizerField: TypeAlias = Any
    ScheduleField: TypeAlias = Any
    TaskField: TypeAlias = Any
else:
    ReaderField = component.field("source")
    OpField = component.field("op")
    TokenizerField = component.field("tokenizer")
    ScheduleField = component.field("schedule")
    TaskField = component.field("task")


class SourceSpec(Spec):
    """Where documents come from, what is done to them, and how often they may be read."""

    read: ReaderField = Field(description="the component that yields documents")
    ops: tuple[OpField, ...] = Field((), description="filters and transforms, in order")
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
    subsample: PositiveShare = Field(
        Fraction(1),
        description="share of the tokens that is trained on, in whole documents by the hash of their ids, nested: "
        "1/32 is inside 1/16; taken after ops, dedup and hold-out, and what then nobody needs is not read of "
        "inputs from 1 GiB on; `tokens` and `documents` are those of the whole",
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
    """Remove duplicates within and across sources; where copies meet, the source named first keeps its
    own."""

    kind: Literal["exact", "minhash"] = Field(description="equal text, or MinHash near-duplicates")
    sources: tuple[Name, ...] = Field(
        min_length=1, description="in order of preference: earlier sources keep their copy"
    )
    n_grams: int = Field(5, ge=1, le=50, description="[minhash] words per shingle")
    buckets: int = Field(14, ge=1, le=1000, description="[minhash] bands")
    hashes_per_bucket: int = Field(
        8, ge=1, le=1000, description="[minhash] rows per band; similarity threshold ~ (1/buckets)^(1/hashes)"
    )
    normalize: Literal["code", "prose"] = Field(
        "prose",
        description="[minhash] prose folds case, digits and punctuation; code keeps them, "
        "and leaves out a licence at the head of a file",
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


class Pretrained(Spec):
    """Start a stage from the weights of a Hugging Face model; `codemix import-model` writes these lines. Moments
    start at zero."""

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"huggingface"})
    huggingface: str = Field(
        min_length=1, description="folder of the model, below the data root; where it is changes nothing"
    )
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="of its arrays, however they are cut into files; `codemix import-model` prints it",
    )


class Stage(Spec):
    """The unit of training: tokens, mixture and learning rate together, so that they cannot drift apart."""

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"name", "notes", "description"})
    ADDED_LATER: ClassVar[frozenset[str]] = frozenset({"rope_theta"})
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
    learning_rate: ScheduleField = Field(description="the schedule of this stage")
    optimizer_state: Literal["keep", "reset"] = Field(
        "keep", description="Adam moments from the parent stage; paper unstated, default ours"
    )
    cursor: Literal["continue", "restart", "disjoint"] = Field(
        "continue",
        description="continue each source where the parent stopped; restart its order; "
        "or read only what the lineage has not, and refuse to wrap",
    )
    seq_len: int | None = Field(None, ge=8, le=2**22)
    rope_theta: float | None = Field(
        None,
        gt=0,
        description="base of the rotary angles from this stage on, to extend the context; default that of the "
        "stage it starts from, at first the model's",
    )
    batch_size: BatchSize | BatchRamp | None = None
    doc_mask: Literal["none", "segment"] | None = None
    reset_positions: bool | None = None
    fim: dict[Name, Share] = Field({}, description="fill-in-the-middle rate by group or source")
    fim_spm: Share = Field(
        Fraction(1, 2), description="share of fill-in-the-middle windows in suffix-prefix-middle order"
    )
    limits: tuple[Limit, ...] = ()
    init_from: InitFrom | Pretrained | Literal["scratch"] | None = Field(
        None,
        description="default: the stage before this one; `scratch` starts from new weights; "
        "`{huggingface: FOLDER, sha256: ...}` from those of another trainer",
    )
    seed: Seed | None = Field(
        None, description="decides data order and what dropout drops in this stage; default the recipe's"
    )
    average_seeds: tuple[Seed, ...] = Field(
        (), description="train this stage once per seed and average the weights (soup)"
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
                "a seed appears twice in `average_seeds`",
                {"hints": ["averaging identical weights has no effect"]},
            )
        return self


class Evaluation(Spec):
    """What is measured after each stage."""

    bits_per_byte: bool = Field(True, description="per source, on its held-out documents")
    max_bytes: Bytes = Field(10**6, ge=1, description="held-out text that is scored per source [bytes]")
    tasks: tuple[TaskField, ...] = ()


class Recipe(Spec):
    """A data recipe: sources, filters, tokenizer, model, and the stages that use them."""

    codemix: Literal[1] = Field(description="version of this format")
    name: Name
    description: str = ""
    notes: str = ""
    seed: Seed = Field(0, description="decides initial weights, data order and what dropout drops")
    tokenizer: TokenizerField
    sources: dict[Name, SourceSpec] = Field(min_length=1)
    dedup: tuple[Dedup, ...] = ()
    groups: dict[Name, Mixture] = Field({}, description="named mixtures that stages can use like sources")
    limits: tuple[Limit, ...] = Field((), description="limits that hold in every stage")
    model: Model
    training: Training
    stages: tuple[Stage, ...] = Field(min_length=1)
    evaluation: Evaluation = Evaluation.model_construct()
    silence: dict[str, str] = Field(
        {}, description="warnings you decided to accept: rule name -> your reason"
    )
