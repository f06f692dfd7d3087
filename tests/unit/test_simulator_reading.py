"""Scenarios from files: what is read, and what is said of those that cannot be run."""

from __future__ import annotations

import configparser
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parsl_pcm.simulator.scenario import Keeps, Scenario
from parsl_pcm.simulator.scenarios import reading
from parsl_pcm.simulator.scenarios.reading import (
    ScenarioError,
    check,
    find_scenario,
    read_scenario,
    scenario_names,
)

GOOD: dict[str, Any] = {
    "name": "good",
    "contexts": [{"name": "m", "item_s": {"A10": 0.3, "default": 0.4}, "gpu_memory": "8 GB"}],
    "work": [{"context": "m", "items": 1000}],
    "pools": [{"gpu": "A10", "count": 2}],
}


def changed(**changes: Any) -> dict[str, Any]:
    """Return the good scenario with values changed: ``pools_0_count=0``; ``None`` takes one out."""
    data = msgspec.json.decode(msgspec.json.encode(GOOD))
    for path, value in changes.items():
        *place, key = path.split("__")
        table = data
        for step in place:
            table = table[int(step)] if step.isdecimal() else table.setdefault(step, {})
        if value is None:
            del table[key]
        else:
            table[key] = value
    return data


def problems(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(ScenarioError) as caught:
        check(changed(**changes), "test")
    return caught.value.problems


def test_good_scenario_is_read() -> None:
    scenario = check(GOOD, "test")
    assert scenario.contexts[0].item_s == {"A10": 0.3, "default": 0.4}
    assert scenario.system.keeps is Keeps.CONTEXT


def test_scenario_that_was_read_is_accepted_again() -> None:
    scenario = check(changed(site__shared_fs="10 GB", pools__0__notice_s=30), "test")
    assert check(msgspec.to_builtins(scenario), "again") == scenario


# --- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("pools__0__count", 0, "pools[0].count is 0, but must be a whole number from 1 to 1,000,0"),
        ("pools__0__count", 2.0, "pools[0].count is 2.0, but must be a whole number"),
        ("pools__0__gpu", 10, "pools[0].gpu is 10, but must be a text in quotes"),
        ("site__latency_s", "\ud800", "site.latency_s is '\\ud800', but must be a number from"),
        ("pools__0__bad_frac", 1.5, "pools[0].bad_frac is 1.5, but must be a number from 0 to 1"),
        ("pools__0__slow_factor", 0.5, "slow_factor is 0.5, but must be a number from 1 to 1e9"),
        ("pools__0__gpu_mix", {"A10": 0}, "gpu_mix is {'A10': 0}, but must be a table of numbers"),
        ("pools__0__steps", [[0, -1]], "steps is [[0, -1]], but must be a list of [time in"),
        ("pools__0__steps", [], "steps is [], but must be a list of [time in seconds, number"),
        ("pools__0__churn", 3, "pools[0].churn is 3, but must be a table of keys and values"),
        (
            "pools__0__churn",
            {"count": 3, "life_s": 0, "gap_s": 1},
            "pools[0].churn.life_s is 0, but must be a number above 0, at most 1e9",
        ),
        ("pools__0__churn", {"count": 3, "gap_s": 1}, "pools[0].churn lacks life_s; add it: a num"),
        ("contexts__0__load_s", -1, "contexts[0].load_s is -1, but must be a number from 0 to"),
        ("contexts__0__load_s", math.nan, "contexts[0].load_s is nan, but must be a number from 0"),
        ("contexts__0__load_s", math.inf, "contexts[0].load_s is inf, but must be a number from 0"),
        ("contexts__0__load_s", True, "contexts[0].load_s is True, but must be a number from 0"),
        ("contexts__0__load_s", {"A10": "2"}, "load_s is {'A10': '2'}, but must be a number from"),
        ("contexts__0__gpu_types", "A10", "gpu_types is 'A10', but must be a list of parts of"),
        ("contexts__0__can_sleep", 1, "contexts[0].can_sleep is 1, but must be true or false"),
        ("contexts__0__files", "7.4", "contexts[0].files='7.4' of a scenario is not understood"),
        ("contexts__0__files", "3 Gb/s", "contexts[0].files='3 Gb/s' of a scenario is not under"),
        ("contexts__0__gpu_memory", 8, "gpu_memory is 8, but must be a size such as"),
        ("system__keeps", "all", "system.keeps is 'all', but must be one of 'context', 'files', '"),
        ("work__0__items", None, "work[0] lacks items; add it: a whole number from 1 to 10^12"),
        ("work__0__item", 3, "work[0] has the key 'item', which is unknown; did you mean items?"),
        ("site__zzz", 3, "site has the key 'zzz', which is unknown; it may have: shared_fs, node"),
        ("name", None, "the scenario lacks name; add it: a text in quotes"),
        ("pool", [], "the scenario has the key 'pool', which is unknown; did you mean pools?"),
        ("work", {"context": "m"}, "work must be a list of tables; write [[work]] above each"),
        ("work", [3], "work[0] is 3, but must be a table of keys and values"),
        ("published", {"makespan_s": 3.0}, "published lacks source; add it: a text in quotes"),
    ],
)  # fmt: skip
def test_bad_value_is_told_with_its_place_and_range(path: str, value: Any, problem: str) -> None:
    told = problems(**{path: value})
    assert len(told) == 1
    assert problem in told[0]


