"""What each task asks, what counts as right, and what is wrong with a file."""

import gzip
import json
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from support.task_rows import HUMANEVAL, MBPP, ROWS, options, task

from codemix.errors import CodemixError
from codemix.eval.engine.windows import Score
from codemix.eval.measure.paper_averages import SUITE, aggregates
from codemix.eval.measure.suite import summarise
from codemix.eval.task_shapes.choice import Choice
from codemix.eval.task_shapes.example_files import json_lines, read_rows
from codemix.eval.task_shapes.pass_at_k import pass_at_k
from codemix.eval.task_shapes.task import ExampleFile, mean
from codemix.eval.task_shapes.written import Generations, normal
from codemix.recipe.language.component import kinds


def save(folder, kind, rows):
    (folder / f"{kind}.jsonl").write_text(json_lines(rows))
    return options(data=folder)


class Always:
    """An engine that finds one continuation likeliest: by its length, its place, or what the test says."""

    def __init__(self, value):
        self.value = value

    def score_choices(self, questions, label=""):
        return [
            [Score(self.value(*pair), len(pair[1]), False, n_bytes=len(pair[1].encode())) for pair in pairs]
            for pairs in questions
        ]


def test_every_kind_has_a_row_here_and_says_where_it_comes_from():
    assert sorted(ROWS) == kinds("task") == sorted(k for group in SUITE.values() for k in group)
    for kind in kinds("task"):
        one = task(kind)
        assert one.citation and one.template and one.split and one.group in SUITE and kind in SUITE[one.group]


@pytest.mark.parametrize("kind", sorted(ROWS))
def test_prompts_are_those_of_the_template(kind):
    row, prompt, reference = ROWS[kind]
    one = task(kind)
    if isinstance(one, Choice):
        question = one.question(row)
        assert question.pairs[question.gold] == (prompt, reference)
        assert len({*question.pairs}) == len(question.choices)
    else:
        assert (one.prompt(row), one.gold(row)) == (prompt, reference)
    assert reference.strip() in one.texts([row])[0] or isinstance(one, Choice)


@pytest.mark.parametrize("kind", sorted(ROWS))
def test_a_missing_column_is_an_error(kind, tmp_path):
    row = dict(ROWS[kind][0])
    one = task(kind)
    for column in one.columns:
        given = save(tmp_path, kind, [row, {k: v for k, v in row.items() if k != column}])
        with pytest.raises(CodemixError) as caught:
            one.rows(one.find(given))
        assert (
            caught.value.problems[0].rule == "task-data"
            and f"`{column}`" in str(caught.value)
            and "row 2" in str(caught.value)
        )


@pytest.mark.parametrize(
    "kind, change",
    [
        ("piqa", {"label": 2}),
        ("piqa", {"label": "x"}),
        ("social_iqa", {"label": "0"}),
        ("arc_easy", {"answerKey": "E"}),
        ("cb", {"label": -1}),
        ("winogrande", {"sentence": "no"}),
        ("copa", {"question": "why"}),
        ("hellaswag", {"endings": ["one"]}),
        ("boolq", {"answer": None}),
        ("storycloze", {"InputSentence1": None}),
        ("nq_open", {"answer": ["x", 4]}),
        ("piqa", {"label": 0.9}),
        ("cb", {"label": float("inf")}),
        ("piqa", {"label": float("nan")}),
        ("arc_easy", {"choices": {"text": ["x"], "label": ["2"]}}),
        ("humaneval", {"canonical_solution": ""}),
        ("mbpp", {"test_list": []}),
        ("mbpp", {"code": " "}),
        ("humaneval", {"prompt": 5}),
        ("triviaqa", {"answer": [" "]}),
    ],
)
def test_a_right_answer_that_does_not_exist_is_an_error(kind, change):
    row = {k: v for k, v in (ROWS[kind][0] | change).items() if v is not None}
    for ask in (
        task(kind).texts,
        lambda rows: task(kind).run(Always(lambda a, b: -1.0), rows, options(unsafe=True)),
    ):
        with pytest.raises(CodemixError) as caught:
            ask([ROWS[kind][0], row])
        assert caught.value.problems[0].rule == "task-data"


