from __future__ import annotations

import msgspec
import pytest

from parsl_pcm.config import InterchangeConfig
from parsl_pcm.interchange.admission import reason_to_refuse
from parsl_pcm.types import BlockId, ManagerId, NodeResources
from parsl_pcm.wire.messages import PROTOCOL_VERSION, RegisterManager

CONFIG = InterchangeConfig(
    label="pcm",
    run_dir=".",
    executor_url="tcp://127.0.0.1:1",
    loopback_address="127.0.0.1",
    worker_port=None,
    worker_port_range=(54000, 55000),
    cert_dir=None,
    python_version="3.11",
    parsl_version="2026.10.26",
    pcm_version="0.1.0",
    heartbeat_period_s=30,
    heartbeat_threshold_s=120,
    drain_period_s=None,
    cores_per_worker=1.0,
    prefetch_capacity=None,
    max_attempts=3,
)
REGISTRATION = RegisterManager(
    protocol_version=PROTOCOL_VERSION,
    manager_id=ManagerId("m"),
    block_id=BlockId("4"),
    hostname="node17",
    pid=1,
    python_version="3.11",
    parsl_version="2026.10.26",
    pcm_version="0.1.0",
    resources=NodeResources(cores=1.0, memory_bytes=1),
    packages={},
)


def test_same_environment_is_admitted() -> None:
    assert reason_to_refuse(REGISTRATION, CONFIG) is None


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("python_version", "3.12", "3.12"),
        ("parsl_version", "2026.7.27", "2026.7.27"),
        ("protocol_version", PROTOCOL_VERSION + 1, "protocol"),
    ],
)
def test_refusal_says_where_both_versions_and_the_cure(
    field: str, value: object, expected: str
) -> None:
    registration = msgspec.structs.replace(REGISTRATION, **{field: value})
    reason = reason_to_refuse(registration, CONFIG)
    assert reason is not None
    for words in (expected, "node17", "block 4", "worker_init"):
        assert words in reason


def test_check_of_versions_can_be_turned_off_but_not_that_of_the_protocol() -> None:
    lenient = msgspec.structs.replace(CONFIG, check_python_mismatch=False)
    other = msgspec.structs.replace(REGISTRATION, python_version="3.9", parsl_version="x")
    assert reason_to_refuse(other, lenient) is None
    stranger = msgspec.structs.replace(other, protocol_version=PROTOCOL_VERSION + 1)
    assert reason_to_refuse(stranger, lenient) is not None
