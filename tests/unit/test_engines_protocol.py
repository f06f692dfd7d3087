from __future__ import annotations

import dataclasses
import pickle

import pytest

from parsl_pcm.engines import Completion

ROW = Completion(text="yes", prompt_tokens=7, completion_tokens=2, finish_reason="choice")


@pytest.mark.parametrize("row", [ROW, Completion.of_error("the prompt is empty")])
def test_completion_survives_pickle(row: Completion) -> None:
    assert pickle.loads(pickle.dumps(row)) == row


def test_completion_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROW.text = "no"  # type: ignore[misc]


def test_error_row_has_no_text_and_no_tokens() -> None:
    row = Completion.of_error("too long")
    assert (row.text, row.prompt_tokens, row.completion_tokens) == ("", 0, 0)
    assert (row.finish_reason, row.error) == ("error", "too long")
