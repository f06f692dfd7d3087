"""Contexts that cannot be, and things that cannot travel: what the user is told about each."""

from __future__ import annotations

import importlib.util
import os
import threading
from pathlib import Path

import pytest
from parsl import python_app
from parsl.executors.errors import InvalidResourceSpecification

from parsl_pcm import PCMExecutor, context
from parsl_pcm.errors import (
    ContextDoesNotFit,
    ContextSetupFailed,
    NotPicklable,
    RemoteError,
)
from tests.running import fails_with

shared = pytest.mark.usefixtures("executor")


@python_app
def use(given):
    return given


@python_app
def count(*given):
    return len(given)


@pytest.fixture(autouse=True)
def executor_still_works(request: pytest.FixtureRequest):
    """After each test with the executor: it runs calls, and nothing is left open."""
    yield
    if "executor" in request.fixturenames:
        executor = request.getfixturevalue("executor")
        assert count(1, 2).result(timeout=60) == 2
        assert executor.outstanding() == 0


# --- set-ups ----------------------------------------------------------------------------------


@shared
def test_set_up_that_raises_fails_every_caller_with_its_traceback():
    @context
    def broken(path):
        print("opening", path)  # noqa: T201 - goes to the log of the host
        return 1 / 0

    futures = [use(broken("/here")) for _ in range(5)]
    for future in futures:
        text = fails_with(future, ContextSetupFailed)
    assert "'broken'" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "return 1 / 0" in text
    assert "opening /here" in text
    assert "try it alone" in text


@shared
def test_set_up_that_worked_after_a_failure_serves_calls(tmp_path: Path):
    @context
    def second_time(flag):
        import pathlib

        if not pathlib.Path(flag).exists():
            pathlib.Path(flag).touch()
            raise OSError("the first time it fails")
        return "works"

    flag = str(tmp_path / "flag")
    assert "the first time it fails" in fails_with(use(second_time(flag)), ContextSetupFailed)
    assert use(second_time(flag)).result(timeout=60) == "works"


@shared
def test_set_up_that_hangs_is_ended_at_its_timeout():
    @context(setup_timeout_s=4)  # many times as long as it takes to start, so that it prints
    def hanging():
        import time

        print("waiting for a download")  # noqa: T201 - goes to the log of the host
        time.sleep(1000)
        return 1

    text = fails_with(use(hanging), ContextSetupFailed)
    assert "'hanging'" in text
    assert "longer than 4 s" in text
    assert "setup_timeout_s" in text
    assert "waiting for a download" in text


@shared
def test_set_up_that_gives_nothing_says_what_it_must_do():
    @context
    def forgetful():
        list(range(3))

    text = fails_with(use(forgetful), ContextSetupFailed)
    assert "'forgetful'" in text
    assert "None" in text
    assert "return" in text
    assert "yield" in text


@shared
def test_set_up_that_ends_its_process_is_told_with_its_log():
    @context
    def fatal():
        print("no licence")  # noqa: T201 - goes to the log of the host
        os._exit(5)

    text = fails_with(use(fatal), ContextSetupFailed)
    assert "'fatal'" in text
    assert "exited with code 5" in text
    assert "no licence" in text


@shared
def test_set_up_that_exits_politely_fails_as_any_other():
    @context
    def leaving():
        raise SystemExit("cannot find the weights")

    assert "cannot find the weights" in fails_with(use(leaving), ContextSetupFailed)


@shared
def test_module_that_the_nodes_lack_is_named_with_the_cure():
    @context
    def modern():
        import no_such_engine

        return no_such_engine

    text = fails_with(use(modern), ContextSetupFailed)
    assert "no_such_engine" in text
    assert "worker_init" in text


@shared
@pytest.mark.parametrize(
    ("options", "wanted", "available"),
    [
        ({"gpus": 3}, "3 GPU", "0 GPU(s)"),
        ({"gpus": 1, "gpu_memory": "9 TB"}, "9", "GPU"),
        ({"host_memory": "900 TB"}, "900", "memory"),
        ({"cores": 4096}, "4096 core(s)", "0.5 core(s)"),
    ],
)
def test_context_larger_than_any_node_fails_with_both_sizes(options, wanted, available):
    @context(**options)
    def huge():
        return 1

    text = fails_with(use(huge), ContextDoesNotFit)
    assert "'huge'" in text
    assert wanted in text
    assert available in text


@pytest.mark.engine
@pytest.mark.skipif(not importlib.util.find_spec("xllamacpp"), reason="needs xllamacpp")
@shared
def test_path_of_a_model_that_does_not_exist_is_named():
    from parsl_pcm.engines import llama_cpp

    missing = llama_cpp("/no/such/model.gguf").options(cores=0.5)
    text = fails_with(use(missing), ContextSetupFailed)
    assert "/no/such/model.gguf" in text


# --- what cannot travel -----------------------------------------------------------------------


@shared
def test_recipe_that_cannot_be_pickled_or_hashed_is_refused_with_the_cure():
    @context
    def locked(lock):
        return lock

    future = use(locked(threading.Lock()))
    error = future.exception(timeout=60)
    assert isinstance(error, NotPicklable | TypeError)
    assert "'locked'" in str(error)
    assert "lock" in str(error)


