"""Options of @context."""

import pytest

from parsl_pcm.requirements import change_requirements, check_env, combine_requirements
from parsl_pcm.types import Requirements


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


@pytest.mark.parametrize("option", [{"gpu_memory": "6 GB"}, {"min_compute_capability": 8.0}])
def test_gpu_options_without_gpus_are_refused(option):
    with pytest.raises(ValueError, match="add gpus=1"):
        given(**option)


def test_none_takes_an_option_back():
    asked = given(gpus=1, gpu_memory="6 GB", cores=2, min_compute_capability=8)
    taken_back = change_requirements(
        asked, {"gpu_memory": None, "cores": None, "min_compute_capability": None}
    )
    assert taken_back == Requirements(gpus=1)


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
