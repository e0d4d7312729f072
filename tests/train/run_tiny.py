"""A program that trains a tiny plan, for tests that need a process of their own: `run_tiny.py ROOT [key=value ...]`."""

import json
import os
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def main(root: str, *words: str) -> None:
    import tiny
    from codemix.errors import CodemixError
    from codemix.train import stages
    from codemix.train.loop import train
    from codemix.train.options import Hosts

    given = {key: json.loads(value) for key, value in (word.split("=", 1) for word in words)}
    pause, data, recipe = given.pop("pause", 0), given.pop("data", None), given.pop("recipe", {})
    if "hosts" in given:
        given["hosts"] = Hosts(**given["hosts"])
    if pause:
        account = stages.StageRun._account
        stages.StageRun._account = lambda self: (account(self), time.sleep(pause))
    plan, store, manifests = tiny.make_run(Path(root), tiny.make_recipe(**recipe), Path(data) if data else None)
    try:
        train(plan, store, manifests, options=tiny.options(**given))
    except KeyboardInterrupt:
        sys.exit(130)
    except CodemixError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
