"""Recipes: made, changed, keyed, opened."""

import contextlib
import pickle

import cloudpickle
import pytest

from parsl_pcm import ContextRecipe, context, live, live_context
from parsl_pcm.context import ContextSet, find_recipes
from parsl_pcm.types import Requirements

FACTOR = 3


def helper():
    return FACTOR


@context(host_memory="1 GB", env={"LEVEL": "1"})
def weights(path="p", *, scale=1):
    return {"path": path, "scale": scale * helper()}


@context
def engine(store=weights, size=1):
    return (store, size)


@contextlib.contextmanager
def changed_global(name, value):
    old = globals()[name]
    globals()[name] = value
    try:
        yield
    finally:
        globals()[name] = old


def make(body):
    """Define a recipe from source, as a notebook cell does."""
    namespace = {"context": context, "__name__": "__main__"}
    exec(compile(body, "cell", "exec"), namespace)
    return namespace["setup"]


# --- declaring ----------------------------------------------------------------------------------


def test_declaring_runs_nothing():
    @context(gpus=1, gpu_memory="6 GB", setup_timeout_s=5)
    def never():
        raise AssertionError

    assert isinstance(never, ContextRecipe)
    assert never.name == "never"
    assert never.requirements == Requirements(
        gpus=1, gpu_memory_bytes=6_000_000_000, setup_timeout_s=5.0
    )


def test_options_make_another_recipe():
    more = weights.options(gpus=1, env=None)
    assert (more.requirements.gpus, more.requirements.host_memory_bytes) == (1, 10**9)
    assert more.env == {}
    assert (weights.requirements.gpus, weights.env) == (0, {"LEVEL": "1"})


def test_options_keep_the_arguments_and_calls_keep_the_options():
    assert weights("q").options(cores=2) == weights.options(cores=2)("q")


def test_recipes_cannot_be_changed():
    with pytest.raises(AttributeError):
        weights.requirements = Requirements()
    weights.env["LEVEL"] = "2"
    assert weights.env == {"LEVEL": "1"}


def test_unknown_options_are_refused_before_the_function_is_seen():
    with pytest.raises(TypeError, match="no option 'gpu'"):
        context(gpu=1)
    with pytest.raises(TypeError, match="no option 'memory'"):
        weights.options(memory=1)


@pytest.mark.parametrize("wrong", [5, "path", print, dict, object()])
def test_only_plain_functions_become_contexts(wrong):
    with pytest.raises(TypeError, match="takes a plain function"):
        context(wrong)


def test_async_setups_are_refused():
    async def setup():
        return 1

    async def generator():
        yield 1

    for function in (setup, generator):
        with pytest.raises(TypeError, match="is `async def`"):
            context(function)


def test_decorating_twice_is_refused():
    with pytest.raises(TypeError, match="'weights' is a context already"):
        context(weights)


def test_arguments_that_do_not_fit_are_refused_at_once():
    with pytest.raises(TypeError, match=r"context weights\(path='p', \*, scale=1\) do not fit"):
        weights(1, 2)


def test_a_recipe_taken_for_the_live_object_says_what_it_is():
    with pytest.raises(AttributeError, match=r"no attribute 'generate': it is the recipe of 'eng"):
        engine.generate(["hello"])
    assert not hasattr(engine, "__wrapped__")


def test_repr_shows_the_arguments():
    assert repr(weights) == "<context weights>"
    assert repr(weights("q" * 99)).startswith("<context weights('qqq")


# --- keys ---------------------------------------------------------------------------------------


def test_equal_content_has_equal_keys():
    assert weights() == weights == weights("p", scale=1) == weights(path="p")
    assert len({weights, weights(), weights("other")}) == 2


@pytest.mark.parametrize(
    "other",
    [
        weights("q"),
        weights(scale=2),
        weights.options(cores=1),
        weights.options(env={"LEVEL": "2"}),
        engine,
    ],
)
def test_other_content_has_another_key(other):
    assert other.key != weights.key
    assert other != weights


def test_what_a_recipe_depends_on_is_part_of_its_key():
    assert engine(weights("q")).key != engine(weights).key
    assert engine(weights.options(cores=1)).key != engine(weights).key


def test_name_and_place_are_no_part_of_the_key():
    one = make("@context\ndef setup(a=1):\n    return a + 1")
    moved = make("\n\n\n@context\ndef setup(a=1):\n    return a + 1")
    renamed = make("@context\ndef other(a=1):\n    return a + 1\nsetup = other")
    assert one.key == moved.key == renamed.key


def test_defaults_count_only_through_the_arguments():
    one = make("@context\ndef setup(a=1):\n    return a")
    other = make("@context\ndef setup(a=2):\n    return a")
    assert one.key != other.key
    assert one(2).key == other.key


