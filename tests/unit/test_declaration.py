"""Which contexts a call needs, and what is sent of it."""

import gc
import sys
import types
import weakref

import pytest
from parsl.app.errors import wrap_error
from parsl.executors.errors import InvalidResourceSpecification

from parsl_pcm import context
from parsl_pcm.declaration import Declared, check_specification, declare
from parsl_pcm.errors import ContextNotFound


@context
def llm(model="m"):
    return {"model": model}


@context
def index():
    return ["index"]


def load_model(path):
    return {"model": path}


def plain(x, y=2):
    return x + y


def verify(claims, llm=llm):
    return llm


def search(claims, *, llm=llm, parts=(index,)):
    return llm, parts


def infer_model(inputs, parsl_spec):
    return inputs


@pytest.fixture
def contexts_module(monkeypatch):
    module = types.ModuleType("my_contexts")
    module.llm, module.load, module.llms = llm, load_model, types.SimpleNamespace(small=llm("s"))
    monkeypatch.setitem(sys.modules, "my_contexts", module)


def pcm(declared):
    return {"pcm": {"context": declared}}


# --- functions and defaults ---------------------------------------------------------------------


def test_a_call_without_contexts_is_passed_on():
    assert declare(plain, {}, [1], {"y": 3}) == Declared(plain, (1,), {"y": 3})
    assert declare(plain, None, (1,), {}) == Declared(plain, (1,), {})


def test_parsls_wrapper_is_taken_off():
    assert declare(wrap_error(verify), {}, (1,), {}).function is verify


def test_other_wrappers_stay():
    wrapped = wrap_error(plain)

    def timeout(*args, **kwargs):
        return wrapped(*args, **kwargs)

    assert declare(timeout, {}, (), {}).function is timeout


def test_callables_that_are_no_functions_are_passed_on():
    class Unhashable:
        __hash__ = None

        def __call__(self, x, engine=llm):
            return engine

    called = Unhashable()
    assert declare(called, {}, (1,), {}).kwargs == {"engine": llm}
    assert declare(min, {}, (1, 2), {}).args == (1, 2)


def test_contexts_in_defaults_become_arguments():
    assert declare(verify, {}, (["c"],), {}).kwargs == {"llm": llm}
    assert declare(search, {}, (["c"],), {}).kwargs == {"llm": llm, "parts": (index,)}


@pytest.mark.parametrize(("args", "kwargs"), [((1, llm("q")), {}), ((1,), {"llm": llm("q")})])
def test_explicit_arguments_win_over_defaults(args, kwargs):
    assert declare(verify, {}, args, kwargs) == Declared(verify, args, kwargs)


def test_the_callers_arguments_are_left_alone():
    kwargs = {}
    declare(verify, {}, (1,), kwargs)
    assert kwargs == {}


def test_a_positional_only_context_is_refused_unless_given():
    def app(claims, engine=llm, /):
        return engine

    assert declare(app, {}, (1, llm), {}).args == (1, llm)
    with pytest.raises(TypeError, match=r"'engine' of app\(\) is positional-only.*move it"):
        declare(app, {}, (1,), {})


def test_functions_are_not_kept_alive():
    def app(claims, engine=llm):
        return engine

    gone = weakref.ref(app)
    declare(app, {}, (1,), {})
    del app
    gc.collect()
    assert gone() is None


# --- the resource specification -----------------------------------------------------------------


def test_priority_is_passed_on():
    assert declare(plain, {"priority": 3}, (1,), {}).priority == 3


@pytest.mark.parametrize("declared", [llm, "my_contexts:llm"])
def test_a_context_of_the_specification_is_live_around_the_call(contexts_module, declared):
    call = declare(plain, pcm(declared), (1,), {})
    assert (call.extra_recipes, call.kwargs) == ((llm,), {})


def test_several_contexts_may_be_declared(contexts_module):
    call = declare(plain, pcm(["my_contexts:llms.small", index]), (1,), {})
    assert call.extra_recipes == (llm("s"), index)


def test_a_context_for_a_parameter_is_passed_as_that(contexts_module):
    call = declare(verify, pcm({"llm": "my_contexts:llms.small"}), (1,), {})
    assert (call.extra_recipes, call.kwargs) == ((), {"llm": llm("s")})
    several = declare(verify, pcm({"llm": [index, "my_contexts:llm"]}), (1,), {})
    assert several.kwargs == {"llm": [index, llm]}


