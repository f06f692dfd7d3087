"""Options of @context."""

import msgspec
import pytest
from hypothesis import given as each
from hypothesis import strategies as st

from parsl_pcm.core.rooms import ways_on, whole_room
from parsl_pcm.requirements import (
    change_requirements,
    check_env,
    combine_requirements,
    is_covered,
)
from parsl_pcm.types import Device, DeviceId, NodeResources, Requirements

DEFAULT_CORES = 1.0


def given(**options):
    return change_requirements(Requirements(), options)


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("6 GB", 6_000_000_000),
        ("6GiB", 6 * 2**30),
        ("1.5 kB", 1500),
        ("512 mib", 512 * 2**20),
        (" 2 TB ", 2 * 10**12),
        ("7 B", 7),
        (123, 123),
    ],
)
def test_memory_is_understood(text, num_bytes):
    assert given(host_memory=text).host_memory_bytes == num_bytes
    assert given(gpus=1, gpu_memory=text).gpu_memory_bytes == num_bytes


@pytest.mark.parametrize("text", ["6", "6 G", "GB", "-6 GB", "6 GB x", "", "1e9 B"])
def test_memory_that_is_not_understood_lists_the_units(text):
    with pytest.raises(ValueError, match=r"host_memory=.*B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"):
        given(host_memory=text)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("gpus", 1.0),
        ("gpus", "1"),
        ("gpus", True),
        ("gpus", None),
        ("gpu_memory", 6e9),
        ("host_memory", None),
        ("cores", "2"),
        ("cores", True),
        ("min_compute_capability", "8.0"),
        ("max_concurrency", 1.5),
        ("setup_timeout_s", None),
        ("setup_timeout_s", "10 min"),
        ("gpu_type", 100),
        ("gpu_type", ["A100", 100]),
        ("gpu_type", b"A100"),
        ("keep_warm_s", "1 h"),
        ("can_sleep", 1),
        ("can_sleep", None),
        ("imports", 5),
        ("imports", ["json", None]),
    ],
)
def test_wrong_types_are_named_with_the_value(option, value):
    with pytest.raises(TypeError, match=rf"{option} of a context must be .*, not "):
        given(**{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("gpus", -1),
        ("host_memory", -1),
        ("gpu_memory", 0),
        ("cores", 0),
        ("min_compute_capability", -8.0),
        ("max_concurrency", 0),
        ("setup_timeout_s", 0),
        ("setup_timeout_s", float("nan")),
        ("setup_timeout_s", float("inf")),
        ("keep_warm_s", 0),
        ("keep_warm_s", float("inf")),
    ],
)
def test_values_that_cannot_be_are_named(option, value):
    with pytest.raises(ValueError, match=rf"{option}={value}"):
        given(**{"gpus": 1, option: value})


def test_unknown_options_list_the_known_ones():
    with pytest.raises(
        TypeError, match=r"no option 'gpu'; its options are: gpus, gpu_memory, .*env"
    ):
        given(gpu=1)


@pytest.mark.parametrize(
    "option",
    [{"gpu_memory": "6 GB"}, {"min_compute_capability": 8.0}, {"gpu_type": "A100"}],
)
def test_gpu_options_without_gpus_are_refused(option):
    with pytest.raises(ValueError, match="add gpus=1"):
        given(**option)


def test_none_takes_an_option_back():
    asked = given(
        gpus=1,
        gpu_memory="6 GB",
        cores=2,
        min_compute_capability=8,
        gpu_type="A100",
        keep_warm_s=5,
        imports="json",
    )
    names = ["gpu_memory", "cores", "min_compute_capability", "gpu_type", "keep_warm_s", "imports"]
    taken_back = change_requirements(asked, dict.fromkeys(names))
    assert taken_back == Requirements(gpus=1)


def test_types_of_gpus_are_kept_in_lower_case_each_once():
    assert given(gpus=1, gpu_type="A100").gpu_types == ("a100",)
    assert given(gpus=1, gpu_type=[" H100 PCIe", "h100 pcie", "L40S"]).gpu_types == (
        "h100 pcie",
        "l40s",
    )


def test_an_empty_type_of_gpu_is_refused():
    with pytest.raises(ValueError, match="gpu_type='' of a context has an empty text"):
        given(gpus=1, gpu_type="")


def test_modules_to_import_are_a_name_or_several():
    assert given(imports="vllm").imports == ("vllm",)
    assert given(imports=("torch", "a.b_c", "torch")).imports == ("torch", "a.b_c")


@pytest.mark.parametrize("module", ["", "torch vllm", "torch,vllm", "a..b", "/models/x.py"])
def test_what_names_no_module_is_refused(module):
    with pytest.raises(ValueError, match=r"imports of a context has .*which names no module"):
        given(imports=[module])


def test_env_is_copied():
    env = {"A": "1"}
    copy = check_env(env)
    env["A"] = "2"
    assert copy == {"A": "1"}
    assert check_env(None) == {}


@pytest.mark.parametrize("env", ["A=1", ["A"], 5])
def test_env_that_is_no_dict_is_refused(env):
    with pytest.raises(TypeError, match="env of a context must be a dict"):
        check_env(env)


def test_env_never_shows_a_value():
    with pytest.raises(TypeError, match="'TOKEN' is given as bytes") as caught:
        check_env({"TOKEN": b"s3cret"})
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ValueError, match="'TOKEN'") as caught_value:
        check_env({"TOKEN": "s3\0cret"})
    assert "cret" not in str(caught_value.value)


@pytest.mark.parametrize("name", ["", "A=B", "A\0"])
def test_env_with_impossible_names_is_refused(name):
    with pytest.raises(ValueError, match="no environment can hold"):
        check_env({name: "1"})


