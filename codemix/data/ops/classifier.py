"""Scores documents by a classifier, and keeps the best of a source: learned quality.

DCLM (arXiv 2406.11794, section 4.4) keeps the top 10 % by a fastText classifier that tells instructions and good
answers from the web; FineWeb-Edu (arXiv 2406.17557) keeps what a classifier trained on judged pages scores high;
Olmo 3 (arXiv 2512.13961) repeats the better buckets more often. The model is either trained here, on the documents
of sources of this recipe (logistic regression over hashed words and their pairs; a megabyte costs 0.07 s), or read from a
file: one that such a training left in the store, or a supervised fastText model, which needs `codemix[fasttext]`.

The score is noted in the document as `quality` (or another name), its bucket as `quality_bucket`, 0 for the worst:
where `where` reads them, so that sources of this one's documents can be mixed by their quality. `keep` and
`buckets` read the source twice. Their cuts are exact over the documents that reach this op: `top 10%` of 1,000
are 100. The manifest of the documents names training text, area under the ROC curve on held-out text, and cuts.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from codemix.data.document import Apply, Document, Drop
from codemix.data.scoring import MILLION, LabelledText, Learned, Scorer, ScoringOp, Training, sort_key
from codemix.data.text import fasttext_model
from codemix.errors import Problem, did_you_mean
from codemix.recipe.language.lists import Names
from codemix.recipe.language.mixture_schema import Name
from codemix.recipe.language.quantities import Bytes, exact_share, read_share
from codemix.recipe.language.requirements import Requirement

if TYPE_CHECKING:
    from codemix.recipe.language.schema import Recipe

POSITIVE, NEGATIVE = "positive", "negative"
_FASTTEXT_SUFFIXES = (".bin", ".ftz")


def _top(value: Any) -> Fraction:
    if isinstance(value, Fraction):
        return value
    word, _, share = str(value).partition(" ")
    if word != "top":
        raise PydanticCustomError(
            "keep", "`keep` says which part is kept", {"hints": ["for example `keep: top 10%`"]}
        )
    return read_share(share)


def _shown_top(share: Fraction) -> str:
    return f"top {exact_share(share)}"


Top = Annotated[
    Fraction,
    BeforeValidator(_top),
    PlainSerializer(_shown_top, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^top ", "description": "the best part, e.g. top 10%"}),
]


class Classifier(ScoringOp):
    """Scores documents by a trained classifier; keeps the best share of a source, or those above a score."""

    kind: Literal["classifier"] = "classifier"
    positive: Names = Field((), description="sources of this recipe that are like what is wanted")
    negative: Names = Field((), description="sources of this recipe that are not")
    train_bytes: Bytes = Field(
        20_000_000, ge=1, description="text of each class to train on, about, spread over its sources [bytes]"
    )
    path: str | None = Field(
        None, min_length=1, description="instead of training: the file of a model, below the data root"
    )
    label: str | None = Field(
        None, description="of a fastText model: the label whose probability is the score, without `__label__`"
    )
    max_model_bytes: Bytes = Field(
        4 * 10**9, ge=1, description="a larger file is refused: each worker holds the model [bytes]"
    )
    keep: Top | None = Field(
        None, gt=0, le=1, description="the best share of the documents that reach this op, rounded up"
    )
    min_score: float | None = Field(None, ge=0, le=1, description="the lowest score kept")
    buckets: int | None = Field(
        None, ge=2, le=100, description="buckets of equally many documents, noted from 0 for the worst"
    )
    score: Name = Field("quality", description="what the score is called in the metadata")
    EXAMPLES: ClassVar = (
        {"kind": "classifier", "positive": ["textbooks"], "negative": ["web"], "keep": "top 10%"},
        {"kind": "classifier", "path": "models/quality.bin", "label": "hq", "min_score": 0.5},
        {"kind": "classifier", "positive": "docs", "negative": "web", "buckets": 5, "score": "like_docs"},
    )

    @model_validator(mode="after")
    def _one_model(self) -> Classifier:
        trained = bool(self.positive or self.negative)
        if trained and self.path is not None:
            raise _refused("a model is trained or read from a file, not both", "leave out `path`")
        if self.path is None and not (self.positive and self.negative):
            missing = NEGATIVE if self.positive else POSITIVE
            raise _refused(
                f"the training text lacks the class `{missing}`", "name sources for both, or a `path`"
            )
        if self.keep is not None and self.min_score is not None:
            raise _refused("`keep` and `min_score` are two answers to one question", "leave out one of them")
        return self

    @classmethod
    def reference(cls) -> str:
        return _UPSAMPLING

    def training(self) -> Training | None:
        if self.path is not None:
            return None
        return Training({POSITIVE: self.positive, NEGATIVE: self.negative}, self.train_bytes)

    def requirements(self) -> Iterator[Requirement]:
        if self._is_fasttext:
            yield fasttext_model.requirement("reading a fastText model")

    @property
    def _is_fasttext(self) -> bool:
        return self.path is not None and self.path.endswith(_FASTTEXT_SUFFIXES)

    def inputs(self, root: Path) -> list[str]:
        if self.path is None:
            return []
        return [self.path]

    def model_file(self, root: Path) -> Path:
        from codemix.data.inputs.locations import locate

        assert self.path is not None, "a trained model is handed over by the build"
        return locate(self.path, root)

    def faults(self, root: Path) -> Iterator[Problem]:
        if self.path is None:
            return
        file = self.model_file(root)
        size = file.stat().st_size
        if size > self.max_model_bytes:
            limit = f"`max_model_bytes: {self.max_model_bytes:,}`"
            hint = "raise the limit if each worker has the memory"
            what = f"the model {self.path} has {size:,} bytes, more than {limit}"
            yield Problem(what, hints=(hint,), rule="model-too-large")
            return
        try:
            yield from self._faults_of_labels(file)
        except ValueError as error:
            hint = (
                "give a supervised fastText model (.bin, .ftz) or a model that codemix has trained (.linear)"
            )
            what = f"{self.path} is not a model that can be read: {error}"
            yield Problem(what, hints=(hint,), rule="bad-model")

    def _faults_of_labels(self, file: Path) -> Iterator[Problem]:
        """What is wrong with `label`. Raises ValueError for a file that is not a whole model."""
        if not self._is_fasttext:
            _linear().load(file)
            return
        labels = fasttext_model.read_layout(file).labels
        if self.label not in labels:
            missing = "no `label:` is given" if self.label is None else f"there is no label `{self.label}`"
            hints = did_you_mean(self.label or "", labels)
            yield Problem(f"{missing} for the model {self.path}", hints=hints, rule="unknown-label")

    def train(self, texts: Sequence[LabelledText], path: Path) -> None:
        linear = _linear()
        rows: list[Any] = []
        for text in texts:
            row = linear.Labelled(text.text, text.label == POSITIVE)
            rows.append(row)
        model = linear.train(rows)
        model.save(path)

    def scorer(self, model: Path) -> Scorer:
        if self._is_fasttext:
            return self._fasttext_scorer(model)
        scored = _linear().load(model).score
        return lambda doc: scored(doc.text)

    def _fasttext_scorer(self, model: Path) -> Scorer:
        predict = fasttext_model.load(model)
        n_labels = len(fasttext_model.read_layout(model).labels)
        wanted = f"{fasttext_model.LABEL}{self.label}"

        def score(doc: Document) -> int:
            line = doc.text.replace("\n", " ")
            for probability, label in predict(line, n_labels):
                if label == wanted:
                    return round(min(probability, 1.0) * MILLION)
            return 0  # fastText leaves out what rounds to nothing

        return score

    def places(self, n: int) -> tuple[int, ...]:
        places: list[int] = []
        if self.keep is not None:
            places.append(math.ceil(n * self.keep))
        if self.buckets is not None:
            for bucket in range(self.buckets - 1, 0, -1):  # the better ones begin at the better places
                worse = n * bucket // self.buckets
                places.append(n - worse)
        return tuple(places)

    def start(self, state: Learned) -> Apply:
        scored = self.scorer(state.model)
        cuts = list(state.cuts)
        lowest_key = cuts.pop(0) if self.keep is not None and cuts else 0
        bounds = sorted(cuts)
        lowest = 0 if self.min_score is None else math.ceil(Fraction(repr(self.min_score)) * MILLION)

        def apply(doc: Document) -> Document | Drop:
            score = scored(doc)
            key = sort_key(score, doc.id)
            if score < lowest or key < lowest_key:
                is_too_low = score < lowest
                limit = "min_score" if is_too_low else "keep"
                exact = score / MILLION
                measured = f"score {exact}"
                return Drop("low_score", measured=measured, limit=limit)
            found: dict[str, Any] = {self.score: score / MILLION}
            if self.buckets is not None:
                found[f"{self.score}_bucket"] = bisect_right(bounds, key)
            return Document(doc.id, doc.text, doc.meta | found)

        return apply

    def check(self, recipe: Recipe, at: tuple) -> Iterable[tuple[tuple, Problem]]:
        from codemix.recipe.checks.training_sources import problems

        training = self.training()
        return [] if training is None else problems(recipe, at, training.classes)


_UPSAMPLING = """\
Better documents more often: one source scores, others take its buckets, and a mixture weighs those.

```yaml
sources:
  textbooks: {read: {kind: jsonl, paths: textbooks.jsonl}}
  sample: {read: {kind: jsonl, paths: sample.jsonl}}
  scored:
    read: {kind: jsonl, paths: "web/*.jsonl"}
    ops: [{kind: classifier, positive: textbooks, negative: sample, buckets: 5}]
  web_best:
    read: {kind: source, name: scored}
    ops: [{kind: where, fields: {quality_bucket: 4}}]
    tags: {kind: web, quality: high}
    max_epochs: 4
  web_middle:
    read: {kind: source, name: scored}
    ops: [{kind: where, fields: {quality_bucket: [2, 3]}}]
    tags: {kind: web, quality: middle}
```"""


def _refused(what: str, hint: str) -> PydanticCustomError:
    return PydanticCustomError("classifier", "{what}", {"hints": [hint], "what": what})


def _linear() -> Any:
    """The module, imported where it is used: `validate` imports no numpy."""
    from codemix.data.text import linear_model

    return linear_model
