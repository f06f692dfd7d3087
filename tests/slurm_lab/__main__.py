"""A private Slurm until Ctrl-C: ``python -m tests.slurm_lab``."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys

from tests.slurm_lab.lab import slurm_lab
from tests.slurm_lab.settings import LabSettings


def main() -> None:
    parser = argparse.ArgumentParser(description="A private Slurm with fake GPUs, until Ctrl-C.")
    parser.add_argument("--accounting", action="store_true", help="make sacct work")
    args = parser.parse_args()
    # Also where it was started in the background, with Ctrl-C ignored.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        slurm_lab(LabSettings(with_accounting=args.accounting)) as lab,
    ):
        sys.stdout.write(f"export SLURM_CONF={lab.environment['SLURM_CONF']}\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
