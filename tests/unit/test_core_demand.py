"""What the work could use and what the blocks do, as it is told to who asks the site for blocks."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from parsl_pcm.core import events
from parsl_pcm.core.demand import BlockUse, block_uses, context_demands
from parsl_pcm.core.policy import DefaultPolicy
from parsl_pcm.core.records import ContextRecord, PieceRecord, TaskRecord
from parsl_pcm.types import BlockId, ContextKey, HostId, LeaseId, ManagerId, Requirements, TaskId
from tests.core_words import new_pool, ready, submit, take_back
from tests.fakes import GB, FakePool, cpu_node, gpu_node


def demands(pool: FakePool) -> list[tuple[str, int, int, int]]:
    """Return (context, wanted, hosts, open items) of each context in demand."""
    found = context_demands(pool.scheduler.cluster, pool.policy, pool.now)
    return [(d.context.name, d.num_wanted, d.num_hosts, d.num_open) for d in found]


def uses(pool: FakePool) -> list[BlockUse]:
    return block_uses(pool.scheduler.cluster, pool.now)


def finished_in(pool: FakePool, lease: int, run_s: float) -> None:
    pool.feed(events.PieceFinished(lease_id=LeaseId(lease), start=0, stop=1, run_s=run_s))


# --- contexts -------------------------------------------------------------------------------------


def test_context_without_work_or_hosts_is_not_told() -> None:
    assert demands(new_pool()) == []


def test_unmeasured_work_wants_a_host_for_every_item() -> None:
    pool = new_pool()
    submit(pool, num_items=4)
    submit(pool)
    assert demands(pool) == [("c", 5, 0, 5)]


def test_hosts_that_run_several_items_at_once_are_wanted_for_as_many() -> None:
    pool = FakePool(Random(0))
    pool.declare("c", Requirements(cores=1.0, max_concurrency=4))
    submit(pool, num_items=9)
    assert demands(pool) == [("c", 3, 0, 9)]


def test_measured_work_wants_as_many_hosts_as_it_keeps_busy_for_a_setup() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool, setup_s=10.0)
    finished_in(pool, 1, 1.0)
    assert demands(pool) == [("c", 0, 1, 0)]
    for _ in range(35):
        submit(pool)
    assert demands(pool) == [("c", 4, 1, 35)]
    finished_in(pool, 2, 1.0)
    assert demands(pool) == [("c", 4, 1, 34)]


def test_no_more_hosts_are_wanted_than_items_are_open() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool, setup_s=10.0)
    finished_in(pool, 1, 1000.0)
    submit(pool)
    submit(pool)
    assert demands(pool) == [("c", 2, 1, 2)]


def test_ended_and_cancelled_work_wants_nothing() -> None:
    pool = new_pool()
    submit(pool, num_items=7)
    pool.cancel(TaskId(0))
    assert demands(pool) == []


def test_work_that_a_leaving_node_still_finishes_wants_no_other_host() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool, setup_s=10.0)
    finished_in(pool, 1, 20.0)
    submit(pool)
    take_back(pool, "m0", 60.0)
    assert demands(pool) == []
    submit(pool)
    assert demands(pool) == [("c", 1, 0, 1)]


@given(
    num_waiting=st.integers(1, 200),
    num_hosts=st.integers(0, 50),
    num_promised=st.integers(0, 3),
    concurrency=st.integers(1, 4),
    service_s=st.one_of(st.none(), st.floats(1e-6, 1e5)),
    setup_s=st.one_of(st.none(), st.just(0.0), st.floats(1e-6, 1e4)),
    waited_s=st.floats(0, 1e5),
)
def test_host_that_is_wanted_is_in_the_demand(
    num_waiting: int,
    num_hosts: int,
    num_promised: int,
    concurrency: int,
    service_s: float | None,
    setup_s: float | None,
    waited_s: float,
) -> None:
    needs = Requirements(cores=1.0, max_concurrency=concurrency)
    context = ContextRecord(ContextKey("c"), "c", needs, num_promised=num_promised)
    task = TaskRecord(TaskId(0), context, num_waiting, 0)
    for item in range(num_waiting):
        context.backlog.push(PieceRecord(task, item, item + 1))
    context.hosts = dict.fromkeys(range(num_hosts))  # type: ignore[arg-type]
    context.service_s.value, context.setup_s.value = service_s, setup_s
    policy = DefaultPolicy()
    num_open = num_waiting + num_hosts * concurrency
    wanted = policy.hosts_wanted(context, num_open, waited_s)
    assert 1 <= wanted <= -(-num_open // concurrency)
    if policy.wants_another_host(context, waited_s):
        assert wanted > context.num_hosts


def test_hosts_that_shall_be_warm_are_wanted_without_work() -> None:
    pool = new_pool(cpu_node())
    pool.feed(events.WarmRequested(context_key=ContextKey("c"), num_hosts=3))
    assert demands(pool) == [("c", 3, 1, 0)]


def test_sleeping_host_counts_while_it_could_wake_up_where_it_is() -> None:
    pool = FakePool(Random(0))
    needs = Requirements(cores=1.0, gpus=1, gpu_memory_bytes=10 * GB, can_sleep=True)
    pool.declare("c", needs)
    pool.declare("d", Requirements(cores=1.0, gpus=1))
    pool.register(gpu_node(16))
    submit(pool)
    ready(pool)
    finished_in(pool, 1, 1.0)
    submit(pool, "d")
    pool.feed(events.HostAsleep(host_id=HostId(1), sleep_s=1.0))
    assert demands(pool) == [("d", 1, 1, 1)]
    pool.cancel(TaskId(1))
    pool.feed(events.HostExited(host_id=HostId(2), description="gone"))
    assert demands(pool) == [("c", 0, 1, 0)]


def test_host_that_is_reclaimed_counts_for_who_gets_its_place() -> None:
    pool = new_pool(cpu_node(2.0))
    pool.declare("d", Requirements(cores=1.0))
    for _ in range(6):
        submit(pool)
    ready(pool, 1)
    ready(pool, 2)
    submit(pool, "d")
    assert demands(pool) == [("c", 5, 1, 5), ("d", 1, 1, 1)]


# --- blocks ---------------------------------------------------------------------------------------


def use(block: str = "0", managers: int = 1, leases: int = 0, starting: int = 0, **more: object):  # type: ignore[no-untyped-def]
    known = {"idle_s": 0.0, "setup_s": None} | more
    return BlockUse(
        block_id=BlockId(block),
        num_managers=managers,
        num_leases=leases,
        num_starting=starting,
        **known,
    )


def test_block_tells_what_it_does_and_how_long_it_has_been_idle() -> None:
    pool = new_pool()
    assert uses(pool) == []
    pool.register(cpu_node())
    pool.now = 5.0
    assert uses(pool) == [use(idle_s=5.0)]
    submit(pool)
    assert uses(pool) == [use(starting=1, idle_s=5.0)]
    pool.now = 15.0
    ready(pool, setup_s=10.0)
    assert uses(pool) == [use(leases=1, setup_s=10.0)]
    pool.now = 20.0
    finished_in(pool, 1, 5.0)
    pool.now = 23.0
    assert uses(pool) == [use(idle_s=3.0, setup_s=10.0)]


def test_block_tells_how_long_a_host_there_shall_be_kept() -> None:
    pool = FakePool(Random(0))
    pool.declare("c", Requirements(cores=1.0, keep_warm_s=600.0))
    pool.register(cpu_node())
    assert uses(pool)[0].keep_warm_s == 0.0
    submit(pool)
    assert uses(pool)[0].keep_warm_s == 600.0
    ready(pool)
    assert uses(pool)[0].keep_warm_s == 600.0


def test_block_of_several_nodes_is_one_and_as_idle_as_its_last_node() -> None:
    pool = new_pool(cpu_node())
    pool.now = 4.0
    pool.register(cpu_node())
    pool.feed(
        events.ManagerRegistered(
            manager_id=ManagerId("other"), block_id=BlockId("1"), resources=cpu_node()
        )
    )
    pool.now = 10.0
    assert uses(pool) == [use(managers=2, idle_s=6.0), use("1", idle_s=6.0)]


# --- mapped work ----------------------------------------------------------------------------------


def test_map_of_many_items_wants_hosts_for_its_time_and_not_for_its_pieces() -> None:
    pool = new_pool(*[cpu_node()] * 9)
    pool.submit_map(ContextKey("c"), 1)
    ready(pool, setup_s=10.0)
    finished_in(pool, 1, 1.0)
    pool.submit_map(ContextKey("c"), 45)
    assert demands(pool) == [("c", 5, 5, 45)]


def test_map_of_tiny_items_wants_no_other_host() -> None:
    pool = new_pool(*[cpu_node()] * 9)
    pool.submit_map(ContextKey("c"), 1)
    ready(pool, setup_s=10.0)
    finished_in(pool, 1, 1e-4)
    pool.submit_map(ContextKey("c"), 10_000)
    assert demands(pool) == [("c", 1, 1, 10_000)]
