from __future__ import annotations

import logging
from pathlib import Path

from parsl_pcm.logfile import log_to


def test_lines_of_the_package_are_in_the_file_until_it_ends(tmp_path: Path) -> None:
    package = logging.getLogger("parsl_pcm")
    level, handlers = package.level, list(package.handlers)
    end = log_to(tmp_path / "executor.log")
    logging.getLogger("parsl_pcm.some.module").info("asked for %d blocks", 2)
    logging.getLogger("another").error("not ours")
    end()
    logging.getLogger("parsl_pcm.some.module").error("too late")
    (line,) = (tmp_path / "executor.log").read_text().splitlines()
    assert line.endswith("INFO asked for 2 blocks")
    assert (package.level, package.handlers) == (level, handlers)