def test_all_bad_values_are_told_at_once() -> None:
    told = problems(pools__0__count=0, work__0__items="many", contexts__0__item_s=-3, nme="x")
    assert len(told) == 4
    error = ScenarioError("file.toml", told)
    assert str(error).startswith("file.toml has 4 problems:\n  the scenario has the key 'nme'")
    assert "\n  pools[0].count is 0" in str(error)


def test_long_value_is_cut_in_the_message() -> None:
    (told,) = problems(pools__0__count="x" * 1000)
    assert len(told) < 200


# --- values together --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"work__0__context": "mm"}, "work[0].context is 'mm', which no context is called; did yo"),
        ({"work__0__context": "z"}, "work[0].context is 'z', which no context is called; there ar"),
        ({"work__0__is_divisible": False}, "work[0].is_divisible is false without call_items; say"),
        (
            {"work__0__items": 10**9, "work__0__call_items": 1},
            "work[0] is 1,000,000,000 calls, but at most 5,000,000 can be simulated; raise call_it",
        ),
        ({"work": []}, "work is empty; write at least one [[work]]"),
        ({"contexts__0__name": ""}, "contexts[0].name is empty; give it a name"),
        ({"pools__0__count": None}, "pools[0] has none of count, steps, trace and churn, but must"),
        ({"pools__0__steps": [[0, 1]]}, "pools[0] has count and steps of count, steps, trace and"),
        ({"pools__0__gpu_mix": {"A10": 1}}, "pools[0] has both gpu and gpu_mix; leave one of them"),
        ({"pools__0__gpu": "A1"}, "pools[0] has GPUs 'A1', of which nothing is known; correct the"),
        ({"pools__0__memory": "0 GB"}, "pools[0].memory is '0 GB', but must be above 0"),
        ({"pools__0__scale": 2}, "pools[0].scale is for traces and steps; leave it out, and chang"),
        ({"pools__0__starts_at_s": 2}, "pools[0].starts_at_s is for traces; leave it out, or give"),
        ({"pools__0__is_fitted": True}, "pools[0].is_fitted is for traces; leave it out, or give"),
        (
            {"pools__0__count": None, "pools__0__steps": [[0, 1], [60, 2], [60, 3]]},
            "pools[0].steps[2] is at 60 s, after one at 60 s; times must rise: sort them",
        ),
        (
            {"pools__0__count": None, "pools__0__trace": "spot-v10"},
            "pools[0].trace: there is no file spot-v10, and the traces that come with the package",
        ),
        (
            {"pools__0__count": None, "pools__0__trace": "spot-t4", "pools__0__starts_at_s": 1e9},
            "pools[0].starts_at_s is 1e+09, but the trace spot-t4 ends at",
        ),
        (
            {
                "pools__0__count": None,
                "pools__0__trace": "spot-t4",
                "pools__0__starts_at_s": 60,
                "pools__0__is_fitted": True,
            },
            "pools[0].starts_at_s has no meaning for a model (is_fitted); leave one of them out",
        ),
        (
            {
                "pools__0__walltime_s": 78,
                "contexts__0__load_s": 50,
                "contexts__0__import_s": 20,
                "contexts__0__files": "6 GB",
                "site__shared_fs": "2 GB",
            },
            "pools[0].walltime_s is 78, but no context is ready before 73 s, and a node is left 5",
        ),
        ({"pools__0__mtbf_s": 0.01}, "pools[0] would have about 3e+07 lives of nodes"),
        (
            {"pools__0__count": None, "pools__0__trace": "spot-t4", "pools__0__mtbf_s": 0.5},
            "pools[0] would have about 6e+06 lives of nodes, but at most 5e+06 can be simulated",
        ),
        (
            {"pools__0__count": None, "pools__0__trace": "campus-day", "pools__0__scale": 1e6},
            "pools[0] would have about 2e+08 lives of nodes, but at most 5e+06 can be simulated",
        ),
        ({"contexts__0__gpu_memory": "30 GB"}, "contexts[0] ('m') fits on no node of any pool; se"),
        ({"contexts__0__gpus": 2}, "contexts[0] ('m') fits on no node of any pool; see its gpus"),
        ({"contexts__0__gpu_types": ["H100"]}, "contexts[0] ('m') fits on no node of any pool"),
        ({"contexts__0__cores": 17}, "contexts[0] ('m') fits on no node of any pool; see its gpus"),
        ({"contexts__0__gpus": 0}, "contexts[0].gpu_memory is given, but gpus is 0; leave one of"),
        ({"contexts__0__gpu_memory": "0 B"}, "contexts[0].gpu_memory is '0 B', but must be above "),
        (
            {"contexts__0__item_s": {"T4": 1}},
            "contexts[0].item_s has no value for A10, and no 'default'; add one of them",
        ),
        (
            {"contexts__0__load_s": {"A1O": 1, "default": 2}},
            "contexts[0].load_s has a value for 'A1O', which is no GPU that is known; correct the",
        ),
        ({"site__shared_fs": "0 B"}, "site.shared_fs is '0 B' a second: nothing would ever arrive"),
        ({"site__keep_warm_s": 9}, "site.keep_warm_s is for elastic sites; add is_elastic = true"),
        ({"site__max_nodes": 9}, "site.max_nodes is for elastic sites; add is_elastic = true, or"),
        ({"pools__0__requeue_s": 9}, "pools[0].requeue_s is for elastic sites; add is_elastic"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_together_are_told(changes: dict[str, Any], problem: str) -> None:
    told = problems(**changes)
    assert any(problem in each for each in told), told


def test_all_files_of_the_simulator_are_in_the_package() -> None:
    root = Path(__file__).parents[2]
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg")
    patterns = config["options.package_data"]["parsl_pcm"].split()
    package = root / "parsl_pcm"
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    simulator = package / "simulator"
    data = {path for path in simulator.rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert data
    assert data <= packed


def test_names_must_differ() -> None:
    (told,) = problems(contexts=[*GOOD["contexts"], *GOOD["contexts"]])
    assert told == "contexts[1].name is 'm', as another one's; names must differ"


def test_context_that_only_some_gpus_hold_needs_times_for_those_alone() -> None:
    pools = [{"gpu": "A10", "count": 1}, {"gpu": "T4", "count": 1}]
    data = changed(pools=pools, contexts__0__gpu_memory="20 GB", contexts__0__item_s={"A10": 1})
    assert len(check(data, "test").pools) == 2


def test_context_without_work_may_fit_nowhere() -> None:
    other = {"name": "other", "gpus": 8, "item_s": {"H100": 1.0}}
    assert check(changed(contexts=[*GOOD["contexts"], other]), "test")


def test_context_without_gpus_runs_on_any_node() -> None:
    contexts = [{"name": "m", "gpus": 0, "item_s": 1.0}]
    pools = [{"count": 2}, {"gpu": "A10", "count": 2}]
    assert check(changed(contexts=contexts, pools=pools), "test").pools[0].gpu is None


def test_gpu_that_the_scenario_describes_is_known() -> None:
    own = [{"name": "MyCard", "memory": "48 GB", "compute_capability": 9.0}]
    assert check(changed(gpus=own, pools__0__gpu="mycard"), "test")


# --- files ------------------------------------------------------------------------------------


TOML = """
name = "mine"
[[contexts]]
name = "m"
item_s = 0.3
[[work]]
context = "m"
items = 1000
[[pools]]
gpu = "A10"
trace = "spot.csv"
"""


def test_trace_of_a_file_is_looked_for_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TOML)
    with pytest.raises(ScenarioError, match=r"mine.toml: pools\[0\].trace: there is no file"):
        read_scenario(tmp_path / "mine.toml")
    (tmp_path / "spot.csv").write_text("t_s,available\n0,4\n")
    scenario = find_scenario(str(tmp_path / "mine.toml"))
    assert scenario.pools[0].trace == str(tmp_path / "spot.csv")


def test_bad_trace_is_told_with_the_other_problems(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TOML + "scale = 2\n[site]\nmax_nodes = 3\n")
    (tmp_path / "spot.csv").write_text("t_s,available\n0,4\n9,\n5,1\n")
    with pytest.raises(ScenarioError) as caught:
        read_scenario(tmp_path / "mine.toml")
    trace, site = caught.value.problems
    assert "line 3 has '' as the number of nodes" in trace
    assert "line 4 is at 5 s, after one at 9 s" in trace
    assert site.startswith("site.max_nodes")


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b'name = "x\n', "is no TOML: "), (b'name = "\xff"\n', "is no TOML: ")],
)
def test_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(ScenarioError, match=problem):
        read_scenario(tmp_path / "bad.toml")


def test_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"cannot be read .No such file or directory.; check"):
        find_scenario(str(tmp_path / "none.toml"))
    with pytest.raises(ScenarioError, match="cannot be read"):
        find_scenario(str(tmp_path))


def test_scenario_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FOLDER", tmp_path)
    (tmp_path / "pv9.toml").write_text(TOML.replace("spot.csv", "spot-t4"))
    assert scenario_names() == ["pv9"]
    assert find_scenario("pv9").name == "mine"
    with pytest.raises(ScenarioError, match="no such file; did you mean pv9"):
        find_scenario("pv-9")
    with pytest.raises(ScenarioError, match="no such file; names: pv9"):
        find_scenario("quite-another")


def test_shipped_scenarios_can_be_read() -> None:
    assert all(isinstance(find_scenario(name), Scenario) for name in scenario_names())
