"""inspect: attrition adds up, samples stand beside each other,
and documents cannot move the terminal's cursor.
"""

from pathlib import Path

import pytest
from support.small_recipes import recipe, words, write_jsonl

from codemix.data.build.build import build
from codemix.data.build.inventory import take_inventory
from codemix.data.review.inspect import attrition, inspect
from codemix.data.review.inspect_view import plain, render
from codemix.data.store.store import Store
from codemix.errors import CodemixError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("inspect")
    rows = [{"text": words(i, 40 + i), "lang": "Go" if i % 3 else "C"} for i in range(12)] + [
        {"text": "tiny", "lang": "C"},
        {"text": "\x1b[2Jx", "lang": "C"},
        {"text": "", "lang": "C"},
    ]
    write_jsonl(root / "a.jsonl", rows)
    write_jsonl(root / "b.jsonl", [words(3, 43), words(5, 45) + "more", words(77, 50)])
    sources = {
        "a": {
            "read": {"kind": "jsonl", "paths": "a.jsonl", "metadata": {"language": "lang"}},
            "ops": [{"kind": "size", "min_bytes": 20}],
        },
        "b": {"read": {"kind": "jsonl", "paths": "b.jsonl"}},
    }
    r, store = (
        recipe(
            sources,
            dedup=[{"kind": "exact", "sources": ["a", "b"]}, {"kind": "minhash", "sources": ["a", "b"]}],
        ),
        Store(root / "store"),
    )
    build(r, store, data_root=root)
    return r, store, take_inventory(r, store, root), root


def test_attrition_by_op_and_language(made):
    r, store, found, _ = made
    seen = inspect(r, store, found, samples=2)
    rows = seen["a"]["attrition"]
    assert [(row["op"], row["reason"], row["in"], row["dropped"]) for row in rows] == [
        ("00-read", "empty", 15, 1),
        ("01-size", "too_small", 14, 2),
    ]
    assert seen["a"]["languages"][0] == {
        "language": "Go",
        "read": 8,
        "kept": 8,
        "share_kept": 1.0,
        "dropped": {},
    }
    assert seen["a"]["languages"][1]["dropped"] == {"00-read": 1, "01-size": 2}
    assert {row["text"] for row in seen["a"]["dropped"]["01-size/too_small"]} == {"tiny", "\x1b[2Jx"} and len(
        seen["a"]["kept"]
    ) == 2


def test_a_store_may_be_named_from_the_working_directory(made, monkeypatch):
    r, store, _, root = made
    monkeypatch.chdir(store.root.parent)
    relative = Store(Path(store.root.name))
    seen = inspect(r, relative, take_inventory(r, relative, root), samples=9)
    assert seen == inspect(r, store, take_inventory(r, store, root), samples=9)
    assert len(seen["a"]["dropped"]["01-size/too_small"]) == 2


def test_duplicates_stand_beside_what_was_kept(made):
    r, store, found, _ = made
    dropped = inspect(r, store, found, source="b", samples=3)["b"]["dropped"]
    assert [row["id"] for row in dropped["dedup1-exact/duplicate"]] == ["b.jsonl#0"]
    (near,) = dropped["dedup2-minhash/duplicate"]
    assert near["id"] == "b.jsonl#1" and near["kept_id"] == "a.jsonl#5" and near["kept_text"] == words(5, 45)


def test_each_duplicate_stands_under_the_entry_that_removed_it(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [words(1, 40), words(2, 40)])
    write_jsonl(tmp_path / "b.jsonl", [words(2, 40), words(3, 40)])
    r = recipe(
        {"a": "a.jsonl", "b": "b.jsonl"},
        dedup=[{"kind": "exact", "sources": ["b"]}, *[{"kind": "exact", "sources": ["a", "b"]}] * 2],
    )
    store = Store(tmp_path / "store")
    build(r, store, data_root=tmp_path)
    dropped = inspect(r, store, take_inventory(r, store, tmp_path), source="b")["b"]["dropped"]
    assert {key: [row["id"] for row in rows] for key, rows in dropped.items()} == {
        "dedup2-exact/duplicate": ["b.jsonl#0"]
    }


