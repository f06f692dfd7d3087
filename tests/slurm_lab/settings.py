"""What a lab consists of, and the files that tell Slurm. Pure but for the folder of the files."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREEMPTIBLE = "preempt"
"""Jobs are killed at once when their GPUs are wanted, and queued again."""
CANCELLING = "cancel"
"""Jobs are killed at once, for good."""
GRACEFUL = "grace"
"""Jobs are told, have 10 s, are killed, and queued again."""
DEDICATED = "dedicated"
"""For those who take the GPUs back."""
CLUSTER = "lab"
FREEZER = Path("/sys/fs/cgroup/freezer")


@dataclass(frozen=True)
class Gpus:
    """One node: so many GPUs of one type."""

    gpu_type: str
    num_gpus: int


@dataclass(frozen=True, kw_only=True)
class LabSettings:
    """One lab.

    Parameters
    ----------
    grace_s
        GraceTime of the partition ``grace``. Slurm kills at its next look, which comes every 10 s.
    kill_wait_s
        From SIGTERM to SIGKILL for jobs that are cancelled or reach their end.
    requeue_wait_s
        How long Slurm holds a job back that it has queued again (120 s where nobody changes it).
    min_job_age_s
        How long squeue knows of a job that has ended; 10 s more at most.
    with_accounting
        Whether sacct works.
    """

    nodes: tuple[Gpus, ...] = (Gpus("a10", 2), Gpus("titanx", 2), Gpus("h100", 1))
    grace_s: int = 10
    kill_wait_s: int = 5
    requeue_wait_s: int = 5
    min_job_age_s: int = 300
    with_accounting: bool = False


@dataclass(frozen=True)
class Ports:
    """Consecutive TCP ports, the first one for the controller."""

    first: int

    NUM_PORTS = 20
    SPACING = 100

    @property
    def accounting(self) -> int:
        """Where slurmdbd listens."""
        return self.first + self.NUM_PORTS - 2

    @property
    def database(self) -> int:
        """Where mariadbd listens."""
        return self.first + self.NUM_PORTS - 1

    def node(self, index: int) -> int:
        """Return where the daemon of a node listens."""
        return self.first + 1 + index


@contextlib.contextmanager
def free_ports() -> Iterator[Ports]:
    """Give ports that nobody listens on, below those that the kernel lends out; ours until the end.

    The last one is held as a sign to others who look for ports at the same time.
    """
    for first in range(27900, 32700, Ports.SPACING):
        ports = Ports(first)
        with socket.socket() as sign:
            try:
                sign.bind(("", first + ports.NUM_PORTS))
            except OSError:
                continue
            if all(_is_free(port) for port in range(first, first + ports.NUM_PORTS)):
                yield ports
                return
    raise RuntimeError("no free ports between 27900 and 32700")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class Layout:
    """Where the parts of a lab are; node names hold the port, since cgroups are named for them."""

    folder: Path
    ports: Ports
    settings: LabSettings

    @property
    def munge_socket(self) -> Path:
        """Socket of munged."""
        return self.folder / "munge" / "socket"

    @property
    def slurm_conf(self) -> Path:
        """What SLURM_CONF names."""
        return self.folder / "slurm.conf"

    def log(self, name: str) -> Path:
        """Return the log file of a daemon."""
        return self.folder / "log" / f"{name}.log"

    def node_names(self) -> list[str]:
        """Return the names of the nodes, in the order of the settings."""
        return [f"{gpus.gpu_type}-{self.ports.first}" for gpus in self.settings.nodes]

    def device_folder(self, node: str) -> Path:
        """Return the folder of the device files of a node."""
        return self.folder / "dev" / node


def write_files(layout: Layout) -> None:
    """Write all configuration files of a lab."""
    # The only way of tracking that also finds processes whose parent has ended.
    has_freezer = (FREEZER / "cgroup.procs").exists()
    layout.slurm_conf.write_text(slurm_conf(layout, has_freezer=has_freezer))
    (layout.folder / "gres.conf").write_text(gres_conf(layout))
    if has_freezer:
        (layout.folder / "cgroup.conf").write_text(CGROUP_CONF)
    if layout.settings.with_accounting:
        path = layout.folder / "slurmdbd.conf"
        path.touch(mode=0o600)
        path.write_text(slurmdbd_conf(layout))


CGROUP_CONF = """\
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainCores=no
ConstrainRAMSpace=no
ConstrainDevices=no
"""


def gres_conf(layout: Layout) -> str:
    """Return gres.conf: one device file for each GPU, whose last digit is its index."""
    return "".join(
        f"NodeName={node} Name=gpu Type={gpus.gpu_type} "
        f"File={layout.device_folder(node)}/nvidia[0-{gpus.num_gpus - 1}]\n"
        for node, gpus in zip(layout.node_names(), layout.settings.nodes, strict=True)
    )


def slurm_conf(layout: Layout, *, has_freezer: bool) -> str:
    """Return slurm.conf: all daemons on this machine, and a scheduler that never dawdles."""
    settings, folder, host = layout.settings, layout.folder, socket.gethostname().split(".")[0]
    return f"""\
