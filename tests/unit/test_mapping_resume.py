from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from parsl_pcm import context
from parsl_pcm.errors import ResumeRefused, SinkError
from parsl_pcm.mapping.journal import Journal
from parsl_pcm.mapping.keys import Keys
from parsl_pcm.mapping.resume import DoneItems, MapIdentity, identify, sidecar_of
from parsl_pcm.mapping.sinks.opening import open_sink, open_sink_again
from parsl_pcm.mapping.sinks.protocol import Sink
from parsl_pcm.mapping.sinks.rows import error_row, result_row
from parsl_pcm.mapping.sinks.safe_file import Patience


def never_waits(message: str) -> None:
    raise AssertionError(message)


EAGER = Patience(on_wait=never_waits, pause=lambda _: None)
BY_ID = Keys("id", is_resumable=True)
BY_CONTENT = Keys(None, is_resumable=True)


@context
def model(size: int = 1) -> int:
    return size


@context
def tokenizer() -> str:
    return "t"


def verify(items: list[Any], llm: Any = model, *, temperature: float = 0.0) -> list[Any]:
    return items


def identity_of(
    function: Callable[..., Any] = verify, keys: Keys = BY_ID, **kwargs: Any
) -> MapIdentity:
    return identify(function, kwargs, keys)


# --- whose results these are -----------------------------------------------------------------


def test_the_same_call_has_the_same_identity() -> None:
    assert identity_of() == identity_of(temperature=0.0) == identity_of(llm=model(1))
    assert identity_of().app == "verify"
    assert identity_of() == identity_of(llm=model.options(setup_timeout_s=7200, keep_warm_s=60))


def changed_code() -> Callable[..., Any]:
    def verify(items: list[Any], llm: Any = model, *, temperature: float = 0.0) -> list[Any]:
        return items[:]

    return verify


def another_app(items: list[Any], llm: Any = model, *, temperature: float = 0.0) -> list[Any]:
    return items


CHANGES: list[tuple[MapIdentity, str]] = [
    (identity_of(changed_code()), "the code of app 'verify' has changed"),
    (identity_of(another_app), "the app was 'verify', and is 'another_app'"),
    (identity_of(llm=model(2)), "context 'model' has changed."),
    (identity_of(llm=model.options(cores=9).variant(model)), "context 'model' has changed."),
    (identity_of(llm=tokenizer), "context 'model' is no longer used; context 'tokenizer' is new"),
    (identity_of(temperature=0.5), "the other arguments of the app have changed"),
    (identity_of(keys=Keys("name", is_resumable=True)), "by field 'id', and now by field 'name'"),
    (identity_of(keys=BY_CONTENT), "and now by index and content"),
    (
        identity_of(parsl_resource_specification={"pcm": {"context": tokenizer}}),
        "context 'tokenizer' is new",
    ),
]


@pytest.mark.parametrize(("now", "change"), CHANGES)
def test_a_changed_map_is_refused_and_told_what_has_changed(
    tmp_path: Path, now: MapIdentity, change: str
) -> None:
    path = tmp_path / "results.jsonl"
    run(path, 0)
    before = [file.read_bytes() for file in (path, sidecar_of(path))]
    with pytest.raises(ResumeRefused) as caught:
        again(path, identity=now)
    text = str(caught.value)
    assert change in text
    assert f"To start afresh, delete {path} and {sidecar_of(path)}, or write to another" in text
    assert text.endswith("to go on, undo the change")
    assert [file.read_bytes() for file in (path, sidecar_of(path))] == before
    again(path)[0].close(is_complete=False)  # nobody holds it


def test_arguments_without_content_cannot_be_resumed() -> None:
    with pytest.raises(TypeError, match="whether app 'verify' and its arguments are the same"):
        identity_of(llm=threading.Lock())


def test_arguments_that_are_not_known_yet_cannot_be_resumed() -> None:
    with pytest.raises(TypeError, match=r"'size' is a future: give size=future\.result\(\)"):
        identity_of(size=Future())


def test_another_python_or_format_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    run(path, 0)
    for field, value, reason in (
        ("python", "3.9", "it was run by Python 3.9"),
        ("format", 99, "another version of parsl_pcm"),
    ):
        sidecar = json.loads(sidecar_of(path).read_text())
        sidecar_of(path).write_text(json.dumps({**sidecar, field: value}))
        with pytest.raises(ResumeRefused, match=reason):
            again(path)


