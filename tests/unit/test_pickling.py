"""What crosses between processes, there and back."""

import copyreg
import pickle
import sys
import threading
import traceback
import types

import pytest

from parsl_pcm import context, pickling
from parsl_pcm.context_set import ContextSet


@context
def llm(model="m"):
    return {"model": model}


@context
def index(below=llm):
    return [below]


class NeedsTwoError(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


class HoldsLockError(Exception):
    def __init__(self):
        super().__init__("lock")
        self.lock = threading.Lock()


class TurnsIntoAnotherError(Exception):
    def __reduce__(self):
        return ValueError, ("another",)


class Holder:
    def __init__(self, recipe):
        self.recipe = recipe


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


# --- functions ----------------------------------------------------------------------------------


def test_recipes_in_defaults_of_a_function_stay_recipes():
    def app(x, engine=llm):
        return engine

    loaded = pickling.load_function(pickling.dump_function(app))
    assert loaded(1) == llm


def test_equal_blobs_have_equal_digests():
    digest = pickling.digest_of(b"blob")
    assert digest == pickling.digest_of(b"blob") != pickling.digest_of(b"bloc")
    assert len(digest) == 32


# --- arguments ----------------------------------------------------------------------------------


def test_plain_arguments_come_back_as_they_were():
    payload, recipes = pickling.dump_arguments([1, "two"], {"three": [3.0, None]})
    assert recipes == []
    assert pickling.load_arguments(payload) == ((1, "two"), {"three": [3.0, None]})


def test_recipes_anywhere_become_the_live_objects():
    payload, recipes = pickling.dump_arguments(
        (llm, [index, {"deep": llm()}]), {"holder": Holder(llm("q"))}
    )
    assert recipes == [llm, index, llm("q")]
    with ContextSet(recipes).open() as live_objects:
        (first, (second, third)), kwargs = pickling.load_arguments(payload)
        assert first is third["deep"] is live_objects[llm.key]
        assert second is live_objects[index.key]
        assert kwargs["holder"].recipe == {"model": "q"}


def test_a_context_that_is_not_live_is_named():
    payload, _ = pickling.dump_arguments((llm,), {})
    with pytest.raises(LookupError, match=f"{llm.key} is not live"):
        pickling.load_arguments(payload)


def test_functions_among_the_arguments_travel_by_value():
    offset = 5
    payload, _ = pickling.dump_arguments((lambda x: x + offset,), {})
    (function,), _ = pickling.load_arguments(payload)
    assert function(1) == 6


def test_what_cannot_be_pickled_raises():
    with pytest.raises(TypeError, match="lock"):
        pickling.dump_arguments((threading.Lock(),), {})


# --- recipes and results ------------------------------------------------------------------------


def test_a_set_of_recipes_travels_with_its_keys():
    contexts = ContextSet([index, llm("q")])
    loaded = pickling.load_recipes(pickling.dump_recipes(contexts))
    assert (loaded.key, loaded.recipes) == (contexts.key, contexts.recipes)
    with loaded.open() as live_objects:
        assert list(live_objects.values()) == [[{"model": "m"}], {"model": "q"}]


def test_results_come_back():
    result = {"texts": ["a"], "function": lambda: 3}
    loaded = pickling.load_result(pickling.dump_result(result))
    assert loaded["texts"] == ["a"]
    assert loaded["function"]() == 3


# --- exceptions ---------------------------------------------------------------------------------


def test_an_exception_comes_back_with_the_remote_traceback_as_its_cause():
    payload = pickling.dump_exception(raised(KeyError("claim 7")))
    assert payload is not None
    error = pickling.load_exception(payload, "Traceback of the host\n  File x\n")
    assert isinstance(error, KeyError)
    assert error.args == ("claim 7",)
    assert error.__traceback__ is None
    assert isinstance(error.__cause__, pickling.RemoteTraceback)
    printed = "".join(traceback.format_exception(error))
    assert printed.index("Traceback of the host") < printed.index("direct cause")
    assert printed.rstrip().endswith("KeyError: 'claim 7'")


def test_causes_travel_and_the_remote_traceback_comes_before_them():
    inner, outer = ValueError("inner"), RuntimeError("outer")
    payload = pickling.dump_exception(raised(outer, raised(inner)))
    error = pickling.load_exception(payload, "remote text")
    assert repr(error.__cause__) == repr(inner)
    assert isinstance(error.__cause__.__cause__, pickling.RemoteTraceback)


def test_without_a_remote_traceback_there_is_no_cause():
    error = pickling.load_exception(pickling.dump_exception(ValueError("x")), "")
    assert error.__cause__ is None


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with Python 3.11")
def test_notes_travel():
    noted = ValueError("x")
    noted.add_note("while reading claim 7")
    error = pickling.load_exception(pickling.dump_exception(noted), "")
    assert error.__notes__ == ["while reading claim 7"]


@pytest.mark.parametrize("error", [NeedsTwoError(1, 2), HoldsLockError(), TurnsIntoAnotherError()])
def test_exceptions_that_do_not_survive_are_told(error):
    assert pickling.dump_exception(error) is None


def test_what_others_register_for_exceptions_does_not_count(monkeypatch):
    def with_traceback(error):
        return ValueError, ("with all of its frames",)

    monkeypatch.setitem(copyreg.dispatch_table, KeyError, with_traceback)
    error = pickling.load_exception(pickling.dump_exception(raised(KeyError("x"))), "")
    assert repr(error) == "KeyError('x')"


def test_a_cause_that_cannot_travel_is_left_out():
    payload = pickling.dump_exception(raised(ValueError("x"), HoldsLockError()))
    error = pickling.load_exception(payload, "remote text")
    assert isinstance(error.__cause__, pickling.RemoteTraceback)


def test_causes_in_a_circle_end():
    one, two = ValueError(1), ValueError(2)
    one.__cause__, two.__cause__ = two, one
    error = pickling.load_exception(pickling.dump_exception(one), "")
    assert error.__cause__.args == (2,)
    assert error.__cause__.__cause__ is None


def test_a_base_exception_travels_too():
    assert isinstance(
        pickling.load_exception(pickling.dump_exception(SystemExit(3)), ""), SystemExit
    )


def test_an_exception_class_of_the_script_comes_back_as_that_class(monkeypatch):
    script = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", script)
    exec("class Mine(Exception): pass", script.__dict__)
    error = pickling.load_exception(pickling.dump_exception(script.Mine("x")), "")
    assert type(error) is script.Mine


def test_an_exception_that_cannot_be_loaded_here_raises():
    with pytest.raises(ModuleNotFoundError):
        pickling.load_exception(pickle.dumps([b"cno_such_module\nError\n."]), "")


def test_the_remote_traceback_can_be_pickled_again():
    text = pickle.loads(pickle.dumps(pickling.RemoteTraceback("text")))
    assert str(text) == '\n"""\ntext\n"""'
