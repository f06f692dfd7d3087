"""Growth in virtual time: when blocks come and go on a site that is a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from parsl_pcm.core.actions import StartHost
from parsl_pcm.core.events import ManagerLost, ManagerRegistered
from parsl_pcm.eventlog import LogRecord
from parsl_pcm.provider.growth.demand import LOOK_EVERY_S
from parsl_pcm.provider.growth.surplus import KEEP_WARM_S
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.simulator.scenario import ContextModel, Pool, Scenario, Site, Work
from parsl_pcm.simulator.scenarios import building
from parsl_pcm.simulator.site.availability import Life, lives
from parsl_pcm.simulator.site.site import VirtualSite

LOAD_S = 20.0


class Run:
    """A campaign on an elastic site, and what was seen of it."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int = 1,
        all_lives: Iterable[Life] | None = None,
        watch: Callable[[VirtualPool], object] | None = None,
    ) -> None:
        self.records: list[LogRecord] = []
        random = Random(seed)
        self.pool = VirtualPool(
            [],
            building.models_of(scenario, random),
            header=building.header_of(scenario),
            random=random,
            observe=self.records.append,
            watch=watch,
        )
        there = lives(scenario, seed) if all_lives is None else all_lives
        self.site = VirtualSite(self.pool, scenario, there, Random(seed))
        for work in scenario.work:
            self.pool.submit_map(work.context, work.items, at=work.at_s)

    def came(self) -> list[float]:
        """Return when managers came."""
        return [
            record.now for record in self.records if isinstance(record.event, ManagerRegistered)
        ]

    def went(self) -> list[float]:
        """Return when the scheduler learned that managers went."""
        return [record.now for record in self.records if isinstance(record.event, ManagerLost)]

    def kinds(self) -> list[str]:
        """Return the GPUs of the managers that came, in order."""
        return [
            record.event.resources.devices[0].name
            for record in self.records
            if isinstance(record.event, ManagerRegistered)
        ]

    @property
    def num_loads(self) -> int:
        """Hosts that were started."""
        return sum(isinstance(act, StartHost) for record in self.records for act in record.actions)


def campaign(
    *pools: Pool,
    works: Iterable[tuple[int, float]] = ((1000, 0.0),),
    item_s: float = 1.0,
    **site: Any,
) -> Scenario:
    """Return a campaign of maps, each of so many items from such a time on."""
    return Scenario(
        name="test",
        contexts=(ContextModel(name="llm", item_s=item_s, load_s=LOAD_S),),
        work=tuple(Work(context="llm", items=items, at_s=at_s) for items, at_s in works),
        pools=pools,
        site=Site(is_elastic=True, **site),
    )


def nodes(count: int, gpu: str = "A10", **more: Any) -> Pool:
    return Pool(gpu=gpu, count=count, **more)


# --- growing ------------------------------------------------------------------------------------


def test_work_gets_every_idle_node_that_it_can_use() -> None:
    run = Run(campaign(nodes(10, queue_wait_s=5.0)))
    run.pool.run()
    assert run.pool.is_done
    assert len(run.came()) == 10
    assert run.came()[0] == 5.0


def test_little_work_gets_few_nodes() -> None:
    run = Run(campaign(nodes(10), works=[(1, 0.0)]))
    run.pool.run()
    assert run.pool.is_done
    assert len(run.came()) == 1


def test_no_more_nodes_are_held_than_may_be() -> None:
    run = Run(campaign(nodes(10), max_nodes=3))
    run.pool.run()
    assert run.pool.is_done
    assert len(run.came()) == 3


def test_faster_gpus_are_asked_for_first() -> None:
    slow, fast = nodes(4, "Tesla T4"), nodes(2, "NVIDIA H100 80GB HBM3")
    run = Run(campaign(slow, fast, max_nodes=3))
    run.pool.run()
    assert run.kinds() == ["NVIDIA H100 80GB HBM3"] * 2 + ["Tesla T4"]


def test_nodes_whose_gpus_do_not_do_are_never_asked_for() -> None:
    big = ContextModel(name="big", item_s=1.0, gpu_memory="30 GB")
    scenario = Scenario(
        name="test",
        contexts=(big,),
        work=(Work(context="big", items=100),),
        pools=(nodes(3, "Tesla T4"), nodes(1, "A100-SXM4-40GB")),
        site=Site(is_elastic=True),
    )
    run = Run(scenario)
    run.pool.run()
    assert run.pool.is_done
    assert run.kinds() == ["A100-SXM4-40GB"]


def test_whole_nodes_are_asked_for() -> None:
    run = Run(campaign(nodes(2, gpus_per_node=4)))
    run.pool.run()
    assert len(run.came()) == 2
    assert run.num_loads == 8


def test_work_without_gpus_gets_nodes_without_gpus() -> None:
    scenario = Scenario(
        name="test",
        contexts=(ContextModel(name="cpu", item_s=1.0, gpus=0),),
        work=(Work(context="cpu", items=100),),
        pools=(Pool(count=2, cores=4.0),),
        site=Site(is_elastic=True),
    )
    run = Run(scenario)
    run.pool.run()
    assert run.pool.is_done
    assert len(run.came()) >= 1


