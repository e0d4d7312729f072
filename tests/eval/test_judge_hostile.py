"""A judge that misbehaves, on a real socket:
each ends in one located error, in time, in bounded memory, without the key.
"""

import json
import re
import socket
import threading
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.errors import CodemixError
from codemix.eval.judge import judge as judging
from codemix.eval.judge import replies
from codemix.eval.judge.endpoint import MAX_BODY_BYTES, Key, post

KEY = "sk-made-up/key+1"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def completion(content):
    return json.dumps({"choices": [{"message": {"content": content}}]}).encode()


def plain(body, status=b"200 OK", *headers):
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.fixture
def serve():
    """Starts a server that gives each request to `answer(connection, request)`;
    `.seen` are the requests, `.url` its address.
    """
    open_, stop = [], threading.Event()

    class Server:
        def __init__(self, answer):
            self.socket = socket.create_server(("127.0.0.1", 0))
            self.url, self.seen = f"http://127.0.0.1:{self.socket.getsockname()[1]}", []
            self.answer = answer if callable(answer) else lambda connection, _: connection.sendall(answer)
            threading.Thread(target=self.accept, daemon=True).start()

        def accept(self):
            while True:
                try:
                    connection, _ = self.socket.accept()
                except OSError:
                    return
                threading.Thread(target=self.one, args=(connection,), daemon=True).start()

        def one(self, connection):
            with connection:
                try:
                    self.seen.append(request(connection))
                    self.answer(connection, self.seen[-1])
                except OSError:
                    pass

    def request(connection):
        got = b""
        while b"\r\n\r\n" not in got or len(got.split(b"\r\n\r\n", 1)[1]) < int(
            re.search(rb"(?i)content-length: (\d+)", got)[1]
        ):
            got += connection.recv(2**16)
        return got

    def start(answer):
        open_.append(Server(answer))
        return open_[-1]

    start.stop = stop
    yield start
    stop.set()
    for server in open_:
        server.socket.close()


@pytest.fixture
def ask(tmp_path, monkeypatch):
    monkeypatch.setattr(replies.time, "sleep", lambda s: None)
    monkeypatch.setenv("A_KEY", KEY)

    def ask(url, **more):
        judge = judging.Judge(
            **{"base_url": url, "model": "stub", "api_key_env": "A_KEY", "retries": 1, "timeout_s": 20} | more
        )
        return replies.Replies(judge, judging.PROMPT, tmp_path / "replies.jsonl").get(
            [judging.Ask("q", "x", "y")]
        )

    return ask


def refused(ask, *given, **named):
    with pytest.raises(CodemixError) as caught:
        ask(*given, **named)
    assert KEY not in str(caught.value) and caught.value.problems[0].rule in (
        "judge-unreachable",
        "judge-refuses",
    )
    return str(caught.value)


@pytest.mark.parametrize(
    "status", [b"301 Moved", b"302 Found", b"303 See Other", b"307 Temporary", b"308 Permanent"]
)
def test_no_redirect_is_followed(serve, ask, status):
    other = serve(plain(completion("Preferred: Answer (A)")))
    first = serve(plain(b"", status, b"Location: " + other.url.encode() + b"/v1/chat/completions"))
    assert f"redirects to {other.url}" in refused(ask, first.url)
    assert len(first.seen) == 1 and not other.seen


