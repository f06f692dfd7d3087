"""One private Slurm: starting and stopping it, looking at it, and doing to it what sites do."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.slurm_lab.accounting import start_accounting
from tests.slurm_lab.daemons import Daemon, clean_environment
from tests.slurm_lab.packages import provide
from tests.slurm_lab.settings import (
    DEDICATED,
    FREEZER,
    GRACEFUL,
    LabSettings,
    Layout,
    free_ports,
    write_files,
)
from tests.slurm_lab.waiting import wait_for

_NULL_DEVICE = os.makedev(1, 3)
_COMMAND_TIMEOUT_S = 60.0
_CONTROLLER = "slurmctld"
_USABLE = {"idle", "mixed", "allocated", "completing", "planned"}
GUEST = "guest"
"""Name of the jobs that take GPUs back."""


@dataclass(frozen=True)
class QueuedJob:
    """One job as squeue shows it."""

    job_id: str
    state: str
    node: str
    name: str
    reason: str
    num_restarts: int = field(kw_only=True)


class SlurmLab:
    """A running cluster; made by :func:`slurm_lab`.

    Attributes
    ----------
    nodes
        Names of the nodes by their type of GPU.
    environment
        For the commands of this cluster.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._daemons: dict[str, Daemon] = {}
        names = layout.node_names()
        nodes = list(zip(names, layout.settings.nodes, strict=True))
        self.nodes = {gpus.gpu_type: name for name, gpus in nodes}
        self._num_gpus = {name: gpus.num_gpus for name, gpus in nodes}
        self.environment = {**clean_environment(), "SLURM_CONF": str(layout.slurm_conf)}

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all daemons and wait until every node is idle."""
        self._make_folders()
        write_files(self._layout)
        self._start("munged", *self._munge_command())
        wait_for(self._layout.munge_socket.exists, "munged listens")
        if self._layout.settings.with_accounting:
            self._daemons |= start_accounting(self._layout, self.environment)
        self._start(_CONTROLLER, _CONTROLLER, "-D")
        for node in self.nodes.values():
            self._start_node(node)
        wait_for(self._is_idle, f"all nodes are idle; see {self._layout.folder}/log")

    def use_here(self) -> None:
        """Let all commands of this process, and of those that it starts, go to this cluster."""
        os.environ["SLURM_CONF"] = self.environment["SLURM_CONF"]

    def stop(self) -> None:
        """Cancel all jobs, wait for their end, and stop all daemons."""
        with contextlib.suppress(AssertionError, RuntimeError, subprocess.SubprocessError):
            self.cancel_all()
        while self._daemons:
            _, daemon = self._daemons.popitem()
            daemon.stop()
        remove_cgroups(self.nodes.values())

    def _start_node(self, node: str) -> None:
        self._start(f"slurmd {node}", "slurmd", "-D", "-N", node)

    def _start(self, name: str, *command: str) -> None:
        log = self._layout.log(name.replace(" ", "-") + "-output")
        self._daemons[name] = Daemon.start(command, log, self.environment)

    def _make_folders(self) -> None:
        folder = self._layout.folder
        folder.chmod(0o755)
        for name in ("munge", "log", "state", "dev", "spool"):
            (folder / name).mkdir()
        for node, num_gpus in self._num_gpus.items():
            self._layout.device_folder(node).mkdir()
            for index in range(num_gpus):
                path = self._layout.device_folder(node) / f"nvidia{index}"
                os.mknod(path, 0o020666, _NULL_DEVICE)

    def _munge_command(self) -> list[str]:
        folder = self._layout.folder
        key = folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        return [
            *("munged", "--foreground", "--force", "--num-threads=2"),
            *(f"--socket={self._layout.munge_socket}", f"--key-file={key}"),
            *(f"--pid-file={folder}/munge/pid", f"--seed-file={folder}/munge/seed"),
            f"--log-file={self._layout.log('munged')}",
        ]

    def _is_idle(self) -> bool:
        dead = [name for name, daemon in self._daemons.items() if not daemon.is_alive]
        assert not dead, f"{dead} ended; see {self._layout.folder}/log"
        try:
            states = self.run("sinfo", "-h", "-N", "-p", DEDICATED, "-o", "%t").split()
        except RuntimeError:
            return False
        return states == ["idle"] * len(self.nodes)

    @property
    def worker_init(self) -> str:
        """What must be set in each job before its worker starts."""
        programs = Path(sys.executable).parent
        local_disk = f"{self._layout.folder}/local/$SLURMD_NODENAME"
        return (
            f"export PATH={programs}:$PATH\n"
            # All nodes are one machine: without it they would share their local disk.
            f"export TMPDIR={local_disk}\nmkdir -p $TMPDIR"
        )

    # --- looking ------------------------------------------------------------------------------

    def run(self, *command: str) -> str:
        """Return what a command prints.

        Raises
        ------
        RuntimeError
            It failed; with its own words.
        """
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def queue(self, *, guests: bool = False) -> list[QueuedJob]:
        """Return the jobs that have not ended, without those that take GPUs back."""
        shape = "JobID:|,State:|,NodeList:|,Name:|,Reason:|,RestartCnt:|"
        lines = self.run("squeue", "-h", "-O", shape).splitlines()
        fields = [line.strip().rstrip("|").split("|") for line in lines]
        jobs = [QueuedJob(*words, num_restarts=int(restarts)) for *words, restarts in fields]
        return [job for job in jobs if (job.name == GUEST) == guests]

    def remembered_jobs(self) -> set[str]:
        """Return the jobs that squeue knows of, ended ones included."""
        return set(self.run("squeue", "-h", "--states=all", "-o", "%i").split())

    def endings(self) -> list[str]:
        """Return how each job ended, of whomever, in order: ``COMPLETED``, ``PREEMPTED``, ..."""
        path = self._layout.log("ended-jobs")
        text = path.read_text() if path.exists() else ""
        return re.findall(r" JobState=(\S+)", text)

    def num_submitted(self) -> int:
        """Return how many jobs this cluster has taken since its start, of whomever."""
        line = next(
            line
            for line in self.run("scontrol", "show", "config").splitlines()
            if line.startswith("NEXT_JOB_ID")
        )
        return int(line.partition("=")[2]) - 1

    # --- what sites do ------------------------------------------------------------------------

    @contextlib.contextmanager
    def taken(self, node: str, *, num_gpus: int = 0) -> Iterator[str]:
        """Take GPUs of a node back (0: all of them) until the block ends; gives the job."""
        job_id = self.take(node, num_gpus=num_gpus)
        try:
            yield job_id
        finally:
            self.cancel(job_id)

    def take(self, node: str, *, num_gpus: int = 0) -> str:
        """Submit a job that takes GPUs of a node from those who may be preempted."""
        wanted = f"gpu:{num_gpus or self._num_gpus[node]}"
        command = ("sbatch", "--parsable", "-p", DEDICATED, "-J", GUEST, "-w", node)
        options = ("--gres", wanted, "-o", "/dev/null", "--wrap", "exec sleep 1000")
        return self.run(*command, *options).strip()

    def wait_until_taken(self, job_id: str) -> None:
        """Wait until a job has its GPUs."""
        wait_for(lambda: self._is_running(job_id), f"job {job_id} runs")

    def _is_running(self, job_id: str) -> bool:
        jobs = {job.job_id: job.state for job in self.queue(guests=True)}
        return jobs.get(job_id) == "RUNNING"

    def cancel(self, *job_ids: str) -> None:
        """Cancel jobs, with all that runs in them; those that have ended are no error."""
        for job_id in job_ids:
            with contextlib.suppress(RuntimeError):
                self.run("scancel", "--full", job_id)

    def cancel_all(self) -> None:
        """Cancel everything, and wait until the queue is empty."""

        def is_empty() -> bool:
            jobs = self.queue() + self.queue(guests=True)
            self.cancel(*(job.job_id for job in jobs if job.state != "COMPLETING"))
            return not jobs

        wait_for(is_empty, "the queue is empty")

    @contextlib.contextmanager
    def grace_of(self, seconds: int) -> Iterator[None]:
        """Change the grace of the partition ``grace`` until the block ends."""
        change = ("scontrol", "update", f"partition={GRACEFUL}")
        self.run(*change, f"GraceTime={seconds}")
        try:
            yield
        finally:
            self.run(*change, f"GraceTime={self._layout.settings.grace_s}")

    def kill(self, node: str) -> None:
        """Kill all processes of our jobs on a node without a word, as a loss of power would."""
        for job in self.queue():
            if job.node == node:
                self.run("scancel", "--full", "--signal=KILL", job.job_id)

    def fail(self, node: str) -> None:
        """Let a node fail: its jobs are lost at once."""
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=failed")

    def repair(self, node: str) -> None:
        """Make a node that failed usable again, as one that has been started anew."""
        if self._state(node).startswith("down"):
            self.run("scontrol", "update", f"nodename={node}", "state=resume")
            # Without it the node stays unused until the controller asks for it: 100 s.
            self._daemons.pop(f"slurmd {node}").stop()
            self._start_node(node)
        wait_for(lambda: self._state(node) in _USABLE, f"{node} is up")

    def _state(self, node: str) -> str:
        """Return the state of a node in Slurm's words; with a star if it does not answer."""
        return self.run("sinfo", "-h", "-n", node, "-p", DEDICATED, "-o", "%T").strip()

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Stop the controller until the block ends; jobs that run go on."""
        self._daemons.pop(_CONTROLLER).stop()
        yield
        self._start(_CONTROLLER, _CONTROLLER, "-D")
        wait_for(self._answers, "the controller answers")

    def _answers(self) -> bool:
        with contextlib.suppress(RuntimeError):
            return bool(self.run("sinfo"))
        return False


def remove_cgroups(nodes: Iterable[str]) -> None:
    """Remove what the daemons of these nodes leave in the file system of the kernel."""
    for node in nodes:
        for folder, _, _ in os.walk(FREEZER / f"slurm_{node}", topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


@contextlib.contextmanager
def slurm_lab(settings: LabSettings | None = None) -> Iterator[SlurmLab]:
    """Install what is missing, run a lab, and leave nothing of it behind.

    Raises
    ------
    LabUnavailableError
        There can be no lab on this machine.
    """
    settings = settings or LabSettings()
    provide(with_accounting=settings.with_accounting)
    # The path of a socket has 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="slurm-lab-", dir="/tmp"))
    with free_ports() as ports:
        lab = SlurmLab(Layout(folder, ports, settings))
        try:
            lab.start()
            yield lab
        finally:
            lab.stop()
            shutil.rmtree(folder, ignore_errors=True)
