import logging
from types import SimpleNamespace
from typing import Any

import pytest
from parsl.providers import LocalProvider, SlurmProvider

from parsl_pcm.provider.flavours import UNKNOWN_BYTES, UNKNOWN_CAPABILITY, Flavour
from parsl_pcm.provider.schedulers.observations import IdleGpus
from parsl_pcm.provider.schedulers.parsl_jobs import ParslJobs
from parsl_pcm.provider.schedulers.slurm import SlurmJobs, SlurmProbe
from parsl_pcm.types import Requirements

GB = 10**9


def a_provider(num_gpus: int = 1, **attributes: Any) -> Any:
    return SimpleNamespace(num_gpus=num_gpus, **attributes)


def needs(gpus: int = 1, gb: float | None = None, **others: Any) -> Requirements:
    memory = None if gb is None else round(gb * GB)
    return Requirements(gpus=gpus, gpu_memory_bytes=memory, **others)


# --- what may be given --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_blocks": -1}, "max_blocks=-1 must be at least 0"),
        ({"max_share": 0.0}, "max_share=0.0 must be above 0"),
        ({"max_share": 1.5}, "max_share=1.5 must be above 0 and at most 1"),
        ({"keep_free": -2}, "keep_free=-2 must be at least 0"),
        ({"gpus_per_block": -1}, "gpus_per_block=-1 must be at least 0"),
        ({"gpus_per_block": 4, "max_gpus_per_block": 2}, "gpus_per_block=4 is above"),
        ({"gpu_memory": "lots"}, "gpu_memory='lots' of flavour 'x' is not understood"),
        ({"gpu_memory": 0}, "gpu_memory=0 must be above 0"),
        ({"gpu_memory": -1}, "gpu_memory=-1 of flavour 'x' must not be negative"),
    ],
)
def test_limits_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="flavour 'x'") as caught:
        Flavour("x", a_provider, **options)
    assert message in str(caught.value)


def test_nameless_flavour_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a name"):
        Flavour("", a_provider)


def test_larger_blocks_need_a_function() -> None:
    with pytest.raises(ValueError, match="has blocks of one size: give a function"):
        Flavour("x", a_provider(), max_gpus_per_block=4)
    with pytest.raises(ValueError, match="blocks of 1 GPUs only, not of 2"):
        Flavour("x", a_provider()).block_provider(2)


def test_exclusive_provider_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Flavour("x", a_provider(exclusive=True))
    assert "exclusive=False and gres='gpu:1'" in caplog.text


# --- what it gets -------------------------------------------------------------------------------


def test_provider_is_made_once_for_each_size() -> None:
    flavour = Flavour("x", a_provider)
    assert flavour.block_provider(2) is flavour.block_provider(2)
    assert (flavour.block_provider(1).num_gpus, flavour.block_provider(4).num_gpus) == (1, 4)  # type: ignore[attr-defined]


def test_flavours_of_one_cluster_share_its_probe_and_its_job_book() -> None:
    def provider(_: int) -> SlurmProvider:
        return SlurmProvider(exclusive=False)

    flavours = [Flavour("a", provider), Flavour("b", provider)]
    probes = [flavour.idle_probe for flavour in flavours]
    books = [flavour.job_book(1) for flavour in flavours]
    assert isinstance(probes[0], SlurmProbe)
    assert isinstance(books[0], SlurmJobs)
    assert probes[0] is probes[1]
    assert books[0] is books[1]
    other = Flavour("c", SlurmProvider(exclusive=False, clusters="east"))
    assert other.idle_probe is not probes[0]


def test_local_machine_is_idle_always_and_asks_its_provider_for_jobs() -> None:
    flavour = Flavour("here", LocalProvider())
    assert flavour.idle_probe is None
    assert isinstance(flavour.job_book(1), ParslJobs)


def test_blocks_without_gpus_have_no_probe() -> None:
    assert Flavour("cpu", SlurmProvider(exclusive=False), gpus_per_block=0).idle_probe is None


