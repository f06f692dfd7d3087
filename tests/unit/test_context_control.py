from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from parsl_pcm import context
from parsl_pcm.context_control import ContextControl, Troubles
from parsl_pcm.context_set import ContextSet
from parsl_pcm.errors import ContextNotFound, PCMError
from parsl_pcm.status import ContextTable, WarmUp
from parsl_pcm.submission import Submission
from parsl_pcm.types import ContextKey
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import ContextTrouble, DeclareContext


@context
def llm(size: int = 1) -> int:
    return size


@context
def tokenizer() -> int:
    return 2


class Interchange:
    """Answers as the real one would whose nodes hold so many hosts each; remembers orders."""

    is_own_thread = False

    def __init__(self, hosts_on_nodes: list[int]) -> None:
        self.hosts_on_nodes = hosts_on_nodes
        self.name_of: dict[str, str] = {}
        self.orders: list[tuple[str, str | None]] = []

    def ask(self, name: str, argument: str | None = None) -> Any:
        if name == "CONTEXTS":
            return [row(key, declared) for key, declared in self.name_of.items()]
        self.orders.append((name, argument))
        if name == "EVICT":
            return None
        num_hosts, _, key = str(argument).partition(" ")
        return {
            "name": self.name_of[key],
            "ways": [{"cores": 1.0}],
            "warm": 0,
            "coming": min(int(num_hosts), sum(self.hosts_on_nodes)),
            "nodes": self.hosts_on_nodes,
            "num_blocks": len(self.hosts_on_nodes),
        }


def row(key: str, name: str) -> dict[str, Any]:
    counts = dict.fromkeys(("loading", "warm", "queued", "running"), 0)
    return {"name": name, "context_key": key, "setup_s": None, "item_s": None, **counts}


class Executor(ContextControl):
    """What is mixed with: nodes come as they are told to."""

    def __init__(self, hosts_on_nodes: list[int], num_to_come: int | None = 0) -> None:
        self.interchange: Any = Interchange(hosts_on_nodes)
        self.num_looks = 0
        self.is_running = True
        self._submission = Submission(default_cores=1.0)
        self._blocks: Any = SimpleNamespace(
            hosts_to_come=lambda *args: num_to_come, work_came=self._look
        )

    def _look(self) -> None:
        self.num_looks += 1

    def _usable_client(self) -> Any:
        if not self.is_running:
            raise PCMError("not running")
        return self.interchange

    def _send(self, *envelopes: Envelope) -> None:
        for envelope in envelopes:
            if isinstance(envelope.message, DeclareContext):
                self.interchange.name_of[envelope.message.context_key] = envelope.message.name


def test_warm_declares_what_is_new_and_orders_it_each_time() -> None:
    executor = Executor([4])
    expected = WarmUp(name="llm", asked=2, warm=0, coming=2, possible=4)
    assert executor.warm(llm, hosts=2) == expected
    assert executor.num_looks == 1, "blocks may be needed"
    executor.warm(llm, hosts=0)
    assert executor.interchange.name_of == {llm.key: "llm"}
    assert executor.interchange.orders == [("WARM", f"2 {llm.key}"), ("WARM", f"0 {llm.key}")]


def test_contexts_that_live_together_are_warmed_together() -> None:
    executor = Executor([4])
    assert executor.warm([tokenizer, llm]).name == "tokenizer+llm"
    executor.evict([llm, tokenizer])
    key = ContextSet((tokenizer, llm)).key
    assert executor.interchange.orders == [("WARM", f"1 {key}"), ("EVICT", key)]


def test_context_may_be_named() -> None:
    executor = Executor([1])
    assert executor.warm(f"{__name__}:llm").name == "llm"
    executor.evict(f"{__name__}:llm")
    assert executor.interchange.orders[-1] == ("EVICT", llm.key)


