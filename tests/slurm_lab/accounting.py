"""What makes sacct work: a database, and the daemon that writes to it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.slurm_lab.daemons import Daemon
from tests.slurm_lab.settings import CLUSTER, Layout
from tests.slurm_lab.waiting import wait_for

_CREATE = f"""\
create database slurm_acct;
create user slurm@'127.0.0.1' identified by '{CLUSTER}';
create user slurm@localhost identified by '{CLUSTER}';
grant all on slurm_acct.* to slurm@'127.0.0.1';
grant all on slurm_acct.* to slurm@localhost;
"""


def start_accounting(layout: Layout, environment: Mapping[str, str]) -> dict[str, Daemon]:
    """Start database and daemon, wait until they answer, and add the cluster."""
    data, socket = layout.folder / "mysql", layout.folder / "mysql.socket"
    _run(
        "mariadb-install-db",
        *("--no-defaults", "--user=root", "--skip-test-db", f"--datadir={data}"),
        "--auth-root-authentication-method=normal",
        environment=environment,
    )
    command = _database_command(layout, data, socket)
    database = Daemon.start(command, layout.log("mariadbd"), environment)
    client = ("mariadb", "--no-defaults", "-u", "root", "-S", str(socket), "-e")
    wait_for(lambda: _succeeds(*client, "select 1", environment=environment), "mariadbd answers")
    _run(*client, _CREATE, environment=environment)
    writer = Daemon.start(["slurmdbd", "-D"], layout.log("slurmdbd"), environment)
    ask = ("sacctmgr", "--noheader", "list", "cluster")
    wait_for(lambda: _succeeds(*ask, environment=environment), "slurmdbd answers")
    for what in (
        ["cluster", CLUSTER],
        ["account", CLUSTER],
        ["user", "root", f"account={CLUSTER}"],
    ):
        _run("sacctmgr", "--immediate", "add", *what, environment=environment)
    return {"mariadbd": database, "slurmdbd": writer}


def _database_command(layout: Layout, data: Path, socket: Path) -> Sequence[str]:
    return (
        *("mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={socket}"),
        *("--bind-address=127.0.0.1", f"--port={layout.ports.database}"),
        *(f"--pid-file={layout.folder}/mariadbd.pid", "--innodb-buffer-pool-size=64M"),
        "--innodb-lock-wait-timeout=900",
    )


def _succeeds(*command: str, environment: Mapping[str, str]) -> bool:
    return _done(command, environment).returncode == 0


def _run(*command: str, environment: Mapping[str, str]) -> None:
    done = _done(command, environment)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()}")


def _done(
    command: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