def test_an_oracle_is_always_right_and_a_tie_goes_to_the_first():
    rows = [ROWS["sciq"][0]] * 4
    oracle = task("sciq").run(Always(lambda a, b: 0.0 if b == " d" else -9.0), rows, options())
    assert (oracle.score, oracle.centred, oracle.chance) == (1.0, 1.0, 0.25)
    tied = task("sciq").run(Always(lambda a, b: -1.0), rows, options())
    assert tied.score == 0 and tied.more["ties"] == 4 and tied.centred == pytest.approx(-1 / 3)


def test_normalisation_divides_by_the_length_asked_for():
    row = {"goal": "g", "sol1": "é" * 10, "sol2": "b" * 15, "label": 0}
    engine = Always(
        lambda a, b: -10.0 if "b" in b else -9.0
    )  # 9/10 a character, 9/20 a byte; 10/15 a character
    for normalise, right in (("none", 1.0), ("characters", 0.0), ("bytes", 1.0)):
        outcome = task("piqa", normalise=normalise).run(engine, [row], options())
        assert outcome.score == right == outcome.more[f"accuracy_{normalise}"]


def test_a_constant_answer_is_reported_beside_boolq():
    rows = [{"question": "q", "passage": "p", "answer": a} for a in (True, True, True, False)]
    outcome = task("boolq").run(Always(lambda a, b: float(b == " yes")), rows, options())
    assert outcome.score == outcome.majority == 0.75


def test_gold_bits_are_summed_then_divided():
    rows = [ROWS["piqa"][0], ROWS["piqa"][0] | {"sol2": "pull hard"}]
    outcome = task("piqa").run(Always(lambda a, b: -float(len(b))), rows, options())
    summary = summarise(task("piqa"), ExampleFile(SimpleNamespace(name="piqa.jsonl"), "0"), outcome)
    gold = summary["gold_bits_per_byte"]
    assert gold["bytes"] == len(" pull") + len(" pull hard")
    assert (
        gold["bits_per_byte"]
        == pytest.approx(gold["bits"] / gold["bytes"])
        == pytest.approx(1 / 0.6931471805599453)
    )
    assert {
        "id",
        "prompt_sha256",
        "gold",
        "predicted",
        "correct",
        "log_p",
        "bytes",
        "gold_bits",
        "gold_bytes",
    } <= set(outcome.records[0])


def test_answers_are_compared_as_squad_does(engine):
    assert normal(" The  Eiffel-Tower! ") == "eiffeltower"
    one = task("triviaqa", max_tokens=4)
    assert one.credit("the Ann", ["ann."]) == 1 and one.credit("Anna", ["ann"]) == 0
    assert task("quac").credit("a b c", ["b d"]) == pytest.approx(2 * 1 / (2 + 2))  # "a" is an article
    outcome = one.run(engine, [ROWS["triviaqa"][0]] * 3, options())
    assert outcome.metric == "exact_match" and 0 <= outcome.score <= 1
    assert outcome.about["decoding"]["stop"] == ["\n", ".", ","] and len(outcome.records) == 3
    with pytest.raises(CodemixError):
        one.run(engine, [{"question": "q", "answer": []}], options())


NOTHING = ["", " ", "\n"]


