"""Where a recipe may be defined, and how a call may declare it, all the way to the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from parsl import python_app

from parsl_pcm import PCMError, context, live_variant
from parsl_pcm.compat import load_variable_from_serverless
from parsl_pcm.errors import ContextDoesNotFit, ContextNotFound

shared = pytest.mark.usefixtures("executor")

# --- where a recipe is defined ----------------------------------------------------------------

CELLS = [
    """
    import parsl
    from parsl import python_app
    from parsl_pcm import context
    from tests.running import config_of, small_executor
    import side_contexts

    FACTOR = 2

    class Answer:
        def __init__(self, value):
            self.value = value

    def double(x):
        return x * FACTOR
    """,
    """
    @context
    def numbers(start=1):
        yield {"start": double(start)}

    @python_app
    def add(x, numbers=numbers):
        return Answer(double(x) + numbers["start"])
    """,
    """
    def define(offset):
        @context
        def local(below=numbers(10)):
            return below["start"] + offset

        @python_app
        def use(x, local=local):
            return x + local + offset

        return use
    """,
    """
    with parsl.load(config_of("run", small_executor())):
        answer = add(5).result()
        assert type(answer) is Answer
        print(answer.value, define(100)(1).result(), side_contexts.use(4).result())
    """,
]

SIDE_CONTEXTS = """
from parsl import python_app
from parsl_pcm import context
PREFIX = "side"

@context
def named(name="engine"):
    return f"{PREFIX} {name}"

@python_app
def use(x, named=named):
    return f"{named} {x}"
"""

NOTEBOOK = """
import json, linecache, sys
for number, cell in enumerate(json.load(open("cells.json"))):
    name = f"<ipython-input-{number}>"
    linecache.cache[name] = (len(cell), None, cell.splitlines(True), name)
    exec(compile(cell, name, "exec"), globals())
"""


@pytest.mark.parametrize("way", ["file", "stdin", "command", "notebook"])
def test_recipes_of_a_script_a_closure_and_a_module_reach_the_host(way: str, tmp_path: Path):
    cells = [textwrap.dedent(cell) for cell in CELLS]
    source = "\n".join(cells)
    (tmp_path / "side_contexts.py").write_text(SIDE_CONTEXTS)
    (tmp_path / "script.py").write_text(source)
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    (tmp_path / "cells.json").write_text(json.dumps(cells))
    arguments = {
        "file": ["script.py"],
        "stdin": ["-"],
        "command": ["-c", source],
        "notebook": ["notebook.py"],
    }
    done = subprocess.run(
        [sys.executable, *arguments[way]],
        input=source,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([".", os.environ["PYTHONPATH"]])},
    )
    assert done.stdout == "12 221 side engine 4\n", done.stderr


# --- how a call declares it -------------------------------------------------------------------


@context
def words(*given):
    return list(given)


@python_app
def speak(prefix, words=words("default")):  # noqa: B008 - the way to declare it
    return " ".join([prefix, *words])


@shared
def test_context_is_given_as_default_by_keyword_by_position_or_inside_a_list():
    @python_app
    def speak_all(prefix, lists):
        return [prefix, *lists[0], *lists[1]]

    assert speak("a").result() == "a default"
    assert speak("a", words=words("keyword")).result() == "a keyword"
    assert speak("a", words("position")).result() == "a position"
    given = [words("one"), words("two")]
    assert speak_all("a", given).result() == ["a", "one", "two"]


@shared
def test_context_is_named_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "json_contexts.py").write_text(
        "from parsl_pcm import context\n@context\ndef small():\n    return ['small']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    specification = json.loads('{"pcm": {"context": {"words": "json_contexts:small"}}}')

    assert speak("a", parsl_resource_specification=specification).result() == "a small"


@shared
@pytest.mark.parametrize(
    ("name", "explanation"),
    [
        ("json_contexts", "'package.module:name'"),
        ("no_such_module:small", "No module named 'no_such_module'"),
        ("json:small", "has no attribute 'small'"),
        ("json:dumps", "decorate it with @context"),
    ],
)
def test_name_without_a_context_fails_the_call_with_the_cure(name: str, explanation: str):
    specification = {"pcm": {"context": name}}
    future = speak("a", parsl_resource_specification=specification)
    with pytest.raises(ContextNotFound) as caught:
        future.result()
    assert isinstance(caught.value, PCMError)
    assert repr(name) in str(caught.value)
    assert explanation in str(caught.value)


@shared
def test_listing_of_the_paper_runs():
    def load_model(model_path):
        model = f"model at {model_path}"
        return {"model": model}

    @python_app
    def infer_model(inputs, parsl_spec):
        model = load_variable_from_serverless("model")
        return [f"{model} says {text}" for text in inputs]

    parsl_spec = {"context": [load_model, ["/models/small"], {}]}
    # By keyword: Parsl itself cannot take a parameter of this name by position.
    futures = [infer_model(inputs=[f"claim {i}"], parsl_spec=parsl_spec) for i in range(3)]
    assert [future.result() for future in futures] == [
        [f"model at /models/small says claim {i}"] for i in range(3)
    ]
    other = {"context": [load_model, [], {"model_path": "/models/other"}]}
    assert infer_model(inputs=["x"], parsl_spec=other).result() == ["model at /models/other says x"]


@shared
def test_key_of_the_context_is_part_of_the_memo_key(tmp_path: Path):
    log = tmp_path / "log"

    @python_app(cache=True)
    def logged(x, path, words=words("default")):  # noqa: B008 - the way to declare it
        with open(path, "a") as file:
            file.write(f"{words[0]} ")
        return words

    for recipe in (words("one"), words("two"), words("one"), words("one").options(cores=0.5)):
        logged(1, str(log), words=recipe).result()
    logged(1, str(log)).result()
    logged(1, str(log)).result()
    assert log.read_text().split() == ["one", "two", "one", "default"]


# --- variants ---------------------------------------------------------------------------------


@context(gpus=1, gpu_type="a GPU that nobody has")
def on_gpu():
    return "gpu"


@context(env={"WHERE": "cpu"})
def on_cpu(suffix=""):
    return os.environ["WHERE"] + suffix


@python_app
def tell(model=on_gpu.variant(on_cpu)):  # noqa: B008 - the way to declare it
    return model, live_variant()


@shared
def test_the_variant_that_fits_the_node_is_built_with_its_environment():
    assert tell().result() == ("cpu", "on_cpu")
    assert tell(on_gpu.variant(on_cpu("!"))).result() == ("cpu!", "on_cpu")
    assert tell(on_cpu).result() == ("cpu", "")


@shared
def test_contexts_that_live_together_have_variants_together():
    @python_app
    def both(model, lower):
        return model, lower, live_variant()

    future = both(on_gpu.variant(on_cpu), words("one"))
    assert future.result() == ("cpu", ["one"], "on_cpu+words")


@shared
def test_a_context_of_which_no_variant_fits_fails_with_what_was_asked_for():
    recipe = on_gpu.variant(on_cpu, host_memory="900 TB")
    with pytest.raises(ContextDoesNotFit, match="900"):
        tell(recipe).result()


@shared
def test_variants_do_not_share_results_in_parsls_memo(tmp_path: Path):
    log = tmp_path / "log"

    @python_app(cache=True)
    def logged(path, model):
        with open(path, "a") as file:
            file.write(f"{model} ")

    recipe = on_gpu.variant(on_cpu)
    for each in (recipe, on_cpu, recipe, on_gpu.variant(on_cpu("!"))):
        logged(str(log), each).result()
    assert log.read_text().split() == ["cpu", "cpu", "cpu!"]
