from __future__ import annotations

import pytest

from parsl_pcm.engines.options import GenerateOptions


def test_defaults_are_greedy_and_free() -> None:
    options = GenerateOptions(max_tokens=8)
    assert (options.temperature, options.stop, options.choices, options.seed) == (0, (), None, None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
        ({"temperature": -0.1}, "temperature must be from 0 .* got -0.1"),
        ({"temperature": 2.1}, "temperature must be from 0 .* to 2, got 2.1"),
        ({"temperature": float("nan")}, "temperature .* got nan"),
        ({"temperature": float("inf")}, "temperature .* got inf"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 2**32 - 1}, "seed must be at most 4294967294, got 4294967295"),
        ({"stop": ("a", "")}, "stop must be non-empty"),
        ({"choices": ()}, "choices is empty"),
        ({"choices": ("a", "")}, "choices must be non-empty"),
        ({"choices": ("a", "\ud800")}, "choices must be .*valid Unicode"),
        ({"choices": ("a", "b", "a")}, "choices must be distinct"),
        ({"choices": ("a",), "stop": ("b",)}, "would cut the choices"),
    ],
)
def test_wrong_value_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GenerateOptions(**{"max_tokens": 8, **wrong})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_tokens": 8.0}, "max_tokens must be an integer, got 8.0"),
        ({"max_tokens": True}, "max_tokens must be an integer, got True"),
        ({"seed": "1"}, "seed must be an integer, got '1'"),
        ({"temperature": "hot"}, "temperature must be a number, got 'hot'"),
        ({"temperature": None}, "temperature must be a number, got None"),
        ({"stop": (5,)}, "stop must be strings, got 5"),
        ({"choices": ("yes", None)}, "choices must be strings, got None"),
    ],
)
def test_wrong_type_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        GenerateOptions(**{"max_tokens": 8, **wrong})


def test_token_limit_is_max_tokens_for_free_text() -> None:
    assert GenerateOptions(max_tokens=8).token_limit == 8


def test_token_limit_leaves_room_for_the_longest_choice_and_its_end() -> None:
    assert GenerateOptions(max_tokens=1, choices=("no", "ééé")).token_limit == 7
