"""What Parsl's memoization sees of contexts."""

import pytest
from parsl.app.errors import wrap_error
from parsl.dataflow.memoization import id_for_memo, id_for_memo_dict, id_for_memo_function

from parsl_pcm import context, memo
from parsl_pcm.context import ContextRecipe

assert memo  # imported for what it registers


@context
def llm(model="m"):
    return {"model": model}


def load_model(path):
    return {"model": path}


def define(source, **names):
    namespace = {"__name__": "a_module", "context": context, **names}
    exec(source, namespace)
    return wrap_error(namespace["app"])


def test_functions_without_contexts_keep_parsls_own_id():
    app = define("def app(x, y=1): return x")
    assert id_for_memo(app) == id_for_memo_function(app)


def test_dicts_without_contexts_keep_parsls_own_id():
    values = {"b": [1, "x"], "a": {"context": "some text"}}
    assert id_for_memo(values) == id_for_memo_dict(values)


def test_a_recipe_counts_by_its_key():
    assert id_for_memo(llm) == id_for_memo(llm("m"))
    assert id_for_memo(llm) != id_for_memo(llm("q"))
    assert id_for_memo([llm]) != id_for_memo([llm("q")])


def test_how_the_hosts_of_a_context_are_treated_does_not_count():
    longer = llm.options(setup_timeout_s=7200, keep_warm_s=60, imports=["json"])
    assert id_for_memo(longer) == id_for_memo(llm)


def test_every_variant_counts():
    ids = {id_for_memo(llm.options(cores=9).variant(llm(name))) for name in "pqp"}
    assert len(ids | {id_for_memo(llm.options(cores=9))}) == 3


def test_a_context_in_a_default_counts():
    source = "def app(x, llm=llm): return x"
    first = id_for_memo(define(source, llm=llm))
    assert first == id_for_memo(define(source, llm=llm("m")))
    assert first != id_for_memo(define(source, llm=llm("q")))
    assert first != id_for_memo(define("def app(x): return x"))


def test_a_paper_context_in_a_default_counts():
    source = "def app(x, parsl_spec={'context': [load, [path], {}]}): return x"
    ids = {id_for_memo(define(source, load=load_model, path=path)) for path in "pqp"}
    assert len(ids) == 2


@pytest.mark.parametrize(
    "form",
    [
        lambda code: {"parsl_spec": {"context": [code, ["p"], {}]}},
        lambda code: {
            "parsl_resource_specification": {
                "function_context": code,
                "function_context_args": ["p"],
            }
        },
        lambda code: ({"context": [code, ["p"], {}]},),
        lambda code: {"x": {"template": {"fn": code, "args": ["p"]}}},
    ],
)
def test_the_code_of_a_papers_context_counts(form):
    source = "def app(path): return {}, path"
    one, other = (define(source.format(i)).__wrapped__ for i in (1, 2))
    assert id_for_memo(one) == id_for_memo(other)
    assert id_for_memo(form(one)) != id_for_memo(form(other))


def test_a_context_by_name_counts_by_its_content(monkeypatch):
    kwargs = {"parsl_resource_specification": {"pcm": {"context": f"{__name__}:llm"}}}
    before = id_for_memo(kwargs)
    assert before == id_for_memo(kwargs)
    assert isinstance(llm, ContextRecipe)
    monkeypatch.setitem(globals(), "llm", llm("q"))
    assert id_for_memo(kwargs) != before


def test_outputs_are_still_hashed_as_outputs():
    assert id_for_memo({"a": 1}, output_ref=True) == id_for_memo_dict({"a": 1}, output_ref=True)
