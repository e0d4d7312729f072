"""Time of a search for a mixture: the laws of 13 metrics over 17 domains from 512 runs, with 200 resamples,
and one proposal. Last line: one JSON object.

    [CODEMIX_MIXTURES=FOLDER] python benchmarks/mix.py [--runs 512] [--resamples 200]

The runs are those of RegMix where CODEMIX_MIXTURES names a folder that has them, else drawn from random laws.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from codemix.eval.evidence.layouts import read_tables
from codemix.eval.evidence.table import Table
from codemix.eval.evidence.tabulation import table, varied
from codemix.eval.mix.intervals import proposal
from codemix.eval.mix.proposal import Objective, Region, propose
from codemix.eval.mix.surrogate import Laws, fit


def published(folder: Path) -> Table:
    rows = read_tables(folder / "train_mixture_1m.csv", folder / "train_pile_loss_1m.csv", "pretrain").rows
    return table(rows, varied(rows))


def drawn(domains: int = 17, metrics: int = 13, runs: int = 512) -> Table:
    rng = np.random.default_rng(0)
    laws = Laws(np.full(metrics, 2.0), rng.normal(size=(metrics, domains)))
    shares = rng.dirichlet(np.full(domains, 0.3), size=runs)
    losses = laws(shares) * (1 + 0.01 * rng.normal(size=(runs, metrics)))
    names = tuple(map(str, range(runs)))
    return Table(
        runs=names,
        stage_names=("pretrain",),
        domains=tuple(f"domain{i}" for i in range(domains)),
        stages=np.zeros(domains, int),
        metrics=tuple(f"metric{i}" for i in range(metrics)),
        shares=shares,
        losses=losses,
        weights=np.ones(runs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=512)
    parser.add_argument("--resamples", type=int, default=200)
    asked = parser.parse_args()
    folder = Path(os.environ.get("CODEMIX_MIXTURES", "")) / "regmix"
    whole = published(folder) if folder.is_dir() else drawn(runs=asked.runs)
    prior = whole.shares.mean(0)
    region = Region(whole.domains, whole.stages, prior)
    n = len(whole.metrics)
    objective = Objective(whole.metrics, np.full(n, 1 / n), 0.05)
    seconds = {}
    start = time.perf_counter()
    laws = fit(whole.shares, whole.losses)
    seconds["fit_s"] = time.perf_counter() - start
    start = time.perf_counter()
    propose(laws, objective, region)
    seconds["propose_s"] = time.perf_counter() - start
    start = time.perf_counter()
    found = proposal(whole, objective, region, resamples=asked.resamples)
    seconds["with_intervals_s"] = time.perf_counter() - start
    print(f"gain {found.gain.value:.4f} in [{found.gain.low:.4f}, {found.gain.high:.4f}]")
    seconds = {name: round(value, 3) for name, value in seconds.items()}
    print(json.dumps({"runs": len(whole.runs), "resamples": asked.resamples, **seconds}))


if __name__ == "__main__":
    main()
