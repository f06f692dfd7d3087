from __future__ import annotations

from typing import Any

import pytest

from parsl_pcm.status import ContextStatus, ContextTable, WarmUp


def status(name: str = "llm", **values: Any) -> ContextStatus:
    plain: dict[str, Any] = {
        "name": name,
        "context_key": f"{name}0123456789",
        "loading": 0,
        "warm": 0,
        "queued": 0,
        "running": 0,
        "setup_s": None,
        "item_s": None,
    }
    return ContextStatus(**(plain | values))


BUSY = status(
    variants={"llm": 1, "llm_small": 2},
    devices={"NVIDIA A100-SXM4-80GB": 1, "Tesla T4": 2},
    loading=1,
    warm=2,
    asleep=1,
    held_warm=3,
    queued=1234,
    running=2,
    gpu_memory_bytes=6_100_000_000,
    host_memory_bytes=120_000_000,
    setup_s=93.0,
    wake_s=0.25,
    item_s=0.0421,
    hits=99,
    loads=4,
    deaths=1,
)


def cells(line: str) -> list[str]:
    """Return the cells of a line; between two there are two spaces at least."""
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_table_shows_each_context_in_a_line() -> None:
    titles, busy, idle = str(ContextTable([BUSY, status("embedder")])).split("\n")
    shown = dict(zip(cells(titles), cells(busy), strict=True))
    assert shown == {
        "context": "llm",
        "key": "llm01234",
        "variants": "1 x llm, 2 x llm_small",
        "devices": "1 x NVIDIA A100-SXM4-80GB, 2 x Tesla T4",
        "loading": "1",
        "warm": "2 of 3",
        "asleep": "1",
        "queued": "1234",
        "running": "2",
        "GPU memory": "6.1 GB",
        "memory": "120 MB",
        "set-up": "93.0 s",
        "wake": "250 ms",
        "item": "42 ms",
        "hits": "99",
        "loads": "4",
        "deaths": "1",
    }
    assert cells(idle) == ["embedder", "embedder", "0", "0", "0", "0", "0", "0"]


def test_columns_in_which_nobody_has_anything_are_left_out() -> None:
    (titles, _) = str(ContextTable([status()])).split("\n")
    always = "context key loading warm queued running hits loads"
    assert cells(titles) == always.split()


def test_numbers_end_under_one_another() -> None:
    first, second = status("a", queued=5), status("b", queued=12345)
    titles, *lines = str(ContextTable([first, second])).split("\n")
    end = titles.index("queued") + len("queued")
    assert [line[:end].split()[-1] for line in lines] == ["5", "12345"]
    assert all(line[end] == " " for line in lines)


def test_trouble_follows_the_table() -> None:
    table = ContextTable([status(trouble="context 'llm' waits for a GPU with 80 GB")])
    assert str(table).split("\n")[-1] == "context 'llm' waits for a GPU with 80 GB"


def test_table_without_contexts_says_so() -> None:
    assert str(ContextTable()) == "no context was needed so far"


def test_table_is_a_list_that_shows_itself_in_a_console() -> None:
    table = ContextTable([BUSY])
    assert table == [BUSY]
    assert repr(table) == str(table)


def test_notebook_gets_a_table_without_anything_of_the_user_taken_for_markup() -> None:
    table = ContextTable([status("<lambda>", warm=2, trouble="a < b & c")])
    text = table._repr_html_()
    assert text.count("<tr>") == 2
    assert text.count("<th>") == text.count("<td ") == 9
    assert "<th>trouble</th>" in text
    assert "&lt;lambda&gt;" in text
    assert "a &lt; b &amp; c" in text
    assert "<lambda>" not in text


@pytest.mark.parametrize(
    ("possible", "expected"),
    [
        (2, "<llm: asked for 3; 1 warm, 1 coming, possible: 2>"),
        (None, "<llm: asked for 3; 1 warm, 1 coming, possible: not known yet>"),
    ],
)
def test_outlook_reads_like_a_sentence(possible: int | None, expected: str) -> None:
    assert repr(WarmUp(name="llm", asked=3, warm=1, coming=1, possible=possible)) == expected