# --- a sink that is gone on with -------------------------------------------------------------


def again(path: Path, keys: Keys = BY_ID, identity: MapIdentity | None = None) -> Any:
    return open_sink_again(
        path,
        patience=EAGER,
        is_tolerant=False,
        keys=keys,
        identity=identity or identity_of(keys=keys),
    )


def run(path: Path, *indexes: int, keys: Keys = BY_ID) -> None:
    sink, _ = again(path, keys)
    sink.write(
        [
            result_row(index, keys.key_of(index, {"id": f"claim-{index}"}), keys.column, index)
            for index in indexes
        ]
    )
    sink.close(is_complete=False)


def done_of(path: Path, keys: Keys = BY_ID) -> list[int]:
    """Return which of ten items are done."""
    sink, done = again(path, keys)
    sink.close(is_complete=False)
    marks = [keys.mark_of(n, keys.key_of(n, {"id": f"claim-{n}"})) for n in range(10)]
    return [index for index, mark in enumerate(marks) if mark in done]


@pytest.fixture(params=["results.jsonl", "results.parquet"])
def sink_path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    if request.param.endswith("parquet"):
        pytest.importorskip("pyarrow")
    return tmp_path / str(request.param)


@pytest.mark.parametrize("keys", [BY_ID, BY_CONTENT])
def test_what_has_a_result_is_done(sink_path: Path, keys: Keys) -> None:
    assert done_of(sink_path, keys) == []
    run(sink_path, 3, 1, keys=keys)
    assert done_of(sink_path, keys) == [1, 3]
    run(sink_path, 2, keys=keys)
    assert done_of(sink_path, keys) == [1, 2, 3]


def test_what_a_variant_has_done_is_done(sink_path: Path) -> None:
    sink, _ = again(sink_path)
    sink.write([result_row(1, "claim-1", "key", {"a": 1}, variant="small")])
    sink.close(is_complete=False)
    assert done_of(sink_path) == [1]


def test_an_item_with_an_error_is_not_done(sink_path: Path) -> None:
    sink, _ = again(sink_path)
    sink.write([error_row(1, "claim-1", "key", ValueError("no")), result_row(2, "x", "key", 2)])
    sink.close(is_complete=False)
    assert done_of(sink_path) == []
    run(sink_path, 1)
    assert done_of(sink_path) == [1]


def test_a_changed_item_is_not_done(sink_path: Path) -> None:
    run(sink_path, 1, 2, keys=BY_CONTENT)
    sink, done = again(sink_path, BY_CONTENT)
    sink.close(is_complete=False)
    changed = BY_CONTENT.key_of(1, {"id": "claim-1", "text": "new"})
    assert BY_CONTENT.mark_of(1, changed) not in done


def test_results_without_a_sidecar_are_refused(sink_path: Path) -> None:
    run(sink_path, 1)
    sidecar_of(sink_path).unlink()
    with pytest.raises(ResumeRefused, match=r"map.json, which would say of what, is missing"):
        again(sink_path)


def test_what_to_delete_is_what_is_there(sink_path: Path) -> None:
    run(sink_path, 1)
    with pytest.raises(ResumeRefused) as resumed:
        again(sink_path, identity=identity_of(temperature=0.5))
    with pytest.raises(SinkError) as begun:
        open_sink(sink_path, patience=EAGER, is_tolerant=False)
    for place in sink_path.parent.iterdir():
        assert re.search(rf"delete .*{place}\b", str(resumed.value))
        assert re.search(rf"delete .*{place}\b", str(begun.value)) or place == sidecar_of(sink_path)


def test_a_sidecar_that_cannot_be_read_is_refused(sink_path: Path) -> None:
    run(sink_path, 1)
    sidecar_of(sink_path).write_text("{")
    with pytest.raises(ResumeRefused, match="cannot be read"):
        again(sink_path)


def test_a_sidecar_without_results_binds_nobody(sink_path: Path) -> None:
    run(sink_path)
    again(sink_path, identity=identity_of(temperature=0.5))[0].close(is_complete=False)
    assert "field 'id'" in sidecar_of(sink_path).read_text()


