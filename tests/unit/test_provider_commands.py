"""Asking through command-line tools, with the smallest real ones there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from parsl_pcm.provider.schedulers.commands import Forms, NoAnswerError, ask
from parsl_pcm.provider.schedulers.observations import LookError


def test_output_alone_is_the_answer_in_the_c_locale() -> None:
    answer = ask(
        ["sh", "-c", 'echo warning >&2; echo "$LC_ALL $MORE"'], environment={"MORE": "more"}
    )
    assert answer == "C more\n"


def test_output_that_is_no_text_is_text_all_the_same() -> None:
    assert ask(["printf", r"a\377b"]) == "a�b"


def test_failure_tells_the_command_its_code_and_its_words() -> None:
    with pytest.raises(LookError, match=r"^sh -c .* failed with exit code 3: no such partition$"):
        ask(["sh", "-c", "echo no such partition >&2; exit 3"])


def test_accepted_exit_codes_are_answers() -> None:
    assert ask(["sh", "-c", "echo known; exit 153"], accepted=(0, 153)) == "known\n"


def test_missing_program_is_named_with_the_cure() -> None:
    with pytest.raises(NoAnswerError, match="'no-such-scheduler' is not on PATH: run this on a"):
        ask(["no-such-scheduler"])


def test_program_that_cannot_be_run_is_a_look_error(tmp_path: Path) -> None:
    with pytest.raises(NoAnswerError, match="cannot be run"):
        ask([str(tmp_path)])


def test_program_that_does_not_end_is_given_up() -> None:
    with pytest.raises(NoAnswerError, match=r"did not answer within 0\.05 s"):
        ask(["sleep", "30"], timeout_s=0.05)


def test_scheduler_that_cannot_be_reached_is_told_apart() -> None:
    words = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    with pytest.raises(NoAnswerError, match="connect failure"):
        ask(["sh", "-c", f"echo '{words}' >&2; exit 1"])


def refused() -> list[int]:
    raise LookError("refused")


def test_forms_go_on_to_the_next_and_stay_with_what_worked() -> None:
    asked: list[str] = []

    def first() -> list[int]:
        asked.append("first")
        return refused()

    def second() -> list[int]:
        asked.append("second")
        return [1]

    forms = Forms(first, second)
    assert forms.rows() == forms.rows() == [1]
    assert asked == ["first", "second", "second"]


def test_forms_that_all_fail_tell_the_first_error() -> None:
    def other() -> list[int]:
        raise LookError("other")

    with pytest.raises(LookError, match="refused"):
        Forms(refused, other).rows()
