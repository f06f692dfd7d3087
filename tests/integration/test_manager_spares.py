"""A real manager keeps a process that has done the imports of the next host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from parsl_pcm import ContextRecipe, context
from parsl_pcm.manager.processes import SPARE_NICE, can_restore_priority
from parsl_pcm.types import DeviceId, HostId, Requirements
from parsl_pcm.wire.messages import HostExited, HostReady, Shutdown, StopHost
from tests.interchange_driver import (
    WAIT_S,
    InterchangeDriver,
    children_of,
    is_zombie,
    wait_until,
)

EARLY = """
import json, os, threading, time

def wait():
    time.sleep(1000)

threading.Thread(target=wait, daemon=True).start()
print("imported early", flush=True)
seen = {"environment": dict(os.environ)}
path = os.path.join(os.path.dirname(__file__), f"spare-{os.getpid()}.json")
with open(path + ".new", "w") as file:
    json.dump(seen, file)
os.rename(path + ".new", path)
"""
"""A module that takes long to import, as it were, and starts a thread as numpy does."""

IMPORTS = Requirements(imports=("early",))


def report(directory: Path, name: str) -> ContextRecipe:
    """Return a context that writes down what its process is like."""

    @context
    def write(path: str) -> str:
        import json
        import os
        import pathlib

        threads = [int(name) for name in os.listdir("/proc/self/task")]
        seen = {
            "pid": os.getpid(),
            "environment": dict(os.environ),
            "cores": [sorted(os.sched_getaffinity(thread)) for thread in threads],
            "niceness": [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads],
        }
        pathlib.Path(path).write_text(json.dumps(seen))
        return path

    return write(str(directory / f"host-{name}.json"))


def seen_by(directory: Path, name: str) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads((directory / f"host-{name}.json").read_text())
    return seen


class Node:
    """A manager, the first host of a context with imports, and the spare that it left."""

    def __init__(self, interchange: InterchangeDriver, directory: Path, **settings: Any) -> None:
        self.interchange = interchange
        self.directory = directory
        (directory / "early.py").write_text(EARLY)
        self.manager = interchange.start_manager(
            python_path=(str(directory),), available_accelerators=("0", "1"), **settings
        )
        self.identity, _ = interchange.accept()

    def start_host(self, number: int, **changes: Any) -> None:
        recipe = report(self.directory, str(number))
        settings: dict[str, Any] = {"host_id": HostId(number), "requirements": IMPORTS}
        self.interchange.start_host(self.identity, recipe, **(settings | changes))
        assert self.interchange.expect(self.identity, HostReady).host_id == number

    def pid_of(self, number: int) -> int:
        return int(seen_by(self.directory, str(number))["pid"])

    def spares(self) -> list[psutil.Process]:
        """Return those that were started; there when the first host is ready."""
        hosts = {json.loads(path.read_text())["pid"] for path in self.directory.glob("host-*.json")}
        return [child for child in children_of(self.manager) if child.pid not in hosts]

    def wait_for_spare(self) -> psutil.Process:
        """Return the spare when its imports are done."""
        (spare,) = self.spares()
        wait_until((self.directory / f"spare-{spare.pid}.json").exists)
        return spare


@pytest.fixture
def node(interchange: InterchangeDriver, tmp_path: Path) -> Node:
    (tmp_path / "modules").mkdir()
    node = Node(interchange, tmp_path / "modules")
    node.start_host(1, device_ids=(DeviceId("0"),))
    return node


def test_second_host_is_made_of_the_spare_and_leaves_another(node: Node) -> None:
    spare = node.wait_for_spare()
    node.start_host(2, device_ids=(DeviceId("1"),))
    assert node.pid_of(2) == spare.pid
    assert node.wait_for_spare().pid not in (spare.pid, node.pid_of(1))


def test_spare_sees_no_device_before_it_is_a_host(node: Node) -> None:
    spare = node.wait_for_spare()
    early = json.loads((node.directory / f"spare-{spare.pid}.json").read_text())["environment"]
    assert early["CUDA_VISIBLE_DEVICES"] == ""
    assert "PARSL_WORKER_RANK" not in early
    budget = Requirements(gpus=1, gpu_memory_bytes=5, imports=("early",))
    node.start_host(2, device_ids=(DeviceId("1"),), requirements=budget)
    seen = seen_by(node.directory, "2")
    assert seen["pid"] == spare.pid
    assert seen["environment"]["CUDA_VISIBLE_DEVICES"] == "1"
    assert seen["environment"]["PARSL_WORKER_RANK"] == "2"
    assert seen["environment"]["PARSL_PCM_GPU_MEMORY_BYTES"] == "5"
    assert seen["environment"]["PYTHONPATH"] == early["PYTHONPATH"]


def test_log_of_the_spare_becomes_that_of_the_host(node: Node) -> None:
    node.wait_for_spare()
    node.start_host(2, device_ids=(DeviceId("1"),))
    node.interchange.tell(node.identity, StopHost(host_id=HostId(2)))
    exited = node.interchange.expect(node.identity, HostExited)
    assert Path(exited.log_path).name == "host-2-test_context.log"
    assert "imported early" in Path(exited.log_path).read_text()
    assert "imported early" in exited.log_tail


def test_all_threads_of_a_spare_get_the_priority_of_a_host(node: Node) -> None:
    spare = node.wait_for_spare()
    own = psutil.Process(node.manager.pid).nice()
    assert spare.nice() == own + (SPARE_NICE if can_restore_priority() else 0)
    node.start_host(2, device_ids=(DeviceId("1"),))
    niceness = seen_by(node.directory, "2")["niceness"]
    assert len(niceness) > 1
    assert set(niceness) == {own}


def test_all_threads_of_a_spare_run_on_the_cores_of_its_host(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    node = Node(interchange, tmp_path)
    node.start_host(1)
    spare = node.wait_for_spare()
    interchange.tell(node.identity, StopHost(host_id=HostId(1)))
    interchange.expect(node.identity, HostExited)  # its core is free again
    node.start_host(2)
    seen = seen_by(tmp_path, "2")
    assert seen["pid"] == spare.pid
    assert len(seen["cores"]) > 1
    assert [len(cores) for cores in seen["cores"]] == [1] * len(seen["cores"])
    assert len({tuple(cores) for cores in seen["cores"]}) == 1


def test_host_with_another_environment_gets_a_process_of_its_own(node: Node) -> None:
    spare = node.wait_for_spare()
    node.start_host(2, device_ids=(DeviceId("1"),), env={"EARLY_SETTING": "1"})
    assert node.pid_of(2) != spare.pid
    assert spare.is_running()


def test_spare_that_dies_is_just_gone(node: Node) -> None:
    spare = node.wait_for_spare()
    spare.kill()
    wait_until(lambda: not spare.is_running())  # nor a zombie: its manager has noticed
    node.start_host(2, device_ids=(DeviceId("1"),))  # the next word of the manager is of this one
    assert node.pid_of(2) != spare.pid


def test_spare_ends_with_its_manager(node: Node) -> None:
    spare = node.wait_for_spare()
    node.interchange.tell(node.identity, Shutdown(reason="the run is over"))
    assert node.manager.wait(WAIT_S) == 0
    wait_until(lambda: is_zombie(spare))


def test_spare_ends_with_a_manager_that_is_killed(node: Node) -> None:
    spare = node.wait_for_spare()
    node.manager.kill()
    wait_until(lambda: is_zombie(spare))


def test_context_without_imports_leaves_no_spare(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    node = Node(interchange, tmp_path)
    node.start_host(1, requirements=Requirements())
    assert node.spares() == []


def test_there_is_no_spare_where_memory_is_short(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    node = Node(interchange, tmp_path, environment={"PARSL_MEMORY_GB": "0.01"})
    node.start_host(1)
    assert node.spares() == []


def test_spare_makes_room_for_a_host_that_needs_its_memory(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    node = Node(interchange, tmp_path, environment={"PARSL_MEMORY_GB": "1"})
    node.start_host(1)
    spare = node.wait_for_spare()
    node.start_host(2, requirements=Requirements(host_memory_bytes=2**30))
    assert node.pid_of(2) != spare.pid
    wait_until(lambda: is_zombie(spare))
