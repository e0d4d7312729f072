"""Building what a recipe's data needs and the store lacks: documents, dedup, tokenizer, tokens."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codemix.data.build.documents import Documents, DocumentsJob
from codemix.data.build.identity import Identities, identify
from codemix.data.encoding.tokenizer import Tokenizer, TokenizerFile, describe
from codemix.data.encoding.tokenizer_faults import refuse_unfaithful
from codemix.data.execution.jobs import complete
from codemix.data.execution.runner import Executor
from codemix.data.execution.workers import warm_workers
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store, read_json, write_json
from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.language import schema


def build(
    recipe: schema.Recipe,
    store: Store,
    *,
    data_root: Path,
    workers: int = 1,
    executor: Executor = "local",
    only: list[str] | None = None,
) -> dict[str, Manifest]:
    """The manifests of a recipe's sources (or of `only` some), building what is missing.

    A source that only other sources read has no manifest; its documents are built when one of those needs them.
    `workers` and `executor` say how fast and where, and change no byte. Raises CodemixError for whatever a user can
    mend; a rerun after any failure, kill or interruption redoes only what is missing.
    """
    store, data_root = (
        Store(store.root.absolute()),
        Path(data_root).absolute(),
    )  # tasks may run in another working folder
    for name in only or ():
        if name not in recipe.sources:
            raise CodemixError(
                f"the recipe has no source `{name}`",
                hints=did_you_mean(name, recipe.sources),
                rule="unknown-source",
            )
    asked = [name for name in recipe.sources if not only or name in only]
    ids = identify(recipe, store, data_root)
    names = [name for name in asked if name in ids.tokens]
    problems = [p for name in names if (error := ids.tokens[name].problem) for p in error.problems]
    missing = [
        name
        for name in names
        if not ids.tokens[name].fingerprint
        or not store.path("data", name, ids.tokens[name].require()).exists()
    ]
    to_read = ids.graph.built_with(missing) if missing else set()
    to_read |= {read for name in asked if only and name not in ids.tokens for read in ids.graph.chain(name)}
    problems += _first_rows(recipe, store, ids, data_root, to_read)
    if problems:  # of every source at once
        raise CodemixError(*{p.what: p for p in problems}.values())
    how = {"workers": workers, "executor": executor}
    with warm_workers():
        if missing:
            _build_missing(recipe, store, ids, data_root, missing, how)
        if only:
            _build_documents(
                recipe, store, ids, data_root, [name for name in asked if name not in ids.tokens], how
            )
    manifests = {name: Manifest.load(store.path("data", name, ids.tokens[name].require())) for name in names}
    if empty := [
        _nothing_left(name, manifest) for name, manifest in manifests.items() if not manifest.funnel["kept"]
    ]:
        raise CodemixError(*empty)
    return manifests


def _nothing_left(name: str, manifest: Manifest) -> Problem:
    """What is said of a source of which no document is left: the samples of what was dropped are in the store by then."""
    funnel = manifest.funnel
    if not funnel["read"]:
        return Problem(
            f"source `{name}` holds no document",
            hints=("check its files: they hold nothing but blank lines",),
            rule="nothing-left",
        )
    lost = funnel["dropped"] | {
        f"unreadable/{reason}": n for reason, n in funnel["unreadable_by_reason"].items()
    }
    most = sorted(lost.items(), key=lambda item: -item[1])[:4]
    where = f"{', '.join(f'{reason} {n:,}' for reason, n in most)}{', ...' if len(lost) > 4 else ''}"
    hint = (
        f"`codemix inspect RECIPE {name}` shows samples of what was dropped; `where:` compares values exactly"
    )
    return Problem(
        f"source `{name}`: none of its {funnel['read']:,} documents is left ({where})",
        hints=(hint,),
        rule="nothing-left",
    )


def _first_rows(
    recipe: schema.Recipe, store: Store, ids: Identities, root: Path, names: set[str]
) -> list[Problem]:
    """What a look at the first rows tells of those of `names` whose documents the store lacks."""
    from codemix.data.build.preflight import first_rows

    known = [name for name in recipe.sources if name in names and ids.documents[name].fingerprint]
    unread = [
        name
        for name in known
        if not recipe.sources[name].read.origin and not documents_folder(store, ids, name).exists()
    ]
    return first_rows(
        {name: recipe.sources[name] for name in unread},
        {name: ids.documents[name].inputs for name in unread},
        root,
    )


def _build_missing(
    recipe: schema.Recipe, store: Store, ids: Identities, root: Path, missing: list[str], how: dict[str, Any]
) -> None:
    """Everything that the tokens of the sources `missing` rest on, then the tokens."""
    if not recipe.tokenizer.train_bytes():  # a ready one needs no documents: refused before they are read
        _build_tokenizer(recipe, store, ids, root)
    needed = set(missing)
    if not _tokenizer_folder(store, ids).exists():
        needed |= set(ids.graph.tokenizer_shares)
    entries: list[int] = []
    for i in reversed(
        range(len(recipe.dedup))
    ):  # an entry sees what the entries before it left, in any of its sources
        if set(recipe.dedup[i].sources) & needed:
            needed |= set(recipe.dedup[i].sources)
            entries.insert(0, i)
    _build_documents(recipe, store, ids, root, [name for name in recipe.sources if name in needed], how)
    for i in entries:
        _build_dedup(recipe, store, ids, i, how)
    _build_tokens(recipe, store, ids, _build_tokenizer(recipe, store, ids, root), missing, how)


def _build_documents(
    recipe: schema.Recipe, store: Store, ids: Identities, root: Path, names: list[str], how: dict[str, Any]
) -> None:
    """The documents of `names`, and first those that they read in turn, as far as the store lacks them."""
    waves: list[list[str]] = []
    todo = [name for name in names if not documents_folder(store, ids, name).exists()]
    while todo:
        waves.append(todo)
        origins = dict.fromkeys(origin for name in todo if (origin := recipe.sources[name].read.origin))
        todo = [name for name in origins if not documents_folder(store, ids, name).exists()]
    for wave in reversed(waves):
        jobs = []
        for name in wave:
            source = recipe.sources[name]
            origin = _documents(store, ids, source.read.origin) if source.read.origin else None
            jobs.append(DocumentsJob(name, source, ids.documents[name], root, store, origin))
        complete(store, jobs, label="reading documents", **how)


def documents_folder(store: Store, ids: Identities, name: str) -> Path:
    return store.path("documents", name, ids.documents[name].require())


def _documents(store: Store, ids: Identities, name: str) -> Documents:
    return Documents.load(documents_folder(store, ids, name))


def dedup_folder(store: Store, ids: Identities, entry: int) -> Path:
    return store.path("dedup", ids.dedup[entry].require()[:12])


def removal_key(recipe: schema.Recipe, entry: int) -> str:
    """The funnel's key for what a dedup entry removes."""
    return f"dedup{entry + 1}-{recipe.dedup[entry].kind}/duplicate"