def test_a_reason_that_holds_a_path_leaves_its_samples_inside(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [words(1, 40)])
    fields = ["../" * 9 + f"{str(tmp_path)[1:]}/out", "y" * 300]
    sources = {
        f"s{i}": {"read": {"kind": "jsonl", "paths": "a.jsonl"}, "ops": [{"kind": "where", "fields": {f: 1}}]}
        for i, f in enumerate(fields)
    }
    r, store = recipe({"a": "a.jsonl"} | sources), Store(tmp_path / "store")
    with pytest.raises(CodemixError, match="none of its 1 documents is left"):
        build(r, store, data_root=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "store"}
    seen = inspect(r, store, take_inventory(r, store, tmp_path))
    for i, field in enumerate(fields):
        assert [row["id"] for row in seen[f"s{i}"]["dropped"][f"01-where/missing_{field}"]] == ["a.jsonl#0"]


def test_rendering_is_safe(made, capsys):
    r, store, found, _ = made
    render(inspect(r, store, found, samples=2))
    out = capsys.readouterr().out
    assert "01-size" in out and "\\x1b[2Jx" in out and "\x1b[2J" not in out and "b.jsonl#1" in out
    assert plain("a\tb\n\x07\u202e") == "a\tb\n\\x07\\x202e"


def test_what_cannot_be_inspected(made, tmp_path):
    r, store, found, root = made
    with pytest.raises(CodemixError, match="no source `c`"):
        inspect(r, store, found, source="c")
    with pytest.raises(CodemixError, match="not built yet: a, b"):
        inspect(r, Store(tmp_path), take_inventory(r, Store(tmp_path), root))


def test_shares_are_of_what_entered_the_op():
    funnel = {
        "read": 100,
        "unreadable": 10,
        "dropped": {"01-a/x": 30, "01-a/y": 15, "10-b/z": 9, "dedup1-exact/duplicate": 18},
        "dropped_bytes": {"01-a/x": 5},
    }
    assert [(row["op"], row["in"], round(row["share"], 4)) for row in attrition(funnel)] == [
        ("read", 100, 0.1),
        ("01-a", 90, 0.3333),
        ("01-a", 90, 0.1667),
        ("10-b", 45, 0.2),
        ("dedup1-exact", 36, 0.5),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[/]",
        "[bold]x[/bold]",
        "[red]",
        ":smile:",
        "[link=http://x]y[/link]",
        "\\[x]",
        "[",
        "]]",
        "[/x][@click=f]",
    ],
)
def test_brackets_in_anything_are_text(text, capsys):
    row = {"id": text, "text": text}
    funnel = {
        "read": 2,
        "kept": 1,
        "dropped": {f"01-where/{text}": 1},
        "unreadable": 0,
        "dropped_bytes": {},
        "languages": {},
    }
    languages = [
        {"language": text + end, "read": 1, "kept": 1, "share_kept": 1.0, "dropped": {f"01-{text}": 1}}
        for end in ("", "2")
    ]
    one = {
        "funnel": funnel,
        "attrition": attrition(funnel),
        "languages": languages,
        "kept": [row],
        "dropped": {f"01-where/{text}": [row]},
    }
    render({"a": one})
    shown = capsys.readouterr().out
    assert shown.count(text) >= 8 and "\x1b" not in shown


def test_a_pipe_gets_everything_and_each_sample_once(capsys, monkeypatch):
    long = "\n".join(f"line {i} {'x' * 60}" for i in range(200))
    name = "hf://datasets/" + "very-long/" * 30 + "file.parquet#12"
    kept = {"id": name, "text": long}
    other = {"id": "b#1", "text": "short"}
    funnel = {
        "read": 3,
        "kept": 1,
        "dropped": {"01-a/x": 1, "01-a/y": 1},
        "unreadable": 0,
        "dropped_bytes": {},
    }
    one = {
        "funnel": funnel,
        "attrition": attrition(funnel),
        "languages": [],
        "kept": [kept],
        "dropped": {"01-a/x": [other], "01-a/y": [{"id": "c#2", "text": long}]},
    }
    render({"a": one})
    piped = capsys.readouterr().out
    lines = [line.strip() for line in piped.split("\n")]
    assert lines.count(name) == 1 and lines.count("b#1") == 1  # alone in their lines, so they can be pasted
    assert piped.count(f"line 199 {'x' * 60}") == 2 and "..." not in piped
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    render({"a": one})
    shown = capsys.readouterr().out
    assert "line 199" not in shown and shown.count("more characters: all in a pipe") == 2
