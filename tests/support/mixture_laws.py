"""Evidence from known laws of a mixture, and a study that asks for the best one."""

import numpy as np

from codemix.eval.evidence.rows import Row, StageRead
from codemix.eval.mix.surrogate import Laws

PRIOR = np.array([0.5, 0.4, 0.1])
# The base recipe's stage `init` names prose and code, here it names its three sources.
SPLIT = {"mixture: {prose: 50%, code: 50%}": "mixture: {prose: 50%, web: 40%, markup: 10%}"}
LAWS = Laws(np.array([0.9, 0.5]), np.array([[-1.0, 0.4, 0.2], [0.3, -0.8, -0.1]]))
METRICS = ("bits_per_byte/prose", "bits_per_byte/web")
SOURCES = ("prose", "web", "markup")
STUDY = """\
codemix: 1
study: which
base: base.yaml
mix: {stages: [init]}
"""


def mixtures(n, rng, prior=PRIOR, strength=6.0):
    return rng.dirichlet(prior * strength, size=n)


def evidence_rows(n=24, noise=0.002, seed=0, laws=LAWS, sources=SOURCES, metrics=METRICS, stage="init"):
    """Rows of `n` runs with random mixtures, measured with noise."""
    rng = np.random.default_rng(seed)
    shares = mixtures(n, rng)
    losses = laws(shares) + noise * rng.normal(size=(n, len(metrics)))
    return [
        Row(
            run=f"p{i:02}",
            stages=(StageRead(name=stage, shares=dict(zip(sources, of_run.tolist(), strict=True))),),
            metrics=dict(zip(metrics, of_metrics.tolist(), strict=True)),
        )
        for i, (of_run, of_metrics) in enumerate(zip(shares, losses, strict=True))
    ]
