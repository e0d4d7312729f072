"""The small files of a cluster's job in a bucket, and the program of a node of Slurm."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from codemix.data.execution.cluster_job import LOGS, RunTask
from codemix.data.remote.bucket import Bucket
from codemix.errors import CodemixError

LONGEST_LOG = 2**20  # bytes, of its end


@dataclass(frozen=True)
class BucketFiles:
    """Files below an address; `execution.nodes.JobFiles`."""

    address: str

    def __str__(self) -> str:
        return self.address

    @property
    def node_command(self) -> str:
        return f"python -m {__name__} {shlex.quote(self.address)}"

    def write(self, name: str, content: bytes) -> None:
        _bucket(self.address).put(name, content)

    def read(self, name: str) -> bytes:
        content = _bucket(self.address).get(name)
        if content is None:
            hint = "something deleted it; run the same command again"
            raise CodemixError(f"{self.address}/{name} is gone", hints=[hint], rule="bucket-lost")
        return content

    def names(self) -> list[str]:
        return [entry.key for entry in _bucket(self.address).entries()]

    def delete(self) -> None:
        _bucket(self.address).delete(self.names())


@lru_cache(1)
def _bucket(address: str) -> Bucket:
    return Bucket(address)


def main(address: str, rank: str, log: str = "") -> None:
    """On a node of Slurm: run the task of this number, or put the log of one that was killed where it is found."""
    files = BucketFiles(address)
    if not log:
        RunTask(files)(None, int(rank), 0)
        return
    _, _, job_and_index = Path(log).stem.partition("-")
    job = job_and_index.partition("_")[0]
    end = Path(log).read_bytes()[-LONGEST_LOG:]
    files.write(f"{LOGS}/{job}_{rank}.out", end)


if __name__ == "__main__":
    main(*sys.argv[1:])
