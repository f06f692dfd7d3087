"""Entry point of the interchange: ``parsl-pcm-interchange``, started by the executor."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import msgspec

from parsl_pcm.config import InterchangeConfig
from parsl_pcm.interchange.driver import Interchange

logger = logging.getLogger(__name__)


def main() -> None:
    """Read the configuration, one line of JSON, from stdin; run until told to end.

    stdin stays open: its end tells us that the executor's process is gone.
    """
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=InterchangeConfig)
    logging.basicConfig(
        filename=Path(config.run_dir) / "interchange.log",
        level=logging.DEBUG if config.debug else logging.INFO,
        format="%(asctime)s.%(msecs)03d %(name)s:%(lineno)d [%(levelname)s] %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
    logger.info("interchange of executor %r starts", config.label)
    try:
        with Interchange(config) as interchange:
            interchange.run()
    except Exception:
        logger.exception("the interchange ends because of an error")
        raise
    logger.info("interchange ends")


if __name__ == "__main__":
    main()
