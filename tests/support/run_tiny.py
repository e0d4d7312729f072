"""A program that trains a tiny plan, for tests that need a process of their own:
`run_tiny.py ROOT [key=value ...]`.
"""

import json
import os
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def main(root: str, *words: str) -> None:
    from codemix.errors import CodemixError
    from codemix.train.run import loop
    from codemix.train.run.options import Hosts
    from codemix.train.run.session import train
    from support import tiny

    given = {key: json.loads(value) for key, value in (word.split("=", 1) for word in words)}
    pause, data, recipe = given.pop("pause", 0), given.pop("data", None), given.pop("recipe", {})
    if "hosts" in given:
        given["hosts"] = Hosts(**given["hosts"])
    if given.pop("note_rows", False):
        note_rows(loop, Path(root))
    if pause:
        account = loop.StageRun._account
        loop.StageRun._account = lambda self: (account(self), time.sleep(pause))
    plan, store, manifests = tiny.make_run(
        Path(root), tiny.make_recipe(**recipe), Path(data) if data else None
    )
    try:
        train(plan, store, manifests, options=tiny.options(**given))
    except KeyboardInterrupt:
        sys.exit(130)
    except CodemixError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def note_rows(stages, root: Path) -> None:
    """Write what this process reads: for each step and row of the global batch, a hash of its tokens."""
    import hashlib

    import jax

    batches = stages.batches

    def noted(stage, shards, *, row_ranges, **words):
        root.mkdir(parents=True, exist_ok=True)
        with open(root / f"rows-{jax.process_index()}.jsonl", "a") as file:
            for step, batch in batches(stage, shards, row_ranges=row_ranges, **words):
                numbers = [
                    row for first, stop in row_ranges(stage.batch_size(step)) for row in range(first, stop)
                ]
                hashes = [
                    hashlib.sha256(batch["inputs"][i].tobytes() + batch["targets"][i].tobytes()).hexdigest()
                    for i in range(len(numbers))
                ]
                print(
                    json.dumps([stage.name, step, dict(zip(numbers, hashes, strict=True))]),
                    file=file,
                    flush=True,
                )
                yield step, batch

    stages.batches = noted


if __name__ == "__main__":
    main(*sys.argv[1:])
