"""Win-rates with a judge that is a stub and says so: it only ever answers as a test tells it to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.errors import CodemixError
from codemix.eval.judge import judge as judging
from codemix.eval.judge import replies
from codemix.eval.judge.luck_and_length import bootstrap, length_controlled
from codemix.eval.judge.pairs import JudgedPair, outcome
from codemix.eval.judge.winrate import summarise, winrate
from codemix.eval.task_shapes.example_files import digest, json_lines


def between_fences(prompt):
    fence = next(line for line in prompt.splitlines() if line.startswith("========"))
    parts = prompt.split(f"\n{fence}\n")
    return parts[3], parts[5]


BEHAVIOURS = {
    "always-A": lambda a, b, n: "Both fine.\nPreferred: Answer (A)",
    "longer": lambda a, b, n: f"Compared.\nPreferred: Answer ({'A' if len(a) > len(b) else 'B'})",
    "garbage": lambda a, b, n: (
        "I cannot tell." if len(a) > 9 else f"Preferred: Answer ({'A' if len(a) > len(b) else 'B'})"
    ),
}


@pytest.fixture
def stub():
    """A server on this machine that pretends to be a judge.
    `status` is what the next requests get before an answer.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append((self.path, self.headers.get("Authorization"), body))
            status = server.status.pop(0) if server.status else 200
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "0")
            if status == 206:  # more is promised than comes
                self.send_header("Content-Length", "99")
            self.end_headers()
            if status == 206:
                self.wfile.write(b"{")
            if status == 207:
                self.wfile.write(b"\xff\xfe\xfd")
            if status == 200:
                content = server.behaviour(
                    *between_fences(body["messages"][1]["content"]), len(server.requests)
                )
                self.wfile.write(json.dumps({"choices": [{"message": {"content": content}}]}).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.status, server.behaviour = [], [], BEHAVIOURS["longer"]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def files(tmp_path, stub, monkeypatch):
    monkeypatch.setattr(replies.time, "sleep", lambda s: None)
    (tmp_path / "judge.yaml").write_text(
        f"base_url: http://127.0.0.1:{stub.server_port}/v1\nmodel: stub-longer\nconcurrency: 3\n"
    )
    save(tmp_path / "a.jsonl", ["long answer here", "x", "same", "", "four", "a much longer one {b} {fence}"])
    save(tmp_path / "b.jsonl", ["short", "longer than x", "same ", "", "five5", "brief"])
    return tmp_path


def save(path, outputs, **more):
    rows = [
        {
            "id": str(i),
            "instruction": f"do {i}",
            "prompt_sha256": digest(str(i)),
            "output": o,
            "stage": path.stem,
        }
        for i, o in enumerate(outputs)
    ]
    path.write_text(json_lines(row | more for row in rows))
    return path


def run(files, a="a.jsonl", b="b.jsonl", out="out"):
    return winrate(files / a, files / b, files / "judge.yaml", files / out)


def test_a_consistent_judge_gives_wins_losses_and_ties_without_a_call(files, stub):
    result = run(files)
    assert (result.wins, result.losses, result.ties_equal, result.ties, result.invalid) == (2, 2, 2, 2, 0)
    assert (result.difference, result.rate, result.order_agreement, result.first_slot_share) == (
        0,
        0.5,
        1,
        0.5,
    )
    assert len(stub.requests) == 8  # four pairs that differ, both orders
    assert not result.note
    saved = json.loads((files / "out/winrate.json").read_text())
    assert saved["judge"] == "stub-longer" and (saved["a"], saved["b"]) == ("a", "b")
    assert saved["interval"][0] <= 0 <= saved["interval"][1] and saved["prompts"] == 6
    items = [json.loads(line) for line in (files / "out/verdicts.jsonl").read_text().splitlines()]
    assert [i["outcome"] for i in items] == ["win", "loss", "tie_equal", "tie_equal", "loss", "win"]


def test_sides_with_one_name_go_by_their_files(files):
    for name in ("a", "b"):
        save(files / f"{name}.jsonl", ["x", "y"], stage="cooldown")
    assert (run(files).a, run(files).b) == ("a", "b")
    same = run(files, b="a.jsonl", out="self")
    assert same.a != same.b and (same.rate, same.ties_equal) == (0.5, 2)


def test_an_always_first_judge_gives_ties_only(files, stub):
    stub.behaviour = BEHAVIOURS["always-A"]
    result = run(files)
    assert (result.wins, result.losses, result.ties_disagreement, result.ties) == (0, 0, 4, 6)
    assert (result.first_slot_share, result.order_agreement, result.rate) == (1.0, 0.0, 0.5)


def test_unreadable_verdicts_cost_the_headline(files, stub):
    stub.behaviour = BEHAVIOURS["garbage"]
    result = run(files)
    assert result.invalid >= 1 and result.difference is result.rate is result.interval is None
    assert "no headline" in result.note and "unreadable" in result.text()


def test_replies_are_kept_and_a_run_goes_on_where_it_was(files, stub):
    first = run(files)
    asked = len(stub.requests)
    assert run(files) == first and len(stub.requests) == asked
    lines = (files / "out/replies.jsonl").read_text().splitlines()
    (files / "out/replies.jsonl").write_text("\n".join(lines[:5]) + '\n{"key": "torn')
    assert run(files) == first and len(stub.requests) == asked + len(lines) - 5
    (files / "prompt.txt").write_text(judging.PROMPT.replace("Which is better", "Say which is better"))
    with open(files / "judge.yaml", "a") as f:
        f.write("prompt: prompt.txt\n")
    assert (
        run(files) == first and len(stub.requests) == 2 * asked + len(lines) - 5
    )  # another prompt: everything is asked anew


def test_a_reply_with_an_odd_line_end_is_kept_too(files, stub):
    stub.behaviour = lambda a, b, n: "One\u2028line.\nPreferred: Answer (A)"
    first, asked = run(files), len(stub.requests)
    assert run(files) == first and len(stub.requests) == asked


def test_a_busy_or_broken_endpoint_is_tried_again_and_what_came_is_kept(files, stub):
    stub.status = [429, 500, 503, 206, 207]
    assert run(files).wins == 2
    stub.status = [500] * 1000
    with pytest.raises(CodemixError) as caught:
        run(files, out="other")
    assert caught.value.problems[0].rule == "judge-unreachable" and "HTTP 500" in str(caught.value)
    (files / "bad.yaml").write_text("base_url: http://127.0.0.1:x/v1\nmodel: stub-longer\n")
    with pytest.raises(CodemixError, match="not an address"):
        winrate(files / "a.jsonl", files / "b.jsonl", files / "bad.yaml", files / "bad")
    stub.status = [401]
    with pytest.raises(CodemixError) as caught:
        run(files, out="third")
    assert caught.value.problems[0].rule == "judge-refuses"


def test_the_key_is_read_from_the_environment_and_never_written(files, stub, monkeypatch):
    with open(files / "judge.yaml", "a") as f:
        f.write("api_key_env: SOME_JUDGE_KEY\n")
    with pytest.raises(CodemixError, match="SOME_JUDGE_KEY is not set"):
        run(files)
    monkeypatch.setenv("SOME_JUDGE_KEY", "s3cret")
    run(files)
    assert {authorization for _, authorization, _ in stub.requests} == {"Bearer s3cret"}
    assert not any("s3cret" in p.read_text() for p in (files / "out").iterdir())


def test_answers_cannot_close_the_fence_and_names_are_not_told(files, stub):
    run(files)
    for _, _, body in stub.requests:
        prompt = body["messages"][1]["content"]
        a, b = between_fences(prompt)
        fence = next(line for line in prompt.splitlines() if line.startswith("========"))
        assert fence not in a + b and "stub" not in prompt
        assert (
            "{b} {fence}" in a + b or "much longer" not in a + b
        )  # braces in an answer are left as they are
    assert (
        len(
            {
                next(x for x in body["messages"][1]["content"].splitlines() if x.startswith("===="))
                for _, _, body in stub.requests
            }
        )
        == 8
    )


@pytest.mark.parametrize(
    "change, match",
    [
        ({"prompt_sha256": "0"}, "differs between"),
        ({"decoding": {"max_tokens": 9}}, "different settings"),
        ({"id": "z"}, "occurs twice"),
    ],
)
def test_answers_that_cannot_be_compared_are_refused(files, change, match):
    save(files / "b.jsonl", ["q"] * 6, **change)
    with pytest.raises(CodemixError, match=match):
        run(files)
    save(files / "b.jsonl", ["q"] * 5)
    with pytest.raises(CodemixError, match="same prompts"):
        run(files)


@pytest.mark.parametrize(
    "reply, expected",
    [
        ("x\nPreferred: Answer (A)", "A"),
        ("**Preferred:** `Answer (B)`.", "B"),
        ("preferred: b", "B"),
        ("Preferred: tie", "tie"),
        ("Preferred: Answer (A)\nNo.\nPreferred: Answer (B)", "B"),
        ("Preferred: Answer", "unparsed"),
        ("A is better", "unparsed"),
        ("I preferred: both a lot", "unparsed"),
        ("", "unparsed"),
    ],
)
def test_verdicts_are_read_from_their_last_line(reply, expected):
    assert judging.verdict(reply) == expected


VERDICTS = st.sampled_from(["A", "B", "tie", "unparsed"])


def judged(pairs):
    return [JudgedPair(str(i), outcome(*v), v, n) for i, (v, n) in enumerate(pairs)]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.tuples(VERDICTS, VERDICTS), st.integers(-50, 50)), min_size=1, max_size=40))
