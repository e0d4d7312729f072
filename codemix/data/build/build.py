"""Building what a recipe's data needs and the store lacks: documents, dedup, tokenizer, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from codemix.data.build.builder import Builder
from codemix.data.build.documents_job import MIN_TASK_BYTES
from codemix.data.build.identity import identify
from codemix.data.build.preflight import first_rows
from codemix.data.execution.runner import Executor, Resources
from codemix.data.execution.workers import warm_workers
from codemix.data.inputs.locations import INTERPRETER, REMOTE, scheme_of
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.language import schema
from codemix.recipe.language.finding import Faults, Finding, faults_of

# what the tasks of a build need; a worker imports it while we still look at the inputs and the tokenizer
MODULES_OF_WORKERS = ("codemix.data.build.documents_job", "codemix.data.build.tokens")
ON_EVERY_NODE = (*REMOTE, *INTERPRETER, "generated")  # schemes of inputs


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

    A source that only other sources read has no manifest; its documents are built when one of those needs
    them. `workers` and `executor` say how fast and where, and change no byte. Raises CodemixError for
    whatever a user can fix; a rerun after any failure, kill or interruption redoes only what is missing.
    """
    resources = Resources(workers, executor)
    requested = _requested(recipe, only)
    store = Store(store.root.absolute())  # absolute: tasks may run in a different working folder
    data_root = Path(data_root).absolute()
    ids = identify(recipe, store, data_root)
    builder = Builder(recipe, store, ids, data_root, resources)
    tokenized = [name for name in requested if name in ids.tokens]
    documents_only = [name for name in requested if name not in ids.tokens] if only else []
    missing = [name for name in tokenized if not builder.has_tokens(name)]
    to_read = ids.graph.built_with(missing) if missing else set()
    for name in documents_only:
        to_read |= {name} | ids.graph.ancestors(name)
    with warm_workers() as warm:
        warm.start(_useful_workers(builder, to_read), MODULES_OF_WORKERS)
        _refuse(builder, tokenized, to_read)
        if missing:
            builder.build_tokens(missing)
        builder.build_documents(documents_only)
    manifests = {name: Manifest.load(builder.tokens_folder(name)) for name in tokenized}
    empty = [_nothing_left(name, m) for name, m in manifests.items() if not m.funnel["kept"]]
    if empty:
        raise CodemixError(*empty)
    return manifests


def _useful_workers(builder: Builder, names: set[str]) -> int:
    """How many worker processes will have a task for certain, of sources whose documents the store lacks."""
    resources = builder.resources
    if resources.executor != "local" or resources.workers == 1:
        return 0
    missing = builder.without_documents(sorted(names))
    n_bytes = sum(map(builder.ids.input_bytes, missing))
    return min(resources.workers, n_bytes // MIN_TASK_BYTES)


def _requested(recipe: schema.Recipe, only: list[str] | None) -> list[str]:
    if not only:
        return list(recipe.sources)
    for name in only:
        if name not in recipe.sources:
            hints = did_you_mean(name, recipe.sources)
            raise CodemixError(f"the recipe has no source `{name}`", hints=hints, rule="unknown-source")
    return [name for name in recipe.sources if name in only]


def _refuse(builder: Builder, tokenized: list[str], to_read: set[str]) -> None:
    """Raise what can be known to go wrong before long work starts, of every source at once."""
    findings: list[Finding] = []
    for name in tokenized:
        error = builder.ids.tokens[name].problem
        findings += faults_of(("sources", name), error).findings if error is not None else ()
    findings += _inputs_out_of_reach(builder, to_read)
    findings += _faults_of_ops(builder, to_read)
    findings += _problems_of_first_rows(builder, to_read)
    if findings:
        raise Faults(dict.fromkeys(findings))


def _inputs_out_of_reach(builder: Builder, names: set[str]) -> Iterator[Finding]:
    """Local files that would have to be read where there are none: by nodes that share nothing but a bucket."""
    executor = builder.resources.executor
    if executor == "local" or not builder.store.is_shared:
        return
    for name in builder.without_documents(sorted(names)):
        if builder.recipe.sources[name].read.origin is not None:
            continue
        paths = [given.path for given in builder.ids.documents[name].inputs]
        local = [path for path in paths if scheme_of(path) not in ON_EVERY_NODE]
        if not local:
            continue
        shown = ", ".join(local[:3])
        more = f" and {len(local) - 3:,} more" if len(local) > 3 else ""
        what = f"the workers of `--executor {executor}` cannot read files of this machine: {shown}{more}"
        hints = (
            "put them into a bucket, and name them by address: `paths: s3://BUCKET/...`",
            "or build without `--executor`, or with a `--store` and a `--data-root` that all nodes share",
        )
        yield Finding(("sources", name, "read"), Problem(what, hints=hints, rule="input-not-shared"))


def _faults_of_ops(builder: Builder, names: set[str]) -> Iterator[Finding]:
    """What is wrong with the files of ops of those of `names` whose documents the store lacks."""
    for name, source in builder.recipe.sources.items():
        identity = builder.ids.documents[name]
        if name not in names or identity.fingerprint is None:
            continue
        if builder.documents_folder(name).exists():
            continue
        for number, op in enumerate(source.ops):
            place = f"source `{name}`, ops[{number}]"
            for problem in op.faults(builder.root):
                told = replace(problem, what=f"{place}: {problem.what}")
                yield Finding(("sources", name, "ops", number), told)


def _problems_of_first_rows(builder: Builder, names: set[str]) -> list[Finding]:
    """What a look at the first rows tells of those of `names` whose documents the store lacks."""
    sources = {
        name: source
        for name, source in builder.recipe.sources.items()
        if name in names
        and source.read.origin is None
        and builder.ids.documents[name].fingerprint
        and not builder.documents_folder(name).exists()
    }
    inputs = {name: builder.ids.documents[name].inputs for name in sources}
    return first_rows(sources, inputs, builder.root)


def _nothing_left(name: str, manifest: Manifest) -> Problem:
    """The problem of a source of which no document is kept; samples of what was dropped are in the store by
    now."""
    funnel = manifest.funnel
    if not funnel["read"]:
        return Problem(
            f"source `{name}` holds no document",
            hints=("check its files: they hold no row, or nothing but blank lines",),
            rule="nothing-left",
        )
    unreadable = {f"unreadable/{reason}": n for reason, n in funnel["unreadable_by_reason"].items()}
    lost = funnel["dropped"] | unreadable
    most = sorted(lost.items(), key=lambda item: -item[1])[:4]
    counts = ", ".join(f"{reason} {n:,}" for reason, n in most)
    more = ", ..." if len(lost) > 4 else ""
    samples = f"`codemix inspect RECIPE {name}` shows samples of what was dropped"
    return Problem(
        f"source `{name}`: none of its {funnel['read']:,} documents is left ({counts}{more})",
        hints=(f"{samples}; `where:` compares values exactly",),
        rule="nothing-left",
    )
