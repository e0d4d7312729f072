"""Objects and folders in buckets: on real servers on this machine, behind a proxy that breaks things."""

import hashlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from support import buckets

from codemix.data.remote import bucket as requests
from codemix.data.remote import pieces, refusals
from codemix.data.remote.bucket import Bucket
from codemix.data.store.addresses import is_address
from codemix.errors import CodemixError

NUMBERS = itertools.count()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(pieces, "PIECE", 1000)


@pytest.fixture
def place(server, quick):
    """An empty place in a bucket, and the faults on the way to it."""
    address, faults = server
    faults.share = 0.0
    faults.requests.clear()
    yield f"{address}/a place/{next(NUMBERS)}", faults
    faults.share = 0.0


def folder_of(path, sizes=(0, 1, 999, 1000, 1001, 5432)):
    """A folder of files of these sizes, and their digests."""
    digests = {}
    for number, size in enumerate(sizes):
        name = f"shards/{number:02}.ds" if number % 2 else f"{number} ü+#%.json"
        content = (hashlib.sha256(name.encode()).digest() * (size // 32 + 1))[:size]
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def contents_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_objects(place):
    address, _ = place
    bucket = Bucket(address)
    assert bucket.get("data/none") is None and bucket.entries() == [] and bucket.folders("data") == []
    bucket.put("data/a b+ü/x", b"12345")
    bucket.put("data/a b+ü/x", b"abcde")
    assert bucket.get("data/a b+ü/x") == b"abcde"
    assert b"".join(bucket.stream("data/a b+ü/x", 1, 4)) == b"bcd"
    assert bucket.put_new("data/y", b"1") and bucket.put_new("data/y", b"1")
    assert not bucket.put_new("data/y", b"2") and bucket.get("data/y") == b"1"
    assert {entry.key: entry.bytes for entry in bucket.entries("data")} == {"data/a b+ü/x": 5, "data/y": 1}
    assert bucket.folders("data") == ["a b+ü"]
    bucket.delete(["data/y", "data/y", "data/none"])
    assert bucket.get("data/y") is None


@pytest.mark.parametrize("start, end", [(0, 6), (4, 9)])
def test_a_range_that_an_object_does_not_have(place, start, end):
    bucket = Bucket(place[0])
    bucket.put("x", b"12345")
    with pytest.raises(CodemixError, match="cannot read .*/x"):
        list(bucket.stream("x", start, end))


def test_a_folder_there_and_back(place, tmp_path):
    bucket = Bucket(place[0])
    digests = folder_of(tmp_path / "here")
    assert pieces.read_contents(bucket, "data/it") is None
    sent = pieces.upload(bucket, "data/it", tmp_path / "here", digests, notes={"a": "b"})
    assert pieces.read_contents(bucket, "data/it") == sent and sent.notes["a"] == "b"
    pieces.download(bucket, "data/it", sent, tmp_path / "there")
    assert contents_of(tmp_path / "there") == contents_of(tmp_path / "here")
    assert {piece.bytes for piece in bucket.entries("data")} >= {1000}


def test_what_is_there_is_not_sent_again(place, tmp_path):
    address, faults = place
    bucket = Bucket(address)
    digests = folder_of(tmp_path)
    sent = pieces.upload(bucket, "it", tmp_path, digests)
    bucket.delete(["it/done.json", f"it/{sent.pieces[3]}"])
    faults.requests.clear()
    pieces.upload(bucket, "it", tmp_path, digests)
    assert len([request for request in faults.requests if request.startswith("PUT")]) == 2


def test_two_writers_of_one_folder(place, tmp_path):
    bucket = Bucket(place[0])
    first = folder_of(tmp_path / "a", (10, 20))
    second = folder_of(tmp_path / "b", (10, 21))
    sent = pieces.upload(bucket, "it", tmp_path / "a", first)
    assert pieces.upload(bucket, "it", tmp_path / "a", first) == sent
    with pytest.raises(CodemixError, match="finished by somebody else"):
        pieces.upload(bucket, "it", tmp_path / "b", second)
    assert pieces.read_contents(bucket, "it") == sent


def test_a_file_that_changed_is_not_pushed(place, tmp_path):
    bucket = Bucket(place[0])
    digests = folder_of(tmp_path)
    (tmp_path / "shards/03.ds").write_bytes(bytes(1000))
    with pytest.raises(CodemixError, match=r"03\.ds has changed"):
        pieces.upload(bucket, "it", tmp_path, digests)
    assert bucket.get("it/done.json") is None


def spoil_truncated(bucket, key):
    bucket.put(key, bucket.get(key)[:-1])


def spoil_replaced(bucket, key):
    bucket.put(key, bytes(len(bucket.get(key))))


def spoil_deleted(bucket, key):
    bucket.delete([key])


@pytest.mark.parametrize("spoil", [spoil_truncated, spoil_replaced, spoil_deleted])
def test_a_piece_spoilt_behind_our_back(place, tmp_path, spoil):
    bucket = Bucket(place[0])
    sent = pieces.upload(bucket, "it", tmp_path / "here", folder_of(tmp_path / "here"))
    spoil(bucket, f"it/{sent.pieces[2]}")
    with pytest.raises(CodemixError, match=sent.pieces[2]):
        pieces.download(bucket, "it", sent, tmp_path / "there")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": 2}, "has format 2"),
        ({"files": [{"path": "../../evil", "bytes": 1, "sha256": "x"}]}, "leads outside"),
        ({"pieces": []}, "its pieces are not its files"),
        ({"unknown": 1}, "is damaged"),
    ],
)
def test_a_listing_that_cannot_be_read(place, tmp_path, change, message):
    bucket = Bucket(place[0])
    sent = pieces.upload(bucket, "it", tmp_path, folder_of(tmp_path, (10,)))
    bucket.put("it/done.json", json.dumps(json.loads(sent.as_json()) | change).encode())
    with pytest.raises(CodemixError, match=message):
        pieces.read_contents(bucket, "it")


