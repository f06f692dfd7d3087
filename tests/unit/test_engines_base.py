from __future__ import annotations

import pytest

from parsl_pcm.engines import Completion, Engine, Prompt
from parsl_pcm.engines.base import BaseEngine, completion_of
from parsl_pcm.engines.options import GenerateOptions


class EchoEngine(BaseEngine):
    """Answers with its prompt, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.asked: list[tuple[list[Prompt], GenerateOptions]] = []
        self.times_freed = 0

    def _complete(self, prompts: list[Prompt], options: GenerateOptions) -> list[Completion]:
        self.asked.append((prompts, options))
        return [
            completion_of(str(p), num_tokens=(1, 1), finish_reason="stop", options=options)
            for p in prompts
        ]

    def _free(self) -> None:
        self.times_freed += 1


@pytest.fixture
def engine() -> EchoEngine:
    return EchoEngine()


def test_base_engine_is_an_engine(engine: EchoEngine) -> None:
    as_engine: Engine = engine
    assert as_engine.model_name == "echo"


def test_rows_come_in_the_order_of_the_prompts(engine: EchoEngine) -> None:
    rows = engine.generate(["a", "b", "c"], max_tokens=8)
    assert [row.text for row in rows] == ["a", "b", "c"]


def test_model_sees_good_prompts_only_and_the_others_get_error_rows(engine: EchoEngine) -> None:
    rows = engine.generate(["a", "", "b", 5, "c"], max_tokens=8)  # type: ignore[list-item]
    assert engine.asked[0][0] == ["a", "b", "c"]
    assert [row.text for row in rows] == ["a", "", "b", "", "c"]
    assert [row.finish_reason for row in rows] == ["stop", "error", "stop", "error", "stop"]


@pytest.mark.parametrize("prompts", [[], ["", ""], ()])
def test_model_is_not_asked_when_no_prompt_is_good(engine: EchoEngine, prompts: list[str]) -> None:
    assert len(engine.generate(prompts, max_tokens=8)) == len(prompts)
    assert engine.asked == []


def test_arguments_reach_the_engine_as_checked_options(engine: EchoEngine) -> None:
    engine.generate(["a"], max_tokens=3, temperature=0.5, stop=["x"], seed=4)
    assert engine.asked[0][1] == GenerateOptions(max_tokens=3, temperature=0.5, stop=("x",), seed=4)


def test_wrong_argument_raises_even_without_prompts(engine: EchoEngine) -> None:
    with pytest.raises(ValueError, match="max_tokens"):
        engine.generate([], max_tokens=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prompts": "one text"}, "prompts is a list of prompts; got the text 'one text'"),
        ({"stop": "###"}, "stop must be a list of strings, got the string '###'"),
        ({"choices": "yes"}, "choices must be a list of strings, got the string 'yes'"),
    ],
)
def test_text_in_place_of_a_list_is_refused(
    engine: EchoEngine, wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        engine.generate(**{"prompts": ["a"], "max_tokens": 8, **wrong})  # type: ignore[arg-type]


def test_answer_that_is_a_choice_ends_as_one(engine: EchoEngine) -> None:
    (row,) = engine.generate(["yes"], max_tokens=8, choices=["yes", "no"])
    assert (row.text, row.finish_reason) == ("yes", "choice")


def test_answer_that_is_no_choice_is_an_error_row(engine: EchoEngine) -> None:
    (row,) = engine.generate(["ye"], max_tokens=8, choices=["yes", "no"])
    assert row.finish_reason == "error"
    assert "'ye' is none of the choices" in str(row.error)


def test_closing_frees_once_and_refuses_what_comes_after(engine: EchoEngine) -> None:
    with engine:
        pass
    engine.close()
    assert engine.times_freed == 1
    with pytest.raises(RuntimeError, match="engine of 'echo' is closed"):
        engine.generate(["a"], max_tokens=8)
