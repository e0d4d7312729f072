"""`codemix` with steps that take a while: `train_words.py SECONDS WORDS...`, for tests that kill it in the middle."""

import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]


def main() -> int:
    from codemix.cli.app import run
    from codemix.data.remote import bucket, leases
    from codemix.train.run import loop

    pause_s = float(sys.argv[1])
    account = loop.StageRun._account
    loop.StageRun._account = lambda self: (account(self), time.sleep(pause_s))
    bucket.FIRST_PAUSE_S = 0.001
    leases.LEASE_S, leases.RENEW_S, leases.ASK_S = 3.0, 0.3, 0.1
    return run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
