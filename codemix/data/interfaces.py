"""The two component families over documents: sources, which make them, and ops, which judge or change
them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from codemix.data.document import NOT_SAMPLED, Apply, ApplyBatch, Document, Drop, Item, one_by_one
from codemix.data.hash_rank import is_sampled
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.opener import Opener
from codemix.data.text.words import has_words
from codemix.errors import Problem
from codemix.recipe.language.component import Component
from codemix.recipe.language.tags import refuses_prose_ops

if TYPE_CHECKING:
    from codemix.data.text.prose import ProseText


class DocumentReader(Component):
    """Where documents come from. One source reads many inputs (files), each into documents in a fixed
    order."""

    family: ClassVar[str] = "source"

    @property
    def origin(self) -> str | None:
        """The source of the recipe whose documents this one reads; None when it reads inputs."""
        return None

    def inputs(self, root: Path) -> list[str]:
        """Names of the inputs, sorted: paths relative to the data root `root`, or URIs. Raises CodemixError
        when there are none."""
        raise NotImplementedError

    def parts(self, given: Input, opener: Opener, part_bytes: int) -> list[Part]:
        """The stretches in which one input can be read on its own, in order. They depend on the input only,
        never on workers."""
        return [Part(given)]

    def sampled(self, part: Part, opener: Opener, share: Fraction) -> Iterator[Item]:
        """`read`, with a `Drop` in place of every document that is not in the sample of this share. A source
        that knows ids before it reads texts makes the texts of the others not at all."""
        for item in self.read(part, opener):
            if isinstance(item, Document) and not is_sampled(item.id, share):
                yield Drop(NOT_SAMPLED, item.id)
            else:
                yield item

    def read(self, part: Part, opener: Opener) -> Iterator[Item]:
        """The documents of one part, in a fixed order. What cannot be read is yielded as `Unreadable`, and a
        row that the source's own conditions (`where:`) leave out as `Drop`; nothing is left out silently."""
        raise NotImplementedError

    def may_hold(self, given: Input, document_id: str) -> bool:
        """Whether a document with this id may come from this input; True where only reading it would tell."""
        return True

    def fingerprint_extra(self) -> dict[str, str]:
        """What, besides the fields and the inputs' content, decides the documents, such as the Python
        version."""
        return {}


class Op(Component):
    """A filter or a transform over single documents.

    The builder calls `prepare` once, hands its result (pickled) to every worker, calls `start` once per
    worker, and the function that `start` returns once per document. An op defines `apply`, or `start` where a
    worker needs something first.
    """

    family: ClassVar[str] = "op"
    for_prose: ClassVar[bool] = False

    def inputs(self, root: Path) -> list[str]:
        """Files that the op itself reads, such as evaluation texts; their content is part of the
        fingerprint."""
        return []

    def faults(self, root: Path) -> Iterable[Problem]:
        """What is wrong with those files, found without reading a document."""
        return ()

    def fingerprint_extra(self) -> dict[str, str]:
        """What, besides the fields and the inputs, decides the verdicts, such as the version of a grammar."""
        return {}

    def trained_on(self) -> tuple[str, ...]:
        """The sources of the recipe that the op learns from (codemix/data/scoring.py)."""
        return ()

    @property
    def is_ranked(self) -> bool:
        """Whether all documents must be read before the first is judged."""
        return False

    def prepare(self, root: Path) -> Any:
        """Something costly and picklable, made once before the workers start; None when there is nothing."""
        return None

    def start(self, state: Any) -> Apply:
        """The function applied to each document, in one worker."""
        return self.apply

    def start_batch(self, state: Any) -> ApplyBatch:
        """The function applied to some documents at once, in one worker; one by one, unless an op gains by
        more. It gives a verdict for each, in their order, and no verdict depends on the others."""
        return one_by_one(self.start(state))

    def apply(self, doc: Document) -> Document | Drop:
        """The document (the same, or a changed copy), or why it is dropped."""
        raise NotImplementedError

    def shown(self, text: str) -> str:
        """A text as samples of what its source drops may show it to people."""
        return text

    def refuses(self, tags: dict[str, str]) -> Problem | None:
        """Why this op should not run on a source with these tags, or None."""
        return None


class ProseOp(Op):
    """An op whose thresholds were made for prose; on code it is refused unless the recipe insists."""

    for_prose: ClassVar[bool] = True
    even_on_code: bool = Field(
        False, description="run on sources tagged as code as well; prose thresholds drop nearly all code"
    )

    def refuses(self, tags: dict[str, str]) -> Problem | None:
        if self.even_on_code or not refuses_prose_ops(tags):
            return None
        return Problem(
            f"the op `{self.kind}` is made for prose, and this source is tagged `kind: {tags['kind']}`",
            hints=(
                "remove the op from this source",
                "or, if you mean it, write `even_on_code: true` in the op",
            ),
            rule="prose-op-on-code",
        )


class ProseWordsOp(ProseOp):
    """An op for prose that counts words, of some documents at once."""

    words: Literal["whitespace", "datatrove"] = Field(
        "whitespace",
        description="what a word is: a piece between whitespace, or as datatrove counts, punctuation marks and "
        "parts of contractions too",
    )

    def start_batch(self, state: Any) -> ApplyBatch:
        return self._judge

    def apply(self, doc: Document) -> Document | Drop:
        (verdict,) = self._judge([doc])
        return verdict

    def _judge(self, docs: Sequence[Document]) -> list[Document | Drop]:
        from codemix.data.text.prose import prose_texts

        texts = [doc.text for doc in docs if has_words(doc.text)]
        prose = prose_texts(texts, self.words)
        verdicts: list[Document | Drop] = []
        for doc in docs:
            if doc.text in prose:
                verdicts.append(self.broken_rule(prose[doc.text]) or doc)
            else:
                verdicts.append(Drop("no_words"))
        return verdicts

    def broken_rule(self, prose: ProseText) -> Drop | None:
        """The first rule that a text with words breaks."""
        raise NotImplementedError
