"""Inputs that are not on this machine, as the store remembers them.

Data is built beside its inputs, and trained on where they are not. What a finished output was made of is in its
manifest; it stands for the inputs only where the output's own fingerprint follows from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from codemix.data.inputs.frozen_inputs import Input
from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError

ABSENT = frozenset({"input-missing", "glob-no-match"})  # rules of errors about inputs that are not there


@dataclass(frozen=True)
class FrozenInputs:
    """What a source reads, and what each of its ops reads."""

    inputs: list[Input]
    of_ops: list[list[Input]]


@dataclass(frozen=True)
class Remembered:
    """What finished documents were made of."""

    fingerprint: str  # of the documents
    inputs: FrozenInputs


@dataclass(frozen=True)
class RememberedTokenizer:
    """The hashes of the files that a finished tokenizer was made of."""

    fingerprint: str
    files: list[str]


def are_absent(error: CodemixError) -> bool:
    """Whether all that is wrong with some inputs is that they are not there."""
    rules = {problem.rule for problem in error.problems}
    return rules <= ABSENT


def of_documents(store: Store, source: str, n_ops: int) -> Iterator[Remembered]:
    """What the documents under a source's name were made of, as its documents say, and as its tokens do, which
    a store may have without documents. `n_ops`: of the source; tokens say nothing of what ops read."""
    for path in sorted(store.root.glob(f"documents/{source}-*/manifest.json")):
        manifest = read_json(path)
        yield _as_documents_say(manifest)
    for path in sorted(store.root.glob(f"data/{source}-*/manifest.json")):
        manifest = read_json(path)
        yield _as_tokens_say(manifest, n_ops)


def _as_documents_say(manifest: dict[str, Any]) -> Remembered:
    content = manifest["identity"]
    sizes = {given["path"]: given["bytes"] for given in manifest["inputs"]}
    own = _inputs(content["inputs"], sizes)
    of_ops = [_inputs(of_op, sizes) for of_op in content["op_inputs"]]
    inputs = FrozenInputs(own, of_ops)
    return Remembered(manifest["fingerprint"], inputs)


def _as_tokens_say(manifest: dict[str, Any], n_ops: int) -> Remembered:
    identity = manifest["identity"]
    own = []
    for given in manifest["inputs"]:
        own.append(Input(**given))
    nothing: list[Input] = []
    inputs = FrozenInputs(own, [nothing] * n_ops)
    return Remembered(identity["documents"], inputs)


def of_tokenizers(store: Store) -> Iterator[RememberedTokenizer]:
    """What the finished tokenizers were made of."""
    for path in sorted(store.root.glob("tokenizers/*/meta.json")):
        meta = read_json(path)
        yield RememberedTokenizer(meta["fingerprint"], meta["identity"]["files"])


def _inputs(content: Sequence[Sequence[Any]], sizes: dict[str, int]) -> list[Input]:
    inputs = []
    for path, sha256 in content:
        size = sizes.get(path, 0)
        inputs.append(Input(path, size, sha256))
    return inputs
