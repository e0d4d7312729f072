"""What became of one document: kept, held out, removed as a duplicate, dropped by which op, or unreadable.

The store says which source has read it, by id (read_ids.py), and has what was kept or removed by dedup. What
was dropped while reading is read again, from the inputs that may hold it, and goes through the ops again.
They are the same inputs, or the source would have a different fingerprint: the answer is exact, whatever was
sampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from codemix.data.build import read_ids
from codemix.data.build.apply_ops import READ, Step, apply_ops, judge
from codemix.data.build.documents import Documents, steps_of
from codemix.data.build.funnel import SUBSAMPLE, SUBSAMPLE_KEY, Funnel
from codemix.data.build.inventory import SourceState
from codemix.data.build.learning import learned_before
from codemix.data.build.samples import Samples
from codemix.data.document import NOT_SAMPLED, Document, Item, Unreadable
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.opener import Opener
from codemix.data.loader.shards import Shards
from codemix.data.review.document_trace import hints_on_ids
from codemix.data.review.stored_documents import dedup_entries
from codemix.data.store.manifest import SPLITS, Manifest
from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError
from codemix.progress import progress
from codemix.recipe.language import schema

_ONE_PART = 1 << 62  # bytes: an input is read in one part


@dataclass(frozen=True)
class Fate:
    """What became of a document in one source: `kept`, `held_out`, `duplicate`, `dropped` or `unreadable`.

    `facts`: shard and tokens; the entry of dedup and whom it duplicates; the op, its fields, the reason and what was measured.
    """

    source: str
    outcome: str
    facts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        what = {"source": self.source, "outcome": self.outcome}
        return what | self.facts


def why(
    recipe: schema.Recipe, store: Store, inventory: Mapping[str, SourceState], root: Path, document_id: str
) -> list[Fate]:
    """What became of the documents with this id, by source.

    Raises CodemixError when no source has read one, or a source is not built.
    """
    missing = [name for name in recipe.sources if not inventory[name].built]
    if missing:
        raise CodemixError(
            f"not built yet: {', '.join(missing)}", hints=["run `codemix build-data`"], rule="not-built"
        )
    fates: list[Fate] = []
    for name, source in recipe.sources.items():
        state = inventory[name]
        if not read_ids.may_have_read(state.documents_folder(store, name), document_id):
            continue
        stored = [] if state.manifest is None else list(_in_store(store, state.manifest, document_id))
        fates += stored
        if not stored and not _holds_all(state.manifest):
            fates += _Rereading(name, source, store, state, Path(root), document_id).fates()
    if not fates:
        manifests = [state.manifest for state in inventory.values() if state.manifest is not None]
        what = f"no source of this recipe has read a document `{document_id}`"
        raise CodemixError(what, hints=hints_on_ids(document_id, manifests), rule="unknown-document")
    return fates


def _holds_all(manifest: Manifest | None) -> bool:
    """Whether every document that the source has read is in the store, kept or removed by dedup."""
    if manifest is None or manifest.funnel["unreadable"]:
        return False
    return all(step.startswith("dedup") for step in manifest.funnel["dropped"])


def _in_store(store: Store, manifest: Manifest, document_id: str) -> Iterator[Fate]:
    for split in SPLITS:
        yield from _in_shards(manifest, split, document_id)
    for entry in dedup_entries(store, manifest.identity["dedup"]):
        for place, line in entry.removals(manifest.source):
            if line["id"] != document_id:
                continue
            first = entry.kept_place(line) or entry.first_equal(entry.row(place)["text"])
            facts = {"dedup": entry.kind, "of": entry.row(first)["id"], "of_source": first.source}
            yield Fate(manifest.source, "duplicate", facts)


def _in_shards(manifest: Manifest, split: str, document_id: str) -> Iterator[Fate]:
    outcome = "kept" if split == "train" else split
    held = Shards(manifest, split, 1)
    for shard in held.holding(document_id):
        for document in held.find(shard, document_id):
            facts = {
                "tokens": held.document_tokens(shard, document),
                "shard": held.shards[shard].path,
                "document": document,
            }
            yield Fate(manifest.source, outcome, facts)


@dataclass(frozen=True)
class _Rereading:
    """What reading and the ops make of the documents with an id, in one source."""

    name: str
    source: schema.SourceSpec
    store: Store
    state: SourceState
    root: Path
    document_id: str

    def fates(self) -> Iterator[Fate]:
        steps: list[Step] | None = None
        for item in self._items():
            if isinstance(item, Document) and steps is None:
                # some ops prepare for minutes, and most sources do not hold the document
                steps = self._steps()
            yield from self._fates_of(item, steps or [])

    def _steps(self) -> list[Step]:
        """The ops, with what they had learnt when the documents were made."""
        manifest = read_json(self._folder / "manifest.json")
        learned = learned_before(manifest, self.source.ops, self.store, self.root)
        states: list[Any] = []
        for number, op in enumerate(self.source.ops, 1):
            if number in learned:
                states.append(learned[number])
            else:
                states.append(op.prepare(self.root))
        return steps_of(self.source, states)

    @property
    def _folder(self) -> Path:
        return self.state.documents_folder(self.store, self.name)

    def _fates_of(self, item: Item, steps: list[Step]) -> Iterator[Fate]:
        funnel = Funnel()
        kept = list(apply_ops([item], steps, funnel, Samples(), strict=False))
        if kept and self.state.manifest is not None:  # and it is not in the shards
            yield Fate(self.name, "dropped", self._verdict(SUBSAMPLE_KEY))
        elif kept:
            yield Fate(self.name, "kept", {"read_by": list(self.state.read_by)})
        for key in funnel.dropped:
            verdict = self._verdict(key)
            if isinstance(item, Document):
                verdict |= _measured(item, steps)
            yield Fate(self.name, "dropped", verdict)
        for reason in funnel.unreadable:
            facts: dict[str, Any] = {"reason": reason}
            if isinstance(item, Unreadable):
                facts |= {"detail": item.detail, "rest_lost": item.rest_lost}
            yield Fate(self.name, "unreadable", facts)

    def _verdict(self, key: str) -> dict[str, Any]:
        """A key of the funnel, with the fields of the op that it names."""
        step, _, reason = key.partition("/")
        verdict: dict[str, Any] = {"step": step, "reason": reason}
        if step not in (READ, SUBSAMPLE):
            position = int(step.partition("-")[0])
            op = self.source.ops[position - 1]
            verdict["op"] = op.model_dump(mode="json")
        return verdict

    def _items(self) -> Iterator[Item]:
        """What the source yields for the id, from the inputs that its documents were made of."""
        manifest = read_json(self._folder / "manifest.json")
        if self.source.read.origin is not None:
            fingerprint = manifest["identity"]["documents"]
            documents = Documents.load(self.store.path("documents", self.source.read.origin, fingerprint))
            opener = Opener(documents.folder)
            parts = documents.parts()
        else:
            opener = Opener(self.root)
            parts = self._parts(manifest["inputs"], opener)
        places = read_ids.places(self.document_id)
        read_share = Fraction(manifest["identity"].get("subsample", 1))
        with progress(f"reading {self.name} again", sum(part.size for part in parts), "bytes") as advance:
            for part in parts:
                for item in self.source.read.sampled(part, opener, read_share):
                    if _is_at(item, places) or _lost_with(item, places):
                        yield item
                advance(part.size)

    def _parts(self, inputs: list[dict[str, Any]], opener: Opener) -> list[Part]:
        parts: list[Part] = []
        for content in inputs:
            given = Input(**content)
            if self.source.read.may_hold(given, self.document_id):
                parts += self.source.read.parts(given, opener, _ONE_PART)
        return parts


def _measured(document: Document, steps: list[Step]) -> dict[str, Any]:
    """What the op that drops a document found, and the field that this is held against; empty where an op
    has nothing to measure."""
    (judged,) = judge([document], steps, Funnel())
    drop = judged.drop
    if drop is None or not drop.measured:
        return {}
    return {"measured": drop.measured, "limit": drop.limit}


def _is_at(item: Item, places: tuple[str, ...]) -> bool:
    if isinstance(item, Unreadable):
        return item.where in places
    return item.id in places


def _lost_with(item: Item, places: tuple[str, ...]) -> bool:
    """Whether a document would have been in the part of an input that could not be read at all."""
    if not isinstance(item, Unreadable) or not item.rest_lost or len(places) == 1:
        return False
    path, _, number = places[0].rpartition("#")
    if item.where == path:  # nothing of the input could be read
        return True
    lost_path, _, lost_row = item.where.rpartition(", row ")
    if lost_path != path:
        return False
    first_lost = int(lost_row.replace(",", ""))
    return int(number) + 1 >= first_lost


def sentence(fate: Fate) -> str:
    """A fate for a person."""
    predicate = _predicate(fate.outcome, fate.facts)
    return f"{fate.source}: {predicate}"


def _predicate(outcome: str, facts: dict[str, Any]) -> str:
    if outcome == "duplicate":
        other = f"{facts['of']} in {facts['of_source']}"
        return f"removed by `dedup:` ({facts['dedup']}) as a duplicate of {other}"
    if outcome == "unreadable":
        rest = ", with the rest of its input" if facts.get("rest_lost") else ""
        detail = f" ({facts['detail']})" if facts.get("detail") else ""
        return f"unreadable{rest}: {facts['reason']}{detail}"
    if facts.get("reason") == NOT_SAMPLED and "op" not in facts:
        return "left out by `subsample:`"
    if outcome == "dropped":
        if facts.get("measured"):
            limit = facts["limit"]
            bound = _bound(facts["op"], limit)
            return f"dropped by {facts['step']}: {facts['reason']}: {facts['measured']}, {limit} {bound}"
        fields = _op_fields(facts)
        return f"dropped by {facts['step']}: {facts['reason']}{fields}"
    kept = outcome.replace("_", " ")
    if "shard" in facts:
        return f"{kept}, {facts['tokens']:,} tokens in {facts['shard']}"
    readers = ", ".join(facts["read_by"])
    return f"{kept}, for {readers or 'no tokens'}"


def _bound(op: dict[str, Any], limit: str) -> Any:
    """The value of the op's field that a document was held against; `a.2` is the entry 2 of `a`."""
    value: Any = op
    for part in limit.split("."):
        value = value[part]
    return value


def _op_fields(facts: dict[str, Any]) -> str:
    """The simple fields of the op that dropped a document, in brackets."""
    fields: list[str] = []
    op = facts.get("op", {})
    for name, value in op.items():
        if name != "kind" and isinstance(value, (int, float, str)):
            fields.append(f"{name}: {value}")
    if not fields:
        return ""
    return f" ({', '.join(fields)})"
