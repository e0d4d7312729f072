"""How fast recipes are read, planned and compared.
Last line: one JSON object of ratios and seconds measured in this run.

    python benchmarks/recipe.py

`validate_vs_import_floor`: the user CPU time of `codemix validate` on the largest shipped recipe over that of
a bare interpreter that imports typer, pydantic (with one model, as nothing is loaded before) and yaml; runs
are interleaved, the minima compared. `plan_440b_60_sources_s`: reading, checking and planning 440B tokens
over 60 sources, in process. `diff_s`: comparing two such plans.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOOR = "import typer, yaml\nfrom pydantic import BaseModel\nclass M(BaseModel):\n    x: int\n"
N = 15


ENVIRONMENT = {
    k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"
}  # an installed package has its bytecode


def cpu_s(words: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, capture_output=True, cwd=ROOT, env=ENVIRONMENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def large_recipe(name: str = "large", first_share: int = 40) -> str:
    """440B tokens over 60 sources in three stages, with groups and a ramp."""
    sources = "".join(
        f"  s{i:02}: {{read: {{kind: jsonl, paths: [s{i}.jsonl]}}, tokens: {20 + i}B, documents: {10**7 + i}, max_epochs: 4, held_out: 0.1%, tags: {{kind: {'code' if i % 2 else 'text'}}}}}\n"
        for i in range(60)
    )
    text_group = ", ".join(
        f"s{i:02}: {1 + i % 7}/{sum(1 + j % 7 for j in range(0, 60, 2))}" for i in range(0, 60, 2)
    )
    code_group = ", ".join(
        f"s{i:02}: {1 + i % 5}/{sum(1 + j % 5 for j in range(1, 60, 2))}" for i in range(1, 60, 2)
    )
    return f"""codemix: 1
name: {name}
tokenizer: {{kind: bpe, vocab_size: 256000, train: {{bytes: 1GB}}}}
sources:
{sources}groups:
  text: {{{text_group}}}
  code: {{{code_group}}}
model: {{preset: 470M}}
training: {{seq_len: 8192, batch_size: 512}}
stages:
  - {{name: init, tokens: 200B, mixture: {{text: {100 - first_share}%, code: {first_share}%}}, learning_rate: {{kind: cosine, peak: 1e-3, warmup: 1325 steps}}}}
  - {{name: continue, tokens: 200B, mixture: {{text: 90%, code: 10%}}, learning_rate: {{kind: cosine, peak: 1e-3, floor: 1e-4}}}}
  - {{name: cooldown, tokens: 40B, mixture: {{text: rest, code: {{from: 10%, to: 30%}}}}, learning_rate: {{kind: linear, start: previous, floor: 1e-6}}}}
"""


def main() -> None:
    largest = max(
        (p for p in (ROOT / "recipes").rglob("*.yaml") if "study:" not in p.read_text()),
        key=lambda p: p.stat().st_size,
    )
    floor, ours = [], []
    for _ in range(N):
        floor.append(cpu_s([sys.executable, "-c", FLOOR]))
        ours.append(cpu_s([sys.executable, "-m", "codemix", "validate", str(largest)]))
    print(f"validate {largest.relative_to(ROOT)}: {min(ours):.3f} CPU-s, floor {min(floor):.3f} CPU-s")

    sys.path.insert(0, str(ROOT))
    from codemix.recipe.checks import validation
    from codemix.recipe.diffs import diff
    from codemix.recipe.language import recipe_file

    start = time.perf_counter()
    a = validation.check(recipe_file.parse_recipe(large_recipe(), "a.yaml")).require()
    plan_s = time.perf_counter() - start
    b = validation.check(recipe_file.parse_recipe(large_recipe("other", 41), "b.yaml")).require()
    start = time.perf_counter()
    diff.diff(a, b)
    diff_s = time.perf_counter() - start
    print(f"plan: {sum(s.tokens for s in a.stages):,} tokens over {len(a.recipe.sources)} sources")
    print(
        json.dumps(
            {
                "validate_vs_import_floor": round(min(ours) / min(floor), 3),
                "plan_440b_60_sources_s": round(plan_s, 3),
                "diff_s": round(diff_s, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
