"""Keeps a share of the documents, chosen by a hash of their id.

The same documents on any number of workers and after any change of the ops before it; a larger share holds
every document of a smaller one with the same salt. Sampling by position (as a seeded random draw does) has
neither property. The op says which documents the data are; the field `subsample:` of a source takes a part of
whatever they are, after dedup and hold-out, for a smaller recipe like this one.
"""

import hashlib
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.recipe.language.quantities import Share


class HashSample(Op):
    """Keeps a share of the documents by a hash of their id (or text)."""

    kind: Literal["hash_sample"] = "hash_sample"
    keep: Share = Field(description="share of the documents kept, e.g. 10%")
    by: Literal["id", "text"] = Field("id", description="text: equal texts share their fate")
    salt: str = Field("", description="a different word gives a different sample")
    EXAMPLES: ClassVar = (
        {"kind": "hash_sample", "keep": "10%"},
        {"kind": "hash_sample", "keep": "1/3", "by": "text", "salt": "second"},
    )

    def apply(self, doc: Document) -> Document | Drop:
        sampled_by = doc.id if self.by == "id" else doc.text
        content = f"{self.salt}\0{sampled_by}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(content, digest_size=8).digest()
        number = int.from_bytes(digest, "big")
        if number * self.keep.denominator < self.keep.numerator << 64:
            return doc
        return Drop("not_sampled")
