from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from parsl_pcm.engines import Completion, Engine, Prompt
from parsl_pcm.engines.base import BaseEngine, completion_of, row_of_error
from parsl_pcm.engines.options import GenerateOptions


class EchoEngine(BaseEngine):
    """Answers with its prompt, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.asked: list[tuple[list[Prompt], GenerateOptions]] = []
        self.times_freed = 0
        self.told: list[str] = []

    def _submit(self, prompts: list[Prompt], options: GenerateOptions) -> list[Future[Completion]]:
        self.asked.append((prompts, options))
        return [answered(prompt, options) for prompt in prompts]

    def _doze(self) -> None:
        self.told.append("doze")

    def _rise(self) -> None:
        self.told.append("rise")

    def _free(self) -> None:
        self.times_freed += 1


def answered(prompt: Prompt, options: GenerateOptions) -> Future[Completion]:
    row: Future[Completion] = Future()
    row.set_result(
        completion_of(str(prompt), num_tokens=(1, 1), finish_reason="stop", options=options)
    )
    return row


class PendingEngine(BaseEngine):
    """Leaves its answers to the test."""

    def __init__(self) -> None:
        super().__init__("pending")
        self.rows: list[Future[Completion]] = []
        self.has_been_asked = threading.Semaphore(0)

    def _submit(self, prompts: list[Prompt], options: GenerateOptions) -> list[Future[Completion]]:
        rows: list[Future[Completion]] = [Future() for _ in prompts]
        self.rows += rows
        self.has_been_asked.release()
        return rows

    def _doze(self) -> None: ...

    def _rise(self) -> None: ...

    def _free(self) -> None: ...


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
    with pytest.raises(RuntimeError, match="engine of 'echo' is closed"):
        asyncio.run(engine.agenerate(["a"], max_tokens=8))


def test_row_of_an_error_is_done_at_once() -> None:
    assert row_of_error("bad").result() == Completion.of_error("bad")
    assert row_of_error(Completion.of_error("worse")).result().error == "worse"


def test_coroutine_gets_the_rows_that_a_thread_gets(engine: EchoEngine) -> None:
    rows = asyncio.run(engine.agenerate(["a", "", "b"], max_tokens=3, choices=["a", "b"]))
    assert rows == engine.generate(["a", "", "b"], max_tokens=3, choices=["a", "b"])
    assert engine.asked[0] == engine.asked[1]


@pytest.mark.parametrize("wrong", [{"prompts": "one text"}, {"stop": "###"}, {"max_tokens": "8"}])
def test_wrong_argument_raises_in_a_coroutine_too(engine: EchoEngine, wrong: object) -> None:
    with pytest.raises(TypeError):
        asyncio.run(engine.agenerate(**{"prompts": ["a"], "max_tokens": 8, **wrong}))  # type: ignore[arg-type]


def test_exception_reaches_its_caller_and_the_other_prompts_of_the_call_are_dropped() -> None:
    engine = PendingEngine()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(engine.generate, ["a", "b", "c"], max_tokens=8)
        engine.has_been_asked.acquire()
        engine.rows[0].set_exception(OSError("out of luck"))
        with pytest.raises(OSError, match="out of luck"):
            call.result()
    assert [row.cancelled() for row in engine.rows] == [False, True, True]


def test_calls_of_several_threads_are_under_way_together() -> None:
    engine = PendingEngine()
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(engine.generate, ["a"], max_tokens=8) for _ in range(3)]
        for _ in calls:
            engine.has_been_asked.acquire()
        for row in engine.rows:
            row.set_result(Completion.of_error("late"))
        assert [call.result()[0].error for call in calls] == ["late"] * 3


def test_cancelled_coroutine_drops_its_prompts_and_no_others() -> None:
    engine = PendingEngine()

    async def run() -> list[Completion]:
        dropped = asyncio.create_task(engine.agenerate(["a", "b"], max_tokens=8))
        kept = asyncio.create_task(engine.agenerate(["c"], max_tokens=8))
        await asyncio.sleep(0)
        dropped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dropped
        engine.rows[2].set_result(Completion.of_error("kept"))
        return await kept

    assert asyncio.run(run()) == [Completion.of_error("kept")]
    assert [row.cancelled() for row in engine.rows] == [True, True, False]


def test_failed_prompt_drops_the_others_of_its_coroutine() -> None:
    engine = PendingEngine()

    async def run() -> None:
        call = asyncio.create_task(engine.agenerate(["a", "b"], max_tokens=8))
        await asyncio.sleep(0)
        engine.rows[1].set_exception(OSError("out of luck"))
        with pytest.raises(OSError, match="out of luck"):
            await call

    asyncio.run(run())
    with pytest.raises(CancelledError):
        engine.rows[0].result()


def test_engine_that_sleeps_refuses_calls_until_it_is_awake(engine: EchoEngine) -> None:
    engine.sleep()
    with pytest.raises(RuntimeError, match=r"'echo' is asleep; call its wake\(\)"):
        engine.generate(["a"], max_tokens=8)
    with pytest.raises(RuntimeError, match="asleep"):
        asyncio.run(engine.agenerate(["a"], max_tokens=8))
    engine.wake()
    assert engine.generate(["a"], max_tokens=8)[0].text == "a"


def test_sleeping_or_waking_twice_is_harmless(engine: EchoEngine) -> None:
    engine.wake()
    for _ in range(2):
        engine.sleep()
    for _ in range(2):
        engine.wake()
    assert engine.told == ["doze", "rise"]


def test_engine_that_cannot_wake_stays_asleep(
    engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("no memory")

    engine.sleep()
    monkeypatch.setattr(engine, "_rise", fail)
    with pytest.raises(OSError, match="no memory"):
        engine.wake()
    with pytest.raises(RuntimeError, match="asleep"):
        engine.generate(["a"], max_tokens=8)


def test_sleeping_engine_can_be_closed_and_a_closed_one_cannot_sleep(engine: EchoEngine) -> None:
    engine.sleep()
    engine.close()
    assert engine.times_freed == 1
    with pytest.raises(RuntimeError, match="closed"):
        engine.sleep()
    with pytest.raises(RuntimeError, match="closed"):
        engine.wake()
