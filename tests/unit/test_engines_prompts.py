from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsl_pcm.engines.prompts import error_in_prompt, is_unicode


@pytest.mark.parametrize(
    "prompt",
    [
        "a claim",
        " ",
        [{"role": "user", "content": "a claim"}],
        ({"role": "system", "content": "é😀"}, {"role": "user", "content": "x", "name": "y"}),
    ],
)
def test_good_prompt_has_no_error(prompt: object) -> None:
    assert error_in_prompt(prompt) is None


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("", "the prompt is empty"),
        ("\ud800", "no valid Unicode"),
        (None, "got NoneType"),
        (b"bytes", "got bytes"),
        ({"role": "user", "content": "x"}, "got dict"),
        ([], "the chat is empty"),
        (["user"], "a chat message is a dict"),
        ([{"content": "x"}], "the role of a chat message is a text, got None"),
        ([{"role": "user"}], "the content of a chat message is a text, got None"),
        ([{"role": "user", "content": ["x"]}], "the content of a chat message is a text"),
        ([{"role": "user", "content": "x"}, {"role": "user", "content": ""}], "message is empty"),
        ([{"role": "user", "content": "\udfff"}], "no valid Unicode"),
    ],
)
def test_bad_prompt_is_described(prompt: object, error: str) -> None:
    assert error in str(error_in_prompt(prompt))


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_encodable_text_is_a_good_prompt(text: str) -> None:
    assert is_unicode(text)
    assert error_in_prompt(text) is None
