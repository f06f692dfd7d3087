"""Traces: both forms, what may be wrong with a file, and the model that fits one."""

from __future__ import annotations

import math
from pathlib import Path

import make_traces
import pytest

from parsl_pcm.simulator.scenario import Churn, ContextModel, Pool, Scenario, Work
from parsl_pcm.simulator.site.availability import lives
from parsl_pcm.simulator.site.trace import (
    FOLDER,
    Presence,
    Step,
    Trace,
    TraceError,
    find_trace,
    fit,
    most_nodes,
    read_trace,
    shipped_traces,
)


def trace_of(folder: Path, *lines: str) -> Trace:
    path = folder / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    return read_trace(path)


def refusal(folder: Path, *lines: str) -> str:
    with pytest.raises(TraceError) as caught:
        trace_of(folder, *lines)
    return str(caught.value)


def test_events_become_presences_of_nodes(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "t_s,event,node", "0,add,b", "0,add,a", "60.5,remove,b", "90,add,b")
    assert trace.presences == (
        Presence("a", 0.0, math.inf),
        Presence("b", 0.0, 60.5),
        Presence("b", 90.0, math.inf),
    )
    assert (trace.name, trace.end_s) == ("t", 90.0)
    assert most_nodes(trace) == 2


def test_counts_become_steps(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "t_s, available", "0,12", "300,9")
    assert trace.steps == (Step(0.0, 12), Step(300.0, 9))
    assert trace.end_s == 300.0


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("10,add,a", "line 3 adds 'a', which is there: the line that removes it is missing"),
        ("10,remove,c", "line 3 removes 'c', which is not there: the line that adds it is missing"),
        ("10,kill,a", "line 3 has the event 'kill', which must be add or remove"),
        ("10,add,", "line 3 names no node"),
        ("4,add,b", "line 3 is at 4 s, after one at 5 s: lines must be in order of time"),
        ("-1,add,b", "line 3 has '-1' as its time, which must be a number of seconds, 0 or more"),
        ("nan,add,b", "line 3 has 'nan' as its time"),
        (",add,b", "line 3 has '' as its time"),
        ("10,add", "line 3 has 2 cells, not 3"),
        ("", "line 3 has 0 cells, not 3"),
    ],
)
def test_bad_line_of_events_is_told(tmp_path: Path, line: str, problem: str) -> None:
    assert problem in refusal(tmp_path, "t_s,event,node", "5,add,a", line)


@pytest.mark.parametrize("cell", ["", "-1", "2.5", "many", "10000000"])
def test_bad_count_is_told(tmp_path: Path, cell: str) -> None:
    told = refusal(tmp_path, "t_s,available", "0,3", f"10,{cell}")
    assert (
        f"line 3 has {cell!r} as the number of nodes, which must be whole, 0 to 1,000,000" in told
    )


def test_several_bad_lines_are_told_at_once_and_many_are_counted(tmp_path: Path) -> None:
    told = refusal(tmp_path, "t_s,available", *[f"{t_s},x" for t_s in range(9)])
    assert "line 2 has" in told
    assert "line 6 has" in told
    assert "line 7" not in told
    assert told.endswith("and 4 more")


def test_file_of_another_form_is_refused_with_the_forms(tmp_path: Path) -> None:
    told = refusal(tmp_path, "time_s,workers", "0,3")
    assert "its first line is 'time_s,workers', but must be 't_s,event,node' or" in told


def test_file_without_lines_is_refused(tmp_path: Path) -> None:
    assert "it has no lines after the first one" in refusal(tmp_path, "t_s,available")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(TraceError, match="is no trace"):
        read_trace(tmp_path / "empty.csv")


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"t_s,available\n\xff\xfe")
    with pytest.raises(TraceError, match="cannot be read as a trace"):
        read_trace(tmp_path / "t.csv")


def test_traces_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    assert find_trace("spot-v100") == FOLDER / "spot-v100.csv"
    (tmp_path / "mine.csv").write_text("t_s,available\n0,1\n")
    assert find_trace("mine.csv", tmp_path) == tmp_path / "mine.csv"
    with pytest.raises(
        TraceError, match=r"no file .*spot-v1000.* with the package are .*spot-v100"
    ):
        find_trace("spot-v1000", tmp_path)


def test_shipped_traces_are_those_that_the_script_makes() -> None:
    made = make_traces.traces()
    assert shipped_traces() == sorted(made)
    for name, text in made.items():
        assert (FOLDER / f"{name}.csv").read_text() == text


@pytest.mark.parametrize("name", shipped_traces())
def test_shipped_trace_can_be_read_and_fitted(name: str) -> None:
    assert fit(read_trace(find_trace(name))).count > 1


# --- fitting ----------------------------------------------------------------------------------


def test_fit_finds_the_model_that_made_a_trace() -> None:
    truth = Churn(count=400, life_s=3600.0, gap_s=1200.0, life_cv=0.5)
    scenario = Scenario(
        name="made",
        contexts=(ContextModel(name="any", item_s=1.0),),
        work=(Work(context="any", items=1),),
        pools=(Pool(churn=truth),),
        stop_s=80_000.0,
    )
    made = lives(scenario, seed=7)
    presences = tuple(Presence(f"{n}", life.from_s, life.until_s) for n, life in enumerate(made))
    found = fit(Trace("made", 80_000.0, presences=presences))
    assert found.life_s == pytest.approx(3600.0, rel=0.05)
    assert found.life_cv == pytest.approx(0.5, rel=0.05)
    mean_nodes = found.count * found.life_s / (found.life_s + found.gap_s)
    assert mean_nodes == pytest.approx(300.0, rel=0.03)


def test_fit_of_counts_keeps_the_mean_and_takes_lives_as_memoryless() -> None:
    found = fit(Trace("c", 100.0, steps=(Step(0.0, 10), Step(50.0, 0), Step(100.0, 5))))
    assert (found.count, found.life_s, found.life_cv) == (10, 50.0, 1.0)
    assert found.count * found.life_s / (found.life_s + found.gap_s) == 5.0


@pytest.mark.parametrize(
    "trace",
    [
        Trace("still", 100.0, steps=(Step(0.0, 3), Step(100.0, 4))),
        Trace("still", 10.0, presences=(Presence("a", 0.0, math.inf),)),
        Trace("still", 0.0, steps=(Step(0.0, 0),)),
    ],
)
def test_trace_that_no_node_leaves_is_not_fitted(trace: Trace) -> None:
    with pytest.raises(TraceError, match="no node leaves it before its end; use the trace itself"):
        fit(trace)
