"""A Slurm and a Ray on this machine whose tasks do not see the folder of the machine that waits for them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.buckets import free_port
from support.slurm import slurm


class Nodes:
    """Tasks that see everything but `hidden`, with a folder of their own for copies."""

    def __init__(self, root, hidden):
        if not shutil.which("bwrap"):
            pytest.skip("bubblewrap is not installed (Debian: bubblewrap)")
        self.cache = root / "node"
        self.cache.mkdir()
        self.inside = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", str(hidden)]
        self.inside += ["--setenv", "CODEMIX_CACHE", str(self.cache)]

    def left(self):
        """What killed tasks left."""
        return list(self.cache.glob("tasks/*/"))

    def kill(self, everything=False):
        """kill -9 the processes that run tasks, or all; how many there were."""
        mine = f"CODEMIX_CACHE={self.cache}".encode()
        killed = 0
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes()
                runs = command.startswith(b"ray::_run") or b"codemix.data.remote.job_files" in command
                wanted = everything or (runs and b"bwrap" not in command)
                if wanted and mine in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
                    killed += 1
        return killed


@contextlib.contextmanager
def hidden_nodes(executor, root, hidden):
    nodes = Nodes(root, hidden)
    start = _slurm if executor == "slurm" else _ray
    with start(nodes, root):
        yield nodes


@contextlib.contextmanager
def _slurm(nodes, root):
    bin = root / "bin"
    bin.mkdir()
    python = bin / "python"
    python.write_text(f'#!/bin/sh\nexec {" ".join(nodes.inside)} {sys.executable} "$@"\n')
    python.chmod(0o755)
    with slurm(root / "slurm"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEMIX_SLURM_ENV", f"export PATH={bin}:$PATH")
        yield


def _wait_for(port, seconds=60):
    """Until something answers there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing answers at port {port}")


@contextlib.contextmanager
def _ray(nodes, root):
    pytest.importorskip("ray")
    port = free_port()
    ray = Path(sys.executable).parent / "ray"
    command = [*nodes.inside, str(ray), "start", "--head", f"--port={port}", "--num-cpus=4", "--block"]
    command += ["--include-dashboard=false", "--disable-usage-stats"]
    with pytest.MonkeyPatch.context() as patch, open(root / "ray.log", "wb") as log:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        head = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for(port)
            yield
        finally:
            head.terminate()
            head.wait(60)
            nodes.kill(everything=True)  # what it started lives on, and other tests would be its guests