def test_the_specification_is_not_sent_to_functions_that_cannot_take_it():
    spec = pcm(llm)
    assert declare(plain, spec, (1,), {"parsl_resource_specification": spec}).kwargs == {}

    def takes(x, parsl_resource_specification=None):
        return x

    sent = declare(takes, spec, (1,), {"parsl_resource_specification": spec}).kwargs
    assert sent == {"parsl_resource_specification": spec}


@pytest.mark.parametrize(
    ("specification", "keys", "message"),
    [
        ({"cores": 2, "memory": 3}, {"cores", "memory"}, "are: pcm, priority, function_context"),
        ({"pcm": {"contexts": llm}}, {"contexts"}, "keys of 'pcm' .* are: context"),
        ({"pcm": llm}, set(), "'pcm' of the resource specification must be a dict"),
        ([1], set(), "must be a dict, not list"),
        ({"priority": "high"}, {"priority"}, "whole number, not 'high'"),
        ({"priority": True}, {"priority"}, "whole number"),
        (pcm(5), {"context"}, "5 declares no context: give a context, its name"),
        (pcm([llm, load_model]), {"context"}, "load_model.* declares no context"),
        (pcm({"engine": llm}), {"context"}, r"verify\(\) has no parameter 'engine'"),
        (pcm({"claims": llm}), {"context"}, r"gives 'claims' of verify\(\) a value too"),
        ({"function_context_args": [1]}, {"function_context_args"}, "no function_context"),
    ],
)
def test_wrong_specifications_say_what_is_wrong(specification, keys, message):
    with pytest.raises(InvalidResourceSpecification, match=message) as caught:
        declare(verify, specification, (1,), {})
    assert caught.value.invalid_keys == keys


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:llm", "cannot be imported.*No module named"),
        ("my_contexts:no_such", "cannot be imported.*no attribute 'no_such'"),
        ("my_contexts:load", "is no context but function: decorate it with @context"),
        ("my_contexts", "write 'package.module:name'"),
        (":llm", "write 'package.module:name'"),
    ],
)
def test_names_that_lead_to_no_context_say_why(contexts_module, name, message):
    with pytest.raises(ContextNotFound, match=message):
        declare(plain, pcm(name), (1,), {})
    with pytest.raises(ContextNotFound, match=message):
        check_specification(pcm(name))


def test_checking_a_good_specification_says_nothing():
    check_specification(None)
    check_specification({"priority": 1, **pcm([llm])})


# --- the papers' forms --------------------------------------------------------------------------

PAPER_SPEC = {"context": [load_model, ["p"], {}]}
PAPER_RECIPE = context(load_model)("p")


def test_the_papers_argument_carries_the_recipe():
    by_name = declare(infer_model, {}, ([1],), {"parsl_spec": PAPER_SPEC})
    assert by_name.kwargs == {"parsl_spec": {"context": PAPER_RECIPE}}
    by_position = declare(infer_model, {}, ([1], PAPER_SPEC), {})
    assert by_position.args == ([1], {"context": PAPER_RECIPE})


def test_the_papers_argument_may_be_a_default():
    def infer(inputs, parsl_spec=PAPER_SPEC):
        return inputs

    assert declare(infer, {}, ([1],), {}).kwargs == {"parsl_spec": {"context": PAPER_RECIPE}}


def test_the_papers_argument_reaches_functions_that_take_any_keyword():
    def infer(inputs, **options):
        return inputs

    call = declare(infer, {}, ([1],), {"parsl_spec": PAPER_SPEC})
    assert call.kwargs == {"parsl_spec": {"context": PAPER_RECIPE}}


@pytest.mark.parametrize("spec", [None, {}, {"other": 1}, "text"])
def test_a_parsl_spec_without_a_context_is_left_alone(spec):
    assert declare(infer_model, {}, ([1], spec), {}).args == ([1], spec)


def test_a_malformed_parsl_spec_says_what_is_wrong():
    with pytest.raises(TypeError, match=r"as \[fn, args, kwargs\]"):
        declare(infer_model, {}, ([1], {"context": "load_model"}), {})


def test_the_keys_of_pull_request_3724_work():
    call = declare(
        plain,
        {
            "exec_mode": "serverless",
            "function_context": load_model,
            "function_context_args": ["p"],
            "function_context_kwargs": {},
        },
        (1,),
        {},
    )
    assert call.extra_recipes == (PAPER_RECIPE,)
