"""Building what a recipe's data needs and the store lacks: documents, dedup, tokenizer, tokens. And finding what is there.

`find` imports no numpy and no datatrove, so that planning stays instant.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from codemix.data.identity import Identities, identify
from codemix.data.locations import REMOTE, scheme_of
from codemix.data.manifest import Manifest
from codemix.data.runner import Executor, Task, run_tasks, warm_workers
from codemix.data.store import Store, read_json, write_json
from codemix.data.tokenizer import Tokenizer, TokenizerFile, describe
from codemix.errors import CodemixError, did_you_mean
from codemix.recipe import schema


@dataclass(frozen=True)
class Found:
    """What the store holds of a source. `fingerprint` is None when its inputs cannot be read, `manifest` when it is not built."""

    fingerprint: str | None
    manifest: Manifest | None
    reason: str = ""


class Job(Protocol):
    """One folder of the store and the tasks that fill it."""

    @property
    def final(self) -> Path: ...
    def tasks(self, work: Path) -> list[Task]: ...
    def finish(self, work: Path) -> None: ...


def find(recipe: schema.Recipe, store: Store, data_root: Path) -> dict[str, Found]:
    """For each source of a recipe, what exists of it. Builds nothing."""
    found = {}
    store, data_root = Store(store.root.absolute()), Path(data_root).absolute()
    if any(map(_reads_remotely, recipe.sources.values())) and not any(any(store.root.glob(f"data/{name}-*")) for name in recipe.sources):
        return {name: Found(None, None, "not built yet") for name in recipe.sources}  # a plan needs no network
    for name, tokens in identify(recipe, store, data_root).tokens.items():
        if tokens.fingerprint is None:
            what = tokens.problem.problems[0].what if tokens.problem else "its inputs are missing"
            found[name] = Found(None, None, what)
            continue
        folder = store.path("data", name, tokens.fingerprint)
        if (folder / "manifest.json").exists():
            found[name] = Found(tokens.fingerprint, Manifest.load(folder), "built")
        else:
            found[name] = Found(tokens.fingerprint, None, "not built yet")
    return found


def _reads_remotely(source: schema.Source) -> bool:
    paths = getattr(source.read, "paths", ())
    return any(scheme_of(path) in REMOTE for path in ([paths] if isinstance(paths, str) else paths))


def build(
    recipe: schema.Recipe, store: Store, *, data_root: Path, workers: int = 1, executor: Executor = "local", only: list[str] | None = None,
) -> dict[str, Manifest]:  # fmt: skip
    """The manifests of a recipe's sources (or of `only` some), building what is missing.

    `workers` and `executor` say how fast and where, and change no byte. Raises CodemixError for whatever a user can
    mend; a rerun after any failure, kill or interruption redoes only what is missing.
    """
    store, data_root = Store(store.root.absolute()), Path(data_root).absolute()  # tasks may run in another working folder
    for name in only or ():
        if name not in recipe.sources:
            raise CodemixError(f"the recipe has no source `{name}`", hints=did_you_mean(name, recipe.sources), rule="unknown-source")
    names = [name for name in recipe.sources if not only or name in only]
    ids = identify(recipe, store, data_root)
    for name in names:
        ids.tokens[name].require()
    missing = [name for name in names if not store.path("data", name, ids.tokens[name].require()).exists()]
    if missing:
        with warm_workers():
            _build_missing(recipe, store, ids, data_root, missing, {"workers": workers, "executor": executor})
    return {name: Manifest.load(store.path("data", name, ids.tokens[name].require())) for name in names}


def _build_missing(recipe: schema.Recipe, store: Store, ids: Identities, root: Path, missing: list[str], how: dict[str, Any]) -> None:
    """Everything that the tokens of the sources `missing` rest on, then the tokens."""
    entries: list[int] = []
    for i in reversed(range(len(recipe.dedup))):  # an entry sees what the entries before it left, in any of its sources
        if set(recipe.dedup[i].sources) & set(missing).union(*(recipe.dedup[j].sources for j in entries)):
            entries.insert(0, i)
    needed = set(missing) | {name for i in entries for name in recipe.dedup[i].sources}
    if not _tokenizer_folder(store, ids).exists():
        needed |= set(recipe.tokenizer.trains_on(tuple(recipe.sources)))
    _build_documents(recipe, store, ids, root, [name for name in recipe.sources if name in needed], how)
    for i in entries:
        _build_dedup(recipe, store, ids, i, how)
    _build_tokenizer(recipe, store, ids, root)
    _build_tokens(recipe, store, ids, missing, how)


def complete(store: Store, jobs: list[Job], *, label: str, workers: int, executor: Executor) -> None:
    """Finish every job that the store lacks, their tasks side by side; what can be finished is, also when others fail."""
    with contextlib.ExitStack() as locks:
        held: list[tuple[Job, Path, list[Task]]] = []
        for job in jobs:
            if job.final.exists():
                continue
            work = store.work(job.final)
            locks.enter_context(store.lock(work))
            if not job.final.exists():  # another process may have built it while we waited for nothing
                with _disk(work):
                    work.mkdir(parents=True, exist_ok=True)
                    held.append((job, work, [] if (work / "manifest.json").exists() else job.tasks(work)))
        try:
            run_tasks(
                [task for _, _, tasks in held for task in tasks],
                label=label,
                workers=workers,
                executor=executor,
                work=store.root / ".building" / "jobs",
            )
        finally:
            problems: list[Any] = []
            for job, work, tasks in held:
                if all(task.done.exists() for task in tasks):
                    try:
                        with _disk(work):
                            if not (work / "manifest.json").exists():
                                job.finish(work)
                            store.publish(job.final)
                    except CodemixError as error:
                        problems += error.problems
            if problems:
                raise CodemixError(*problems)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    from codemix.data.store import disk_problem

    try:
        yield
    except OSError as error:
        raise disk_problem(error, Path(error.filename or path)) from error


def _build_documents(recipe: schema.Recipe, store: Store, ids: Identities, root: Path, names: list[str], how: dict[str, Any]) -> None:
    from codemix.data.documents import DocumentsJob

    jobs = [DocumentsJob(name, recipe.sources[name], ids.documents[name], root, store) for name in names if ids.documents[name].require()]
    complete(store, jobs, label="reading documents", **how)


def _documents(store: Store, ids: Identities, name: str):
    from codemix.data.documents import Documents

    return Documents.load(store.path("documents", name, ids.documents[name].require()))


def dedup_folder(store: Store, ids: Identities, entry: int) -> Path:
    return store.path("dedup", ids.dedup[entry].require()[:12])


def removal_key(recipe: schema.Recipe, entry: int) -> str:
    """The funnel's key for what a dedup entry removes."""
    return f"dedup{entry + 1}-{recipe.dedup[entry].kind}/duplicate"


