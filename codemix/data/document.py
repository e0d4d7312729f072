"""Documents, and the two component families that make and judge them: sources and ops. Standard library and pydantic only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from codemix.data.inputs import Input, Part
from codemix.errors import Problem
from codemix.recipe.component import Component

if TYPE_CHECKING:
    from codemix.data.opening import Opener


@dataclass(slots=True)
class Document:
    """One text with an id that never changes and what is known about it.

    `id` is `<input path or URI>#<row, from 0>`, or what the data itself calls it. Keys of `meta` that the project knows:
    path, language, licence (a string or a list), url, repo, size [bytes], set. `text` may be empty: whoever builds drops
    that as `empty`. An op that changes the text returns a new document, and is counted as an edit.
    """

    id: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict)

    def with_text(self, text: str) -> Document:
        return Document(self.id, text, self.meta)


class Unreadable(Exception):
    """One document, or the rest of one input, that could not be read. Sources *yield* it; whoever builds counts it.

    `reason` is a short name to count by (`bad_json`, `bad_utf8`, `missing_text`, `truncated`, ...), `where` is
    `<input>#<row>`, `detail` says what a person would want to know. With `rest_lost` nothing after this place of the
    input could be read, so the number of lost documents is unknown.
    """

    def __init__(self, reason: str, where: str, detail: str = "", *, rest_lost: bool = False):
        super().__init__(reason, where, detail, rest_lost)
        self.reason, self.where, self.detail, self.rest_lost = reason, where, detail, rest_lost

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f" ({self.detail})" if self.detail else "")

    def __reduce__(self):
        return _unreadable, self.args


def _unreadable(reason: str, where: str, detail: str, rest_lost: bool) -> Unreadable:
    return Unreadable(reason, where, detail, rest_lost=rest_lost)


@dataclass(frozen=True, slots=True)
class Drop:
    """An op's verdict against a document; `reason` is what the funnel counts (from a small, fixed set of names)."""

    reason: str


class Source(Component):
    """Where documents come from. One source reads many inputs (files), each into documents in a fixed order."""

    family: ClassVar[str] = "source"

    def inputs(self, root: Path) -> list[str]:
        """Names of the inputs, sorted: paths relative to the data root `root`, or URIs. Raises CodemixError when there are none."""
        raise NotImplementedError

    def parts(self, given: Input, opener: Opener, part_bytes: int) -> list[Part]:
        """The stretches in which one input can be read on its own, in order. They depend on the input only, never on workers."""
        return [Part(given)]

    def read(self, part: Part, opener: Opener) -> Iterator[Document | Unreadable | Drop]:
        """The documents of one part, in a fixed order. What cannot be read is yielded as `Unreadable`, and a row that the
        source's own conditions (`where:`) leave out as `Drop`; nothing is left out in silence."""
        raise NotImplementedError

    def fingerprint_extra(self) -> dict[str, str]:
        """What else than the fields and the inputs' content decides the documents, such as the Python version."""
        return {}


class Op(Component):
    """A filter or a transform over single documents.

    The builder calls `prepare` once, hands its result (pickled) to every worker, calls `start` once a worker, and the
    function that `start` returns once a document. Most ops define `apply` and nothing else.
    """

    family: ClassVar[str] = "op"
    for_prose: ClassVar[bool] = False

    def inputs(self, root: Path) -> list[str]:
        """Files that the op itself reads, such as evaluation texts; their content is part of the fingerprint."""
        return []

    def fingerprint_extra(self) -> dict[str, str]:
        """What else than the fields and the inputs decides the verdicts, such as the version of a grammar."""
        return {}

    def prepare(self, root: Path) -> Any:
        """Something costly and picklable, made once before the workers start; None when there is nothing."""
        return None

    def start(self, state: Any) -> Callable[[Document], Document | Drop]:
        """The function applied to each document, in one worker."""
        return self.apply

    def apply(self, doc: Document) -> Document | Drop:
        """The document (the same, or a changed copy), or why it is dropped."""
        raise NotImplementedError

    def refuses(self, tags: dict[str, str]) -> Problem | None:
        """Why this op should not run on a source with these tags, or None."""
        return None


class ProseOp(Op):
    """An op whose thresholds were made for prose; on code it is refused unless the recipe insists."""

    for_prose: ClassVar[bool] = True
    even_on_code: bool = Field(False, description="run on sources tagged `kind: code` as well; prose thresholds drop nearly all code")

    def refuses(self, tags: dict[str, str]) -> Problem | None:
        if tags.get("kind") not in ("code", "markup") or self.even_on_code:
            return None
        return Problem(
            f"the op `{self.kind}` is made for prose, and this source is tagged `kind: {tags['kind']}`",
            hints=("remove the op from this source", "or, if you mean it, write `even_on_code: true` in the op"),
            rule="prose-op-on-code",
        )  # fmt: skip
