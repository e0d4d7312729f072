"""Training speed on CPU in float32: codemix's step against torch, against a bare JAX step,
and against matmul peak.

Each contender is a process of its own that stays alive; they take turns, several rounds, one at a time, so
that a slow minute of the machine hits all. The best round of each counts. The last line is one JSON object of
ratios:

- `vs_torch`: our tokens/s over torch's (eager, SDPA, fused AdamW); null when torch is not installed
- `vs_bare_jax`: our loop (batch from the host, step, metrics read) over one jitted function of the same maths
- `of_matmul_peak`: the step's analytic FLOP/s over those of the faster of JAX's and torch's 2048^3 matmul
- `compile_count`: compilations of the step over two stages with other learning rates and sources

Usage: python benchmarks/train.py [--rounds 12] [--steps 1] [--shape small]. torch: `pip install
torch==2.13.0`, no dependency of ours.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time

SHAPES = {
    "notes": dict(d_model=384, n_layers=8, n_heads=6, d_ff=1024, vocab=8192, batch=8, seq=512),
    "small": dict(d_model=128, n_layers=4, n_heads=4, d_ff=344, vocab=4096, batch=16, seq=256),
}


def tokens(shape):
    import numpy as np

    return np.random.default_rng(0).integers(
        0, shape["vocab"], (shape["batch"], shape["seq"] + 1), dtype=np.int32
    )


def spec_of(shape):
    from codemix.recipe.language import schema

    return schema.Model(**{name: shape[name] for name in ("d_model", "n_layers", "n_heads", "d_ff")})


def ours(shape):
    """Our step as the loop drives it: numpy rows in, metrics read on the host after every run of steps."""
    import jax
    import numpy as np

    from codemix.train.run.memory import keep_freed_pages
    from codemix.train.step.step import Step

    keep_freed_pages()  # as the loop does
    step = Step(spec_of(shape), shape["vocab"], 3)
    state = step.init(0)
    t, source = tokens(shape), (np.arange(shape["batch"]) % 3).astype(np.int32)
    weights = np.ones((shape["batch"], shape["seq"]), np.float32)

    def run(n, stage=0):
        nonlocal state
        for i in range(n):
            rows = dict(inputs=t[:, :-1], targets=t[:, 1:], weights=weights, source=(source + stage) % 3)
            state, metrics = step(state, step.put(rows, shape["batch"]), 1e-3 / (1 + i + stage))
        return jax.device_get(metrics) | {"traces": step.traces}

    return run


def bare(shape):
    """The same maths as one jitted function of plain dicts:
    no chunks, no sources, no guard, data on the device.
    """
    import jax
    import jax.numpy as jnp
    import optax

    D, L, N, F, V = (shape[k] for k in ("d_model", "n_layers", "n_heads", "d_ff", "vocab"))
    H = D // N
    keys = jax.random.split(jax.random.key(0), 8)
    normal = jax.random.normal
    params = {
        "emb": 0.02 * normal(keys[0], (V, D)),
        "norm": jnp.ones(D),
        "blocks": {
            "norm": jnp.ones((L, D)),
            "q": normal(keys[1], (L, D, D)) * D**-0.5,
            "k": normal(keys[2], (L, D, D)) * D**-0.5,
            "v": normal(keys[3], (L, D, D)) * D**-0.5,
            "o": normal(keys[4], (L, D, D)) * D**-0.5,
            "gate": normal(keys[5], (L, D, F)) * D**-0.5,
            "up": normal(keys[6], (L, D, F)) * D**-0.5,
            "down": normal(keys[7], (L, F, D)) * F**-0.5,
        },
    }
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, b1=0.9, b2=0.95, weight_decay=0.1))
    opt = adam.init(params)
    t = jnp.asarray(tokens(shape))

    def norm(x, g):
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * g

    def loss(p, t):
        x, T = p["emb"][t[:, :-1]], t.shape[1] - 1
        angle = jnp.arange(T)[:, None] * 10000.0 ** (-jnp.arange(0, H, 2) / H)
        cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]

        def rope(x):
            a, b = x[..., ::2], x[..., 1::2]
            return jnp.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape)

        def layer(x, w):
            h = norm(x, w["norm"])
            q, k, v = ((h @ w[n]).reshape(*x.shape[:2], N, H) for n in "qkv")
            a = jax.nn.dot_product_attention(
                rope(q), rope(k), v, is_causal=True, implementation="xla"
            ).reshape(x.shape)
            return x + a @ w["o"] + (jax.nn.silu(h @ w["gate"]) * (h @ w["up"])) @ w["down"], None

        x = norm(jax.lax.scan(layer, x, p["blocks"])[0], p["norm"])
        return optax.softmax_cross_entropy_with_integer_labels(x @ p["emb"].T, t[:, 1:]).mean()

    @jax.jit
    def step(p, opt, t):
        value, g = jax.value_and_grad(loss)(p, t)
        updates, opt = adam.update(g, opt, p)
        return optax.apply_updates(p, updates), opt, value

    def run(n, stage=0):
        nonlocal params, opt
        for _ in range(n):
            params, opt, value = step(params, opt, t)
        return {"loss": float(value)}

    return run


def torch_eager(shape):
    """The same model in torch: one fused qkv and one fused gate-up matmul, SDPA, fused AdamW, clipping."""
    import torch
    from torch import nn
    from torch.nn import functional as f

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    D, N, F, V = (shape[k] for k in ("d_model", "n_heads", "d_ff", "vocab"))
    H = D // N
    angle = torch.arange(shape["seq"])[:, None] * 10000.0 ** (-torch.arange(0, H, 2) / H)
    turn = torch.polar(torch.ones_like(angle), angle)

    def rope(x):
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turn).flatten(-2)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(D, bias=False)
            self.qkv, self.out = nn.Linear(D, 3 * D, bias=False), nn.Linear(D, D, bias=False)
            self.up, self.down = nn.Linear(D, 2 * F, bias=False), nn.Linear(F, D, bias=False)

        def forward(self, x):
            h = self.norm(x)
            q, k, v = self.qkv(h).unflatten(-1, (3, N, H)).permute(2, 0, 3, 1, 4)
            a = (
                f.scaled_dot_product_attention(rope(q), rope(k), v, is_causal=True)
                .transpose(1, 2)
                .flatten(-2)
            )
            gate, up = self.up(h).chunk(2, -1)
            return x + self.out(a) + self.down(f.silu(gate) * up)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.norm = nn.Embedding(V, D), nn.LayerNorm(D, bias=False)
            nn.init.normal_(self.emb.weight, std=0.02)
            self.blocks = nn.Sequential(*[Block() for _ in range(shape["n_layers"])])

        def forward(self, t):
            return self.norm(self.blocks(self.emb(t))) @ self.emb.weight.T

    model = Model()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    t = torch.from_numpy(tokens(shape)).long()

    def run(n, stage=0):
        for _ in range(n):
            adam.zero_grad(set_to_none=True)
            value = f.cross_entropy(model(t[:, :-1]).flatten(0, 1), t[:, 1:].flatten())
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()
        return {"loss": float(value.detach())}

    return run


def matmul_jax(shape, n=2048):
    """One 2048^3 product a step."""
    import jax
    import jax.numpy as jnp

    a = jnp.ones((n, n), jnp.float32)
    f = jax.jit(jnp.matmul)
    return lambda k, stage=0: [f(a, a).block_until_ready() for _ in range(10 * k)] and {}


def matmul_torch(shape, n=2048):
    """One 2048^3 product a step."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    a = torch.ones(n, n)
    return lambda k, stage=0: [torch.mm(a, a) for _ in range(10 * k)] and {}


