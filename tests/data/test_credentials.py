"""The op `secrets`: what it finds and leaves, how it counts, and that no secret is ever shown."""

import base64
import random
import re
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_recipes import recipe, write_jsonl

from codemix.data.build.build import build
from codemix.data.build.inventory import take_inventory
from codemix.data.document import Document, Drop
from codemix.data.review.inspect import inspect
from codemix.data.store.store import Store
from codemix.data.text.credentials import KINDS, find, replaced
from codemix.recipe.language.component import component_class

ALNUM = string.ascii_letters + string.digits
ALL = frozenset(KINDS)


def drawn(n, alphabet=ALNUM, seed=7):
    draw = random.Random(seed)
    return "".join(draw.choice(alphabet) for _ in range(n))


B64 = base64.b64encode(random.Random(3).randbytes(600)).decode()
PEM = "\n".join(B64[i : i + 64] for i in range(0, 640, 64))
HEX = "0123456789abcdef"

# put together here, so that no scanner takes this file for a leak
SECRETS = {
    "private_key": f"-----BEGIN RSA PRIVATE {'KEY'}-----\n{PEM}\n-----END RSA PRIVATE {'KEY'}-----",
    "aws_access_key": "AK" + "IA" + drawn(16, string.ascii_uppercase + "234567"),
    "aws_secret_key": drawn(40),
    "github_token": "ghp" + "_" + drawn(36),
    "gitlab_token": "glpat" + "-" + drawn(20),
    "slack_token": "xoxb" + "-123987456012-" + drawn(24),
    "slack_webhook": f"T{drawn(9, string.ascii_uppercase)}/B{drawn(9, string.ascii_uppercase, 2)}/{drawn(24)}",
    "google_api_key": "AI" + "za" + drawn(35),
    "stripe_key": "sk_" + "live_" + drawn(24),
    "openai_key": "sk-" + drawn(20) + "T3Blbk" + "FJ" + drawn(20, seed=8),
    "anthropic_key": "sk-" + "ant-api03-" + drawn(95),
    "huggingface_token": "hf" + "_" + drawn(34, string.ascii_letters),
    "npm_token": "npm" + "_" + drawn(36),
    "pypi_token": "pypi-" + "AgEIcHlwaS5vcmc" + drawn(90),
    "sendgrid_key": "SG." + drawn(22) + "." + drawn(43, seed=9),
    "twilio_key": "SK" + drawn(32, HEX),
    "telegram_token": "719482563:" + "AA" + drawn(33),
    "json_web_token": "eyJ" + drawn(30) + ".eyJ" + drawn(60) + "." + drawn(43),
    "azure_storage_key": drawn(86) + "==",
    "url_password": "hU7-kq2Lw",
    "assigned_secret": drawn(40, HEX),
}
AROUND = {
    "aws_secret_key": 'aws_secret_access_key = "%s"\n',
    "slack_webhook": "post('https://hooks.slack.com/services/%s')\n",
    "azure_storage_key": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=%s;\n",
    "url_password": "engine = 'postgresql://maria:%s@db.internal.net/orders'\n",
    "assigned_secret": "SECRET_KEY = '%s'\n",
}


def text_with(kind):
    return "# settings\n" + AROUND.get(kind, "value = '%s'\n") % SECRETS[kind] + "x = 1\n"


def op(**fields):
    return component_class("op", "secrets").model_validate({"kind": "secrets", **fields})


def test_there_is_an_example_of_each_kind():
    assert set(SECRETS) == ALL


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_found_replaced_and_dropped(kind):
    text = text_with(kind)
    [found] = find(text, ALL)
    assert found.kind == kind and text[found.start : found.stop] == SECRETS[kind]
    edited = op().apply(Document("x", text))
    assert edited.text == text.replace(SECRETS[kind], f"<{kind}>") and edited.edits == (kind,)
    assert op().apply(edited) is edited
    assert op(action="drop").apply(Document("x", text)) == Drop(f"secret_{kind}")
    others = [other for other in KINDS if other != kind]
    untouched = Document("x", text)
    assert op(kinds=others).apply(untouched) is untouched
    assert op(replacement="").apply(untouched).text == text.replace(SECRETS[kind], "")


