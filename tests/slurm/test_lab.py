"""The lab itself: it leaves nothing behind, and says why it cannot be."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.running import wait_until_gone
from tests.slurm_lab.lab import remove_cgroups
from tests.slurm_lab.packages import LabUnavailableError, provide
from tests.slurm_lab.settings import FREEZER


def daemons_of(folder: Path) -> list[psutil.Process]:
    """Return the processes of a lab."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join([*process.cmdline(), *process.environ().values()])
        except psutil.Error:
            continue
        if str(folder) in words and process.pid != os.getpid():
            found.append(process)
    return found


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_lab_ends_with_the_process_that_started_it(signum: signal.Signals):
    command = [sys.executable, "-m", "tests.slurm_lab"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        conf = Path(process.stdout.readline().strip().partition("=")[2])
        nodes = re.findall(r"^NodeName=(\S+)", conf.read_text(), re.MULTILINE)
        daemons = daemons_of(conf.parent)
        names = {daemon.name() for daemon in daemons}
        assert {"munged", "slurmctld", "slurmd"} <= names
        process.send_signal(signum)
        process.wait(timeout=120)
    wait_until_gone(daemons)
    if signum == signal.SIGKILL:
        shutil.rmtree(conf.parent)
        remove_cgroups(nodes)
    assert not conf.parent.exists()
    assert [node for node in nodes if (FREEZER / f"slurm_{node}").exists()] == []


def test_lab_that_cannot_be_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabUnavailableError, match="needs root"):
        provide(with_accounting=False)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LabUnavailableError, match="munge, slurm-wlm not installed"):
        provide(with_accounting=False)