@shared
def test_function_that_cannot_be_pickled_is_refused_with_the_cure():
    lock = threading.Lock()

    @python_app
    def guarded():
        with lock:
            return 1

    text = fails_with(guarded(), NotPicklable)
    assert "function 'guarded'" in text
    assert "_thread.lock" in text
    assert "@context" in text


@shared
def test_argument_that_cannot_be_pickled_is_refused_with_the_cure(tmp_path: Path):
    with (tmp_path / "file").open("w") as file:
        text = fails_with(count(file), NotPicklable)
    assert "arguments of 'count'" in text
    assert "Cannot pickle files" in text
    assert "an open file" in text


@shared
def test_argument_that_the_host_cannot_load_is_told_with_the_cure():
    class Fragile:
        def __reduce__(self):
            return (exec, ("raise ImportError('no module named elsewhere')",))

    text = fails_with(count(Fragile()), RemoteError)
    assert "the arguments of a call of" in text
    assert "no module named elsewhere" in text
    assert "worker_init" in text


@shared
def test_result_that_cannot_be_pickled_is_told_and_the_context_lives():
    @context
    def home():
        return os.getpid()

    @python_app
    def give(what, home=home):
        return threading.Lock() if what == "lock" else home

    pid = give("pid").result(timeout=60)
    text = fails_with(give("lock"), RemoteError)
    assert "give returned a lock" in text
    assert "return plain data" in text
    assert give("pid").result(timeout=60) == pid


@shared
def test_result_too_large_for_the_memory_is_told_and_the_context_lives():
    @context
    def cramped():
        import resource

        data = bytearray(300_000_000)
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000, -1))
        return data

    @python_app
    def give(everything, cramped=cramped):
        return cramped if everything else os.getpid()

    pid = give(False).result(timeout=60)
    text = fails_with(give(True), RemoteError)
    assert "bytearray" in text
    assert "not enough memory" in text
    assert "write it to a file" in text
    assert give(False).result(timeout=60) == pid


@shared
def test_exception_that_cannot_be_pickled_arrives_as_text():
    @python_app
    def fail():
        error = ValueError("holds a lock")
        error.lock = threading.Lock()
        raise error

    text = fails_with(fail(), RemoteError)
    assert "ValueError: holds a lock" in text
    assert "raise error" in text


# --- wrong types and unknown keys -------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gpu": 1}, ["'gpu'", "gpus", "gpu_memory"]),
        ({"gpus": "one"}, ["gpus", "'one'"]),
        ({"gpus": -1}, ["gpus", "-1"]),
        ({"gpus": 1, "gpu_memory": "6 apples"}, ["gpu_memory", "6 apples", "GB"]),
        ({"cores": 0}, ["cores", "0"]),
        ({"max_concurrency": 0}, ["max_concurrency", "0"]),
        ({"setup_timeout_s": "long"}, ["setup_timeout_s", "'long'"]),
        ({"env": {"N": 1}}, ["env", "'N'", "int"]),
    ],
)
def test_wrong_options_of_a_context_are_named_with_their_values(options, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        context(**options)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("what", [42, "model", None.__class__, len])
def test_context_of_what_is_no_function_is_refused(what):
    with pytest.raises(TypeError, match="function"):
        context(what)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_workers_per_node": "two"}, ["max_workers_per_node", "str"]),
        ({"max_workers_per_node": 0}, ["max_workers_per_node", "0"]),
        ({"cores_per_worker": 0}, ["cores_per_worker", "0"]),
        ({"cpu_affinity": "maybe"}, ["cpu_affinity", "'maybe'", "'block'", "'none'"]),
        ({"max_attempts": 0}, ["max_attempts", "0"]),
        ({"encrypted": "yes"}, ["encrypted", "str"]),
        ({"provider": "slurm"}, ["provider", "str"]),
        ({"no_such_option": 1}, ["no_such_option"]),
    ],
)
def test_wrong_arguments_of_the_executor_are_named_with_their_values(arguments, words):
    import typeguard

    with pytest.raises((TypeError, ValueError, typeguard.TypeCheckError)) as caught:
        PCMExecutor(**arguments)
    assert [word for word in words if word not in str(caught.value)] == []


@shared
@pytest.mark.parametrize(
    ("specification", "words"),
    [
        ({"cores": 2}, ["cores", "pcm", "priority"]),
        ({"pcm": {"contxt": "m:c"}}, ["contxt", "context"]),
        ({"pcm": "m:c"}, ["dict", "'m:c'"]),
        ({"priority": "high"}, ["priority", "'high'"]),
        ({"pcm": {"context": 7}}, ["7", "package.module:name"]),
        ({"function_context_args": [1]}, ["function_context"]),
    ],
)
def test_wrong_resource_specification_fails_the_call_with_the_allowed_keys(specification, words):
    text = fails_with(
        use(1, parsl_resource_specification=specification), InvalidResourceSpecification
    )
    assert [word for word in words if word not in text] == []


@shared
def test_context_for_a_parameter_that_the_function_lacks_is_refused():
    @context
    def extra():
        return 1

    specification = {"pcm": {"context": {"nobody": extra}}}
    future = use(1, parsl_resource_specification=specification)
    assert "use() has no parameter 'nobody'" in fails_with(future, InvalidResourceSpecification)
