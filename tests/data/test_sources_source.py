"""A source over another source's documents: a changed threshold opens no input;
identity, dedup, held-out and rules hold.
"""

import shutil

import pytest
import yaml
from support.small_recipes import recipe, tree, words, write_jsonl

from codemix.data.build.build import build
from codemix.data.build.identity import identify
from codemix.data.build.inventory import take_inventory
from codemix.data.review.verify import verify
from codemix.data.store.store import Store
from codemix.data.workspace import open_workspace
from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.language import recipe_file
from codemix.recipe.language.source_graph import SourceGraph
from codemix.recipe.planning.source_identity import identity_parts


@pytest.fixture
def root(tmp_path):
    rows = [{"text": words(i, 10 + i), "id": f"d{i}", "lang": "en"} for i in range(60)]
    write_jsonl(
        tmp_path / "raw" / "a.jsonl", [*rows, rows[3] | {"id": "copy"}, {"text": "", "id": "e", "lang": "en"}]
    )
    return tmp_path


def derived(at=200, held_out="0%", **more):
    """`stack` is read once; `good` and `rest` divide it at a size."""
    raw = {
        "read": {"kind": "jsonl", "paths": "raw/*.jsonl", "id": "id", "metadata": {"language": "lang"}},
        "ops": [{"kind": "size", "min_bytes": 60}],
    }
    sources = {
        "good": {
            "read": {"kind": "source", "name": "stack"},
            "ops": [{"kind": "size", "min_bytes": at}],
            "held_out": held_out,
        },
        "rest": {
            "read": {"kind": "source", "name": "stack"},
            "ops": [{"kind": "size", "max_bytes": at - 1}],
            "held_out": held_out,
        },
        "stack": raw,
    }
    r = recipe({n: s for n, s in sources.items() if n != "stack"}, **more)
    return recipe(sources, **({"stages": [s.model_dump(exclude_unset=True) for s in r.stages]} | more))


def ids_of(manifest, split="train"):
    from codemix.data.loader.shards import Shards

    shards = Shards(manifest, split, 8)
    return [shards.metadata(n, {d})[d]["id"] for n, s in enumerate(shards.shards) for d in range(s.documents)]


def test_two_sources_divide_one(root):
    store = Store(root / "store")
    built = build(derived(), store, data_root=root)
    assert list(built) == ["good", "rest"] and not list(store.root.glob("data/stack-*"))
    good, rest = ids_of(built["good"]), ids_of(built["rest"])
    sizes = {f"d{i}": len(words(i, 10 + i).encode()) for i in range(60)} | {
        "copy": len(words(3, 13).encode())
    }
    assert set(good) == {i for i, n in sizes.items() if n >= 200} and set(rest) == {
        i for i, n in sizes.items() if 60 <= n < 200
    }
    found = take_inventory(derived(), store, root)["stack"]
    assert (
        found.manifest is None
        and found.built
        and found.read_by == ("good", "rest")
        and found.funnel["dropped"]["00-read/empty"] == 1
    )
    for m in built.values():
        assert (
            not verify([m.folder]).problems
            and m.funnel["read"] == found.funnel["kept"]
            and [i["path"] for i in m.inputs] == ["raw/a.jsonl"]
        )
        assert m.funnel["languages"]["en"]["read"] == m.funnel["read"]  # metadata comes along


def test_a_changed_threshold_opens_no_input(root, monkeypatch):
    store = Store(root / "store")
    first = build(derived(200), store, data_root=root)
    from codemix.data.inputs.opener import Opener

    def opened(self, given):
        if not given.path.startswith("docs/"):
            pytest.fail(f"{given.path} was opened")
        return real(self, given)

    real = Opener.open
    monkeypatch.setattr(Opener, "open", opened)
    again = build(derived(300), store, data_root=root)
    assert (
        len(list(store.root.glob("documents/stack-*"))) == 1
        and again["good"].fingerprint != first["good"].fingerprint
    )
    assert again["good"].funnel["kept"] < first["good"].funnel["kept"]
    straight = Store(root / "straight")
    monkeypatch.undo()
    build(derived(300), straight, data_root=root)
    names = tree(straight)
    assert {n: c for n, c in tree(store).items() if n in names} == names


def test_what_is_built_does_not_need_the_source_it_was_made_of(root):
    store = Store(root / "store")
    first = build(derived(), store, data_root=root)
    (stack,) = store.root.glob("documents/stack-*")
    shutil.rmtree(stack)
    assert build(derived(), store, data_root=root) == first and not stack.exists()
    build(derived(250), store, data_root=root)  # now it is needed, and made again
    assert stack.exists()


