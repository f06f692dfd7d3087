"""The papers' ways of giving a context."""

import pytest

from parsl_pcm import compat, context, live
from parsl_pcm.context_set import ContextSet


def load_model(path, device="cuda"):
    return {"model": f"{path} on {device}"}


@context(gpus=1)
def declared(path):
    return {"model": path}


RECIPE = context(load_model)("p")

FORMS = [
    {"context": [load_model, ["p"], {}]},
    {"context": (load_model, ("p",))},
    {"context": [load_model, [], {"path": "p"}]},
    {"template": {"fn": load_model, "args": ["p"], "kwargs": {}}},
    {"template": {"fn": load_model, "kwargs": {"path": "p", "device": "cuda"}}},
    {"context": RECIPE},
]


@pytest.mark.parametrize("spec", FORMS)
def test_every_form_of_the_same_content_is_the_same_context(spec):
    assert compat.is_paper_spec(spec)
    assert compat.recipe_of_paper_spec(spec) == RECIPE


def test_other_arguments_are_another_context():
    other = {"context": [load_model, ["q"], {}]}
    assert compat.recipe_of_paper_spec(other).key != RECIPE.key


def test_a_decorated_function_keeps_its_requirements():
    recipe = compat.recipe_of_paper_spec({"context": [declared, ["p"], {}]})
    assert recipe == declared("p")
    assert recipe.requirements.gpus == 1


def test_options_may_stand_beside_the_context():
    spec = {"context": [load_model, ["p"], {}], "gpus": 1, "gpu_memory": "6 GB"}
    assert compat.recipe_of_paper_spec(spec) == RECIPE.options(gpus=1, gpu_memory="6 GB")
    with pytest.raises(TypeError, match="no option 'gpu'"):
        compat.recipe_of_paper_spec({"context": [load_model, ["p"], {}], "gpu": 1})


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"context": "some text"},
        {"context": ["some", "texts"]},
        {"context": [load_model, 5]},
        {"context": [load_model, [], {}, 4]},
        {"context": {"fn": load_model, "extra": 1}},
        {"context": {"args": []}},
        {"context": [print, [], {}]},
        [load_model, [], {}],
    ],
)
def test_other_values_are_no_declaration(value):
    assert not compat.is_paper_spec(value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"context": [load_model, 5]}, "with a list and a dict of arguments, not args=5"),
        ({"context": [load_model, ["p"], ["q"]]}, r"kwargs=\['q'\]"),
        ({"context": [load_model, [], {}, 4]}, r"as \[fn, args, kwargs\]"),
        ({"context": []}, r"as \[fn, args, kwargs\]"),
        ({"context": {"fn": load_model, "arg": []}}, "'fn': ..., 'args': ..., 'kwargs'"),
        ({"context": [load_model], "template": [load_model]}, "has 2 of the keys"),
        ({"context": [print, [], {}]}, "takes a plain function"),
        ({"context": [load_model, [1, 2, 3], {}]}, "context load_model.* do not fit"),
    ],
)
def test_malformed_declarations_say_what_is_wrong(spec, message):
    with pytest.raises(TypeError, match=message):
        compat.recipe_of_paper_spec(spec)


@pytest.mark.parametrize(
    "reader",
    [
        compat.load_variable_from_serverless,
        compat.load_variable_from_state_manager,
        compat.load_variable_in_serverless,
    ],
)
def test_every_reader_finds_the_variables(reader):
    with ContextSet([RECIPE]).open():
        assert reader("model") == "p on cuda"
    assert reader is live.load_variable