def test_half_a_line_is_cut_off_and_its_item_done_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    run(path, 1, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"index":3,"key":"claim-3","result":"' + b"x" * 100_000)
    assert done_of(path) == [1, 2]
    assert path.read_bytes() == whole
    path.write_bytes(b'{"index":3')
    assert done_of(path) == []
    assert path.read_bytes() == b""


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    run(path, 1)
    path.write_bytes(path.read_bytes() + b"\x00\x00\n")
    with pytest.raises(SinkError, match=r"results.jsonl:2: this line is no result of a map"):
        again(path)


def test_an_object_cannot_be_gone_on_with() -> None:
    class Database:
        def write(self, rows: Any) -> None: ...
        def flush(self) -> None: ...
        def close(self, *, is_complete: bool) -> None: ...

    assert isinstance(Database(), Sink)
    with pytest.raises(TypeError, match="resume=True needs the path of a file"):
        again(Database())  # type: ignore[arg-type]


def test_a_sink_without_resume_has_no_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    open_sink(path, patience=EAGER, is_tolerant=False).close(is_complete=True)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


# --- the set of done items -------------------------------------------------------------------


def test_done_items_are_found_and_others_are_not() -> None:
    marks = [(number * 0x9E3779B97F4A7C15) % 2**64 for number in range(10_000)]
    done = DoneItems(iter([*marks[::2], *marks[::2], 0, 2**64 - 1]))
    assert len(done) == 5_001  # 0 is the first of them
    assert all(mark in done for mark in [*marks[::2], 2**64 - 1])
    assert not any(mark in done for mark in marks[1::2])
    assert 5 not in DoneItems()


# --- results that are kept without a sink ----------------------------------------------------


def journal(path: Path, keys: Keys = BY_ID, patience: Patience = EAGER, **kwargs: Any) -> Journal:
    return Journal(path, patience, keys=keys, identity=identity_of(keys=keys, **kwargs))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "verify.journal"


def test_a_journal_gives_results_of_earlier_runs_back(path: Path) -> None:
    kept = journal(path)
    assert kept.get(1, "a") == (False, None)
    kept.add([(1, "a", {"label": "ja"}), (2, 17, None)])
    kept.add([(3, "c", lambda: 3)])
    kept.close()
    kept.close()
    kept = journal(path)
    assert kept.get(9, "a") == (True, {"label": "ja"})
    assert kept.get(9, 17) == (True, None)
    assert kept.get(9, "17") == (False, None)
    assert kept.get(9, "c")[1]() == 3
    assert len(kept) == 3
    kept.close()


def test_a_journal_of_another_map_is_refused(path: Path) -> None:
    journal(path).close()
    with pytest.raises(ResumeRefused) as caught:
        journal(path, temperature=0.5)
    assert f"delete {path}, or give another path as resume=" in str(caught.value)
    journal(path).close()


def test_a_journal_has_one_map_at_a_time(path: Path) -> None:
    kept = journal(path)
    with pytest.raises(SinkError, match=r"verify.journal is open in another map"):
        journal(path)
    kept.close()
    journal(path).close()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_text("not at all" * 100), "is no file of resume="),
        (lambda path: path.mkdir(), "cannot be opened"),
    ],
)
def test_what_is_no_journal_is_refused(
    path: Path, make: Callable[[Path], Any], reason: str
) -> None:
    make(path)
    with pytest.raises(SinkError, match=reason):
        journal(path)
    with pytest.raises(SinkError, match="cannot be opened"):
        journal(path.parent / "nowhere" / "journal")


def test_a_journal_waits_for_room(path: Path) -> None:
    waits: list[str] = []
    patience = Patience(on_wait=waits.append, pause=lambda _: database.make_room())
    kept = journal(path, patience=patience)
    database = SmallDatabase(kept)
    kept.add([(1, "a", "x" * 1_000_000)])
    assert kept.get(0, "a")[0]
    assert [text.startswith(f"{path}: No space left on device") for text in waits] == [True]
    kept.close()


class SmallDatabase:
    """Makes SQLite itself find no room, until it is given some."""

    def __init__(self, kept: Journal) -> None:
        self._database = kept._database
        self._limit(10)

    def make_room(self) -> None:
        self._limit(1 << 20)

    def _limit(self, num_pages: int) -> None:
        self._database.execute(f"PRAGMA max_page_count = {num_pages}")


def test_another_fault_of_a_journal_is_raised(path: Path) -> None:
    kept = journal(path)
    kept._database.execute("DROP TABLE results")
    with pytest.raises(SinkError, match="cannot be written any more: no such table"):
        kept.add([(1, "a", 1)])
    kept.close()