def test_given_probe_and_job_book_go_first() -> None:
    probe, book = SlurmProbe(), SlurmJobs()
    flavour = Flavour("x", LocalProvider(), probe=probe, jobs=book)
    assert flavour.idle_probe is probe
    assert flavour.job_book(1) is book


def test_idle_gpus_count_by_partition_and_type() -> None:
    rows = [
        IdleGpus(num_idle=1, num_total=4, partition="preempt", gpu_type="a100"),
        IdleGpus(num_idle=2, num_total=4, partition="preempt", gpu_type="v100"),
        IdleGpus(num_idle=4, num_total=4, partition="debug", gpu_type="a100"),
    ]

    def num_idle(partition: str | None, gpu_type: str | None) -> int | None:
        flavour = Flavour("x", a_provider, partition=partition, gpu_type=gpu_type)
        return flavour.count_idle(rows)

    assert num_idle("preempt", "A100") == 1
    assert num_idle("preempt", None) == 3
    assert num_idle(None, "a100") == 4, "partitions overlap"
    assert num_idle("preempt,debug", "a100") == 5
    assert num_idle("preempt", "nvidia_a100-pcie-40gb") == 1, "another name of the same"
    assert num_idle("preempt", "h100") is None
    assert num_idle("no-such-partition", None) is None


def test_partition_of_a_provider_is_the_flavours() -> None:
    assert Flavour("x", a_provider(partition="preempt")).partition == "preempt"
    assert Flavour("x", a_provider(queue="preemptable")).partition == "preemptable"


# --- what it serves -----------------------------------------------------------------------------


def test_facts_are_looked_up_by_type_and_what_is_given_goes_first() -> None:
    looked_up = Flavour("x", a_provider, gpu_type="a10")
    assert looked_up.compute_capability == 8.6
    assert looked_up.speed == 600
    assert 22 * GB < (looked_up.gpu_memory or 0) < 26 * GB  # type: ignore[operator]
    given = Flavour(
        "x", a_provider, gpu_type="a10", gpu_memory="12 GB", compute_capability=8.0, speed=7.0
    )
    assert (given.gpu_memory, given.compute_capability, given.speed) == (12 * GB, 8.0, 7.0)


@pytest.mark.parametrize(
    ("wanted", "is_offered"),
    [
        (needs(), True),
        (needs(gb=20), True),
        (needs(gb=40), False),
        (needs(min_compute_capability=8.0), True),
        (needs(min_compute_capability=9.0), False),
        (needs(gpus=4), True),
        (needs(gpus=5), False),
        (needs(cores=8.0), True),
        (needs(cores=9.0), False),
        (needs(host_memory_bytes=32 * GB), True),
        (needs(host_memory_bytes=33 * GB), False),
        (needs(gpus=0), True),
    ],
)
def test_contexts_are_served_where_they_fit(wanted: Requirements, is_offered: bool) -> None:
    def provider(num_gpus: int) -> Any:
        return a_provider(cores_per_node=8, mem_per_node=32)

    flavour = Flavour("x", provider, gpu_type="a10", max_gpus_per_block=4)
    assert (flavour.way_for([wanted]) is wanted) is is_offered


def test_what_is_unknown_suffices() -> None:
    flavour = Flavour("x", a_provider, gpu_type="next-generation")
    assert flavour.way_for([needs(gb=500, min_compute_capability=20.0, cores=500.0)])


def test_gpus_of_amd_have_no_compute_capability() -> None:
    flavour = Flavour("x", a_provider, gpu_type="mi210")
    assert flavour.way_for([needs(gb=48)])
    assert flavour.way_for([needs(min_compute_capability=7.0)]) is None


def test_block_grows_with_the_context() -> None:
    flavour = Flavour("x", a_provider)
    assert [flavour.gpus_for(needs(gpus=gpus)) for gpus in (0, 1, 2, 8)] == [1, 1, 2, 8]
    assert flavour.way_for([needs(gpus=9)]) is None


