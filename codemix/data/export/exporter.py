"""Exports data for other trainers: what is to be written, the writing, and going on after a kill.

Every file is written under a temporary name and renamed when it is whole; data/export/record.py knows which sets
are finished, so the same command writes the others.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from codemix.data.export import record
from codemix.data.export.export import Export
from codemix.data.export.formats import Format, StageMixture
from codemix.data.export.output_file import ExportFolder, WrittenFile
from codemix.data.export.readme import readme
from codemix.data.export.token_sets import DocumentSet, RowSet, TokenSet
from codemix.data.loader.shards import Shards
from codemix.data.loader.stage_data import stage_sentinels, training_shards
from codemix.data.loader.stage_sequence import StageRows
from codemix.data.loader.step_source import StepSource
from codemix.data.store.manifest import TOKEN_BYTES, Manifest
from codemix.data.store.store import disk_problem
from codemix.errors import CodemixError
from codemix.progress import progress
from codemix.recipe.interop.writer import decimals
from codemix.recipe.planning.cost_estimate import show_bytes
from codemix.recipe.planning.plan import Plan, StagePlan

FORMAT = 2
SUMS = "SHA256SUMS"


def plan_export(
    plan: Plan,
    manifests: Mapping[str, Manifest],
    format: Format,
    tokenizer: Path,
    materialized: StagePlan | None = None,
) -> Export:
    """Every source that a stage reads, train and held out; with `materialized`, that stage's rows in place of
    the training documents.

    Raises CodemixError (`not-built`) where a source has no tokens.
    """
    stages = plan.stages if materialized is None else (materialized,)
    names = sorted({planned.source for stage in stages for planned in stage.sources if planned.windows})
    sets: list[TokenSet] = []
    if materialized is None:
        sets += _documents(names, manifests, "train")
    else:
        sets.append(_rows(materialized, manifests))
    held_out = _documents(names, manifests, "held_out")
    sets += held_out
    with_held_out = {tokens.name.removeprefix("held_out/") for tokens in held_out}
    identity = {
        "format": format.name,
        "version": FORMAT,
        "sources": {name: manifests[name].fingerprint for name in names},
        "stages": {stage.name: stage.fingerprint for stage in stages},
        "materialized": None if materialized is None else materialized.name,
    }
    return Export(
        recipe=plan.recipe.name,
        format=format,
        sets=tuple(sets),
        mixtures=tuple(_mixture(stage, sets[0].dtype, with_held_out) for stage in stages),
        materialized=materialized,
        tokenizer=tokenizer,
        identity=identity,
    )


def _documents(names: Sequence[str], manifests: Mapping[str, Manifest], split: str) -> list[TokenSet]:
    sets: list[TokenSet] = []
    for name in names:
        manifest = manifests[name]
        if manifest.tokens(split):
            shards = Shards(manifest, split, seq_len=1)
            sets.append(DocumentSet(f"{split}/{name}", shards))
    return sets


def _rows(stage: StagePlan, manifests: Mapping[str, Manifest]) -> RowSet:
    manifest = next(iter(manifests.values()))
    sentinels = stage_sentinels(stage, manifest.tokenizer)
    shards = training_shards(stage, manifests)
    source = StepSource(stage, shards, sentinels=sentinels)
    token_bytes = TOKEN_BYTES[manifest.dtype]
    return RowSet(f"rows/{stage.name}", StageRows(source), token_bytes)


def _mixture(stage: StagePlan, dtype: str, with_held_out: set[str]) -> StageMixture:
    shares = decimals(stage)
    epochs = {}
    for planned in stage.sources:
        if planned.windows and planned.pool_windows:
            epochs[planned.source] = planned.windows / planned.pool_windows
    return StageMixture(
        stage=stage.name,
        shares=shares,
        epochs=epochs,
        tokens=stage.tokens,
        steps=stage.steps,
        batch_size=stage.batch_size(0) if len(stage.batches) == 1 else None,
        seq_len=stage.seq_len,
        seed=stage.seed,
        dtype=dtype,
        held_out=tuple(name for name in shares if name in with_held_out),
    )


def write_export(export: Export, root: Path) -> list[WrittenFile]:
    """Write an export to a folder; the files of it. What an earlier, interrupted call wrote is kept.

    Raises CodemixError: `export-target` where the folder holds something else, `disk-full` before writing
    where the disk has too little room, `shard-corrupt` where data is damaged.
    """
    finished = record.finished_files(root, export.identity)
    if finished is not None:
        return finished
    kept = record.whole_sets(root, export.identity)
    _require_room(export, root, kept)
    try:
        return _write(export, root, kept)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise disk_problem(error, Path(error.filename or root)) from error
        raise


def _write(export: Export, root: Path, kept: record.FilesBySet) -> list[WrittenFile]:
    record.begin(root, export.identity)
    for abandoned in root.rglob(".*.tmp"):  # of a process that was killed
        abandoned.unlink()
    folder = ExportFolder(root)
    with progress("exporting", len(export.sets), "sets") as advance:
        for tokens in export.sets:
            files = kept.get(tokens.name)
            if files is None:
                files = _write_set(export.format, tokens, root)
            folder.written += files
            advance()
    _write_texts(export, folder)
    folder.text(SUMS, _sums(folder.written))
    record.finish(root, export.identity, folder.written)
    return folder.written


def _write_set(format: Format, tokens: TokenSet, root: Path) -> list[WrittenFile]:
    of_set = ExportFolder(root)
    format.write(tokens, of_set)
    record.note_set(root, tokens.name, of_set.written)
    return of_set.written


def _write_texts(export: Export, folder: ExportFolder) -> None:
    """The weights, the tokenizer and the README."""
    if export.materialized is None:
        for mixture in export.mixtures:
            configuration = export.format.configuration(mixture)
            for name, content in configuration.items():
                folder.text(name, content)
    with folder.file("tokenizer.json") as file:
        file.write(export.tokenizer.read_bytes())
    folder.text("README.md", readme(export))


def _sums(files: Sequence[WrittenFile]) -> str:
    """As `sha256sum` writes them."""
    lines = []
    for file in sorted(files, key=lambda file: file.path):
        lines.append(f"{file.sha256}  {file.path}\n")
    return "".join(lines)


def _require_room(export: Export, root: Path, kept: Collection[str]) -> None:
    sizes = export.sizes()
    needed = sum(size for name, size in sizes.items() if name not in kept)
    existing = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise CodemixError(
            f"the export takes {show_bytes(needed)}, and the disk of {existing} has {show_bytes(free)} free",
            hints=["make room, or choose another disk with `--output`"],
            rule="disk-full",
        )
