"""Checks a source's shards against their manifest: every hash, every document's end, every id, every count."""

from __future__ import annotations

from pathlib import Path

from codemix.data.lines import read_lines
from codemix.data.manifest import SPLITS, TOKEN_BYTES, Manifest, Shard, dtype_for, file_digest
from codemix.data.store import read_json
from codemix.data.tokenizer import content_hash
from codemix.errors import CodemixError, Problem

_BLOCK = 2**22  # tokens looked at together


def verify(folder: Path) -> list[Problem]:
    """What is wrong with the shards in `folder` (that of a manifest.json); empty when all is well."""
    folder = Path(folder)
    try:
        manifest = Manifest.load(folder)
    except CodemixError as error:
        return list(error.problems)
    found = (
        []
        if manifest.dtype == dtype_for(manifest.tokenizer["vocab_size"])
        else [_problem(f"{folder}: dtype {manifest.dtype} does not fit the vocabulary")]
    )
    named = {"manifest.json", "funnel.json"}
    for split in SPLITS:
        totals = dict.fromkeys(("tokens", "documents", "bytes"), 0)
        for shard in manifest.shards(split):
            named |= {shard.path, f"{shard.path}.index", shard.docs}
            for key in totals:
                totals[key] += getattr(shard, key)
            found += _check_shard(folder, shard, manifest)
        for key, value in totals.items():
            if manifest.splits.get(split, {}).get(key, 0) != value:
                found.append(_problem(f"{folder}: split {split} counts {manifest.splits[split][key]:,} {key}, its shards {value:,}"))
    found += _check_funnel(folder, manifest)
    found += _check_tokenizer(folder, manifest)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in named:
            found.append(_problem(f"{path} is not in the manifest", severity="warning"))
    return found


def _problem(what: str, severity: str = "error") -> Problem:
    hint = (
        "delete the folder and run `codemix build-data` again" if severity == "error" else "nothing reads it; delete it if you did not put it there"
    )
    return Problem(what, hints=(hint,), rule="shard-damaged" if severity == "error" else "stray-file", severity=severity)


def _check_shard(folder: Path, shard: Shard, manifest: Manifest) -> list[Problem]:
    import numpy as np

    path, index_path, docs_path = folder / shard.path, folder / f"{shard.path}.index", folder / shard.docs
    width = TOKEN_BYTES[manifest.dtype]
    for each, digest in ((path, shard.sha256), (index_path, shard.index_sha256), (docs_path, shard.docs_sha256)):
        if not each.is_file():
            return [_problem(f"{each} is missing")]
        if each is path and each.stat().st_size != shard.tokens * width:
            return [_problem(f"{each} has {each.stat().st_size:,} bytes, the manifest says {shard.tokens * width:,}")]
        if file_digest(each) != digest:
            return [_problem(f"{each} was changed: its SHA-256 differs from the manifest's")]
    # hashes agree: what follows finds a build that went wrong, not a file that did
    found = []
    if shard.tokens == 0 or shard.documents == 0:
        return [_problem(f"{path} is empty")]
    tokens, ends = np.memmap(path, f"<u{width}", "r"), np.fromfile(index_path, "<u8")
    if len(ends) != shard.documents or int(ends[-1]) != shard.tokens or (np.diff(ends.astype(np.int64), prepend=0) <= 0).any():
        return [_problem(f"{index_path} does not divide {shard.tokens:,} tokens into {shard.documents:,} documents")]
    eos, vocab_size = manifest.tokenizer["eos_id"], manifest.tokenizer["vocab_size"]
    n_eos = largest = 0
    for start in range(0, len(tokens), _BLOCK):
        block = tokens[start : start + _BLOCK]
        n_eos += int((block == eos).sum())
        largest = max(largest, int(block.max()))
    if (tokens[ends - 1] != eos).any():
        found.append(_problem(f"{path}: a document does not end in the end-of-document token {eos}"))
    elif n_eos != shard.documents:
        found.append(_problem(f"{path}: the end-of-document token {eos} stands inside a document"))
    if largest >= vocab_size:
        found.append(_problem(f"{path} holds id {largest}, the vocabulary has {vocab_size:,}"))
    rows = size = 0
    try:
        for row in read_lines(docs_path):
            rows, size = rows + 1, size + row["bytes"]
    except CodemixError as error:
        return found + list(error.problems)
    if (rows, size) != (shard.documents, shard.bytes):
        found.append(_problem(f"{docs_path} lists {rows:,} documents of {size:,} bytes, the manifest says {shard.documents:,} of {shard.bytes:,}"))
    return found


def _check_funnel(folder: Path, manifest: Manifest) -> list[Problem]:
    f = manifest.funnel
    try:
        found = [] if read_json(folder / "funnel.json") == f else [_problem(f"{folder / 'funnel.json'} does not say what the manifest says")]
    except CodemixError as error:
        found = list(error.problems)
    accounted = f["kept"] + sum(f["dropped"].values()) + f["unreadable"]
    written = sum(manifest.documents(split) for split in SPLITS)
    if f["read"] != accounted:
        found.append(_problem(f"{folder}: {f['read']:,} documents were read, {accounted:,} are accounted for"))
    if f["kept"] != written:
        found.append(_problem(f"{folder}: {f['kept']:,} documents were kept, {written:,} are in the shards"))
    return found


def _check_tokenizer(folder: Path, manifest: Manifest) -> list[Problem]:
    """The tokenizer that made the shards must be in the store, as it was."""
    stored = folder.parent.parent / "tokenizers"
    wanted = manifest.tokenizer["sha256"]
    for meta in sorted(stored.glob("*/meta.json")):
        path = meta.parent / "tokenizer.json"
        try:
            if wanted in meta.read_text(encoding="utf-8"):
                return [] if content_hash(path) == wanted else [_problem(f"{path} was changed: it is not the tokenizer that made {folder.name}")]
        except (OSError, ValueError) as error:
            return [_problem(f"{path} cannot be read: {error}")]
    return [_problem(f"{folder}: its tokenizer (SHA-256 {wanted[:12]}...) is not in the store")]
