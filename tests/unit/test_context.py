"""Recipes: made, changed, keyed, opened."""

import contextlib
import pickle

import cloudpickle
import pytest

from parsl_pcm import ContextRecipe, context
from parsl_pcm.context import find_recipes
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
        weights.options(max_concurrency=2),
        weights.options(can_sleep=True),
        weights.options(gpus=1, gpu_type="A100"),
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


# --- variants -----------------------------------------------------------------------------------


@context(gpus=1, gpu_memory="40 GB")
def large(model="big"):
    return ("large", model)


@context(gpus=1, gpu_memory="6 GB")
def small(model="little"):
    return ("small", model)


@context
def on_cpu(model="tiny"):
    return ("cpu", model)


def test_a_variant_is_one_more_way_and_leaves_the_recipe_as_it_was():
    both = large.variant(small)
    three = both.variant(on_cpu("x"))
    assert large.ways == (large,)
    assert both.ways == (large, small)
    assert three.ways == (large, small, on_cpu("x"))
    assert (three.name, three.requirements) == ("large", large.requirements)


def test_a_variant_without_a_recipe_is_the_first_way_with_other_options():
    both = large.variant(small).variant(gpus=0, gpu_memory=None, env={"DEVICE": "cpu"})
    assert both.ways[2] == large.options(gpus=0, gpu_memory=None, env={"DEVICE": "cpu"})


def test_the_key_covers_all_ways_and_their_order():
    both = large.variant(on_cpu)
    keys = {large.key, both.key, large.variant(on_cpu("x")).key, large.variant(small).key}
    assert len(keys) == 4
    assert both.key == large.variant(on_cpu("tiny")).key
    assert large.variant(small).variant(on_cpu).key != large.variant(on_cpu).key
    typed = large.options(gpu_type="a100"), large.options(gpu_type="h100")
    assert typed[0].variant(typed[1]).key != typed[1].variant(typed[0]).key


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (small, large),
        (small, small("other")),
        (on_cpu, large),
        (small, large.options(gpus=2, gpu_type="A100", min_compute_capability=8.0)),
        (small.options(gpu_type=["A100", "H100"]), large.options(gpu_type="A100-SXM4")),
    ],
)
def test_a_variant_that_could_never_be_used_is_refused(first, later):
    with pytest.raises(ValueError, match=f"{later.name!r} of context {first.name!r} would never"):
        first.variant(later)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (large, small),
        (large, on_cpu),
        (on_cpu.options(host_memory="64 GB"), large),
        (on_cpu.options(cores=32), on_cpu("x")),
        (small.options(gpus=2), small),
        (small.options(gpu_type="A100-SXM4"), small.options(gpu_type="A100")),
        (small.options(gpu_type="A100"), small),
        (small.options(min_compute_capability=8.0), small.options(min_compute_capability=7.5)),
        (small, on_cpu.options(gpus=1)),
    ],
)
def test_a_variant_that_fits_elsewhere_is_taken(first, later):
    assert first.variant(later).ways == (first, later)


def test_what_a_way_depends_on_counts_for_where_it_fits():
    @context
    def built_upon(below=weights):  # which needs 1 GB of main memory
        return below

    assert built_upon.variant(on_cpu).ways == (built_upon, on_cpu)
    with pytest.raises(ValueError, match="'built_upon' of context 'on_cpu' would never be used"):
        on_cpu.variant(built_upon)


def test_making_variants_does_not_hash_anything_yet():
    @context
    def of_later():
        return defined_later()  # noqa: F821 - at the time of the declaration

    recipe = of_later.options(cores=64).variant(of_later)
    assert not any("key" in vars(each) for each in (recipe, *recipe.ways))


def test_variants_of_variants_are_refused():
    both = large.variant(small)
    with pytest.raises(TypeError, match=r"'large' of context 'on_cpu' has variants itself"):
        on_cpu.options(cores=64).variant(both)


def test_what_is_no_recipe_is_no_variant():
    with pytest.raises(TypeError, match="a variant is another @context, not str: 'small'"):
        large.variant("small")
    with pytest.raises(TypeError, match="no option 'memory'"):
        large.variant(small, memory="6 GB")


def test_a_recipe_with_variants_takes_no_other_arguments_or_options():
    both = large.variant(small)
    with pytest.raises(TypeError, match="'large' has variants already: give it arguments before"):
        both("other")
    with pytest.raises(TypeError, match="'large' has variants already: give it options before"):
        both.options(cores=2)


def test_recipes_with_variants_are_no_arguments_of_other_recipes():
    both = large.variant(small)
    with pytest.raises(TypeError, match=r"'engine' is given 'large', which has variants"):
        engine(both)
    with pytest.raises(TypeError, match=r"'engine' is given 'large', which has variants"):
        engine(size=[{"model": both}])
    with pytest.raises(TypeError, match=r"'judge' is given 'large', which has variants"):

        @context
        def judge(model=both):
            return model


def test_opening_a_recipe_with_variants_builds_the_first():
    with large("m").variant(small).open() as built:
        assert built == ("large", "m")


def test_repr_shows_all_ways():
    assert repr(large.variant(on_cpu("x"))) == "<context large or on_cpu('x')>"


# --- options that are not in the key ------------------------------------------------------------


def test_how_its_hosts_are_treated_does_not_change_what_a_context_is():
    other = weights.options(keep_warm_s=60, setup_timeout_s=5, imports=["json"])
    assert other == weights
    assert other.requirements != weights.requirements


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


def test_a_recipe_with_variants_survives_pickling_with_all_keys():
    recipe = engine(weights("q")).options(cores=64).variant(engine(weights))
    payload = cloudpickle.dumps(recipe)
    with changed_global("FACTOR", 99):
        copy = pickle.loads(payload)
        assert copy.key == recipe.key
        assert [way.key for way in copy.ways] == [way.key for way in recipe.ways]
    assert repr(copy) == repr(recipe)
