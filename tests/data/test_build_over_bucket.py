"""Builders of one recipe over one bucket, each with a copy of its own, killed at random: the bytes of a clean local
build, and nobody builds what another has built or is building.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import buckets
from support.base_recipe import yaml_of
from support.small_recipes import SCORED, tree, words, write_jsonl, write_scored

from codemix.cli.app import run as command
from codemix.data.store.store import Store

HERE = Path(__file__).parent
PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
from test_kill import small_tasks
import codemix.data.build.documents_job, codemix.data.execution.runner
from codemix.data.remote import bucket, leases, pieces
small_tasks(setattr)
bucket.FIRST_PAUSE_S, pieces.PIECE = 0.001, 20_000
leases.LEASE_S, leases.RENEW_S, leases.ASK_S = 3.0, 0.3, 0.1
if __name__ == "__main__":
    from codemix.cli.app import run
    print("started", flush=True)
    sys.exit(run(sys.argv[2:]))
"""