@pytest.mark.parametrize("kind", ["triviaqa", "nq_open", "quac"])
@pytest.mark.parametrize(
    ("answer", "right", "wrong"),
    [
        ("The The", ["the the", " The  The"], ["a", "the", "!!!", *NOTHING]),
        ("!!!", ["!!!"], ["?", "the", *NOTHING]),
        ("A", ["a", "A "], ["the", "?", *NOTHING]),
        ("the Ann.", ["ann"], ["the", *NOTHING]),
        ("?", ["?"], ["!", *NOTHING]),
        ("東京", ["東京"], ["京都", *NOTHING]),
    ],
)
def test_an_answer_that_normalises_to_nothing_is_compared_as_written(kind, answer, right, wrong, monkeypatch):
    one = task(kind)
    row = {"question": "q", "context": "c", "answers": [answer], "answer": [answer]}
    for text, worth in [*((t, 1.0) for t in right), *((t, 0.0) for t in wrong)]:
        monkeypatch.setattr(
            type(one),
            "written",
            lambda self, engine, rows, text=text: Generations(
                [{"gold_bits": 1, "gold_bytes": 1}], [[text]], {}
            ),
        )
        outcome = one.run(None, [row], options())
        shared_words = kind == "quac" and not worth and text.strip()  # partly right is what F1 is for
        assert outcome.score < 1 if shared_words else outcome.score == worth


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("triviaqa", {"question": "q", "answer": "paris"}),
        ("triviaqa", {"question": "q", "answer": {"aliases": "paris"}}),
        ("nq_open", {"question": "q", "answer": "paris"}),
        ("quac", {"context": "c", "question": "q", "answers": "paris"}),
    ],
)
def test_an_answer_that_is_a_text_alone_is_not_its_letters(kind, row):
    assert task(kind).answers(row) == ["paris"]


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("hellaswag", {"activity_label": "a", "ctx_a": "c", "ctx_b": "d", "endings": "abc", "label": 0}),
        ("arc_easy", {"question": "q", "choices": {"text": "ab", "label": ["1", "2"]}, "answerKey": "1"}),
    ],
)
def test_choices_that_are_a_text_alone_are_refused(kind, row):
    with pytest.raises(CodemixError, match="its choices are one text"):
        task(kind).questions([row])


def test_quac_reads_its_authors_file(tmp_path):
    turns = [
        {"id": "d_q#0", "question": "What?", "answers": [{"text": "x"}]},
        {"id": "d_q#1", "question": "More?", "answers": [{"text": "y"}]},
    ]
    (tmp_path / "val.json").write_text(
        json.dumps({"data": [{"paragraphs": [{"context": "c", "qas": turns}]}]})
    )
    one = task("quac", path="val.json")
    [row] = one.rows(one.find(options(data_root=tmp_path)))
    assert row == {"id": "d_q#0", "context": "c", "question": "What?", "answers": [{"text": "x"}]}
    for broken in (
        5,
        [{"paragraphs": [{"context": "c", "qas": []}]}],
        [{"paragraphs": [{"context": "c", "qas": [{"id": "d"}]}]}],
    ):
        (tmp_path / "val.json").write_text(json.dumps({"data": broken}))
        with pytest.raises(CodemixError, match="cannot be read"):
            one.rows(one.find(options(data_root=tmp_path)))


@pytest.mark.parametrize("kind", ["humaneval", "mbpp"])
def test_references_pass_and_stubs_do_not(kind):
    from codemix.sandbox.sandbox import bubblewrap_problem, run_many

    if problem := bubblewrap_problem():
        pytest.skip(f"no sandbox: {problem}")
    row, one = ROWS[kind][0], task(kind)
    texts = [one.gold(row), "    pass\n", "    import sys; sys.exit(0)\n", ""]
    assert [r.passed for r in run_many([one.program(row, t) for t in texts])] == [True, False, False, False]


def test_code_is_run_in_the_sandbox_and_the_isolation_is_written(engine):
    from codemix.sandbox.sandbox import bubblewrap_problem

    if problem := bubblewrap_problem():
        pytest.skip(f"no sandbox: {problem}")
    outcome = task("humaneval", samples=3, k=(1, 3), temperature=1.0, max_tokens=12).run(
        engine, [HUMANEVAL] * 2, options()
    )
    assert outcome.metric == "pass@1" and set(outcome.more) >= {"pass@1", "pass@3", "timeouts"}
    assert (
        outcome.about["isolation"].startswith("bubblewrap")
        and outcome.about["decoding"]["temperature"] == 1.0
    )
    assert all(len(r["reasons"]) == len(r["output"]) == 3 for r in outcome.records)


def test_pass_at_k_of_greedy_or_of_too_few_samples_is_refused_by_the_recipe():
    for wrong, said in (
        ({"k": (5,)}, "pass@5 needs 5 samples"),
        ({"samples": 4, "k": (1, 4)}, "at temperature 0"),
        ({"k": (0,)}, "greater than"),
    ):
        for kind in ("humaneval", "mbpp"):
            with pytest.raises(ValidationError, match=said):
                task(kind, **wrong)


