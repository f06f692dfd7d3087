"""Sets of recipes whose contexts live together, and the ways to build them."""

import pytest

from parsl_pcm import context, live, live_context
from parsl_pcm.context_set import ContextSet
from parsl_pcm.live import live_variant
from parsl_pcm.pickling import dump_recipes, load_recipes
from parsl_pcm.types import Requirements


@context(host_memory="1 GB", env={"LEVEL": "1"})
def weights(path="p"):
    return {"path": path}


@context
def engine(store=weights, size=1):
    return (store, size)


@context(gpus=1, gpu_memory="40 GB")
def large():
    return "large"


@context(gpus=1, gpu_memory="6 GB", env={"SMALL": "1"})
def small():
    return "small"


@context
def on_cpu(store=weights):
    return f"cpu {store['path']}"


def test_a_set_of_one_has_the_key_of_its_recipe():
    assert ContextSet([weights, weights()]).key == weights.key
    assert ContextSet([weights, weights()]).recipes == (weights,)


def test_the_key_of_a_set_does_not_depend_on_the_order():
    one, other = ContextSet([weights, engine]), ContextSet([engine, weights])
    assert one.key == other.key
    assert one.key not in (weights.key, engine.key)
    assert (one.name, other.name) == ("weights+engine", "engine+weights")


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        ContextSet([])


def test_a_set_needs_what_all_of_it_needs_dependencies_included_once():
    requirements = ContextSet([engine.options(cores=2), weights]).ways[0].requirements
    assert requirements == Requirements(host_memory_bytes=10**9, cores=2.0, setup_timeout_s=3600.0)


def test_env_is_merged_and_conflicts_are_named():
    merged = ContextSet([engine.options(env={"A": "1"})])
    assert merged.ways[0].env == {"LEVEL": "1", "A": "1"}
    conflict = ContextSet([engine.options(env={"LEVEL": "s3cret"})])
    with pytest.raises(ValueError, match=r"'weights' and 'engine'.*variable LEVEL") as caught:
        _ = conflict.ways
    assert "s3cret" not in str(caught.value)


def test_a_set_builds_shared_dependencies_once_and_publishes_while_open():
    built = []

    @context
    def shared():
        built.append("shared")
        return "shared"

    @context
    def left(below=shared):
        return ("left", below)

    @context
    def right(below=shared):
        return ("right", below)

    contexts = ContextSet([left, right, shared])
    with contexts.open() as live_objects:
        assert list(live_objects) == [left.key, right.key, shared.key]
        assert live_objects[left.key][1] is live_objects[right.key][1]
        assert live_context("right") == ("right", "shared")
        assert live.live_by_key(shared.key) == "shared"
    assert built == ["shared"]
    with pytest.raises(LookupError):
        live_context("right")


def test_dependencies_alone_are_not_published():
    with engine.open() as built:
        assert live_context() is built


# --- ways ---------------------------------------------------------------------------------------


def test_a_set_without_variants_has_one_way():
    (way,) = ContextSet([weights, engine]).ways
    assert (way.name, way.recipes) == ("weights+engine", (weights, engine))


def test_the_ways_of_a_recipe_are_those_of_its_set_with_their_dependencies():
    ways = ContextSet([large.variant(small).variant(on_cpu)]).ways
    assert [way.name for way in ways] == ["large", "small", "on_cpu"]
    assert [way.requirements.gpus for way in ways] == [1, 1, 0]
    assert [way.env for way in ways] == [{}, {"SMALL": "1"}, {"LEVEL": "1"}]
    assert ways[2].requirements.host_memory_bytes == 10**9


def test_ways_with_one_name_are_numbered():
    recipe = large.variant(gpu_memory="20 GB").variant(small).variant(gpus=0, gpu_memory=None)
    assert [way.name for way in ContextSet([recipe]).ways] == [
        "large",
        "large-2",
        "small",
        "large-3",
    ]


def test_the_ways_of_several_recipes_are_combined_in_their_order():
    one = large.options(gpu_type="A100").variant(small.options(gpu_type="H100")).variant(on_cpu)
    other = weights.options(cores=8).variant(weights("q"))
    ways = ContextSet([one, other]).ways
    assert [way.name for way in ways] == [
        "large+weights",
        "large+weights-2",
        "small+weights",
        "small+weights-2",
        "on_cpu+weights",
        "on_cpu+weights-2",
    ]
    assert ways[1].recipes == (large.options(gpu_type="A100"), weights("q"))


def test_combinations_that_could_never_be_used_are_left_out():
    on_any_gpu = engine.options(gpus=1)
    ways = ContextSet([small.variant(on_cpu), on_any_gpu.variant(weights)]).ways
    assert [way.name for way in ways] == ["small+engine", "on_cpu+weights"]


def test_combinations_that_no_gpu_suits_are_left_out():
    one = large.options(gpu_type="A100").variant(on_cpu)
    other = small.options(gpu_type="H100")
    assert [way.name for way in ContextSet([one, other]).ways] == ["on_cpu+small"]
    with pytest.raises(ValueError, match="want GPUs of different types"):
        _ = ContextSet([large.options(gpu_type="A100"), other]).ways


def test_what_is_built_in_another_way_is_found_under_the_key_of_the_recipe():
    recipe = large.variant(on_cpu)
    contexts = ContextSet([recipe, engine])
    with contexts.open(1) as live_objects:
        assert live_objects == {recipe.key: "cpu p", engine.key: ({"path": "p"}, 1)}
        assert live.live_by_key(recipe.key) == live_context("large") == "cpu p"
        assert live_variant() == "on_cpu+engine"
    with contexts.open() as live_objects:
        assert live_objects[recipe.key] == "large"
        assert live_variant() == "large+engine"


def test_a_context_without_variants_has_no_name_of_one():
    with ContextSet([large]).open():
        assert live_variant() == ""
    with pytest.raises(LookupError, match="no live context"):
        live_variant()


def test_a_dependency_that_is_a_way_of_another_recipe_is_built_once():
    built = []

    @context
    def store():
        built.append("store")
        return "store"

    @context
    def user(below=store):
        return below

    recipe = large.variant(store)
    with ContextSet([user, recipe]).open(1) as live_objects:
        assert live_objects == {user.key: "store", recipe.key: "store"}
    assert built == ["store"]


def test_a_set_sleeps_if_all_its_recipes_can_whatever_they_depend_on():
    sleeper, other = engine.options(can_sleep=True), large
    assert ContextSet([sleeper]).ways[0].requirements.can_sleep
    assert not ContextSet([sleeper, other]).ways[0].requirements.can_sleep
    assert not ContextSet([on_cpu(sleeper("x"))]).ways[0].requirements.can_sleep


def test_the_ways_of_a_set_survive_pickling():
    contexts = ContextSet([large.variant(small), engine])
    before = dump_recipes(contexts)
    ways = contexts.ways
    assert dump_recipes(contexts) == before
    assert load_recipes(before).key == contexts.key
    assert load_recipes(before).ways == ways


def test_a_way_never_shows_its_environment():
    (way,) = ContextSet([weights.options(env={"TOKEN": "s3cret"})]).ways
    assert "s3cret" not in repr(way)