def test_a_thousand_faults_lose_nothing(place, tmp_path, monkeypatch):
    address, faults = place
    bucket = Bucket(address)
    monkeypatch.setattr(requests, "TRIES", 30)
    before = sum(faults.done.values())
    digests = folder_of(tmp_path / "here", [5000] * 40)
    faults.share = 0.3
    round = 0
    while sum(faults.done.values()) - before < 500:  # 1,000 on both servers
        key = f"it{round}"
        sent = pieces.upload(bucket, key, tmp_path / "here", digests)
        pieces.download(bucket, key, pieces.read_contents(bucket, key), tmp_path / key)
        assert contents_of(tmp_path / key) == contents_of(tmp_path / "here")
        assert len(sent.pieces) == 200
        round += 1
    assert all(faults.done.values())


PUSH_OR_PULL = """
import sys
from pathlib import Path
from codemix.data.remote import pieces
from codemix.data.remote.bucket import Bucket
from codemix.data.store import digests
what, address, folder = sys.argv[1:]
pieces.PIECE = 1000
pieces.SENDING = pieces.CONCURRENT = 2
bucket, folder = Bucket(address), Path(folder)
print("begun", flush=True)
if what == "push":
    pieces.upload(bucket, "it", folder, digests.measure(folder, digests.files(folder)))
else:
    pieces.download(bucket, "it", pieces.read_contents(bucket, "it"), folder)
"""


@pytest.mark.parametrize("what", ["push", "pull"])
def test_killed_at_random_places_it_resumes_to_equal_bytes(place, tmp_path, what):
    address, faults = place
    bucket = Bucket(address)
    here, there = tmp_path / "here", tmp_path / "there"
    digests = folder_of(here, [5000] * 12)
    if what == "pull":
        pieces.upload(bucket, "it", here, digests)
    faults.first_byte_s = 0.01
    command = [sys.executable, "-c", PUSH_OR_PULL, what, address, str(here if what == "push" else there)]
    for kill in range(3):
        started = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ)
        started.stdout.readline()
        time.sleep(0.02 + 0.05 * kill)
        started.send_signal(signal.SIGKILL)
        started.wait()
        started.stdout.close()
    subprocess.run(command, check=True, capture_output=True, env=os.environ, timeout=60)
    faults.first_byte_s = 0.0
    if what == "push":
        pieces.download(bucket, "it", pieces.read_contents(bucket, "it"), there)
    assert contents_of(there) == contents_of(here)


@pytest.mark.parametrize(
    "address", ["s3://", "s3:///x", "s3:bucket/x", "s3:/bucket/x", "gcs://b/x", "az://c/x"]
)
def test_what_is_almost_an_address_is_no_folder(address):
    with pytest.raises(CodemixError, match="is not an address of a bucket"):
        is_address(address)


@pytest.mark.parametrize("place", ["store", "./s3:/x", "/a/b", "a b", "s3", "../x", "C"])
def test_folders(place):
    assert not is_address(place)


def test_no_secret_is_repeated():
    with pytest.raises(CodemixError) as error:
        is_address("s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI@bucket/x")
    assert "wJalr" not in str(error.value)


def test_a_bucket_that_is_not_there(server, quick):
    address, _ = server
    scheme = address.split(":")[0]
    bucket = Bucket(f"{scheme}://nobody-made-this/x")
    with pytest.raises(CodemixError, match="no bucket `nobody-made-this`|404"):
        bucket.put("x", b"1")


@pytest.mark.parametrize(
    "status, code, message",
    [
        (403, "AccessDenied", "403 AccessDenied.*may not do that"),
        (301, "PermanentRedirect", "leads elsewhere.*another region|301.*another region"),
        (400, "AuthorizationHeaderMalformed", "400.*another region"),
        (401, "ExpiredToken", "401.*expired"),
        (400, "ExpiredToken", "400 ExpiredToken.*have expired"),
        (403, "RequestTimeTooSkewed", "403 RequestTimeTooSkewed.*clock of this machine"),
        (403, "InvalidAccessKeyId", "403.*does not know these credentials"),
        (403, "SignatureDoesNotMatch", "403.*does not know these credentials"),
        (501, "NotImplemented", "501.*conditional"),
        (503, "SlowDown", "503 SlowDown.*resumes"),
    ],
)
def test_what_a_bucket_refuses(server, quick, monkeypatch, status, code, message):
    address, faults = server
    monkeypatch.setattr(requests, "TRIES", 3)
    answer = f"<Error><Code>{code}</Code></Error>".encode()
    monkeypatch.setattr(buckets._Proxy, "ask", lambda self, body: (status, {}, answer))
    with pytest.raises(CodemixError) as error:
        Bucket(address).put("x", b"1")
    text = str(error.value)
    assert "not-a-secret" not in text
    assert re.search(message, text, re.S), text


def test_nobody_answers(quick, monkeypatch):
    pytest.importorskip("obstore")
    monkeypatch.setattr(requests, "TRIES", 2)
    with buckets.environment(buckets.s3_environment("http://127.0.0.1:9")):
        with pytest.raises(CodemixError, match="check the network"):
            Bucket("s3://corpus/x").get("x")


def test_no_credentials():
    error = RuntimeError("Error performing PUT http://169.254.169.254/latest/api/token in 1ms")
    assert not refusals.passes(error)
    assert "AWS_ACCESS_KEY_ID" in str(refusals.refusal("read", "s3://corpus/x", error))