def test_exchanging_a_and_b_mirrors_every_number(pairs):
    ours = summarise(judged(pairs), "a", "b", "j")
    theirs = summarise(judged([((second, first), -n) for (first, second), n in pairs]), "b", "a", "j")
    # A in the second place of one is B in the second place of the other: the same prompts to the judge, in
    # the other order
    assert (ours.wins, ours.losses, ours.ties, ours.invalid) == (
        theirs.losses,
        theirs.wins,
        theirs.ties,
        theirs.invalid,
    )
    assert (ours.first_slot_share, ours.order_agreement) == (theirs.first_slot_share, theirs.order_agreement)
    if ours.rate is not None:
        assert ours.rate == pytest.approx(1 - theirs.rate) and ours.difference == pytest.approx(
            -theirs.difference
        )
        assert ours.length_controlled_rate == pytest.approx(1 - theirs.length_controlled_rate, abs=1e-6)
        if ours.wins != ours.losses:
            assert ours.interval == pytest.approx((-theirs.interval[1], -theirs.interval[0]))
        assert ours.interval[0] - 1e-9 <= ours.difference <= ours.interval[1] + 1e-9 or len(pairs) < 10


@settings(max_examples=60)
@given(st.lists(st.tuples(st.tuples(VERDICTS, VERDICTS), st.integers(-50, 50)), min_size=1, max_size=4))
def test_whatever_could_not_be_read_the_result_can_be_printed(pairs):
    result = summarise(judged(pairs), "a", "b", "j")
    printed = result.text()
    assert "None" not in printed and (result.order_agreement is None) == ("both orders" not in printed)


