"""The packages of a Slurm cluster, from Debian or Ubuntu."""

from __future__ import annotations

import os
import shutil
import subprocess

PACKAGES = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "munged": "munge"}
ACCOUNTING_PACKAGES = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server"}
INSTALL_TIMEOUT_S = 300.0


class LabUnavailableError(RuntimeError):
    """There can be no lab on this machine; the message says why."""


def provide(*, with_accounting: bool) -> None:
    """Install what is missing.

    Raises
    ------
    LabUnavailableError
        Not root, or what is missing cannot be installed here.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise LabUnavailableError("a private Slurm needs root: it starts the daemons of nodes")
    programs = PACKAGES | (ACCOUNTING_PACKAGES if with_accounting else {})
    missing = sorted({name for program, name in programs.items() if not shutil.which(program)})
    if missing:
        _install(missing)


def _install(packages: list[str]) -> None:
    apt = shutil.which("apt-get")
    if apt is None:
        raise LabUnavailableError(
            f"{', '.join(packages)} not installed, and there is no apt-get here"
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    for command in ([apt, "update", "--quiet"], install):
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip()[-1000:]
            raise LabUnavailableError(f"{' '.join(command)} failed: {words}")