def test_a_program_of_nothing_does_not_pass(monkeypatch):
    """Some tests pass on the prompt alone; who wrote nothing did not solve them."""
    from codemix.sandbox.sandbox import bubblewrap_problem

    if problem := bubblewrap_problem():
        pytest.skip(f"no sandbox: {problem}")
    one = task("humaneval", samples=3, k=(1,), temperature=1.0)
    row = HUMANEVAL | {"test": "def check(f):\n    pass\n"}
    texts = ["", "\n    ", "    return a\n"]
    records = [{"output": texts, "gold_bits": 1, "gold_bytes": 1}]
    monkeypatch.setattr(type(one), "written", lambda self, engine, rows: Generations(records, [texts], {}))
    outcome = one.run(None, [row], options())
    assert (
        outcome.score == pytest.approx(1 / 3)
        and outcome.records[0]["reasons"] == ["empty", "empty", "passed"]
        and outcome.more["empty"] == 2
    )


def test_the_whole_of_mbpp_is_read_from_a_file_of_its_authors(tmp_path):
    """974 rows in the published columns; what a test sets up stands after the candidate,
    whose classes it may use.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from codemix.sandbox.sandbox import bubblewrap_problem, run_many

    rows = [
        {
            "task_id": i,
            "text": f"Add {i}.",
            "code": f"def f(x):\r\n  return x + {i}\r\n",
            "test_list": [f"assert f(1) == {i + 1}"],
            "test_setup_code": "",
            "challenge_test_list": [],
        }
        for i in range(1, 975)
    ]
    rows[366] |= {k: MBPP[k] for k in ("code", "test_setup_code", "test_list")}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mbpp.parquet")
    one = task("mbpp", path="mbpp.parquet")
    read = one.rows(one.find(options(data_root=tmp_path)))
    assert len(read) == 974
    program = one.program(read[366], one.gold(read[366]))
    assert program.index("class Node") < program.index("root = Node()") < program.index("assert value(root)")
    if problem := bubblewrap_problem():
        pytest.skip(f"no sandbox: {problem}")
    some = [read[i] for i in (0, 366, 973)]
    assert all(r.passed for r in run_many([one.program(row, one.gold(row)) for row in some]))
    assert not any(r.passed for r in run_many([one.program(row, "pass") for row in some]))


def test_pass_at_k_is_the_chance_over_all_choices():
    from itertools import combinations

    for n in range(1, 7):
        for passed in range(n + 1):
            for k in range(1, n + 1):
                draws = list(combinations([True] * passed + [False] * (n - passed), k))
                assert pass_at_k(n, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_files_in_every_format_hold_the_same_rows(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"a": 1, "b": "é"}, {"a": 2, "b": "x\ny"}]
    (tmp_path / "x.jsonl").write_text(json_lines(rows))
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(json_lines(rows).encode()))
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "x.parquet")
    for name, kind in (("stream.arrow", pa.ipc.new_stream), ("file.arrow", pa.ipc.new_file)):
        with kind(str(tmp_path / name), table.schema) as writer:
            writer.write_table(table)
    (tmp_path / "x.csv").write_text('a,b\n1,é\n2,"x\ny"\n', newline="")
    for name in ("x.jsonl", "x.jsonl.gz", "x.parquet", "stream.arrow", "file.arrow"):
        assert read_rows(tmp_path / name) == rows
    assert read_rows(tmp_path / "x.csv") == [{"a": str(r["a"]), "b": r["b"]} for r in rows]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bad.jsonl", b"{"),
        ("bad.jsonl", b"[1]"),
        ("bad.jsonl", b"[" * 100_000),
        ("bad.jsonl", b"\xff"),
        ("bad.jsonl.gz", b"x"),
        ("bad.jsonl.gz", gzip.compress(b"{}", mtime=0)[:-9]),
        ("bad.jsonl.gz", gzip.compress(b"{}", mtime=0)[:10] + b"\xff" * 9),
        ("bad.csv", b"a,b\n1,2,3\n"),
        ("bad.csv", b"a\n" + b"x" * 200_000),
        ("bad.csv", b"a,a\n1,2\n"),
        ("bad.csv", b'a,b\n1,"2\n3,4\n'),
    ],
)
def test_a_file_that_is_damaged_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CodemixError, match=name):
        read_rows(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": "x"}\n{"a": "\\ud83d"}\n', "line 2 holds half of a surrogate pair (U+D83D)"),
        (b'\n{"a": {"b": ["\\uDCA5"]}}', "line 2 holds half"),
        (b'{"\\udc00": 1}', "line 1 holds half"),
        (b'{"a": 1}\n\n{"a":\n', "line 3:"),
        (b'{"a": 1}\n7\n', "line 2 is not a JSON object"),
    ],
)
def test_a_row_that_is_not_text_is_named_by_its_line(tmp_path, content, said):
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(CodemixError) as caught:
        read_rows(tmp_path / "x.jsonl")
    assert said in str(caught.value) and caught.value.problems[0].rule == "task-data"


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.jsonl.gz"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, name):
    text = "a,b\n1,é\n" if name.endswith("csv") else '{"a": "1", "b": "é"}\n'
    raw = text.encode("utf-8-sig")
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    assert read_rows(tmp_path / name) == [{"a": "1", "b": "é"}]


def test_a_whole_emoji_in_escapes_is_text(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": "\\ud83e\\udd8a \\\\ud83d"}')
    assert read_rows(tmp_path / "x.jsonl") == [{"a": "🦊 \\ud83d"}]


def test_a_limit_takes_the_same_examples_wherever_they_stand(tmp_path):
    rows = [ROWS["piqa"][0] | {"goal": f"g{i}"} for i in range(20)]
    one = task("piqa", limit=5)
    chosen = []
    for order in (rows, rows[::-1]):
        chosen.append(sorted(r["goal"] for r in one.rows(one.find(save(tmp_path, "piqa", order)))))
    assert len(chosen[0]) == 5 and chosen[0] == chosen[1]


def test_a_task_without_examples_says_where_to_get_them(tmp_path):
    with pytest.raises(CodemixError) as caught:
        task("storycloze").find(options(data=tmp_path))
    assert any("form" in hint for hint in caught.value.problems[0].hints)


def test_the_papers_averages():
    """Table 2, text-only after pretraining: 49.0 and 9.5 make 29.2(5), with code 0.4 they make 19.6."""
    scores = (
        {k: 0.49 for k in SUITE["reasoning"]}
        | {k: 0.095 for k in SUITE["knowledge"]}
        | {k: 0.004 for k in SUITE["code"]}
    )
    tasks = {k: {"kind": k, "score": v, "stderr": 0.01} for k, v in scores.items()}
    found = aggregates(tasks)
    assert [
        round(found[k]["value"], 2) for k in ("reasoning", "knowledge", "nl_avg", "code", "total_avg")
    ] == [49.0, 9.5, 29.25, 0.4, 19.63]
    assert not any(f["partial"] for f in found.values())
    assert found["reasoning"]["stderr"] == pytest.approx(1 / 11**0.5)
    limited = aggregates(
        tasks | {"mbpp": tasks["mbpp"] | {"limit": 20, "n": 20}, "cb": tasks["cb"] | {"limit": 1000, "n": 56}}
    )
    assert [k for k, f in limited.items() if f["partial"]] == ["code", "total_avg"]
    del tasks["quac"], tasks["storycloze"]
    found = aggregates(tasks)
    assert found["reasoning"]["absent"] == ["quac", "storycloze"] == found["total_avg"]["absent"]
    assert (
        found["nl_avg"]["partial"]
        and found["reasoning"]["value"] == pytest.approx(49.0)
        and not found["code"]["partial"]
    )
    found = aggregates({k: v for k, v in tasks.items() if k not in SUITE["code"]})
    assert (
        found["total_avg"]["value"] is None
        and found["code"]["value"] is None
        and found["nl_avg"]["value"] is not None
    )


def test_the_standard_error_is_that_of_a_mean():
    assert mean([1.0, 0.0, 1.0, 0.0]) == (0.5, pytest.approx((4 * 0.25 / 3 / 4) ** 0.5))
    assert mean([1.0]) == (1.0, None)
