"""Which managers may take part: those that can unpickle what the user's process pickles."""

from __future__ import annotations

from parsl_pcm.config import InterchangeConfig
from parsl_pcm.wire.messages import PROTOCOL_VERSION, RegisterManager

CURE = "Give the workers the environment of the script: activate it in worker_init of the provider."


def reason_to_refuse(registration: RegisterManager, config: InterchangeConfig) -> str | None:
    """Return why a manager cannot take part; None if it can."""
    where = f"the manager of block {registration.block_id} on {registration.hostname}"
    if registration.protocol_version != PROTOCOL_VERSION:
        return (
            f"{where} has parsl_pcm {registration.pcm_version}, the script {config.pcm_version}: "
            f"they do not speak the same protocol. {CURE}"
        )
    if not config.check_python_mismatch:
        return None
    if registration.python_version != config.python_version:
        return (
            f"{where} runs Python {registration.python_version}, the script "
            f"{config.python_version}: what one pickles the other cannot load. {CURE}"
        )
    if registration.parsl_version != config.parsl_version:
        return (
            f"{where} has Parsl {registration.parsl_version}, the script {config.parsl_version}. "
            f"{CURE}"
        )
    return None
