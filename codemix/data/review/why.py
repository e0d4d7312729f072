"""What became of one document: kept, held out, removed as a duplicate, dropped by which op, or unreadable.

What was kept or removed by dedup stands in the store, by id. What was dropped while reading does not, so the inputs
that may hold the document are read again, and it goes through the ops again. They are the same inputs, or the source
would have another fingerprint: the answer is exact, whatever was sampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from codemix.data.build.apply_ops import READ, apply_ops
from codemix.data.build.documents import Documents, steps_of
from codemix.data.build.funnel import Funnel
from codemix.data.build.inventory import SourceState
from codemix.data.build.samples import Samples
from codemix.data.document import Document, Drop, Unreadable, row_of
from codemix.data.inputs.frozen_inputs import Input
from codemix.data.inputs.opener import Opener
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.manifest import SPLITS, Manifest
from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError
from codemix.progress import progress
from codemix.recipe.language import schema


@dataclass(frozen=True)
class Fate:
    """What became of a document in one source: `kept`, `held_out`, `duplicate`, `dropped` or `unreadable`."""

    source: str
    outcome: str
    facts: dict[str, Any] = field(
        default_factory=dict
    )  # shard and tokens; entry and whom it duplicates; op, its fields and the reason

    def as_json(self) -> dict[str, Any]:
        return {"source": self.source, "outcome": self.outcome, **self.facts}


def why(
    recipe: schema.Recipe, store: Store, found: Mapping[str, SourceState], root: Path, document_id: str
) -> list[Fate]:
    """What became of the documents with this id, by source.

    Raises CodemixError when no source has read one, or a source is not built.
    """
    if missing := [name for name in recipe.sources if not found[name].built]:
        raise CodemixError(
            f"not built yet: {', '.join(missing)}", hints=["run `codemix build-data`"], rule="not-built"
        )
    fates: list[Fate] = []
    for name, source in recipe.sources.items():
        stored = list(_in_store(store, found[name].manifest, document_id)) if found[name].manifest else []
        fates += stored or _read_again(name, source, store, found[name], Path(root), document_id)
    if not fates:
        raise CodemixError(
            f"no source of this recipe has read a document `{document_id}`",
            hints=[
                "an id looks like `<input>#<row, from 0>`, or what the source's `id:` names; see `codemix inspect`"
            ],
            rule="unknown-document",
        )
    return fates


def _in_store(store: Store, manifest: Manifest, document_id: str) -> Iterator[Fate]:
    from codemix.data.loader.shards import Shards

    for split in SPLITS:
        held = Shards(manifest, split, 1)
        for shard in held.holding(document_id):
            for document in held.find(shard, document_id):
                facts = {
                    "tokens": held.document_tokens(shard, document),
                    "shard": held.shards[shard].path,
                    "document": document,
                }
                yield Fate(manifest.source, "kept" if split == "train" else split, facts)
    for fingerprint in manifest.identity["dedup"]:
        folder = store.path("dedup", fingerprint[:12])
        entry = read_json(folder / "manifest.json")["identity"]
        for path in sorted((folder / "removed" / manifest.source).glob("*.jsonl.zst")):
            for row in read_lines(path):
                if row["id"] == document_id:
                    gone = {"source": manifest.source, "file": path.name, "row": row["row"]}
                    first = row["kept"] or _first_equal(store, entry, _stored_row(store, entry, gone)["text"])
                    facts = {"of": _stored_row(store, entry, first)["id"], "of_source": first["source"]}
                    yield Fate(manifest.source, "duplicate", {"dedup": entry["entry"]["kind"], **facts})


def _stored_row(store: Store, entry: dict[str, Any], place: dict[str, Any]) -> dict[str, Any]:
    """A document that an entry of `dedup:` compared, by its place: source, file and row."""
    folder = store.path("documents", place["source"], dict(entry["documents"])[place["source"]])
    return next(islice(read_lines(folder / "docs" / place["file"]), place["row"], None))


def _first_equal(store: Store, entry: dict[str, Any], text: str) -> dict[str, Any]:
    """The place of the first document with this text, which an entry keeps; its lists of equal texts do not say."""
    for source, fingerprint in entry["documents"]:
        for file in Documents.load(store.path("documents", source, fingerprint)).files:
            name = file.name
            for number, row in enumerate(
                read_lines(store.path("documents", source, fingerprint) / "docs" / name)
            ):
                if row["text"] == text:
                    return {"source": source, "file": name, "row": number}
    raise CodemixError(
        "the documents that `dedup:` compared are not what they were",
        hints=["run `codemix verify`"],
        rule="store-damaged",
    )


def _read_again(
    name: str, source: schema.SourceSpec, store: Store, found: SourceState, root: Path, document_id: str
) -> Iterator[Fate]:
    """What reading and the ops make of the documents with this id."""
    steps = None
    for item in _items(name, source, store, _folder(store, name, found), root, document_id):
        if (
            isinstance(item, Document) and steps is None
        ):  # some ops prepare for minutes, and most sources do not hold the document
            steps = steps_of(source, [op.prepare(root) for op in source.ops])
        funnel = Funnel()
        kept = list(apply_ops([item], steps or [], funnel, Samples(), strict=False))
        if kept:
            yield Fate(name, "kept", {"read_by": list(found.read_by)})
        for key in funnel.dropped:
            yield Fate(name, "dropped", _verdict(source, key))
        for reason in funnel.unreadable:
            known = (
                {"detail": item.detail, "rest_lost": item.rest_lost} if isinstance(item, Unreadable) else {}
            )
            yield Fate(name, "unreadable", {"reason": reason, **known})


def _folder(store: Store, name: str, found: SourceState) -> Path:
    return (
        store.path("documents", name, found.manifest.identity["documents"])
        if found.manifest is not None
        else found.documents.folder
    )


def _verdict(source: schema.SourceSpec, key: str) -> dict[str, Any]:
    """A key of the funnel, with the fields of the op that it names."""
    step, _, reason = key.partition("/")
    if step == READ:
        return {"step": step, "reason": reason}
    return {
        "step": step,
        "reason": reason,
        "op": source.ops[int(step.partition("-")[0]) - 1].model_dump(mode="json"),
    }


def _items(
    name: str, source: schema.SourceSpec, store: Store, folder: Path, root: Path, document_id: str
) -> Iterator[Document | Unreadable | Drop]:
    """What a source yields for an id, from the inputs that its documents were made of."""
    made_of = read_json(folder / "manifest.json")
    if origin := source.read.origin:
        documents = Documents.load(store.path("documents", origin, made_of["identity"]["documents"]))
        opener = Opener(documents.folder)
        parts = documents.parts()
    else:
        inputs = [
            given
            for given in (Input(**each) for each in made_of["inputs"])
            if source.read.may_hold(given, document_id)
        ]
        opener = Opener(root)
        parts = [part for given in inputs for part in source.read.parts(given, opener, _ONE_PART)]
    places = _places(document_id)
    with progress(f"reading {name} again", sum(part.size for part in parts), "bytes") as advance:
        for part in parts:
            for item in source.read.read(part, opener):
                if (item.where if isinstance(item, Unreadable) else item.id) in places or _lost_with(
                    item, places
                ):
                    yield item
            advance(part.size)


_ONE_PART = 1 << 62


def _places(document_id: str) -> tuple[str, ...]:
    """How a document's place is told where there is no document: its id, its row, or its file if it is the first."""
    path, _, number = document_id.rpartition("#")
    if not (path and number.isdecimal()):
        return (document_id,)
    return (document_id, row_of(path, int(number)), *([path] if number == "0" else []))


