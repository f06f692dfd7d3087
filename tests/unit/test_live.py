"""What functions find in a host."""

import pytest

from parsl_pcm import live
from parsl_pcm.types import ContextKey

KEY_A = ContextKey("aaa")
KEY_B = ContextKey("bbb")


@pytest.fixture(autouse=True)
def _nothing_left():
    yield
    assert not live._published


@pytest.fixture
def published():
    """Publish through this, to have all of it withdrawn at the end."""
    keys = []

    def publish(key, name, value):
        live.publish(key, name, value)
        keys.append(key)

    yield publish
    for key in keys:
        live.withdraw(key)


def test_the_only_context_needs_no_name(published):
    published(KEY_A, "llm", "engine")
    assert live.live_context() == "engine"


def test_a_context_is_found_by_name_among_several(published):
    published(KEY_A, "llm", "engine")
    published(KEY_B, "index", "store")
    assert live.live_context("index") == "store"


def test_ambiguity_lists_what_is_there(published):
    published(KEY_A, "llm", "engine")
    published(KEY_B, "index", {"store": 1})
    with pytest.raises(LookupError, match=r"more than one live context.*'llm' \(str\).*'store'"):
        live.live_context()


def test_same_name_twice_is_ambiguous(published):
    published(KEY_A, "llm", 1)
    published(KEY_B, "llm", 2)
    with pytest.raises(LookupError, match="more than one live context named 'llm'"):
        live.live_context("llm")


def test_outside_of_a_host_the_error_says_so():
    with pytest.raises(LookupError, match="running in a host of PCMExecutor"):
        live.live_context()


def test_unknown_name_lists_what_is_there(published):
    published(KEY_A, "llm", "engine")
    with pytest.raises(LookupError, match=r"no live context named 'lmm'.*'llm'"):
        live.live_context("lmm")


def test_a_key_finds_its_object_even_if_it_is_false(published):
    published(KEY_A, "empty", [])
    assert live.live_by_key(KEY_A) == []
    with pytest.raises(LookupError, match="bbb is not live"):
        live.live_by_key(KEY_B)


def test_the_last_published_of_a_key_counts_until_it_is_withdrawn(published):
    published(KEY_A, "llm", "outer")
    live.publish(KEY_A, "llm", "inner")
    assert live.live_by_key(KEY_A) == "inner"
    live.withdraw(KEY_A)
    assert live.live_by_key(KEY_A) == "outer"


def test_withdrawing_what_is_not_there_is_refused():
    with pytest.raises(LookupError, match="aaa is not live"):
        live.withdraw(KEY_A)


def test_variables_come_from_the_dict_that_has_them(published):
    published(KEY_A, "load", {"model": "m", "nothing": None})
    published(KEY_B, "other", 5)
    assert live.load_variable("model") == "m"
    assert live.load_variable("nothing") is None


def test_unknown_variable_lists_the_keys(published):
    published(KEY_A, "load", {"model": "m"})
    with pytest.raises(LookupError, match=r"variable 'modle'.*a dict with 'model'.*must return"):
        live.load_variable("modle")


def test_memory_budget_is_what_the_manager_says(monkeypatch):
    monkeypatch.setenv("PARSL_PCM_GPU_MEMORY_BYTES", "6000000000")
    assert live.gpu_memory_budget() == 6_000_000_000


def test_without_a_memory_budget_the_devices_are_the_hosts_alone(monkeypatch):
    monkeypatch.delenv("PARSL_PCM_GPU_MEMORY_BYTES", raising=False)
    assert live.gpu_memory_budget() is None