@pytest.mark.parametrize(
    "body",
    [
        "def helper():\n    return 2\n@context\ndef setup():\n    return helper()",
        "X = 1\ndef helper():\n    return X\n@context\ndef setup():\n    return helper(), 1",
        "def helper():\n    return 1\n@context\ndef setup():\n    return helper(), 2",
    ],
)
def test_code_and_helpers_are_part_of_the_key(body):
    base = "def helper():\n    return 1\n@context\ndef setup():\n    return helper()"
    assert make(body).key != make(base).key


def test_code_is_hashed_once_a_declaration():
    @context
    def setup():
        return FACTOR

    first = setup.key
    with changed_global("FACTOR", 4):
        assert setup.key == setup().key == first
        assert context(setup._setup.function).key != first


def test_a_missing_argument_is_named_when_the_key_is_needed():
    @context
    def setup(path):
        return path

    assert setup("x").key
    with pytest.raises(TypeError, match="missing a required argument: 'path'"):
        _ = setup.key


def test_what_cannot_be_hashed_is_named_with_the_context():
    lock = contextlib.ExitStack()
    lock.callback(print)
    generator = (i for i in ())

    @context
    def setup():
        return generator

    with pytest.raises(TypeError, match=r"context 'setup' has no key: variable 'generator' of"):
        _ = setup.key


def test_a_setup_that_refers_to_its_own_context_is_refused():
    recursive = make("@context\ndef setup():\n    return setup")
    with pytest.raises(TypeError, match="refers to its own context"):
        _ = recursive.key


# --- dependencies -------------------------------------------------------------------------------


def test_dependencies_are_found_in_defaults_and_arguments():
    assert engine.dependencies == (weights,)
    assert engine(weights("q")).dependencies == (weights("q"),)
    assert engine(None).dependencies == ()


def test_recipes_are_found_in_lists_tuples_and_dicts_once():
    other = weights("q")
    assert find_recipes([weights, ({"a": other},), weights(), 5]) == (weights, other)


# --- opening ------------------------------------------------------------------------------------


def test_open_gives_the_live_object_with_its_dependencies():
    with engine(size=2).open() as built:
        assert built == ({"path": "p", "scale": 3}, 2)


def test_dependencies_in_containers_become_live():
    @context
    def both(parts):
        return parts

    with both((weights, {"q": weights("q")})).open() as built:
        assert built == ({"path": "p", "scale": 3}, {"q": {"path": "q", "scale": 3}})


def test_clean_up_runs_in_reverse_order_even_after_an_error():
    log = []

    @context
    def lower():
        yield "lower"
        log.append("lower")

    @context
    def upper(below=lower):
        yield below + "+upper"
        log.append("upper")

    def fail_inside():
        with upper.open() as built:
            assert built == "lower+upper"
            assert log == []
            raise RuntimeError("the body")

    with pytest.raises(RuntimeError, match="the body"):
        fail_inside()
    assert log == ["upper", "lower"]


def test_a_failing_setup_cleans_up_what_was_built_before_it():
    log = []

    @context
    def lower():
        yield 1
        log.append("cleaned")

    @context
    def broken(below=lower):
        raise OSError("no such model")

    with pytest.raises(OSError, match="no such model"), broken.open():
        pass
    assert log == ["cleaned"]


def test_a_setup_that_gives_none_is_refused():
    @context
    def forgets():
        pass

    @context
    def yields_nothing():
        yield from ()

    for recipe in (forgets, yields_nothing):
        with pytest.raises(ValueError, match=f"context '{recipe.name}' gave None"), recipe.open():
            pass


def test_false_objects_are_fine():
    @context
    def empty():
        return []

    with empty.open() as built:
        assert built == []


# --- sets ---------------------------------------------------------------------------------------


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
    requirements = ContextSet([engine.options(cores=2), weights]).requirements
    assert requirements == Requirements(host_memory_bytes=10**9, cores=2.0, setup_timeout_s=3600.0)


def test_env_is_merged_and_conflicts_are_named():
    merged = ContextSet([engine.options(env={"A": "1"})])
    assert merged.env == {"LEVEL": "1", "A": "1"}
    conflict = ContextSet([engine.options(env={"LEVEL": "s3cret"})])
    with pytest.raises(ValueError, match=r"'weights' and 'engine'.*variable LEVEL") as caught:
        _ = conflict.env
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


# --- pickling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [weights, engine(weights("q"), size=3)])
def test_a_recipe_survives_pickling_with_its_key(recipe):
    copy = pickle.loads(cloudpickle.dumps(recipe))
    assert copy.key == recipe.key
    assert (copy.name, copy.requirements, copy.env) == (
        recipe.name,
        recipe.requirements,
        recipe.env,
    )
    with copy.open() as ours, recipe.open() as theirs:
        assert ours == theirs


def test_the_key_travels_rather_than_being_taken_again():
    payload = cloudpickle.dumps(weights)
    with changed_global("FACTOR", 99):
        assert pickle.loads(payload).key == weights.key
