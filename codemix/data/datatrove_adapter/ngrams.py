"""datatrove's n-gram decontamination over an index of our own.

An index is, by task, the distinct 64-bit hashes of its texts' n-grams: sorted, little-endian uint64, as
bytes.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from datatrove.data import Document as DatatroveDocument
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
from datatrove.utils.hashing import create_hash_func
from datatrove.utils.text import TextNormConfig, ngrams

from codemix.data.datatrove_adapter.logs import silence
from codemix.data.datatrove_adapter.words import Words, simplified
from codemix.data.document import Apply, Document, Drop
from codemix.data.text.words import words

_AS_IT_IS = TextNormConfig(**{field.name: False for field in dataclasses.fields(TextNormConfig)})


def ngram_config(n_grams: int, *, fold: bool) -> NGramsDecontConfig:
    """`fold`: whether case, punctuation, digits and diacritics are folded before texts are compared."""
    norm = TextNormConfig(
        lowercase=fold, remove_punctuation=fold, norm_numbers=fold, norm_unicode_diacritics=fold
    )
    return NGramsDecontConfig(n_grams=n_grams, find_query_ngrams=True, norm_config=norm)


def ngram_hashes(texts: Iterable[str], config: NGramsDecontConfig) -> set[int]:
    """The distinct hashes of all n-grams of the texts."""
    hashed = create_hash_func(config.hash_config)
    hashes: set[int] = set()
    for text in texts:
        tokens = words(simplified(text, config.norm_config))
        hashes.update(hashed(" ".join(run)) for run in ngrams(tokens, config.n_grams))
    return hashes


def as_index(hashes: set[int]) -> bytes:
    return np.array(sorted(hashes), "<u8").tobytes()


def contamination_filter(index: dict[str, bytes], config: NGramsDecontConfig) -> Apply:
    """A function that drops a document which shares an n-gram with a task of the index."""
    silence()
    of_simplified = dataclasses.replace(config, norm_config=_AS_IT_IS)  # we simplify texts, faster
    with tempfile.TemporaryDirectory() as folder:  # read once, then the filter holds the index itself
        write_index(index, Path(folder))
        block = NGramsDecontFilter(folder, config=of_simplified, language=Words())
        block.load_index_hashes()

    def apply(doc: Document) -> Document | Drop:
        given = DatatroveDocument(text=simplified(doc.text, config.norm_config), id=doc.id)
        if block.filter(given) is True:
            return doc
        return Drop(f"contaminated_{given.metadata['contaminated_task']}")

    return apply


def write_index(index: dict[str, bytes], folder: Path) -> None:
    """The index as files that datatrove's filter loads: one `<task>.index.hashes` per task."""
    for task, hashes in index.items():
        path = folder / f"{task}.index.hashes"
        path.write_bytes(hashes)