def test_identity_follows_the_chain(root):
    store = Store(root / "store")
    before = identify(derived(), store, root)
    write_jsonl(root / "raw" / "a.jsonl", [words(1, 30)])
    after = identify(derived(), store, root)
    assert all(
        before.documents[n].fingerprint != after.documents[n].fingerprint for n in ("good", "rest", "stack")
    )
    assert set(after.tokens) == {"good", "rest"}
    (root / "raw" / "a.jsonl").unlink()
    found = take_inventory(derived(), store, root)
    assert all(f.fingerprint is None for f in found.values()) and "raw" in found["stack"].reason
    assert {found[name].reason for name in ("good", "rest")} == {"waits for `stack`, which cannot be read"}


def test_dedup_and_held_out_are_the_readers(root):
    store = Store(root / "store")
    r = derived(200, "20%", dedup=[{"kind": "exact", "sources": ["good", "rest"]}])
    built = build(r, store, data_root=root)
    assert built["rest"].funnel["dropped"]["dedup1-exact/duplicate"] == 1
    held = {*ids_of(built["good"], "held_out"), *ids_of(built["rest"], "held_out")}
    assert held and not held & {*ids_of(built["good"]), *ids_of(built["rest"])}


def test_only_the_raw_source(root):
    store = Store(root / "store")
    assert build(derived(), store, data_root=root, only=["stack"]) == {}
    assert [
        p.parent.name for p in store.root.glob("*/*") if p.is_dir() and not p.parent.name.startswith(".")
    ] == ["documents"]


def test_a_chain_of_three_is_built_in_order(root):
    content = derived().model_dump(exclude_unset=True)
    content["sources"]["best"] = {
        "read": {"kind": "source", "name": "good"},
        "ops": [{"kind": "size", "min_bytes": 300}],
    }
    content["stages"][0]["mixture"] = {"best": "100%"}
    del content["sources"]["rest"]
    from codemix.recipe.language.schema import Recipe

    built = build(Recipe.model_validate(content), Store(root / "store"), data_root=root)
    assert list(built) == ["best"] and [i["path"] for i in built["best"].inputs] == ["raw/a.jsonl"]


def problems_of(content: dict) -> dict[str, str]:
    found = validation.check(recipe_file.parse_recipe(yaml.safe_dump(content, sort_keys=False), "r.yaml"))
    return {p.rule: p.render() for p in found.problems}


def as_yaml(r):
    import json

    content = json.loads(r.model_dump_json(by_alias=True, exclude_unset=True))
    content["stages"][0]["steps"] = 4
    return content


def test_what_a_recipe_may_not_say(root):
    fine = as_yaml(derived(held_out="2%"))
    assert problems_of(fine) == {}
    unknown = as_yaml(derived(held_out="2%"))
    unknown["sources"]["good"]["read"]["name"] = "stakc"
    assert (
        "there is no source `stakc`" in problems_of(unknown)["unknown-source"]
        and "did you mean `stack`" in problems_of(unknown)["unknown-source"]
    )
    circle = as_yaml(derived(held_out="2%"))
    circle["sources"]["stack"]["read"] = {"kind": "source", "name": "good"}
    assert "`stack` reads `good` reads `stack`" in problems_of(circle)["source-cycle"]
    held = as_yaml(derived())
    held["sources"]["stack"]["held_out"] = "2%"
    held["dedup"] = [{"kind": "exact", "sources": ["stack"]}]
    found = problems_of(held)
    assert (
        "holds nothing out" in found["held-out-unused"]
        and "name `good`, `rest` instead" in found["dedup-unused"]
    )
    uneven = as_yaml(derived(held_out="2%"))
    uneven["sources"]["rest"]["held_out"] = "4%"
    assert "hold out different shares" in problems_of(uneven)["held-out-overlap"]
    for content in (unknown, circle):  # commands look at the store before they judge
        (root / "r.yaml").write_text(yaml.safe_dump(content))
        context = open_workspace(recipe_file.read_recipe(root / "r.yaml"), Store(root / "store"), root)
        with pytest.raises(CodemixError):
            _ = context.plan


def test_a_change_of_the_raw_source_is_one_of_those_that_read_it():
    before = derived()
    stack = before.sources["stack"].model_copy(update={"ops": ()})
    sources = dict(before.sources) | {"stack": stack}
    after = before.model_copy(update={"sources": sources})
    mine = identity_parts(SourceGraph(before))
    theirs = identity_parts(SourceGraph(after))
    changed = {name for name in mine if mine[name] != theirs[name]}
    assert changed == {"good", "rest", "stack"}
