"""How fast evaluation is: scoring against the training forward, cached generation against none,
HumanEval in the sandbox.

    python benchmarks/eval.py [--quick] [--data DIR]

The last line is one JSON object: `score_vs_forward` (documents scored against `next_token_loss` on full rows
of the same model, both in tokens/s), `generate_cached_vs_uncached` (text of 512 tokens, prompt included),
`humaneval_164_s` (seconds for 164 sandboxed programs: HumanEval's references with `--data`, else programs of
the same kind), `eval_vs_train` (CPU seconds a token of scoring the quickstart's stages over those of training
them, both with compiling and checkpoints).
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from codemix.data.build.build import build
from codemix.data.store.store import Store, read_json
from codemix.data.workspace import open_workspace
from codemix.eval.engine.generate import Decoding, generate
from codemix.eval.engine.score import Engine
from codemix.eval.measure.evaluate import evaluate
from codemix.recipe.language.recipe_file import parse_recipe
from codemix.recipe.language.schema import Model
from codemix.sandbox.sandbox import run_many
from codemix.train.model.decoder import hidden, init_decoder, logits
from codemix.train.run.options import TrainOptions
from codemix.train.run.session import train
from codemix.train.step.loss import next_token_loss

ROOT = Path(__file__).parents[1]

EOS = 0


class Numbers:
    """Stands in for a tokenizer: texts are numbers with spaces between."""

    eos_id = EOS

    def encode(self, text):
        return [int(w) for w in text.split()]

    def decode(self, ids):
        return " ".join(map(str, ids))

    decode_after = decode


def timed(function, repeats):
    """Median seconds of a call, after one that compiles."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def score_vs_forward(model, seq_len, repeats):
    """Tokens/s of scoring documents of mixed lengths over tokens/s of the loss on full rows."""
    rng = np.random.default_rng(0)
    vocab = model.vocab_size
    lengths = np.minimum(rng.lognormal(np.log(seq_len / 3), 1.0, 48).astype(int) + 8, 6 * seq_len)
    documents = [rng.integers(1, vocab, n) for n in lengths]
    engine = Engine(model, Numbers(), longest=seq_len)
    rows = engine.batch_tokens // seq_len
    tokens = rng.integers(1, vocab, (rows, seq_len + 1)).astype(np.int32)
    batch = {
        "inputs": tokens[:, :-1],
        "targets": tokens[:, 1:],
        "weights": np.ones((rows, seq_len), np.float32),
        "source": np.zeros(rows, np.int32),
    }
    forward = jax.jit(lambda m, b: next_token_loss(m, b, 1, engine.compute)[0])
    passes = max(1, int(lengths.sum()) // (rows * seq_len))

    def forwards():
        for _ in range(passes):
            forward(model, batch).block_until_ready()

    forward_s, score_s = [], []
    forwards(), engine.score_documents(documents)
    for _ in range(repeats):  # in turns: a machine's speed changes over time
        start = time.perf_counter()
        forwards()
        forward_s.append((time.perf_counter() - start) / (passes * rows * seq_len))
        start = time.perf_counter()
        engine.score_documents(documents)
        score_s.append((time.perf_counter() - start) / int(lengths.sum()))
    return statistics.median(f / s for f, s in zip(forward_s, score_s, strict=True))


def generate_cached_vs_uncached(model, length, repeats):
    """Seconds for one text of `length` tokens (an eighth of it prompt) by a full forward a token,
    over those with the cache.
    """
    rng = np.random.default_rng(1)
    n_prompt = length // 8
    prompt = rng.integers(1, model.vocab_size, n_prompt).tolist()
    engine = Engine(model, Numbers(), longest=2 * length)
    text = Numbers().decode(prompt)
    cached = timed(lambda: generate(engine, [text], Decoding(max_tokens=length - n_prompt)), repeats)

    @jax.jit
    def following(model, tokens, at):
        states = hidden(model, tokens, compute=engine.compute)
        return jnp.argmax(logits(model, jax.lax.dynamic_index_in_dim(states, at, 1, keepdims=False)), -1)

    def uncached(steps):
        tokens = np.zeros((1, length), np.int32)
        tokens[0, :n_prompt] = prompt
        for at in range(n_prompt, n_prompt + steps):
            tokens[0, at] = int(following(model, tokens, at - 1)[0])
        return tokens

    steps = 16  # every step costs the same: the row is always `length` long
    return timed(lambda: uncached(steps), repeats) / steps * (length - n_prompt) / cached


def humaneval_s(data):
    """Seconds for 164 programs in the sandbox."""
    if data and (data / "humaneval.jsonl").is_file():
        from codemix.eval.task_shapes.example_files import read_rows
        from codemix.eval.tasks.humaneval import HumanEval

        task = HumanEval()
        programs = [task.program(row, task.gold(row)) for row in read_rows(data / "humaneval.jsonl")]
    else:
        function = "from typing import List\ndef f(xs: List[int]) -> int:\n    return sum(xs) + {}\nassert f([1, 2]) == {}\n"
        programs = [function.format(i, 3 + i) for i in range(164)]
    start = time.perf_counter()
    results = run_many(programs)
    assert all(r.passed for r in results), [r.reason for r in results if not r.passed][:3]
    return time.perf_counter() - start


def cpu_s():
    """CPU seconds of this process and its children so far, the kernel's included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def eval_vs_train(scale):
    """CPU a token of `codemix eval` over `codemix train` on the quickstart,
    its stages `scale` times as long.
    """
    content = (ROOT / "recipes/quickstart.yaml").read_text()
    for tokens in (500_000, 200_000):
        content = content.replace(f"tokens: {tokens // 1000}k", f"tokens: {round(tokens * scale)}")
    source = parse_recipe(content, "quickstart.yaml")
    with tempfile.TemporaryDirectory(prefix="codemix-") as folder:
        store = Store(Path(folder))
        build(source.recipe, store, data_root=Path())
        context = open_workspace(source, store, Path())
        start = cpu_s()
        stages = train(context.plan, store, context.manifests, options=TrainOptions())
        trained_s = cpu_s() - start
        start = cpu_s()
        paths = [evaluate(context.plan, i, store, context.manifests, stage) for i, stage in enumerate(stages)]
        scored_s = cpu_s() - start
        scored = sum(s["tokens"] for path in paths for s in read_json(path)["bits_per_byte"].values())
    trained = sum(stage.tokens for stage in context.plan.stages)
    print(f"train: {trained:,} tokens in {trained_s:.1f} s of CPU; eval: {scored:,} in {scored_s:.1f} s")
    return (scored_s / scored) / (trained_s / trained)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller model and fewer repeats")
    parser.add_argument("--data", type=Path, help="folder of `codemix eval fetch-data`")
    given = parser.parse_args()
    small = (
        dict(d_model=128, n_layers=4, n_heads=4, d_ff=384)
        if given.quick
        else dict(d_model=256, n_layers=8, n_heads=8, d_ff=704)
    )
    repeats = 3 if given.quick else 5
    model = jax.jit(lambda key: init_decoder(Model(**small), 8192, key))(jax.random.key(0))
    found = {"score_vs_forward": score_vs_forward(model, 256 if given.quick else 512, repeats)}
    print(f"scoring documents: {found['score_vs_forward']:.2f} of the training forward's tokens/s")
    found["generate_cached_vs_uncached"] = generate_cached_vs_uncached(model, 512, repeats)
    print(
        f"generation at length 512: {found['generate_cached_vs_uncached']:.1f} times as fast with the cache"
    )
    found["humaneval_164_s"] = humaneval_s(given.data)
    print(f"164 programs in the sandbox: {found['humaneval_164_s']:.1f} s")
    found["eval_vs_train"] = eval_vs_train(0.2 if given.quick else 1.0)
    print(f"scoring a token takes {found['eval_vs_train']:.2f} of the CPU of training on one")
    print(json.dumps({k: round(v, 3) for k, v in found.items()}))


if __name__ == "__main__":
    main()