def _lost_with(item: Document | Unreadable | Drop, places: tuple[str, ...]) -> bool:
    """Whether a document would have stood in the part of an input that could not be read at all."""
    if not isinstance(item, Unreadable) or not item.rest_lost or len(places) == 1:
        return False
    path, _, number = places[0].rpartition("#")
    if item.where == path:  # nothing of the input could be read
        return True
    lost_path, _, lost_row = item.where.rpartition(", row ")
    return lost_path == path and int(number) + 1 >= int(lost_row.replace(",", ""))


def sentence(fate: Fate) -> str:
    """A fate for a person."""
    facts = fate.facts
    if fate.outcome in ("kept", "held_out"):
        outcome = "held out" if fate.outcome == "held_out" else "kept"
        if "shard" not in facts:
            return f"{fate.source}: {outcome}, for {', '.join(facts['read_by']) or 'no tokens'}"
        return f"{fate.source}: {outcome}, {facts['tokens']:,} tokens in {facts['shard']}"
    if fate.outcome == "duplicate":
        other = f"{facts['of']} in {facts['of_source']}"
        return f"{fate.source}: removed by `dedup:` ({facts['dedup']}) as a duplicate of {other}"
    if fate.outcome == "unreadable":
        rest = ", with the rest of its input" if facts.get("rest_lost") else ""
        return f"{fate.source}: unreadable{rest}: {facts['reason']}" + (
            f" ({facts['detail']})" if facts.get("detail") else ""
        )
    fields = {
        key: value
        for key, value in facts.get("op", {}).items()
        if key != "kind" and isinstance(value, (int, float, str))
    }
    shown = ", ".join(f"{key}: {value}" for key, value in fields.items())
    return f"{fate.source}: dropped by {facts['step']}: {facts['reason']}" + (f" ({shown})" if shown else "")
