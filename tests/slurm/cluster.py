"""A Slurm of one node on loopback, from Debian's packages: real daemons, pretended size.

Everything lies in one folder; nothing of the system is configured, and no service is started.
By hand: `python -m tests.slurm.cluster FOLDER` brings it up and says what to export.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "srun", "munged")
POLICY = Path("/usr/sbin/policy-rc.d")  # what Debian asks whether to start an installed service
SYSTEM = "/usr/sbin:/sbin"

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobContainerType=job_container/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
# Finished jobs must stay visible for longer than Snakemake waits before it asks.
MinJobAge=300
KillWait=5
ReturnToService=2
SlurmdTimeout=60
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
"""


class NoCluster(Exception):
    """There can be no cluster here; the message says why."""


class Cluster:
    """munged, slurmctld and slurmd, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{os.environ['PATH']}:{SYSTEM}",
        }

    def up(self) -> None:
        """Configure and start all daemons; returns once the node takes jobs.

        Raises:
            NoCluster: a program is missing and cannot be installed, or a daemon does not answer.
        """
        install()
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        user = self._call("id", "-un").strip()
        text = CONF.format(host=host(), ports=free_ports(2), user=user, folder=self.folder)
        (self.folder / "slurm.conf").write_text(text)
        self._start_munged()
        self._call("slurmctld", "-i")
        self.start_slurmd()
        self._wait(self._node_is_idle, "the node does not come up")

    def start_slurmd(self) -> None:
        """Start the node's daemon."""
        self._call("slurmd")

    def kill_slurmd(self) -> None:
        """End the node's daemon as a crash would."""
        os.kill(self._pid("slurmd"), signal.SIGKILL)
        self._wait(lambda: not self._alive("slurmd"), "slurmd does not end")

    def down(self) -> None:
        """Cancel all jobs and end the daemons that were started here."""
        if self._alive("slurmctld"):
            self._call("scancel", "--user", str(os.getuid()))
            self._wait(lambda: not self._call("squeue", "--noheader"), "jobs do not end")
        for name in ("slurmd", "slurmctld", "munged"):
            if self._alive(name):
                os.kill(self._pid(name), signal.SIGTERM)
        for name in ("slurmd", "slurmctld", "munged"):
            self._wait(lambda name=name: not self._alive(name), f"{name} does not end")
        shutil.rmtree(self.folder)

    def jobs(self, state: str) -> list[str]:
        """The ids of the jobs that are in a state such as RUNNING, tasks of arrays one by one."""
        listed = self._call("squeue", "--noheader", "--array", "--format=%i", "--states", state)
        return listed.split()

    def cancel(self, job: str) -> None:
        """End a job as its owner would."""
        self._call("scancel", job)

    def _start_munged(self) -> None:
        place = self.folder
        self._call(
            "munged",
            "--force",
            f"--key-file={place}/munge.key",
            f"--socket={place}/munge.socket",
            f"--pid-file={place}/munged.pid",
            f"--log-file={place}/munged.log",
            f"--seed-file={place}/munge.seed",
        )

    def _node_is_idle(self) -> bool:
        try:
            listed = self._call("sinfo", "--noheader", "--Node", "--format=%T")
        except NoCluster:  # not yet
            return False
        return listed.split()[:1] == ["idle"]

    def _pid(self, daemon: str) -> int:
        return int((self.folder / f"{daemon}.pid").read_text())

    def _alive(self, daemon: str) -> bool:
        """Whether the daemon runs; one that is dead but not collected is not alive."""
        try:
            status = Path(f"/proc/{self._pid(daemon)}/status").read_text()
        except (OSError, ValueError):
            return False
        return f"Name:\t{daemon}" in status and "State:\tZ" not in status

    def _call(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise NoCluster(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def _wait(self, condition: Callable[[], bool], message: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise NoCluster(f"{message}: see the logs in {self.folder}")
            time.sleep(0.2)


def host() -> str:
    """The machine's short name, by which Slurm knows its node."""
    return socket.gethostname().partition(".")[0]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def install() -> None:
    """Install Slurm where it is missing, if that is possible.

    Raises:
        NoCluster: it is not.
    """
    found = f"{os.environ['PATH']}:{SYSTEM}"
    missing = [name for name in PROGRAMS if shutil.which(name, path=found) is None]
    if not missing:
        return
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        raise NoCluster(f"no {', '.join(missing)}: install {' '.join(PACKAGES)}")
    ours = not POLICY.exists()
    if ours:  # the system's own services are none of a test's business
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        _apt("update")
        _apt("install", "--yes", "--no-install-recommends", *PACKAGES)
    finally:
        if ours:
            POLICY.unlink()


def _apt(*arguments: str) -> None:
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", "-qq", *arguments], env=quiet, capture_output=True, text=True)
    if done.returncode:
        raise NoCluster(f"apt-get {arguments[0]}: {done.stderr.strip()[-500:]}")


if __name__ == "__main__":
    here = Path(sys.argv[1]).resolve()
    Cluster(here).up()
    print(f"export SLURM_CONF={here}/slurm.conf PATH=$PATH:{SYSTEM}")
