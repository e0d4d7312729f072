"""Shared by the tests of sources: a source from its fields, everything it yields, and files of rows."""

import json
from pathlib import Path

from codemix.data.inputs.frozen_inputs import freeze
from codemix.data.inputs.opener import Opener
from codemix.data.store.store import Store
from codemix.recipe.language.component import component_class


def source(kind, **fields):
    return component_class("source", kind).model_validate({"kind": kind, **fields})


def read(root, made, part_bytes=1 << 40):
    """Everything a source yields under a root, in order."""
    opener = Opener(root)
    frozen = freeze(made.inputs(root), Store(Path(root) / ".store"), root)
    return [
        item
        for given in frozen
        for part in made.parts(given, opener, part_bytes)
        for item in made.read(part, opener)
    ]


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(path, rows, **how):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path, **how)
