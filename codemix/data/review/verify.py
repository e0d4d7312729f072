"""Checks what is finished in a store: every file's digest; of shards every document's end, every id, every count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codemix.data.encoding.tokenizer import content_hash
from codemix.data.store import digests
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.manifest import SPLITS, TOKEN_BYTES, Manifest, Shard, dtype_for, ids_file
from codemix.data.store.store import read_json
from codemix.errors import CodemixError, Problem
from codemix.progress import progress

_BLOCK = 2**22  # tokens looked at together


@dataclass(frozen=True)
class Verified:
    """What was checked of a store, and what is wrong with it."""

    problems: tuple[Problem, ...]
    checked: dict[str, int]  # finished folders, by kind
    unlisted: tuple[str, ...]  # folders that were finished before digests were kept
    measured: dict[Path, str]  # the digest of every file that was read


def verify(folders: Iterable[Path]) -> Verified:
    """Checks finished folders of a store (see data/store/finished.py): each file against its digest, shards also against what they must hold."""
    problems: list[Problem] = []
    unlisted, measured = [], {}
    folders = list(folders)
    names = {folder: digests.files(folder) for folder in folders}
    size = sum((folder / name).stat().st_size for folder, each in names.items() for name in each)
    with progress("checking", size, "bytes") as advance:
        for folder in folders:
            try:
                files = digests.measure(folder, names[folder], advance)
                listed = digests.read(folder)
            except OSError as error:
                problems.append(
                    _problem(f"{error.filename or folder} cannot be read: {error.strerror}", folder)
                )
                continue
            except ValueError as error:
                problems.append(_problem(str(error), folder))
                listed = {}
            if listed is None:
                unlisted.append(f"{folder.parent.name}/{folder.name}")
            problems += _check_folder(folder, files, listed)
            measured |= {folder / name: digest for name, digest in files.items()}
    checked = Counter(folder.parent.name for folder in folders)
    return Verified(tuple(problems), dict(checked), tuple(unlisted), measured)


def _check_folder(folder: Path, files: dict[str, str], listed: dict[str, str] | None) -> list[Problem]:
    """What is wrong with one finished folder, whose files have these digests; `listed`: those that its SHA256SUMS says."""
    found: list[Problem] = []
    known = dict(listed or {})
    if folder.parent.name == "data":
        try:
            manifest = Manifest.load(folder)
        except CodemixError as error:
            return list(error.problems)
        found = _check_source(folder, manifest, files)
        of_shards = {
            name: sha
            for split in SPLITS
            for shard in manifest.shards(split)
            for name, sha in shard.digests().items()
        }
        for name in of_shards:
            known.pop(name, None)  # looked at already
        own = {name for name in ("manifest.json", "funnel.json", *map(ids_file, SPLITS)) if name in files}
        stray = [
            name for name in files if name not in of_shards and name not in (own if listed is None else known)
        ]
    else:
        stray = [name for name in files if name not in known] if listed else []
    for name, digest in known.items():
        if name not in files:
            found.append(_problem(f"{folder / name} is missing", folder))
        elif files[name] != digest:
            found.append(
                _problem(
                    f"{folder / name} was changed: its SHA-256 differs from the one in {digests.NAME}", folder
                )
            )
    hint = "nothing reads it; delete it if you did not put it there"
    for name in stray:
        what = f"{folder / name} was not there when its folder was finished"
        found.append(Problem(what, hints=(hint,), rule="stray-file", severity="warning"))
    return found


def _check_source(folder: Path, manifest: Manifest, files: dict[str, str]) -> list[Problem]:
    """What is wrong with the shards of a source, its funnel and its tokenizer."""
    found = []
    if manifest.dtype != dtype_for(manifest.tokenizer["vocab_size"]):
        found.append(_problem(f"{folder}: dtype {manifest.dtype} does not fit the vocabulary", folder))
    for split in SPLITS:
        totals = dict.fromkeys(("tokens", "documents", "bytes"), 0)
        for shard in manifest.shards(split):
            for key in totals:
                totals[key] += getattr(shard, key)
            found += _check_shard(folder, shard, manifest, files)
        for key, value in totals.items():
            if manifest.splits.get(split, {}).get(key, 0) != value:
                what = f"{folder}: split {split} counts {manifest.splits[split][key]:,} {key}, its shards {value:,}"
                found.append(_problem(what, folder))
    return found + _check_funnel(folder, manifest) + _check_tokenizer(folder, manifest)


_MADE_BY = {"stages": "`codemix train`", "evals": "`codemix eval`", "reports": "the command that made it"}


def _problem(what: str, folder: Path) -> Problem:
    again = _MADE_BY.get(folder.parent.name, "`codemix build-data`")
    rule = "shard-damaged" if folder.parent.name == "data" else "store-damaged"
    return Problem(what, hints=(f"delete {folder} and run {again} again",), rule=rule)


def _check_shard(folder: Path, shard: Shard, manifest: Manifest, files: dict[str, str]) -> list[Problem]:
    import numpy as np

    path, index_path, docs_path = folder / shard.path, folder / f"{shard.path}.index", folder / shard.docs
    width = TOKEN_BYTES[manifest.dtype]
    for name, digest in shard.digests().items():
        each = folder / name
        if name not in files:
            return [_problem(f"{each} is missing", folder)]
        if each == path and each.stat().st_size != shard.tokens * width:
            what = f"{each} has {each.stat().st_size:,} bytes, the manifest says {shard.tokens * width:,}"
            return [_problem(what, folder)]
        if files[name] != digest:
            return [_problem(f"{each} was changed: its SHA-256 differs from the manifest's", folder)]
    # hashes agree: what follows finds a build that went wrong, not a file that did
    found = []
    if shard.tokens == 0 or shard.documents == 0:
        return [_problem(f"{path} is empty", folder)]
    tokens, ends = np.memmap(path, f"<u{width}", "r"), np.fromfile(index_path, "<u8")
    if (
        len(ends) != shard.documents
        or int(ends[-1]) != shard.tokens
        or (np.diff(ends.astype(np.int64), prepend=0) <= 0).any()
    ):
        return [
            _problem(
                f"{index_path} does not divide {shard.tokens:,} tokens into {shard.documents:,} documents",
                folder,
            )
        ]
    eos, vocab_size = manifest.tokenizer["eos_id"], manifest.tokenizer["vocab_size"]
    n_eos = largest = 0
    for start in range(0, len(tokens), _BLOCK):
        block = tokens[start : start + _BLOCK]
        n_eos += int((block == eos).sum())
        largest = max(largest, int(block.max()))
    if (tokens[ends - 1] != eos).any():
        found.append(_problem(f"{path}: a document does not end in the end-of-document token {eos}", folder))
    elif n_eos != shard.documents:
        found.append(_problem(f"{path}: the end-of-document token {eos} stands inside a document", folder))
    if largest >= vocab_size:
        found.append(_problem(f"{path} holds id {largest}, the vocabulary has {vocab_size:,}", folder))
    rows = size = 0
    try:
        for row in read_lines(docs_path):
            rows, size = rows + 1, size + row["bytes"]
    except CodemixError as error:
        return found + list(error.problems)
    if (rows, size) != (shard.documents, shard.bytes):
        found.append(
            _problem(
                f"{docs_path} lists {rows:,} documents of {size:,} bytes, the manifest says {shard.documents:,} of {shard.bytes:,}",
                folder,
            )
        )
    return found


def _check_funnel(folder: Path, manifest: Manifest) -> list[Problem]:
    f = manifest.funnel
    try:
        found = (
            []
            if read_json(folder / "funnel.json") == f
            else [_problem(f"{folder / 'funnel.json'} does not say what the manifest says", folder)]
        )
    except CodemixError as error:
        found = list(error.problems)
    accounted = f["kept"] + sum(f["dropped"].values()) + f["unreadable"]
    written = sum(manifest.documents(split) for split in SPLITS)
    if f["read"] != accounted:
        found.append(
            _problem(f"{folder}: {f['read']:,} documents were read, {accounted:,} are accounted for", folder)
        )
    if f["kept"] != written:
        found.append(
            _problem(f"{folder}: {f['kept']:,} documents were kept, {written:,} are in the shards", folder)
        )
    return found


def _check_tokenizer(folder: Path, manifest: Manifest) -> list[Problem]:
    """The tokenizer that made the shards must be in the store, as it was."""
    stored = folder.parent.parent / "tokenizers"
    wanted = manifest.tokenizer["sha256"]
    for meta in sorted(stored.glob("*/meta.json")):
        path = meta.parent / "tokenizer.json"
        try:
            if wanted in meta.read_text(encoding="utf-8"):
                return (
                    []
                    if content_hash(path) == wanted
                    else [
                        _problem(
                            f"{path} was changed: it is not the tokenizer that made {folder.name}", folder
                        )
                    ]
                )
        except (OSError, ValueError) as error:
            return [_problem(f"{path} cannot be read: {error}", folder)]
    return [_problem(f"{folder}: its tokenizer (SHA-256 {wanted[:12]}...) is not in the store", folder)]
