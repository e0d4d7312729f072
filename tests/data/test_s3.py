"""Real S3 calls, against a server on this machine:
names of every kind, folders, an object replaced while it is in use.
"""

import pytest
from support.small_recipes import recipe
from support.source_files import read, source

from codemix.data.build import documents_job
from codemix.data.build.build import build
from codemix.data.inputs import opener
from codemix.data.inputs.frozen_inputs import freeze
from codemix.data.inputs.locations import expand
from codemix.data.store.store import Store
from codemix.errors import CodemixError

pytestmark = pytest.mark.optional("needs a server: pip install 'moto[server]' s3fs")
ODD = ("page?id=1", "page?id=2", "sharp #3", "100%", "a+b c", "x@y", "br[1]", "br1", "ünï")


@pytest.fixture
def bucket(monkeypatch):
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    s3fs = pytest.importorskip("s3fs")
    server.start()
    host, port = server.get_host_and_port()
    known = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    filesystem.makedirs("corpus", exist_ok=True)  # one process has one world of buckets
    yield filesystem
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def put(bucket, key, *texts):
    bucket.call_s3(
        "put_object",
        Bucket="corpus",
        Key=key,
        Body="".join(f'{{"text": "{text}"}}\n' for text in texts).encode(),
    )


def test_names_and_folders(bucket, tmp_path):
    for name in ODD:
        put(bucket, f"odd/{name}.jsonl", name)
    found = read(tmp_path, source("jsonl", paths="s3://corpus/odd/*"))
    assert {d.id: d.text for d in found} == {f"s3://corpus/odd/{name}.jsonl#0": name for name in ODD}
    for name in ODD:
        assert expand(f"s3://corpus/odd/{name}.jsonl", tmp_path) == [f"s3://corpus/odd/{name}.jsonl"]
    put(bucket, "dirs/")
    put(bucket, "dirs/sub/")
    put(bucket, "dirs/a.jsonl", "a")
    put(bucket, "dirs/sub/b.jsonl", "b")
    assert expand("s3://corpus/dirs/*", tmp_path) == ["s3://corpus/dirs/a.jsonl"]
    assert expand("s3://corpus/dirs/**", tmp_path) == [
        "s3://corpus/dirs/a.jsonl",
        "s3://corpus/dirs/sub/b.jsonl",
    ]
    with pytest.raises(CodemixError, match="is a folder"):
        freeze(["s3://corpus/dirs"], Store(tmp_path / "store"), tmp_path)


@pytest.mark.parametrize("when", ["before it is opened", "after it was read"])
def test_an_object_replaced_while_it_is_in_use(bucket, tmp_path, monkeypatch, when):
    put(bucket, "race/a.jsonl", *(f"old {i}" for i in range(50)))
    owner, name = (
        (opener.Opener, "open") if when == "before it is opened" else (documents_job.DocumentsJob, "finish")
    )
    plain = getattr(owner, name)

    def replaced_first(self, given):
        put(bucket, "race/a.jsonl", *(f"new {i}" for i in range(50)))
        return plain(self, given)

    made, store = recipe({"web": "s3://corpus/race/a.jsonl"}), Store(tmp_path / "store")
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, replaced_first)
        with pytest.raises(CodemixError, match=r"s3://corpus/race/a\.jsonl changed while it was in use"):
            build(made, store, data_root=tmp_path)
    assert not list((store.root / "documents").glob("*")) and not list((store.root / "data").glob("*"))
    assert build(made, store, data_root=tmp_path)["web"].funnel["kept"] == 50