def _build_dedup(recipe: schema.Recipe, store: Store, ids: Identities, i: int, how: dict[str, Any]) -> None:
    if dedup_folder(store, ids, i).exists():
        return
    from codemix.data.dedup import deduplicate

    entry = recipe.dedup[i]
    before = [dedup_folder(store, ids, j) for j in range(i) if set(recipe.dedup[j].sources) & set(entry.sources)]
    documents = [_documents(store, ids, name) for name in entry.sources]
    deduplicate(entry, documents, before, store, dedup_folder(store, ids, i), ids.dedup[i], **how)


def _tokenizer_folder(store: Store, ids: Identities) -> Path:
    return store.path("tokenizers", ids.tokenizer.require()[:12])


def _build_tokenizer(recipe: schema.Recipe, store: Store, ids: Identities, root: Path) -> TokenizerFile:
    """The recipe's tokenizer, made when the store lacks it."""
    folder = _tokenizer_folder(store, ids)
    if not folder.exists():
        from codemix.data.locations import locate
        from codemix.progress import progress

        component: Tokenizer = recipe.tokenizer
        with (
            store.building(folder) as work,
            progress("training the tokenizer" if component.train_bytes() else "loading the tokenizer", None, "bytes") as advance,
        ):
            files = tuple(locate(path, root) for path in component.files())
            made = component.make(files, lambda: _training_texts(component, recipe, store, ids, advance))
            path = work / "tokenizer.json"
            made.save(str(path))
            write_json(work / "meta.json", describe(made, path, component.end_token()) | {
                "fingerprint": ids.tokenizer.fingerprint, "identity": ids.tokenizer.content, "environment": environment("tokenizers")})  # fmt: skip
    return TokenizerFile.load(folder)


def _training_texts(component: Tokenizer, recipe: schema.Recipe, store: Store, ids: Identities, advance: Any) -> Iterator[str]:
    """About `train_bytes` of documents, each source giving its share, chosen by hash so that they are spread over all of it."""
    import hashlib

    for name, share in sorted(component.trains_on(tuple(recipe.sources)).items()):
        documents = _documents(store, ids, name)
        wanted, have = int(share * component.train_bytes()), documents.bytes
        for file in documents.files:
            for row in documents.read(file):
                rank = int.from_bytes(hashlib.blake2b(row["id"].encode("utf-8", "replace"), digest_size=8).digest())
                if rank * have < wanted * 2**64:
                    advance(len(row["text"]))
                    yield row["text"]


def _build_tokens(recipe: schema.Recipe, store: Store, ids: Identities, names: list[str], how: dict[str, Any]) -> None:
    from codemix.data.tokens import TokensJob

    tokenizer = TokenizerFile.load(_tokenizer_folder(store, ids))
    meta = {key: tokenizer.meta[key] for key in ("sha256", "vocab_size", "eos_id", "eos_token", "bos", "special", "probe")}
    versions = environment("datatrove", "tokenizers", "tiktoken")
    jobs = []
    for name in names:
        documents = _documents(store, ids, name)
        removed = tuple(
            (removal_key(recipe, i), dedup_folder(store, ids, i) / "removed" / name) for i, entry in enumerate(recipe.dedup) if name in entry.sources
        )
        inputs = read_json(documents.folder / "manifest.json")["inputs"]
        source = recipe.sources[name]
        jobs.append(
            TokensJob(
                name,
                dict(source.tags),
                source.held_out,
                ids.tokens[name],
                documents,
                inputs,
                removed,
                TokenizerFile(tokenizer.folder, meta),
                store,
                versions,
            )
        )
    complete(store, jobs, label="tokenizing", **how)


def environment(*packages: str) -> dict[str, str]:
    """Versions of what made an output: told, not part of its identity."""
    from importlib.metadata import version

    return {"python": platform.python_version(), "platform": platform.machine() or os.name} | {name: version(name) for name in packages}