ClusterName={CLUSTER}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={layout.ports.first}
SlurmdPort={layout.ports.first + 1}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={layout.munge_socket},cred_expire={settings.requeue_wait_s}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool/%n
SlurmctldLogFile={layout.log("slurmctld")}
SlurmdLogFile={folder}/log/slurmd-%n.log
SlurmctldDebug=verbose
SlurmdDebug=verbose
ProctrackType=proctrack/{"cgroup" if has_freezer else "linuxproc"}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
# Nodes have more cores and memory than this machine.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# Jobs that ask for a signal (--signal) get it when they are told to go.
SlurmctldParameters=preempt_send_user_signal
JobRequeue=1
KillWait={settings.kill_wait_s}
MinJobAge={settings.min_job_age_s}
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,bf_continue,batch_sched_delay=1
PriorityType=priority/basic
InactiveLimit=0
# A node that failed stays down until it is repaired.
ReturnToService=1
JobCompType=jobcomp/filetxt
JobCompLoc={layout.log("ended-jobs")}
{_accounting(layout)}
{_nodes(layout, host)}
{_partitions(settings)}
"""


def _accounting(layout: Layout) -> str:
    if not layout.settings.with_accounting:
        return "AccountingStorageType=accounting_storage/none"
    # Without the path of the socket each sacct tries the usual one for a minute.
    return f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={layout.ports.accounting}
AccountingStoragePass={layout.munge_socket}
AccountingStorageTRES=gres/gpu"""


def _nodes(layout: Layout, host: str) -> str:
    return "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={layout.ports.node(index)} "
        f"CPUs=8 RealMemory=64000 Gres=gpu:{gpus.gpu_type}:{gpus.num_gpus} State=UNKNOWN"
        for index, (node, gpus) in enumerate(
            zip(layout.node_names(), layout.settings.nodes, strict=True)
        )
    )


def _partitions(settings: LabSettings) -> str:
    every = "Nodes=ALL MaxTime=INFINITE State=UP OverSubscribe=NO"
    low, high = "PriorityTier=1", "PriorityTier=10"
    return f"""\
PartitionName={PREEMPTIBLE} {every} {low} PreemptMode=REQUEUE GraceTime=0 Default=YES
PartitionName={CANCELLING} {every} {low} PreemptMode=CANCEL GraceTime=0
PartitionName={GRACEFUL} {every} {low} PreemptMode=REQUEUE GraceTime={settings.grace_s}
PartitionName={DEDICATED} {every} {high} PreemptMode=OFF"""


def slurmdbd_conf(layout: Layout) -> str:
    """Return slurmdbd.conf; it holds a password and must be private."""
    return f"""\
AuthType=auth/munge
AuthInfo=socket={layout.munge_socket}
DbdHost={socket.gethostname().split(".")[0]}
DbdAddr=127.0.0.1
DbdPort={layout.ports.accounting}
SlurmUser=root
DebugLevel=info
LogFile={layout.log("slurmdbd")}
PidFile={layout.folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={layout.ports.database}
StorageUser=slurm
StoragePass={CLUSTER}
StorageLoc=slurm_acct
"""
