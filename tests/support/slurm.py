"""A Slurm of one node on this machine, of the user who runs the tests. Debian: `apt install slurm-wlm`."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

CONFIGURATION = """
ClusterName=tests
SlurmctldHost=localhost
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/node.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/node.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
NodeName=localhost CPUs=4 RealMemory=16000
PartitionName=normal Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def _free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _answers(wanted=""):
    """Whether a Slurm answers, with a node in this state."""
    found = subprocess.run(["sinfo", "--noheader", "--format", "%T"], capture_output=True, text=True)
    return found.returncode == 0 and wanted in found.stdout


@contextlib.contextmanager
def slurm(folder):
    """A Slurm that answers: the one of this machine, or one that is started here. Skips where there is none."""
    if not (shutil.which("sbatch") and shutil.which("sinfo")):
        pytest.skip("Slurm is not installed (Debian: slurm-wlm)")
    if "SLURM_CONF" in os.environ or os.path.exists("/etc/slurm/slurm.conf"):
        if not _answers():
            pytest.skip("the Slurm of this machine does not answer (sinfo)")
        yield
        return
    if not (shutil.which("slurmctld") and shutil.which("slurmd")):
        pytest.skip("the daemons slurmctld and slurmd are not installed (Debian: slurm-wlm)")
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    text = CONFIGURATION.format(
        user=getpass.getuser(), folder=folder, controller_port=_free_port(), node_port=_free_port()
    )
    (folder / "slurm.conf").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        with _daemon(folder, "slurmctld", "-D", "-c"), _daemon(folder, "slurmd", "-D", "-N", "localhost"):
            for _ in range(100):
                if _answers("idle"):
                    break
                time.sleep(0.2)
            else:
                pytest.fail(f"Slurm does not start: {(folder / 'controller.log').read_text()[-2000:]}")
            yield


@contextlib.contextmanager
def _daemon(folder, *command):
    with open(folder / f"{command[0]}.out", "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
