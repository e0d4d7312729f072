"""Secrets are refused where a recipe is read, and starred out of whatever is shown all the same."""

import json
import time

import pytest

from codemix.cli import main
from codemix.errors import CodemixError
from codemix.recipe.language import yaml_text
from codemix.recipe.language.secrets import hidden, secret_in

SECRET = "Hunter2Hunter2Hunter2"
REFUSED = [
    f"s3://key:{SECRET}@bucket/x",
    f"https://host/x?key={SECRET}",
    f"gs://b/x?access_token={SECRET}",
    f"host.com/a.jsonl?key={SECRET}",
    f"a.jsonl?token={SECRET}",
    f"host/x?a=1&sig={SECRET}#x",
    f"user:{SECRET}@host.com/a.jsonl",
    f"user:{SECRET}@localhost:80/x",
    f"user:{SECRET}@h",
    f"hf_{SECRET}",
    f"see hf_{SECRET} for it",
    f"sk-{SECRET}",
    f"sk-proj-{SECRET}",
    f"ghp_{SECRET}",
    f"github_pat_{SECRET}",
    f"glpat-{SECRET}",
    "AKIA" + "HUNTER2HUNTER2ZZ",
    f"AIza{SECRET}{SECRET}",
    f"eyJ{SECRET}.eyJ{SECRET}.{SECRET}",
    f"xoxb-{SECRET}",
    "npm_" + (SECRET * 4)[:36],
    f"pypi-AgE{SECRET}",
    f"sk_live_{SECRET}",
    f"SG.{SECRET}.{SECRET}",
    "dop_v1_" + "5e" * 20,
    f"shpat_{SECRET}",
    f"AGE-SECRET-KEY-1{SECRET}",
    f"DefaultEndpointsProtocol=https;AccountName=x;AccountKey={SECRET}==;EndpointSuffix=core",
    f"-----BEGIN PRIVATE KEY-----\\n{SECRET}",
    f"-----BEGIN OPENSSH PRIVATE KEY----- {SECRET} {SECRET}",
]
KEPT = [
    "a.jsonl",
    "part?.jsonl",
    "index.php?key=5.html",
    "hf://datasets/o/n@main/x.parquet",
    "git@github.com:o/r.git",
    "git:repo@c0ffee",
    "a: b@c",
    "what is the key? token=abcdefghijk",
    "[?&]token=([a-z0-9]{8,})",
    "sk-learn",
    "image:tag@sha256:abc",
    "mailto:me@host.com",
    "https://h/x?page=1",
    "<|endoftext|>",
    "hf_hub",
    "s3://bucket/a?b",
    "token",
    "C:/data/x@y",
    "12:30@noon today",
]


@pytest.mark.parametrize("value", REFUSED)
@pytest.mark.parametrize("form", ["a: {}", "a: {{b: [x, {}]}}", "{}: a", "a: |\n  {}"])
def test_a_secret_in_a_recipe_is_refused_and_not_repeated(value, form):
    quoted = value if "|" in form else json.dumps(value)
    with pytest.raises(CodemixError) as caught:
        yaml_text.parse(form.format(quoted) + "\n", "x.yaml")
    assert [p.rule for p in caught.value.problems] == ["credentials-in-url"]
    assert not any(part in str(caught.value) for part in (SECRET, "HUNTER2"))


@pytest.mark.parametrize("value", KEPT)
def test_what_is_no_secret_is_read_as_ever(value):
    assert secret_in(value) == "" and yaml_text.parse(f"a: {json.dumps(value)}\n", "x.yaml").value == {
        "a": value
    }


@pytest.mark.parametrize(
    "line",
    [
        "token: {}",
        "api_key: '{}'",
        'a: {{b: 1, "hf-token": "{}", c: 2}}',
        "  apikey={}",
        "HF_TOKEN={} codemix plan",
        "Authorization: Bearer {}",
        "- password : {}",
        "x: 1  # the secret_access_key: {}",
        '{{"client_secret": "{}"}}',
        "no file matches user:{}@host/x under /data",
        "passwd: {}",
        "aws_access_key_id: {}",
        "GET https://h/x?key={}&b=1",
        "credentials = {}",
        "'signature': '{}'",
    ],
)
@pytest.mark.parametrize("secret", [SECRET, "abcd", "p@ss/w0rd"])
def test_a_line_is_shown_with_stars_and_as_long_as_before(line, secret):
    if "@" in secret and "@" in line:
        pytest.skip("no way to write that in an address")
    shown = hidden(line.format(secret))
    assert secret not in shown and len(shown) == len(line.format(secret)) and shown == hidden(shown)
    assert shown.replace("*", "").strip() != ""


@pytest.mark.parametrize(
    "line",
    [
        "tokenizer: {kind: bpe, vocab_size: 300}",
        "max_tokens: 2048",
        "eos_token: <|endoftext|>",
        "pad-token: pad_it",
        "token: null",
        "tokens: 10B",
        "max_tokens: 1000000",
        "bytes_per_token: 3.25",
        "  code: 30%",
        "the key: value",
        "a: b",
        "git:repo@c0ffee#x",
    ],
)
def test_lines_without_a_secret_stay_as_they_are(line):
    assert hidden(line) == line


@pytest.mark.parametrize("where", ["sources", "recipe", "address"])
@pytest.mark.parametrize("command", [["validate"], ["plan"], ["plan", "--json"], ["lock"]])
def test_no_command_repeats_one(tmp_path, capsys, command, where, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = {
        "sources": f"sources: {{a: {{read: {{kind: jsonl, paths: x, token: {SECRET}}}}}}}",
        "recipe": f"api_key: {SECRET}",
        "address": f"sources: {{a: 'host.com/x.jsonl?key={SECRET}'}}",
    }
    (tmp_path / "r.yaml").write_text(f"codemix: 1\nname: p\n{lines[where]}\n")
    with pytest.raises(SystemExit) as stopped:
        main([command[0], "r.yaml", *command[1:]])
    said = "".join(capsys.readouterr())
    assert stopped.value.code == 1 and said and SECRET not in said


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a-",
        "token",
        "token_",
        "?a=",
        "&key=",
        "a:",
        "@",
        "a.",
        "sk-",
        "sk-a-",
        "eyJ",
        "-eyJaaaaaaaaa",
        "AKIA",
        "xoxb-",
        "ya29.",
        "a@",
        "a:b@",
        "a:b@c.",
        "?token",
        "eyJa.",
        "://",
        " ",
        "hf_",
        "=",
        "bearer ",
    ],
)
def test_time_grows_with_the_text_and_no_faster(piece):
    def seconds(n):
        started = time.process_time()
        hidden("x:" + piece * n)
        secret_in("x:" + piece * n)
        return time.process_time() - started

    few, many = min(seconds(2000) for _ in range(3)), min(seconds(16_000) for _ in range(2))
    assert many < 24 * few + 0.05
