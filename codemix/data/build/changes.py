"""Why something is built or trained again: what differs from what the store holds under the same name. No numpy, no datatrove."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from codemix.data.build.identity import Identities
from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError
from codemix.recipe.diffs.settings import Setting, differing, ops_by_name, settings
from codemix.recipe.language import recipe_file, schema, yaml_text
from codemix.recipe.planning.plan import StagePlan

SHOWN, CANDIDATES = 4, 10  # differences told; the newest of a name that are compared
_TRAINED_BY = ("model.", "training.", "seed")  # paths of settings that decide a stage, beside its own
NEW = "not in the store"


def data_changes(store: Store, ids: Identities, recipe: schema.Recipe, name: str) -> str:
    """What differs from the nearest build of a source in the store, whose tokens (or documents) of now are not built."""
    kind, now = ("data", ids.tokens[name]) if name in ids.tokens else ("documents", ids.documents[name])
    before = [found["identity"] for found in _manifests(store.root.glob(f"{kind}/{name}-*/manifest.json"))]
    compared = [list(_data_differences(store, ids, recipe, name, kind, then, now.content)) for then in before]
    if not compared:
        return "not built yet"
    documents = ids.documents[name].fingerprint
    kept = kind == "data" and store.path("documents", name, documents).exists()
    return _sentence(compared, "its documents are re-used; " if kept else "")


def _data_differences(
    store: Store, ids: Identities, recipe: schema.Recipe, name: str, kind: str, then: dict, now: dict
) -> Iterator[str]:
    if kind == "documents":
        yield from _documents_differences(store, then, now)
        return
    if then.get("documents") != now["documents"]:
        yield from _of_documents(store, name, then.get("documents", ""), ids.documents[name].content)
    if then.get("held_out") != now["held_out"]:
        yield f"held_out {then.get('held_out')} -> {now['held_out']}"
    if then.get("dedup") != now["dedup"]:
        yield from _dedup_differences(store, ids, recipe, name, then.get("dedup") or [])
    if then.get("tokenizer") != now["tokenizer"]:
        yield from _tokenizer_differences(store, str(then.get("tokenizer")), ids.tokenizer.content)
    if then.get("format") != now["format"]:
        yield "another version of codemix wrote it"


def _of_documents(store: Store, name: str, then: str, now: dict, said: str = "") -> Iterator[str]:
    """What differs from the documents with the fingerprint `then`, each said of `said`."""
    manifest = store.path("documents", name, then) / "manifest.json"
    for found in _manifests([manifest]):
        yield from (f"{said}{line}" for line in _documents_differences(store, found["identity"], now))
        return
    yield f"{said}other documents"


def _documents_differences(store: Store, then: dict, now: dict) -> Iterator[str]:
    ops = then.get("ops", []), now["ops"]
    compared = [
        {
            "read": each.get("read"),
            "ops": ops_by_name(mine, theirs),
            "on_bad": each.get("on_bad"),
            "max_bad": each.get("max_bad"),
        }
        for each, mine, theirs in ((then, *ops), (now, *ops[::-1]))
    ]
    yield from map(_line, differing(*compared))
    yield from _inputs("input", then.get("inputs", []), now["inputs"])
    for before, after in zip(then.get("op_inputs", []), now["op_inputs"], strict=False):
        yield from _inputs("input of an op", before, after)
    if then.get("documents") != now.get("documents"):
        yield "the documents of the source that it reads"
    if _versions(then) != _versions(now):
        yield "another version of codemix or Python wrote it"


def _versions(content: dict) -> list[Any]:
    components = [content.get("read") or {}, *content.get("ops", [])]
    made_by = [content.get("format"), content.get("extra"), content.get("op_extra")]
    return [*made_by, *sorted((c.get("kind", ""), c.get("version", 0)) for c in components)]


def _inputs(what: str, then: list, now: list) -> Iterator[str]:
    before, after = dict(then), dict(now)
    changed = [path for path in after if path in before and before[path] != after[path]]
    for verb, paths in (
        ("changed", changed),
        ("new", after.keys() - before.keys()),
        ("gone", before.keys() - after.keys()),
    ):
        if paths:
            first = min(paths)
            yield (
                f"{what} {first} {verb}"
                if len(paths) == 1
                else f"{len(paths)} {what}s {verb}, {first} the first"
            )


def _dedup_differences(
    store: Store, ids: Identities, recipe: schema.Recipe, name: str, then: list[str]
) -> Iterator[str]:
    """What differs in the dedup entries that a source is in."""
    entries = [i for i, entry in enumerate(recipe.dedup) if name in entry.sources]
    if len(entries) != len(then):
        yield f"{len(then)} -> {len(entries)} entries of dedup"
        return
    for i, before in zip(entries, then, strict=True):
        now = ids.dedup[i]
        if before == now.fingerprint:
            continue
        lines: list[str] = []
        for found in _manifests([store.path("dedup", before[:12]) / "manifest.json"]):
            old = found["identity"]
            lines += map(
                _line, differing({f"dedup[{i}]": old["entry"]}, {f"dedup[{i}]": now.content["entry"]})
            )
            documents = dict(old["documents"])
            for other, fingerprint in now.content["documents"]:
                if other != name and documents.get(other, fingerprint) != fingerprint:
                    lines += _of_documents(
                        store,
                        other,
                        documents[other],
                        ids.documents[other].content,
                        f"of `{other}` in dedup: ",
                    )
        yield from lines or [f"what dedup[{i}] compares"]


def _tokenizer_differences(store: Store, then: str, now: dict) -> Iterator[str]:
    lines: list[str] = []
    for found in _manifests([store.path("tokenizers", then[:12]) / "meta.json"]):
        old = found["identity"]
        lines += map(
            _line, differing({"tokenizer": old.get("tokenizer")}, {"tokenizer": now.get("tokenizer")})
        )
        lines += map(
            _line, differing({"tokenizer shares": old.get("shares")}, {"tokenizer shares": now.get("shares")})
        )
        if old.get("files") != now.get("files"):
            lines.append("the tokenizer's file changed")
    yield from lines or ["the text that the tokenizer is trained on"]


def stage_changes(store: Store, stage: StagePlan, recipe: schema.Recipe) -> str:
    """What differs from the nearest training of a stage of this name in the store."""
    compared = []
    for path in _newest(store.root.glob(f"stages/{stage.name}-*/lineage.json")):
        with suppress(CodemixError, KeyError, TypeError):
            compared.append(list(_stage_differences(path.parent, read_json(path), stage, recipe)))
    return _sentence(compared) if compared else NEW


def _stage_differences(folder: Path, then: dict, stage: StagePlan, recipe: schema.Recipe) -> Iterator[str]:
    parent, before = stage.parent, then["parent"] or {}
    if (parent and parent.fingerprint) != before.get("fingerprint"):
        if parent and parent.name == before.get("stage"):
            yield f"it starts from a different `{parent.name}`"
        else:
            yield f"it starts from {before.get('stage') or 'scratch'} -> {parent.name if parent else 'scratch'}"
    if then["load"] != stage.load and parent and before:
        yield f"it loads {then['load']} -> {stage.load}"
    if then["tokens"] != stage.tokens:
        yield f"tokens {then['tokens']:,} -> {stage.tokens:,}"
    sources = {s.source: s for s in stage.sources}
    for name in sorted(sources.keys() | then["sources"].keys()):
        yield from _source_differences(name, then["sources"].get(name), sources.get(name))
    then_recipe = recipe_file.of_document(yaml_text.load(folder / "recipe.yaml")).recipe
    own = f"stages.{stage.name}."
    for setting in settings(then_recipe, recipe):
        if setting.path.startswith((*_TRAINED_BY, own)):
            yield _line(Setting(setting.path.removeprefix(own), setting.values))


def _source_differences(name: str, then: dict | None, now: Any) -> Iterator[str]:
    if then is None or now is None:
        yield f"`{name}` is {'new' if then is None else 'gone'}"
        return
    if then["fingerprint"] != now.pool_fingerprint:
        yield f"the data of `{name}`"
    if then["windows"] != now.windows:
        yield f"windows of `{name}` {then['windows']:,} -> {now.windows:,}"
    elif then["start"] != now.start:
        yield f"`{name}` from window {then['start']:,} -> {now.start:,}"


def _line(setting: Setting) -> str:
    before, after = ("nothing" if value is None else value for value in setting.values)
    return f"{setting.path} {before} -> {after}"


def _sentence(compared: Iterable[list[str]], before: str = "") -> str:
    """The shortest list of differences, of which some are told."""
    lines = list(dict.fromkeys(min(compared, key=len))) or ["another version of codemix made it"]
    more = f"; {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"{before}changed: {'; '.join(lines[:SHOWN])}{more}"


def _newest(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)[:CANDIDATES]


def _manifests(paths: Iterable[Path]) -> Iterator[dict]:
    """Manifests that exist and hold an identity, the newest first."""
    for path in _newest(path for path in paths if path.exists()):
        with suppress(CodemixError):
            content = read_json(path)
            if isinstance(content, dict) and isinstance(content.get("identity"), dict):
                yield content
