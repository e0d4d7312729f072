"""Parquet files, read row group by row group, only the columns that are asked for.

The Stack and most of the Hugging Face hub. Columns that are missing, renamed, binary or all null are reported
with the columns there are; a null text or one that is not UTF-8 is reported with its row.
"""

from typing import ClassVar, Literal

from codemix.data.sources._row_files import PARQUET_SUFFIXES
from codemix.data.sources._rows import TextRows


class Parquet(TextRows):
    """Parquet files (.parquet), one document a row."""

    kind: Literal["parquet"] = "parquet"
    SUFFIXES: ClassVar = PARQUET_SUFFIXES
    EXAMPLES: ClassVar = (
        {"kind": "parquet", "paths": "code/*.parquet", "text": "content"},
        {
            "kind": "parquet",
            "paths": "code/*.parquet",
            "text": "content",
            "id": "hexsha",
            "where": {"max_stars_repo_licenses": {"in": ["MIT", "Apache-2.0"]}},
            "metadata": {
                "language": "lang",
                "path": "max_stars_repo_path",
                "repo": "max_stars_repo_name",
                "licence": "max_stars_repo_licenses",
            },
        },
    )
