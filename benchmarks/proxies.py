"""How often sources are really read by proxies of a recipe, once their samples are built. Last line: one JSON object.

python benchmarks/proxies.py RECIPE.yaml [--data-root FOLDER] [--divisors 2 4 8 16]
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

Epochs = dict[str, dict[str, float]]  # at the end of the run, by source and recipe


def codemix(*words: object) -> str:
    command = ["codemix", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def epochs_of(recipe: Path, *places: object) -> dict[str, float]:
    codemix("build-data", recipe, *places)
    plan = json.loads(codemix("plan", recipe, *places, "--json"))
    epochs: dict[str, float] = {}
    for stage in plan["stages"]:
        for source in stage["sources"]:
            epochs[source["source"]] = source["epochs_after"]
    return epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data-root", default=".")
    parser.add_argument("--divisors", type=int, nargs="+", default=[2, 4, 8, 16])
    asked = parser.parse_args()
    epochs: Epochs = {}
    with tempfile.TemporaryDirectory() as folder:
        places = ["--store", Path(folder) / "store", "--data-root", asked.data_root]
        target = epochs_of(asked.recipe, *places)
        for divisor in asked.divisors:
            proxy = Path(folder) / f"proxy-{divisor}.yaml"
            codemix("scale-down", asked.recipe, "--tokens", f"1/{divisor}", "--output", proxy, *places)
            epochs[f"1/{divisor}"] = epochs_of(proxy, *places)
    for name, wanted in target.items():
        cells = [f"{of[name]:.3f} ({of[name] / wanted - 1:+.1%})" for of in epochs.values()]
        print(name.ljust(20), f"{wanted:.3f}", *cells, sep="   ")
    print(json.dumps({"target": target, **epochs}))


if __name__ == "__main__":
    main()
