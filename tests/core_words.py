"""Short words for the events and actions of the scheduler, for tests that spell them out.

Managers are called m0, m1, ... in the order of their registration; tasks count from 0, hosts and
leases from 1.
"""

from __future__ import annotations

from random import Random

from parsl_pcm.core import actions, events
from parsl_pcm.core.actions import Action
from parsl_pcm.core.policy import DefaultPolicy
from parsl_pcm.types import (
    ContextKey,
    DeviceId,
    HostId,
    LeaseId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
)
from tests.fakes import FakePool

TAKEN_BACK = "the site takes this node back"
ONE_CORE = Requirements(cores=1.0)


def new_pool(
    *nodes: NodeResources,
    max_attempts: int = 3,
    needs: Requirements = ONE_CORE,
    policy: DefaultPolicy | None = None,
) -> FakePool:
    """Return a pool that knows the context "c", with these nodes named m0, m1, ..."""
    pool = FakePool(Random(0), max_attempts=max_attempts, policy=policy or DefaultPolicy())
    pool.declare("c", needs)
    for node in nodes:
        pool.register(node)
    return pool


def submit(pool: FakePool, key: str = "c", num_items: int = 1, priority: int = 0) -> list[Action]:
    """Submit a task and return what was decided."""
    pool.submit(ContextKey(key), num_items, priority)
    return pool.history[-1][2]


def submit_map(pool: FakePool, num_items: int, *, is_tolerant: bool = False) -> list[Action]:
    """Submit a mapped task and return what was decided."""
    pool.submit_map(ContextKey("c"), num_items, is_tolerant=is_tolerant)
    return pool.history[-1][2]


def ready(pool: FakePool, host: int = 1, setup_s: float = 10.0) -> list[Action]:
    return pool.feed(events.HostReady(host_id=HostId(host), setup_s=setup_s))


def finished(
    pool: FakePool, lease: int, start: int = 0, stop: int = 1, run_s: float = 100.0
) -> list[Action]:
    return pool.feed(
        events.PieceFinished(lease_id=LeaseId(lease), start=start, stop=stop, run_s=run_s)
    )


def raised(pool: FakePool, lease: int) -> list[Action]:
    return pool.feed(events.PieceFailed(lease_id=LeaseId(lease)))


def revoked(pool: FakePool, lease: int) -> list[Action]:
    return pool.feed(events.LeaseRevoked(lease_id=LeaseId(lease)))


def exited(pool: FakePool, host: int) -> list[Action]:
    return pool.feed(
        events.HostExited(
            host_id=HostId(host), description="killed by SIGKILL", log_tail="last words"
        )
    )


def setup_failed(pool: FakePool, host: int, traceback: str = "Traceback") -> list[Action]:
    return pool.feed(
        events.SetupFailed(
            host_id=HostId(host), message="it raised", remote_traceback=traceback, log_tail="log"
        )
    )


def start(
    host: int, manager: str, key: str = "c", devices: tuple[str, ...] = (), variant: int = 0
) -> Action:
    return actions.StartHost(
        manager_id=ManagerId(manager),
        host_id=HostId(host),
        context_key=ContextKey(key),
        device_ids=tuple(map(DeviceId, devices)),
        variant=variant,
    )


def stop(host: int, manager: str) -> Action:
    return actions.StopHost(manager_id=ManagerId(manager), host_id=HostId(host))


def evict(host: int, manager: str) -> Action:
    return actions.StopHost(manager_id=ManagerId(manager), host_id=HostId(host), is_eviction=True)


def abandon(lease: int, host: int = 1, manager: str = "m0") -> Action:
    return actions.AbandonLease(
        manager_id=ManagerId(manager), host_id=HostId(host), lease_id=LeaseId(lease)
    )


def send(
    lease: int,
    task: int,
    host: int = 1,
    manager: str = "m0",
    items: tuple[int, int] = (0, 1),
    rival: int | None = None,
) -> Action:
    return actions.SendPiece(
        manager_id=ManagerId(manager),
        host_id=HostId(host),
        lease_id=LeaseId(lease),
        task_id=TaskId(task),
        start=items[0],
        stop=items[1],
        rival_id=None if rival is None else LeaseId(rival),
    )


def revoke(lease: int, host: int = 1, manager: str = "m0") -> Action:
    return actions.RevokeLease(
        manager_id=ManagerId(manager), host_id=HostId(host), lease_id=LeaseId(lease)
    )


def deliver(task: int, first: int = 0, end: int = 1, variant: int = 0) -> Action:
    return actions.DeliverRange(task_id=TaskId(task), start=first, stop=end, variant=variant)


def forget(task: int) -> Action:
    return actions.ForgetTask(task_id=TaskId(task))


def dismiss(manager: str, reason: str = TAKEN_BACK, *, is_lost: bool = False) -> Action:
    return actions.DismissManager(manager_id=ManagerId(manager), reason=reason, is_lost=is_lost)


def take_back(pool: FakePool, manager: str, remaining_s: float | None) -> list[Action]:
    return pool.take_back(pool.managers[ManagerId(manager)], remaining_s)


def lose(pool: FakePool, manager: str) -> list[Action]:
    pool.lose(pool.managers[ManagerId(manager)])
    return pool.history[-1][2]


def failures(decided: list[Action]) -> list[actions.FailTask]:
    return [action for action in decided if isinstance(action, actions.FailTask)]


def troubles(decided: list[Action]) -> list[str]:
    """Return what the user is told of contexts."""
    return [action.message for action in decided if isinstance(action, actions.TellTrouble)]


def quietly(decided: list[Action]) -> list[Action]:
    """Return what was decided but for what the user is told of contexts."""
    return [action for action in decided if not isinstance(action, actions.TellTrouble)]


def hold(pool: FakePool, manager: str) -> list[Action]:
    return pool.feed(events.ManagerHeld(manager_id=ManagerId(manager)))


def pass_time(pool: FakePool, until: float) -> list[Action]:
    """Let the scheduler look at its timers at this time; return what it decided then."""
    pool.now = until
    return pool.feed(events.TimePassed())