def _build_dedup(recipe: schema.Recipe, store: Store, ids: Identities, i: int, how: dict[str, Any]) -> None:
    if dedup_folder(store, ids, i).exists():
        return
    from codemix.data.build.dedup import deduplicate

    entry = recipe.dedup[i]
    before = [
        dedup_folder(store, ids, j) for j in range(i) if set(recipe.dedup[j].sources) & set(entry.sources)
    ]
    documents = [_documents(store, ids, name) for name in entry.sources]
    deduplicate(entry, documents, before, store, dedup_folder(store, ids, i), ids.dedup[i], **how)


def _tokenizer_folder(store: Store, ids: Identities) -> Path:
    return store.path("tokenizers", ids.tokenizer.require()[:12])


def _build_tokenizer(recipe: schema.Recipe, store: Store, ids: Identities, root: Path) -> TokenizerFile:
    """The recipe's tokenizer, made when the store lacks it."""
    folder = _tokenizer_folder(store, ids)
    if not folder.exists():
        from codemix.data.inputs.locations import locate
        from codemix.progress import progress

        component: Tokenizer = recipe.tokenizer
        with (
            store.building(folder) as work,
            progress(
                "training the tokenizer" if component.train_bytes() else "loading the tokenizer",
                None,
                "bytes",
            ) as advance,
        ):
            files = tuple(locate(path, root) for path in component.files())

            def texts() -> Iterator[str]:
                for text in _training_text(recipe, store, ids):
                    advance(len(text))
                    yield text

            made = component.make(files, texts)
            refuse_unfaithful(made, getattr(component, "path", component.kind))
            path = work / "tokenizer.json"
            made.save(str(path))
            write_json(
                work / "meta.json",
                describe(made, path, component.end_token())
                | {
                    "fingerprint": ids.tokenizer.fingerprint,
                    "identity": ids.tokenizer.content,
                    "environment": environment("tokenizers"),
                },
            )
    return TokenizerFile.load(folder)


def _training_text(recipe: schema.Recipe, store: Store, ids: Identities) -> Iterator[str]:
    from codemix.data.build.tokenizer_text import TrainingText

    component: Tokenizer = recipe.tokenizer
    held_out = ids.graph.held_out_shares
    for name, share in sorted(ids.graph.tokenizer_shares.items()):
        entries = [i for i, entry in enumerate(recipe.dedup) if name in entry.sources]
        removed = [dedup_folder(store, ids, i) for i in entries]
        removed_bytes = sum(
            read_json(folder / "manifest.json")["removed"][name]["bytes"] for folder in removed
        )
        lists = tuple(folder / "removed" / name for folder in removed)
        wanted = int(share * component.train_bytes())
        yield from TrainingText(_documents(store, ids, name), lists, removed_bytes, held_out[name], wanted)


def _build_tokens(
    recipe: schema.Recipe,
    store: Store,
    ids: Identities,
    tokenizer: TokenizerFile,
    names: list[str],
    how: dict[str, Any],
) -> None:
    from codemix.data.build.tokens import TokensJob

    meta = {
        key: tokenizer.meta[key]
        for key in ("sha256", "vocab_size", "eos_id", "eos_token", "bos", "special", "probe")
    }
    versions = environment("datatrove", "tokenizers", "tiktoken")
    jobs = []
    for name in names:
        documents = _documents(store, ids, name)
        removed = tuple(
            (removal_key(recipe, i), dedup_folder(store, ids, i) / "removed" / name)
            for i, entry in enumerate(recipe.dedup)
            if name in entry.sources
        )
        inputs = read_json(documents.folder / "manifest.json")["inputs"]
        source = recipe.sources[name]
        made_by = TokenizerFile(tokenizer.folder, meta)
        jobs.append(
            TokensJob(
                name,
                dict(source.tags),
                source.held_out,
                ids.tokens[name],
                documents,
                inputs,
                removed,
                made_by,
                store,
                versions,
            )
        )
    complete(store, jobs, label="tokenizing", **how)


def environment(*packages: str) -> dict[str, str]:
    """Versions of what made an output: told, not part of its identity."""
    from importlib.metadata import version

    return {"python": platform.python_version(), "platform": platform.machine() or os.name} | {
        name: version(name) for name in packages
    }