def test_nodes_that_may_come_count_as_possible() -> None:
    assert Executor([2, 2], num_to_come=6).warm(llm, 10).possible == 10
    assert Executor([], num_to_come=None).warm(llm, 10).possible is None


def test_more_than_is_possible_is_warned_about_and_done_as_far_as_it_goes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    executor = Executor([2])
    with pytest.warns(UserWarning, match="have room for 2: so many will be warm") as caught:
        outlook = executor.warm(llm, hosts=5)
    assert caught[0].filename == __file__, "it points at the line of the user"
    assert (outlook.coming, outlook.possible) == (2, 2)
    assert "5 hosts of context 'llm'" in caplog.text
    assert executor.interchange.orders == [("WARM", f"5 {llm.key}")]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (3, TypeError, "3 is no context: give a context"),
        (None, TypeError, "None is no context"),
        ([], TypeError, r"\[\] holds no context"),
        ({"llm": llm}, TypeError, "a dict is no context"),
        ("llm", ContextNotFound, "write 'package.module:name'"),
        ("no_such_module:llm", ContextNotFound, "cannot be imported"),
    ],
)
def test_what_is_no_context_is_refused(wrong: Any, error: type[Exception], message: str) -> None:
    executor = Executor([1])
    for method in (executor.warm, executor.evict):
        with pytest.raises(error, match=message):
            method(wrong)
    assert executor.interchange.orders == []


@pytest.mark.parametrize(
    ("hosts", "error", "message"),
    [
        (-1, ValueError, "hosts=-1 must be at least 0"),
        (1.5, TypeError, r"whole number, not float \(1.5\)"),
        (True, TypeError, r"whole number, not bool \(True\)"),
        ("2", TypeError, "whole number, not str"),
    ],
)
def test_what_is_no_number_of_hosts_is_refused(
    hosts: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Executor([1]).warm(llm, hosts)


def test_evicting_what_nothing_has_needed_names_what_is_known() -> None:
    executor = Executor([1])
    with pytest.raises(ValueError, match=r"'llm' is not known .* Known contexts: none"):
        executor.evict(llm)
    executor.warm(llm(size=2))
    executor.warm(tokenizer)
    with pytest.raises(ValueError, match=r"arguments and options included.* llm, tokenizer"):
        executor.evict(llm)
    assert [name for name, _ in executor.interchange.orders] == ["WARM", "WARM"]


def test_contexts_are_a_table() -> None:
    executor = Executor([1])
    executor.warm(llm)
    table = executor.contexts()
    assert isinstance(table, ContextTable)
    assert [each.context_key for each in table] == [llm.key]


def test_nothing_can_be_asked_of_an_executor_that_does_not_run() -> None:
    executor = Executor([1])
    executor.is_running = False
    for ask in (executor.contexts, lambda: executor.warm(llm), lambda: executor.evict(llm)):
        with pytest.raises(PCMError, match="not running"):
            ask()


def test_nothing_can_be_asked_where_its_answer_would_be_received() -> None:
    executor = Executor([1])
    executor.interchange.is_own_thread = True
    with pytest.raises(PCMError, match=r"warm\(\) cannot be called from a callback of a future"):
        executor.warm(llm)
    with pytest.raises(PCMError, match=r"contexts\(\) cannot be called"):
        executor.contexts()


def test_trouble_is_told_once_in_a_line_and_with_the_end_of_the_log_in_the_log(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    troubles = Troubles("pcm")
    died = ContextTrouble(
        context_key=ContextKey("c"), message="3 hosts\nhave died", log_tail="Killed"
    )
    with caplog.at_level(logging.WARNING):
        troubles.tell(died)
        troubles.tell(died)
        troubles.tell(ContextTrouble(context_key=ContextKey("c"), message="it waits"))
    assert capsys.readouterr().err == "pcm: 3 hosts have died\npcm: it waits\n"
    assert caplog.messages == ["3 hosts have died\nKilled", "it waits"]