@pytest.mark.parametrize(
    ("wanted", "num_hosts"),
    [
        (needs(), 4),
        (needs(gpus=2), 2),
        (needs(gpus=3), 1),
        (needs(gb=7), 12),
        (needs(gb=7, cores=2.0), 8),
        (needs(gpus=0), 16),
        (needs(gpus=0, cores=3.0), 5),
        (needs(gpus=0, cores=0.1), 160),
    ],
)
def test_hosts_share_a_block(wanted: Requirements, num_hosts: int) -> None:
    flavour = Flavour("x", a_provider(4, cores_per_node=16), gpu_type="a10", gpus_per_block=4)
    assert flavour.hosts_per_block(wanted) == num_hosts


def test_gpus_of_several_nodes_do_not_make_one_host() -> None:
    flavour = Flavour("x", a_provider(nodes_per_block=2), gpus_per_block=4)
    assert flavour.way_for([needs(gpus=2)])
    assert flavour.way_for([needs(gpus=4)]) is None
    assert flavour.hosts_per_block(needs(gpus=2)) == 2
    assert len(flavour.node_resources().devices) == 2


def test_unknown_node_is_larger_than_any() -> None:
    node = Flavour("x", a_provider, max_gpus_per_block=4).node_resources()
    assert len(node.devices) == 4
    assert node.devices[0].memory_bytes == node.memory_bytes == UNKNOWN_BYTES
    assert node.devices[0].compute_capability == UNKNOWN_CAPABILITY


def test_known_node_is_what_it_is() -> None:
    provider = a_provider(cores_per_node=8, mem_per_node=64)
    node = Flavour("x", provider, gpu_type="a100").node_resources()
    assert (node.cores, node.memory_bytes, len(node.devices)) == (8.0, 64 * GB, 1)
    assert node.devices[0].compute_capability == 8.0


# --- ways to build a context --------------------------------------------------------------------


def test_context_is_built_in_the_first_way_that_the_gpus_allow() -> None:
    new, old = needs(gb=20, min_compute_capability=8.0), needs(gb=12)
    assert Flavour("x", a_provider, gpu_type="a10").way_for([new, old]) is new
    assert Flavour("x", a_provider, gpu_type="v100").way_for([new, old]) is old
    assert Flavour("x", a_provider, gpu_type="t4").way_for([new]) is None


def test_way_whose_node_would_be_too_small_is_passed_over() -> None:
    flavour = Flavour("x", a_provider(cores_per_node=4), gpu_type="a10")
    ways = [needs(cores=8.0), needs(cores=1.0)]
    assert flavour.way_for(ways) is ways[1]


def test_way_without_gpus_serves_blocks_without_gpus() -> None:
    ways = [needs(), needs(gpus=0)]
    assert Flavour("x", a_provider, gpus_per_block=0).way_for(ways) is ways[1]
    assert Flavour("x", a_provider).way_for(ways) is ways[0]


@pytest.mark.parametrize(
    ("gpu_type", "wanted", "is_offered"),
    [
        ("h100", ("h100",), True),
        ("nvidia_h100_80gb_hbm3", ("h100",), True),
        ("nvidia_h100_80gb_hbm3", ("h100 80gb",), True),
        ("rtx6000ada", ("rtx 6000 ada",), True),
        ("a100", ("h100", "a100"), True),
        ("a10", ("a100",), False),
        ("a100", ("h100",), False),
        ("next-generation", ("h100",), False),
        (None, ("h100",), True),
    ],
)
def test_gpus_are_of_a_type_whose_name_is_in_theirs_blanks_and_signs_aside(
    gpu_type: str | None, wanted: tuple[str, ...], is_offered: bool
) -> None:
    flavour = Flavour("x", a_provider, gpu_type=gpu_type)
    assert (flavour.way_for([needs(gpu_types=wanted)]) is not None) is is_offered


@pytest.mark.parametrize(("gb", "num_hosts"), [(4.9, 2), (5, 1), (9.9, 1), (10, 1)])
def test_hosts_that_share_a_gpu_leave_some_memory_free(gb: float, num_hosts: int) -> None:
    flavour = Flavour("x", a_provider, gpu_memory="10 GB")
    assert flavour.hosts_per_block(needs(gb=gb)) == num_hosts
