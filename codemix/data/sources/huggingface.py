"""A data set on the Hugging Face hub at a fixed revision, read file by file through fsspec. Needs
`codemix[cloud]`.

Only the files are used (Parquet or JSON lines), never a data set's own code. Give a commit as the revision: a
branch moves, and then the source is a different one. Private sets need HF_TOKEN in the environment.
"""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.sources._rows import TextRows


class Huggingface(TextRows):
    """Parquet or JSON lines files of a data set on the Hugging Face hub, one document a row."""

    kind: Literal["huggingface"] = "huggingface"
    dataset: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name on the hub")
    revision: str = Field("main", pattern=r"^[\w.-]+$", description="commit, tag or branch")
    paths: str | tuple[str, ...] = Field("**/*.parquet", description="files or patterns inside the data set")
    EXAMPLES: ClassVar = (
        {"kind": "huggingface", "dataset": "owner/name", "paths": "data/python/*.parquet", "text": "content"},
        {
            "kind": "huggingface",
            "dataset": "owner/name",
            "revision": "0123456789abcdef",
            "paths": "*.jsonl.zst",
        },
    )

    def patterns(self) -> tuple[str, ...]:
        return tuple(
            f"hf://datasets/{self.dataset}@{self.revision}/{pattern}" for pattern in super().patterns()
        )