def test_the_interval_narrows_with_prompts_and_matches_theory():
    few, many = bootstrap([1.0, -1.0] * 25), bootstrap([1.0, -1.0] * 2500)
    assert (many[1] - many[0]) == pytest.approx(2 * 1.96 / 5000**0.5, rel=0.1)
    assert few[1] - few[0] > 5 * (many[1] - many[0])
    low, high = bootstrap([1.0] * 9)  # nine wins of nine are no proof of always
    assert high == 1 and ((1 + low) / 2) ** 9 == pytest.approx(0.025) and bootstrap([-1.0] * 9) == (-1, -low)


def test_length_control_takes_away_what_length_explains():
    lengths = [float(n) for n in range(-50, 51) if n] + [100.0] * 60
    won = [float(n > 0) for n in lengths]  # the longer one always wins, and A is longer more often
    assert sum(won) / len(won) > 0.65
    assert length_controlled(won, lengths) == pytest.approx(0.5, abs=0.03)
    assert length_controlled([1.0, 0.0], [0.0, 0.0]) == pytest.approx(0.5)
    assert length_controlled([1.0] * 20, [0.0] * 20) > 0.99


def test_a_prompt_has_its_context_first():
    from codemix.eval.judge.answers import prompt_of

    assert prompt_of({"instruction": "Why?", "context": ""}) == "Instruction:\nWhy?\n\nAnswer:\n"
    with_context = prompt_of({"instruction": "Sum up.", "context": "It rained."})
    assert with_context == "Context:\nIt rained.\n\nInstruction:\nSum up.\n\nAnswer:\n"


def test_answers_are_written_once(tmp_path, model_spec, decoder):
    from support import byte_store as made

    from codemix.data.store.store import Store
    from codemix.eval.judge.answers import write_answers

    store = Store(tmp_path / "store")
    tokenizer = made.save_tokenizer(store, made.byte_tokenizer_json())
    manifests = {
        "a": made.save_source(
            store,
            "a",
            {"train": [[{"id": "0", "text": "x"}]], "held_out": []},
            lambda t: list(t.encode()),
            tokenizer,
        )
    }
    stage, folder = made.plan(model_spec, 64).stages[0], made.save_stage(store, decoder)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        json_lines(
            [{"id": "p", "instruction": "Say hello."}, {"instruction": "Sum up.", "context": "It rained."}]
        )
    )
    out = write_answers(stage, folder, manifests, prompts, tmp_path / "a.jsonl", max_tokens=8)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [r["id"] for r in rows] == ["p", "1"] and all(
        r["tokens"] <= 8 and r["finish"] in ("length", "eos", "stop") for r in rows
    )
    about = json.loads((tmp_path / "a.jsonl.about.json").read_text())
    assert about["prompts"] == 2 and about["contamination"]["texts"] == 2
    assert rows[1]["prompt"] == "Context:\nIt rained.\n\nInstruction:\nSum up.\n\nAnswer:\n"
    assert (
        write_answers(stage, tmp_path / "store/no/such", manifests, prompts, out, max_tokens=8) == out
    )  # there already
    with pytest.raises(CodemixError, match="other answers"):
        write_answers(stage, folder, manifests, prompts, out, max_tokens=9)
    prompts.write_text(json_lines([{"id": "p", "instruction": "Say hello."}]))
    with pytest.raises(CodemixError, match="other answers"):  # more than these
        write_answers(stage, folder, manifests, prompts, out, max_tokens=8)
    prompts.write_text(json_lines([{"id": "p", "instruction": "Say hello.", "context": ["x"]}]))
    with pytest.raises(CodemixError, match="`context` is not a text"):
        write_answers(stage, folder, manifests, prompts, tmp_path / "b.jsonl")
    prompts.write_text(json_lines([{"id": "p"}]))
    with pytest.raises(CodemixError, match="no `instruction`"):
        write_answers(stage, folder, manifests, prompts, tmp_path / "b.jsonl")