@pytest.mark.parametrize(
    "reply",
    [
        plain(b'{"choices":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
        plain(b"[" * 200_000),
        plain(b'{"choices":' * 200_000),
        plain(completion("\ud800 Preferred: Answer (A)")),
        plain(completion(["Preferred"])),
        plain(completion({})),
        plain(completion(0)),
        plain(b"null"),
        plain(b"\xff"),
        OK + b"Content-Length: 999999999999999999\r\n\r\n{}",
        OK + b"Content-Length: " + b"9" * 6000 + b"\r\n\r\n{}",
        OK + b"Content-Length: -1\r\n\r\n{}",
        CHUNKED + b"7fffffffffffffff\r\n{}",
        CHUNKED + b"f" * 5000 + b"\r\n{}",
        CHUNKED + b"-5\r\n{}",
        CHUNKED + b"zz\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n{}",
        b"HTTP/9 x\r\n\r\n",
        b"\0" * 9,
        b"",
        OK + b"A: " + b"x" * 100_000 + b"\r\n\r\n",
        plain(b"", b"503 Busy", "Retry-After: ²".encode()),
        plain(b"", b"503 Busy", b"Retry-After: " + b"9" * 5000),
        plain(b"", b"503 Busy", b"Retry-After: \xc2\xb2"),
        plain(b'{"error": ' + b"[" * 200_000, b"400 Bad"),
        plain(b'{"error": 5}', b"400 Bad"),
        plain(b"", b"101 Switching"),
    ],
)
def test_what_is_no_answer_is_an_error(serve, ask, reply):
    server = serve(reply)
    assert server.url in refused(ask, server.url)


@pytest.mark.parametrize(
    "start",
    [
        OK + b"\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"fffffffffff\r\n",
        OK + b"Content-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 400 Bad\r\n\r\n",
    ],
)
def test_a_body_without_end_is_cut_off(serve, ask, start):
    def flood(connection, _):
        connection.sendall(start)
        while True:
            connection.sendall(b" " * 2**20)

    tracemalloc.start()
    try:
        assert f"longer than {MAX_BODY_BYTES:,} bytes" in refused(ask, serve(flood).url)
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_BODY_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("start", [b"", OK, OK + b"\r\n", CHUNKED])
def test_slow_headers_and_bodies_end_at_the_deadline(serve, ask, start):
    def slow(connection, _):
        connection.sendall(start)
        for _ in range(100):
            connection.sendall(b"1\r\nx\r\n" if start == CHUNKED else b"H" if start in (b"", OK) else b" ")
            if serve.stop.wait(0.1):
                return

    started = time.monotonic()
    assert "within 0.6 s" in refused(ask, serve(slow).url, timeout_s=0.6, retries=0)
    assert time.monotonic() - started < 5


FORMS = [KEY, f"Bearer {KEY}", KEY.replace("/", "%2F").replace("+", "%2B"), json.dumps(KEY)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "reply",
    [
        lambda said: plain(json.dumps({"error": {"message": said}}).replace("/", "\\/").encode(), b"401 No"),
        lambda said: plain(b"x" * 290 + said.encode(), b"401 No"),
        lambda said: plain(b"", b"302 Found", b"Location: http://x/?k=" + said.encode()),
        lambda said: said.encode() + b"\r\n\r\n",
    ],
)
def test_a_key_that_comes_back_is_starred(serve, ask, reply, form):
    said = refused(ask, serve(reply(form)).url)
    assert "sk-made" not in said.replace("*", "")


def test_a_key_in_a_reply_is_not_kept(serve, ask, tmp_path):
    answers = ask(serve(plain(completion(f"Your key is {KEY}.\nPreferred: Answer (B)"))).url)
    assert (
        KEY not in answers[0] + (tmp_path / "replies.jsonl").read_text()
        and judging.verdict(answers[0]) == "B"
    )
    assert Key("x").starred("x y") == "x y"  # a placeholder is no secret


@pytest.mark.parametrize("key", ["a key\n", "k\xe9y", "k\ud800", "a\0b"])
def test_a_key_that_no_header_can_hold_is_said_at_once(ask, monkeypatch, key):
    monkeypatch.setattr(replies.os, "environ", {"A_KEY": key})
    with pytest.raises(CodemixError, match="A_KEY holds a character") as caught:
        ask("http://127.0.0.1:1")
    assert caught.value.problems[0].rule == "judge-key"


def test_statuses_come_back_as_they_are(serve):
    response = post(serve(plain(b"hm", b"418 Teapot", b"A: b")).url, b"{}", {}, 10)
    assert (response.status, response.body, response.headers["A"]) == (418, b"hm", "b")


OLD = re.compile(r"^\W*preferred\W*(?:answer)?\W*(A|B|tie|neither|both)\b\W*$", re.IGNORECASE | re.MULTILINE)


@settings(max_examples=400)
@given(
    st.lists(
        st.sampled_from(
            [
                "preferred",
                "Preferred:",
                "answer",
                "Answer (A)",
                "B",
                "a",
                "tie",
                "both",
                " ",
                "\n",
                "*",
                "_",
                "x",
                ".",
                "\r",
            ]
        ),
        max_size=9,
    )
)
def test_a_verdict_is_what_the_plain_pattern_says(words):
    found = OLD.findall("".join(words))
    expected = found[-1].upper() if found else "unparsed"
    assert judging.verdict("".join(words)) == (expected if expected in ("A", "B", "unparsed") else "tie")