NO_SECRETS = [
    "AKIAIOSFODNN7EXAMPLE is the key of the documentation",
    "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "if line.startswith('-----BEGIN RSA PRIVATE KEY-----'): load(line)",
    "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PUBLIC KEY-----\n" + PEM + "\n-----END PUBLIC KEY-----",
    "https://user:password@example.com/x",
    "https://user:${PASSWORD}@db.internal.net/",
    "redis://:{secret}@db.internal.net",
    "http://localhost:8080/a@b.c",
    "password = 'correct horse battery staple and so on'",
    "token = 'your-token-goes-here-0000000'",
    "api_key = os.environ['SERVICE_API_KEY_OF_THIS_ACCOUNT']",
    "sha256 = '" + drawn(64, HEX) + "'",
    "integrity sha512-" + B64[:86] + "==",
    "data:image/png;base64," + B64,
    "SKelementwise = SKabcdefabcdefabcdefabcdefabcdefabcde",
    "SG.shape.size",
    "hf_hub_download_with_a_long_name_of_a_function(",
]


@pytest.mark.parametrize("text", NO_SECRETS, ids=range(len(NO_SECRETS)))
def test_what_only_looks_like_one_stays(text):
    assert find(text, ALL) == []


def test_several_in_one_text():
    kinds = ["github_token", "private_key", "github_token", "url_password"]
    text = "".join(text_with(kind) for kind in kinds)
    edited = op().apply(Document("x", text))
    assert edited.edits == ("github_token", "private_key", "url_password")
    assert not any(SECRETS[kind] in edited.text for kind in kinds)


@given(st.text(max_size=200), st.sampled_from(KINDS), st.text(alphabet="\n ,;()", min_size=1, max_size=3))
def test_the_text_around_one_is_kept(before, kind, after):
    text = before + "\n" + text_with(kind) + after
    found = find(text, ALL)
    kept = re.sub("<[a-z_]+>", "", replaced(text, found, "<{kind}>"))
    assert SECRETS[kind] not in kept and len(kept) >= len(text) - sum(f.stop - f.start for f in found) - 60


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN RSA PRIVATE KEY-----" + "A+\n" * 100_000,
        "-----BEGIN RSA PRIVATE KEY-----\n" * 20_000,
        "://a:" * 100_000,
        "secret='" + "a" * 300_000,
        "token" + " " * 300_000,
        "eyJ" + "a" * 200_000 + ".eyJ",
    ],
)
def test_no_text_takes_long(text):
    start = time.process_time()
    find(text, ALL)
    assert time.process_time() - start < 5


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="no secrets of kind `github_key`"):
        op(kinds=["github_key"])


@pytest.mark.parametrize("action", ["replace", "drop"])
def test_a_build_counts_by_kind_and_shows_none(tmp_path, action, capsys):
    """Also of documents that another op drops, before this one or behind it."""
    rows = [text_with(kind) * 3 for kind in KINDS] + ["plain = 1\n" * 30]
    rows += [text_with("github_token"), text_with("private_key") + "0x0x" * 200]
    write_jsonl(tmp_path / "code.jsonl", rows)
    ops = [
        {"kind": "size", "min_bytes": 100},
        {"kind": "secrets", "action": action},
        {"kind": "contains_0x", "max_count": 100},
    ]
    source = {"read": {"kind": "jsonl", "paths": "code.jsonl"}, "ops": ops, "tags": {"kind": "code"}}
    asked, store = recipe({"code": source}), Store(tmp_path / "store")
    [made] = build(asked, store, data_root=tmp_path).values()
    funnel = made.funnel
    if action == "replace":
        counted = {key.partition("/")[2]: n for key, n in funnel["edited"].items() if "/" in key}
        assert counted == {kind: 1 + (kind == "private_key") for kind in KINDS}
        assert funnel["edited"]["02-secrets"] == len(KINDS) + 1
    else:
        assert funnel["kept"] == 1
    assert funnel["read"] == len(rows) == funnel["kept"] + sum(funnel["dropped"].values())
    shown = str(inspect(asked, store, take_inventory(asked, store, tmp_path), samples=50))
    assert "<github_token>" in shown and "<private_key>" in shown
    assert not [kind for kind in KINDS if SECRETS[kind].split("\n")[-2:][0] in shown]
