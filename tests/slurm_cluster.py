"""A real SLURM of one node, started by hand: munged, slurmctld and slurmd, with all their files in one folder."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")

CONFIGURATION = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={slurmd_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SchedulerParameters=batch_sched_delay=0
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """What is not installed, or None."""
    absent = [name for name in DAEMONS + COMMANDS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"SLURM is not installed ({', '.join(absent)}; Debian: apt install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "SLURM's daemons are started as root"


@contextmanager
def slurm(folder: Path):
    """Start the cluster; SLURM's commands find it with the variables that are yielded."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)  # munged refuses sockets in folders that others may not enter
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    ports = _free_ports(2)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            folder=folder,
            port=ports[0],
            slurmd_port=ports[1],
            user="root",
            cpus=os.cpu_count(),
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 500,
        )
    )
    environment = os.environ | {
        "PATH": os.pathsep.join([str(_wrappers(folder)), PATH]),
        "SLURM_CONF": str(configuration),
    }
    munged = ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key"]
    munged += [
        f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file", "log-file", "seed-file")
    ]
    started = []
    try:
        for command in (munged, ["slurmctld", "-D", "-i"], ["slurmd", "-D"]):
            log = (folder / f"{command[0]}.out").open("w")
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            log.close()
        _wait_until_idle(environment, folder)
        yield environment
    finally:
        if len(started) == 3:  # jobs outlive the daemons
            subprocess.run(
                ["scancel", "--full", "--signal=KILL", "--user", getpass.getuser()], env=environment, check=False
            )
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            process.wait(timeout=30)


def _wrappers(folder):
    """SLURM's commands with this cluster's configuration: within a job, Snakemake unsets all variables SLURM_*."""
    bin = folder / "bin"
    bin.mkdir()
    for name in COMMANDS:
        command = bin / name
        command.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which(name, path=PATH)} "$@"\n')
        command.chmod(0o755)
    return bin


def _free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait_until_idle(environment, folder, seconds=60):
    for _ in range(seconds):
        found = subprocess.run(
            ["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False
        )
        if found.stdout.strip() == "idle":
            return
        time.sleep(1)
    logs = "\n".join(file.read_text()[-2000:] for file in folder.glob("*.out"))
    raise RuntimeError(f"SLURM did not start: {found.stdout}{found.stderr}\n{logs}")
