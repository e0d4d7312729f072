"""What the first row of a file tells is told before any source is read, of all sources at once."""

import io
import random

import pytest
from support.small_recipes import recipe, words, write_jsonl
from support.source_files import write_parquet

from codemix.data.build import documents
from codemix.data.build.build import build
from codemix.data.build.preflight import first_rows
from codemix.data.inputs.frozen_inputs import Input
from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.recipe.language.schema import SourceSpec


@pytest.fixture
def root(tmp_path, monkeypatch):
    write_jsonl(tmp_path / "good.jsonl", [words(i, 40) for i in range(20)])
    write_jsonl(tmp_path / "named.jsonl", [{"content": words(i, 40), "stars": 3} for i in range(20)])
    write_parquet(
        tmp_path / "a.parquet", [{"content": words(i, 40), "about": {"lang": "C"}} for i in range(20)]
    )
    monkeypatch.setattr(documents.DocumentsTask, "run", lambda task: pytest.fail(f"{task.name} was read"))
    return tmp_path


def problems(root, **reads):
    on_bad = reads.pop("on_bad", "error")
    sources = {name: {"read": read, "on_bad": on_bad} for name, read in reads.items()}
    with pytest.raises(CodemixError) as error:
        build(recipe({"good": "good.jsonl"} | sources), Store(root / "store"), data_root=root)
    return [problem.what for problem in error.value.problems]


def test_every_source_is_told_at_once_and_nothing_is_read(root):
    (root / "cut.jsonl.gz").write_bytes(b"\x1f\x8b")
    found = problems(
        root,
        text={"kind": "jsonl", "paths": "named.jsonl"},
        where={"kind": "jsonl", "paths": "named.jsonl", "text": "content", "where": {"star": {"min": 1}}},
        id={"kind": "jsonl", "paths": "named.jsonl", "text": "content", "id": "hexsha"},
        column={"kind": "parquet", "paths": "a.parquet"},
        metadata={
            "kind": "parquet",
            "paths": "a.parquet",
            "text": "content",
            "metadata": {"language": "about.language"},
        },
        condition={"kind": "parquet", "paths": "a.parquet", "text": "content", "where": {"licence": "MIT"}},
        cut={"kind": "jsonl", "paths": "cut.jsonl.gz"},
        gone={"kind": "jsonl", "paths": "gone.jsonl"},
    )
    told = {
        "text": "missing_text (`text` is not there; fields here: content, stars)",
        "where": "`where` looks at `star`",
        "id": "missing_id (no `hexsha`",
        "column": "missing_column (there is no column `text`; columns here: content, about, about.lang)",
        "metadata": "no column `about.language`",
        "condition": "no column `licence`",
        "cut": "truncated",
    }
    for name, said in told.items():
        (one,) = [what for what in found if what.startswith(f"source `{name}`: ")]
        assert said in one
    assert any("there is no file gone.jsonl" in what for what in found) and len(found) == len(told) + 1


def test_a_wrong_column_of_many_files_is_told_a_few_times(root):
    for i in range(30):
        write_jsonl(root / f"many/{i}.jsonl", [{"content": "x"}])
    assert len(problems(root, many={"kind": "jsonl", "paths": "many/*.jsonl"})) == 3


class Counted(io.BytesIO):
    """A file that knows how much of it was read."""

    asked = 0

    def read(self, size=-1):
        piece = super().read(size)
        self.asked += len(piece)
        return piece


@pytest.mark.parametrize("name", ["large.parquet", "large.jsonl"])
def test_little_more_than_the_first_row_is_read(root, monkeypatch, name):
    letters = random.Random(0)
    rows = [{"text": "".join(letters.choices("abcdefgh", k=2000))} for _ in range(5000)]
    (write_parquet if name.endswith("parquet") else write_jsonl)(root / name, rows)
    data = (root / name).read_bytes()
    file = Counted(data)
    monkeypatch.setattr("codemix.data.inputs.opener.Opener.open", lambda opener, given: file)
    source = SourceSpec.model_validate({"read": {"kind": name.split(".")[1], "paths": name}})
    assert first_rows({"a": source}, {"a": [Input(name, len(data), "")]}, root) == []
    assert 2000 < file.asked < len(data) / 2


def test_with_skip_unreadable_rows_are_counted_as_before(root, monkeypatch):
    monkeypatch.undo()
    write_jsonl(root / "half.jsonl", [{"other": 1}, *[words(i, 40) for i in range(20)]])
    source = {"read": {"kind": "jsonl", "paths": "half.jsonl"}, "on_bad": "skip", "max_bad": "10%"}
    assert (
        build(recipe({"half": source}), Store(root / "store"), data_root=root)["half"].funnel["unreadable"]
        == 1
    )


def test_what_is_built_is_not_looked_at_again(root, monkeypatch):
    monkeypatch.undo()
    made, store = recipe({"good": "good.jsonl"}), Store(root / "store")
    build(made, store, data_root=root)
    monkeypatch.setattr("codemix.data.build.preflight._Look.problems", lambda look: pytest.fail("looked"))
    build(made, store, data_root=root)