CONTENDERS = {
    "ours": ours,
    "bare": bare,
    "torch": torch_eager,
    "matmul_jax": matmul_jax,
    "matmul_torch": matmul_torch,
}


def worker(name: str, shape: dict) -> None:
    """Answers each line `steps stage` on stdin with the seconds it took."""
    run = CONTENDERS[name](shape)
    for line in sys.stdin:
        steps, stage = map(int, line.split())
        start = time.perf_counter()
        result = run(steps, stage)
        print(
            json.dumps({"seconds": time.perf_counter() - start, "traces": int(result.get("traces", 0))}),
            flush=True,
        )


class Contender:
    def __init__(self, name: str, shape_name: str):
        command = [sys.executable, __file__, "--worker", name, "--shape", shape_name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.traces = 0

    def __call__(self, steps: int, stage: int = 0) -> float:
        self.process.stdin.write(f"{steps} {stage}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.traces = answer["traces"]
        return answer["seconds"] / steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=1, help="steps a round")
    parser.add_argument("--shape", choices=SHAPES, default="notes")
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    shape = SHAPES[args.shape]
    if args.worker:
        return worker(args.worker, shape)
    have_torch = importlib.util.find_spec("torch") is not None
    running = {name: Contender(name, args.shape) for name in args.only if have_torch or "torch" not in name}
    for contender in running.values():
        contender(1)  # compile, warm up
    times: dict[str, list[float]] = {name: [] for name in running}
    for turn in range(args.rounds):
        for name, contender in running.items():
            times[name].append(contender(args.steps, turn % 2))
        print(
            f"round {turn + 1}: " + ", ".join(f"{name} {t[-1] * 1e3:.0f} ms" for name, t in times.items()),
            flush=True,
        )
    best = {name: min(t) for name, t in times.items()}
    n_tokens = shape["batch"] * shape["seq"]
    flops = spec_of(shape).flops_per_token(shape["vocab"], shape["seq"]) * n_tokens
    peak = max(
        (10 * 2 * 2048**3 / best[name] for name in best if name.startswith("matmul")), default=float("nan")
    )
    for name in best:
        if not name.startswith("matmul"):
            rate = f"{n_tokens / best[name]:,.0f} tokens/s, {flops / best[name] / 1e9:.0f} GF/s of {peak / 1e9:.0f}"
            print(f"{name}: {best[name] * 1e3:.0f} ms a step, {rate}")
    if "ours" in best:
        ratios = {
            "vs_torch": best.get("torch", float("nan")) / best["ours"],
            "vs_bare_jax": best.get("bare", float("nan")) / best["ours"],
            "of_matmul_peak": flops / best["ours"] / peak,
        }
        print(
            json.dumps(
                {k: None if v != v else round(v, 3) for k, v in ratios.items()}
                | {"compile_count": running["ours"].traces}
            )
        )
    for contender in running.values():
        contender.process.stdin.close()
        contender.process.wait()


if __name__ == "__main__":
    main()