def test_one_process_for_several_contexts_needs_their_sum():
    combined = combine_requirements(
        [
            Requirements(gpus=1, gpu_memory_bytes=6, min_compute_capability=7.0, cores=2),
            Requirements(gpus=2, gpu_memory_bytes=4, min_compute_capability=8.0, max_concurrency=3),
            Requirements(host_memory_bytes=5, max_concurrency=2, setup_timeout_s=1),
        ]
    )
    assert combined == Requirements(
        gpus=2,
        gpu_memory_bytes=10,
        host_memory_bytes=5,
        cores=2,
        min_compute_capability=8.0,
        max_concurrency=1,
        setup_timeout_s=3601,
    )


def test_all_of_a_gpu_and_something_else_is_all_of_it():
    whole = Requirements(gpus=1)
    part = Requirements(gpus=1, gpu_memory_bytes=4)
    assert combine_requirements([whole, part]).gpu_memory_bytes is None


def test_contexts_without_gpus_leave_the_memory_of_the_gpu_alone():
    part = Requirements(gpus=1, gpu_memory_bytes=4)
    assert combine_requirements([part, Requirements()]).gpu_memory_bytes == 4


def test_one_process_is_kept_the_longest_and_imports_all():
    combined = combine_requirements(
        [
            Requirements(keep_warm_s=5, imports=("a", "b"), can_sleep=True),
            Requirements(keep_warm_s=7, imports=("b", "c")),
            Requirements(),
        ]
    )
    assert combined.keep_warm_s == 7
    assert combined.imports == ("a", "b", "c")
    assert not combined.can_sleep
    assert combine_requirements([Requirements(can_sleep=True)] * 2).can_sleep


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ((), ("a100",), ("a100",)),
        (("a100", "h100"), ("h100", "l40s"), ("h100",)),
        (("a100",), ("a100-sxm4-80gb", "a100 80gb"), ("a100-sxm4-80gb", "a100 80gb")),
    ],
)
def test_types_of_gpus_for_several_contexts_are_what_they_have_in_common(one, other, common):
    for pair in ((one, other), (other, one)):
        parts = [Requirements(gpus=1, gpu_types=types) for types in pair]
        assert combine_requirements([*parts, Requirements()]).gpu_types == common


def test_contexts_for_different_gpus_cannot_share_a_process():
    parts = [Requirements(gpus=1, gpu_types=types) for types in (("a100",), ("h100",))]
    with pytest.raises(ValueError, match=r"gpu_type=\('a100',\) and gpu_type=\('h100',\)"):
        combine_requirements(parts)


# --- what covers what ---------------------------------------------------------------------------

GIB = 1 << 30
NAMES = ["nvidia a100-sxm4-80gb", "nvidia a100-pcie-40gb", "nvidia h100", "tesla t4"]


@st.composite
def needs(draw):
    common = {
        "host_memory_bytes": draw(st.sampled_from([0, GIB, 8 * GIB])),
        "cores": draw(st.sampled_from([None, 1.0, 4.0])),
    }
    if not draw(st.booleans()):
        return Requirements(**common)
    return Requirements(
        gpus=draw(st.integers(1, 3)),
        gpu_memory_bytes=draw(st.sampled_from([None, 6 * GIB, 40 * GIB])),
        min_compute_capability=draw(st.sampled_from([None, 7.0, 8.0])),
        gpu_types=draw(st.sampled_from([(), ("a100",), ("a100-sxm4",), ("a100", "h100")])),
        **common,
    )


@st.composite
def nodes(draw):
    devices = [
        Device(
            device_id=DeviceId(str(number)),
            kind="cuda",
            name=draw(st.sampled_from(NAMES)),
            memory_bytes=draw(st.sampled_from([4 * GIB, 16 * GIB, 80 * GIB])),
            compute_capability=draw(st.sampled_from([6.0, 7.5, 9.0])),
        )
        for number in range(draw(st.integers(0, 4)))
    ]
    return NodeResources(
        cores=draw(st.sampled_from([1.0, 8.0])),
        memory_bytes=draw(st.sampled_from([GIB // 2, 4 * GIB, 64 * GIB])),
        devices=tuple(devices),
    )


def resolved(requirements):
    if requirements.cores is not None:
        return requirements
    cores = 0.0 if requirements.gpus else DEFAULT_CORES
    return msgspec.structs.replace(requirements, cores=cores)


@each(st.lists(needs(), min_size=2, max_size=3), st.lists(nodes(), max_size=8))
def test_what_is_covered_is_used_on_no_node(ways, pool):
    covered = {
        later
        for later in range(1, len(ways))
        if any(is_covered(ways[later], ways[earlier]) for earlier in range(later))
    }
    asked = [resolved(way) for way in ways]
    used = {variant for node in pool for variant, _ in ways_on(whole_room(node), asked)}
    assert not covered & used


def nodes_made_for(way):
    """Return nodes that have what a way needs and nothing else, one for each type of GPU."""
    for name in way.gpu_types or ("tesla p4",):
        device = Device(
            device_id=DeviceId("0"),
            kind="cuda",
            name=name,
            memory_bytes=way.gpu_memory_bytes or 1,
            compute_capability=way.min_compute_capability,
        )
        yield NodeResources(
            cores=way.cores,
            memory_bytes=way.host_memory_bytes,
            devices=(device,) * way.gpus,
        )


@each(needs().map(resolved), needs().map(resolved))
def test_what_is_not_covered_is_used_on_a_node_made_for_it(earlier, later):
    rooms = map(whole_room, nodes_made_for(later))
    used = {variant for room in rooms for variant, _ in ways_on(room, [earlier, later])}
    assert (1 in used) == (not is_covered(later, earlier))


@each(needs())
def test_everything_covers_itself(way):
    assert is_covered(way, way)
