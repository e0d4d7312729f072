"""Drops documents with too few letters and digits: data, drawings, encoded blobs.

The Stack (arXiv 2211.15533) and Codex (arXiv 2107.03374) keep files in which at least a quarter of the
characters are letters or digits. Letters are Unicode's, so that comments in any script count. Indentation,
rulers and banners do not count as characters: they say nothing of what a file holds.
"""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.ops._letters import too_small_share


class Alphanum(Op):
    """Drops documents in which less than `min_frac` of the characters are letters and digits."""

    kind: Literal["alphanum"] = "alphanum"
    version: ClassVar[int] = 2
    min_frac: float = Field(
        0.25, ge=0, le=1, description="share of the characters that are letters and digits [fraction]"
    )
    except_languages: tuple[str, ...] = Field((), description="languages let through")
    EXAMPLES: ClassVar = (
        {"kind": "alphanum"},
        {"kind": "alphanum", "min_frac": 0.4, "except_languages": ["CSV"]},
    )

    def apply(self, doc: Document) -> Document | Drop:
        share = too_small_share(doc, self.min_frac, self.except_languages, digits=True)
        if share is None:
            return doc
        return Drop("few_alphanum", measured=f"{share:.4g} of the characters", limit="min_frac")
