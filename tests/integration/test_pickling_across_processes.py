"""Recipes, functions, arguments and exceptions of a script, a closure and a module in a host.

The script runs as ``__main__`` and pickles; a second process, which knows neither the script nor
its folder, loads, builds, calls, and pickles what comes of it; the script loads that again.
"""

import os
import subprocess
import sys
from pathlib import Path

HOST = """
import pickle, sys, traceback
from parsl_pcm import pickling
assert "parsl" not in sys.modules
function, arguments, recipes = pickle.load(sys.stdin.buffer)
contexts = pickling.load_recipes(recipes)
with contexts.open(len(contexts.ways) - 1):
    args, kwargs = pickling.load_arguments(arguments)
    try:
        result = pickling.dump_result(pickling.load_function(function)(*args, **kwargs))
        sent = ("result", result)
    except Exception as error:
        sent = ("error", pickling.dump_exception(error), traceback.format_exc())
assert "parsl" not in sys.modules
pickle.dump((contexts.key, *sent), sys.stdout.buffer)
"""

SCRIPT = """
import pickle, subprocess, sys
from parsl import python_app
from parsl_pcm import context, live_variant, pickling
from parsl_pcm.context_set import ContextSet
from parsl_pcm.declaration import declare
import side_module

HOST, CASE = sys.argv[1:]
FACTOR = 2

class Claim:
    def __init__(self, text):
        self.text = text

class NoVerdict(Exception):
    pass

def helper(x):
    return x * FACTOR

@context(host_memory="1 MB")
def llm(model="m"):
    yield {"model": helper(model)}

@context
def judge(below=llm):
    return lambda claim: (claim.text, below["model"])

@python_app
def verify(claims, judge=judge):
    if not claims:
        raise NoVerdict("no claims") from KeyError("empty")
    return [judge(claim) for claim in claims]

def closure(suffix):
    @context
    def local(base=llm("c")):
        return base["model"] + suffix

    @python_app
    def app(x, local=local):
        return Claim(local + x + suffix)
    return app

@python_app
def which(judge):
    return judge(Claim("a")), live_variant()

def in_host(app, *args, **kwargs):
    call = declare(app.func, {}, args, kwargs)
    arguments, recipes = pickling.dump_arguments(call.args, call.kwargs)
    contexts = ContextSet([*recipes, *call.extra_recipes])
    payload = (pickling.dump_function(call.function), arguments, pickling.dump_recipes(contexts))
    done = subprocess.run([sys.executable, HOST], input=pickle.dumps(payload), stdout=-1, cwd="/")
    key, kind, result, *text = pickle.loads(done.stdout)
    assert key == contexts.key
    if kind == "error":
        raise pickling.load_exception(result, *text)
    return pickling.load_result(result)

if CASE == "script":
    assert in_host(verify, [Claim("a")]) == [("a", "mm")]
    assert in_host(verify, [Claim("a")], judge=judge(llm("q"))) == [("a", "qq")]
elif CASE == "closure":
    claim = in_host(closure("!"), "x")
    assert type(claim) is Claim and claim.text == "cc!x!", claim.text
elif CASE == "exception":
    try:
        in_host(verify, [])
    except NoVerdict as error:
        assert error.args == ("no claims",)
        assert isinstance(error.__cause__, KeyError)
        assert "NoVerdict: no claims" in str(error.__cause__.__cause__)
    else:
        raise AssertionError("nothing was raised")
elif CASE == "variant":
    both = judge.options(gpus=1).variant(judge(llm("q")))
    assert in_host(which, both) == (("a", "qq"), "judge-2")
elif CASE == "module":
    assert in_host(side_module.app, 3) == "side engine 3"
print("ok")
"""

SIDE_MODULE = """
from parsl import python_app
from parsl_pcm import context
PREFIX = "side"

@context
def engine(name="engine"):
    return f"{PREFIX} {name}"

@python_app
def app(x, engine=engine):
    return f"{engine} {x}"
"""


def run_case(folder: Path, case: str) -> None:
    for name, source in [("host.py", HOST), ("script.py", SCRIPT), ("side_module.py", SIDE_MODULE)]:
        (folder / name).write_text(source)
    command = [sys.executable, str(folder / "script.py"), str(folder / "host.py"), case]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.stdout == "ok\n", done.stderr


def test_a_script_travels(tmp_path):
    run_case(tmp_path, "script")


def test_a_closure_travels_and_its_objects_come_back_as_their_class(tmp_path):
    run_case(tmp_path, "closure")


def test_an_exception_of_the_script_comes_back_as_its_class(tmp_path):
    run_case(tmp_path, "exception")


def test_a_recipe_with_variants_travels(tmp_path):
    run_case(tmp_path, "variant")


def test_a_module_travels_that_the_host_cannot_import(tmp_path):
    run_case(tmp_path, "module")
