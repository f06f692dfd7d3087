"""Which calls meet in which host, through Parsl, with real processes."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from parsl import python_app

from parsl_pcm import context, live_context
from parsl_pcm.pickling import RemoteTraceback

pytestmark = pytest.mark.usefixtures("executor")


@context
def model(name="m"):
    import os

    return {"name": name, "pid": os.getpid()}


def test_two_apps_with_the_same_recipe_share_a_host():
    @python_app
    def ask(model=model):
        return model["pid"]

    @python_app
    def tell(word, model=model("m")):  # noqa: B008 - the way to declare it
        return word, model["pid"], os.getpid()

    pid = ask().result()
    assert tell("x").result() == ("x", pid, pid)


def test_one_app_with_two_recipes_gets_two_hosts_and_never_the_wrong_one():
    @python_app
    def which(expected, model=model):
        return expected, model["name"], model["pid"], os.getpid()

    names = ["left", "right"] * 30
    results = [f.result() for f in [which(name, model=model(name)) for name in names]]
    assert [expected for expected, *_ in results] == names
    assert all(expected == name for expected, name, _, _ in results)
    assert all(built_in == ran_in for _, _, built_in, ran_in in results)
    pids_of = {name: {pid for _, n, pid, _ in results if n == name} for name in set(names)}
    assert not pids_of["left"] & pids_of["right"]


def test_same_set_up_with_other_requirements_is_another_host():
    @python_app
    def pid(model):
        return os.getpid()

    assert pid(model).result() != pid(model.options(cores=0.5)).result()


def test_several_contexts_of_a_call_live_in_one_host():
    @python_app
    def pids(first=model("first"), second=model("second")):  # noqa: B008 - as above
        return first["name"], second["name"], {first["pid"], second["pid"], os.getpid()}

    first, second, found = pids().result()
    assert (first, second, len(found)) == ("first", "second", 1)


def test_contexts_of_a_context_live_in_the_same_host():
    @context
    def judge(below=model("below"), above=[model("one"), model("two")]):  # noqa: B006, B008
        import os

        return {below["name"], *(m["name"] for m in above)}, {below["pid"], os.getpid()}

    @python_app
    def use(judge=judge):
        return judge

    assert use().result() == ({"below", "one", "two"}, {use().result()[1].pop()})


def test_environment_of_a_context_is_that_of_its_host_alone():
    @python_app
    def setting(model):
        return os.environ.get("PCM_TEST_SETTING")

    special = model.options(env={"PCM_TEST_SETTING": "special"})
    assert setting(special).result() == "special"
    assert setting(model).result() is None


def test_context_is_found_without_a_parameter():
    @python_app
    def name():
        return live_context("model")["name"]

    specification = {"pcm": {"context": model("unseen")}}
    assert name(parsl_resource_specification=specification).result() == "unseen"


def test_concurrent_calls_meet_in_one_host():
    @context(max_concurrency=3)
    def barrier():
        return threading.Barrier(3)

    @python_app
    def meet(barrier=barrier):
        barrier.wait(timeout=60)
        return os.getpid(), threading.get_ident()

    results = [f.result() for f in [meet() for _ in range(3)]]
    assert len({pid for pid, _ in results}) == 1
    assert len({thread for _, thread in results}) == 3


def test_calls_do_not_meet_where_a_context_takes_one_at_a_time():
    @context
    def lock():
        return threading.Lock()

    @python_app
    def is_alone(lock=lock):
        if not lock.acquire(blocking=False):
            return False
        threading.Event().wait(0.05)
        lock.release()
        return True

    assert all(f.result() for f in [is_alone() for _ in range(8)])


def test_coroutines_of_one_host_wait_for_each_other():
    @context(max_concurrency=3)
    def meeting():
        return {"num_here": 0, "all_here": asyncio.Event()}

    @python_app
    async def meet(meeting=meeting):
        meeting["num_here"] += 1
        if meeting["num_here"] == 3:
            meeting["all_here"].set()
        await asyncio.wait_for(meeting["all_here"].wait(), 60)
        return threading.get_ident()

    assert len({f.result() for f in [meet() for _ in range(3)]}) == 1


def test_coroutines_run_without_a_context_too():
    @python_app
    async def later(x):
        await asyncio.sleep(0.01)
        if x < 0:
            raise ValueError(f"{x} is negative")
        return x + 1

    assert [f.result() for f in [later(i) for i in range(4)]] == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="-1 is negative"):
        later(-1).result()


def test_exception_brings_its_remote_traceback_and_leaves_the_context_alive():
    @python_app
    def divide(x, model=model("patient")):  # noqa: B008 - as above
        return 1 / x, os.getpid()

    _, pid = divide(1).result()
    error = divide(0).exception()
    assert type(error) is ZeroDivisionError
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "return 1 / x, os.getpid()" in str(error.__cause__)
    assert "parsl_pcm" not in str(error.__cause__)
    assert divide(1).result() == (1.0, pid)