def test_nodes_that_become_free_later_are_taken_at_the_next_look() -> None:
    pool = Pool(gpu="A10", steps=((0.0, 1), (300.0, 3)))
    run = Run(campaign(pool, works=[(2000, 0.0)]))
    run.pool.run()
    first, *others = run.came()
    assert first == 0.0
    assert len(others) == 2
    assert all(300.0 <= came <= 300.0 + LOOK_EVERY_S for came in others)


# --- shrinking ----------------------------------------------------------------------------------


def test_everything_is_given_back_after_the_end_and_nothing_is_planned_any_more() -> None:
    run = Run(campaign(nodes(5)))
    run.pool.run()
    run.pool.run_until(run.pool.now + 600.0)
    assert len(run.went()) == len(run.came()) == 5
    assert not run.site.growth.blocks
    assert run.pool.time.next_at() == math.inf


def test_idle_nodes_are_kept_for_as_long_as_is_said() -> None:
    run = Run(campaign(nodes(1), works=[(10, 0.0)], keep_warm_s=100.0))
    ended_at = run.pool.run()
    run.pool.run_until(ended_at + 600.0)
    (went,) = run.went()
    assert ended_at + 100.0 <= went <= ended_at + 100.0 + LOOK_EVERY_S + 1.0


def test_idle_nodes_are_kept_by_themselves_for_a_while() -> None:
    run = Run(campaign(nodes(1), works=[(10, 0.0)]))
    ended_at = run.pool.run()
    run.pool.run_until(ended_at + 600.0)
    (went,) = run.went()
    assert ended_at + KEEP_WARM_S <= went <= ended_at + KEEP_WARM_S + LOOK_EVERY_S + 1.0


def test_second_burst_within_that_time_finds_warm_hosts() -> None:
    pauses_s = {}
    for keep_warm_s in (10.0, 120.0):
        bursts = [(10, 0.0), (10, 100.0)]
        run = Run(campaign(nodes(1), works=bursts, keep_warm_s=keep_warm_s))
        pauses_s[run.num_loads] = run.pool.run() - 100.0
    assert sorted(pauses_s) == [1, 2]
    assert pauses_s[1] < 11.0
    assert pauses_s[2] > 11.0 + LOAD_S - 1.0


def test_node_that_has_nothing_left_to_do_goes_before_the_end_of_the_work() -> None:
    run = Run(campaign(nodes(2), works=[(3, 0.0)], item_s=100.0))
    ended_at = run.pool.run()
    assert len(run.came()) == 2
    assert ended_at > LOAD_S + 200.0
    assert run.went()[0] <= LOAD_S + 100.0 + LOOK_EVERY_S + 1.0


# --- losing -------------------------------------------------------------------------------------


def lost_once(**spec: Any) -> Run:
    """Return the run of a campaign whose first node is taken at 60 s; another one is there then."""
    pool = nodes(1, **spec)
    scenario = campaign(pool, works=[(100, 0.0)])
    (first,) = lives(scenario, 1)
    second = first._replace(machine=1, from_s=60.0)
    run = Run(scenario, all_lives=[first._replace(until_s=60.0), second])
    run.pool.run()
    assert run.pool.is_done
    return run


def test_block_that_is_preempted_is_replaced() -> None:
    run = lost_once(queue_wait_s=2.0)
    assert len(run.came()) == 2
    assert run.went()[0] == 60.0
    assert 62.0 <= run.came()[1] <= 60.0 + LOOK_EVERY_S + 2.0


def test_block_that_the_site_starts_again_keeps_its_name() -> None:
    run = lost_once(requeue_s=1.0)
    blocks = [
        record.event.block_id
        for record in run.records
        if isinstance(record.event, ManagerRegistered)
    ]
    assert len(blocks) == 2
    assert len(set(blocks)) <= 2
    assert run.came()[1] <= 62.0


def test_loss_that_nobody_noticed_is_seen_at_the_next_look() -> None:
    run = lost_once(detect_s=1000.0)
    assert 60.0 <= run.went()[0] <= 60.0 + LOOK_EVERY_S


def test_node_is_asked_for_again_after_its_walltime() -> None:
    run = Run(campaign(nodes(1, walltime_s=100.0), works=[(150, 0.0)]))
    run.pool.run()
    assert run.pool.is_done
    assert len(run.came()) >= 2
    assert run.came()[1] <= 100.0 + LOOK_EVERY_S


def test_bad_node_is_given_back_and_the_work_is_done_elsewhere() -> None:
    scenario = campaign(nodes(2), works=[(300, 0.0)])
    good, bad = lives(scenario, 1)
    run = Run(scenario, all_lives=[good, bad._replace(is_bad=True)])
    run.pool.run()
    assert run.pool.is_done
    assert run.went(), "the bad one went while there was work"
    assert run.site.batch.num_submitted <= 2 + run.pool.now / 20.0


def test_run_ends_when_no_node_will_ever_come_again() -> None:
    run = Run(campaign(Pool(gpu="A10", steps=((0.0, 1), (60.0, 0)))))
    run.pool.run()
    assert not run.pool.is_done
    assert not run.site.growth.blocks
    assert run.pool.time.next_at() == math.inf
