"""``parsl-pcm simulate``: what it prints and its exit code."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import msgspec
import pytest

from parsl_pcm.cli.__main__ import main, parser
from parsl_pcm.cli.simulate_table import Column, table
from parsl_pcm.eventlog import replay
from parsl_pcm.simulator.results import picture
from parsl_pcm.simulator.results.study import study
from parsl_pcm.simulator.scenarios.reading import check, read_scenario, scenario_names
from parsl_pcm.simulator.scenarios.what_if import change
from parsl_pcm.simulator.scenarios.writing import to_toml
from tests.small_campaigns import small_scenario

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


@pytest.fixture
def campaign(tmp_path: Path) -> str:
    """Return the file of a campaign that takes about 520 s."""
    path = tmp_path / "campaign.toml"
    path.write_text(to_toml(small_scenario(about="one hundred questions")))
    return str(path)


def simulate(*arguments: str) -> int:
    return main(["simulate", *arguments])


def rows_of(text: str) -> dict[str, list[str]]:
    """Return the cells of a table by the names of its rows."""
    lines = [line.split("  ") for line in text.splitlines() if "  " in line]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_table_answers_how_long_and_what_it_costs(
    campaign: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(campaign, "--seeds", "1") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("small: 1 run\none hundred questions\n")
    rows = rows_of(printed.out)
    assert rows["time"][0].startswith("8 min")
    assert rows["earliest possible"] == ["8 min 40 s"]
    assert float(rows["multiple of that"][0]) < 1.05
    assert rows["GPU-hours"] == ["0.289"]
    assert (rows["loads"], rows["nodes"], rows["taken or lost"]) == (["2"], ["2"], ["0"])
    assert (rows["items delivered"], rows["never delivered"]) == (["100"], ["0"])
    assert "over the seeds" not in rows
    assert "What limits it\n  number of GPUs: " in printed.out
    assert printed.err == ""


def test_what_ifs_stand_beside_it_as_multiples(
    campaign: str, capsys: pytest.CaptureFixture[str]
) -> None:
    what_if = ("--what-if", "pools.0.count=4", "--what-if", "pools.0.count=1", "stop_s=100")
    assert simulate(campaign, "--seeds", "1", *what_if) == 1
    printed = capsys.readouterr().out
    assert "what if 1: pools.0.count=4\nwhat if 2: pools.0.count=1 stop_s=100\n" in printed
    as_it_is, four, cut_off = rows_of(printed)["time"]
    assert "x" not in as_it_is
    assert four.endswith("(x 0.52)")
    assert cut_off == "not done in 1 of 1 runs"
    assert "What limits it, what if 2\n  not done: " in printed


def test_seeds_give_an_interval() -> None:
    scenario = small_scenario(context={"item_cv": 1.0})
    lines = table([Column("as it is", study(scenario, (1, 2, 3)))])
    (spread,) = (line for line in lines if line.startswith("  over the seeds"))
    assert " to " in spread


def test_published_time_stands_below() -> None:
    published = {"makespan_s": 600.0, "num_items": 99, "source": "a paper"}
    lines = table([Column("as it is", study(small_scenario(published=published), (1,)))])
    assert [line.split() for line in lines[-2:]] == [
        ["published", "time", "10", "min", "0", "s"],
        ["published", "items", "99"],
    ]


def test_data_for_programs(campaign: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(campaign, "--json", "--seeds", "1", "--what-if", "stop_s=50") == 1
    whole, cut_off = json.loads(capsys.readouterr().out)
    assert whole["changes"] == []
    assert whole["median_makespan_s"] == whole["runs"][0]["makespan_s"] > 500.0
    assert whole["runs"][0]["ratio"] > 1.0
    assert cut_off["changes"] == ["stop_s=50"]
    assert cut_off["median_makespan_s"] is None
    assert cut_off["runs"][0]["num_never_delivered"] > 0


def test_log_of_the_first_run_is_written_and_can_be_simulated_from(
    campaign: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    assert simulate(campaign, "--seeds", "1", "--save-log", str(log)) == 0
    assert f"Event log: {log}" in capsys.readouterr().out
    assert replay(log) is None
    assert simulate("--event-log", str(log), "--seeds", "1") == 0
    printed = capsys.readouterr().out
    rows = rows_of(printed)
    assert f"as measured in {log}" in printed
    assert rows["measured time"][0].startswith("8 min")
    assert rows["time"][0].startswith("8 min")


def test_scenario_is_shown_as_toml_that_can_be_read_again(
    campaign: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(campaign, "--show", "--what-if", "pools.0.count=7") == 0
    copy = tmp_path / "copy.toml"
    copy.write_text(capsys.readouterr().out)
    assert read_scenario(copy).pools[0].count == 7


def test_scenarios_of_the_package_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", *scenario_names()]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give either a scenario (--list names"),
        (("pv4_1", "--event-log", "x"), "give either a scenario"),
        (("pv44",), "did you mean pv4"),
        (("nowhere.toml",), "cannot be read"),
        (("--event-log", "/nowhere"), "no event log: give"),
        (("pv4_1", "--seeds", "0"), "give 1 or more"),
        (("pv4_1", "--what-if", "pools.0.cuont=4"), "near ones are: count"),
        (("pv4_1", "--save-log", __file__), "exists; give another name"),
        (("pv4_1", "--picture", "a.jpg"), "must end in .png, .pdf, .svg"),
        (("pv4_1", "--picture", "/nowhere/a.png"), "there is no folder /nowhere"),
    ],
)
def test_bad_input_is_told_before_anything_runs(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(*arguments) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.out == ""


def test_event_log_of_another_version_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"format_version": 1, "pcm_version": "0.0.1"}\n')
    assert simulate("--event-log", str(path)) == 2
    assert "format 1, written by parsl_pcm 0.0.1" in capsys.readouterr().err


def test_examples_of_the_guide_can_be_run() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    scenario = check(msgspec.toml.decode(text), "the guide")
    commands = re.findall(r"^parsl-pcm (simulate campaign\.toml .*)$", guide, re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        for changes in parser().parse_args(shlex.split(command)).what_if:
            assert change(scenario, *changes) != scenario
    names = re.findall(r"^parsl-pcm simulate (pv\w+) ", guide, re.MULTILINE)
    assert set(names) <= set(scenario_names())


@pytest.mark.skipif(HAS_MATPLOTLIB, reason="matplotlib is there")
def test_picture_without_matplotlib_says_how_to_get_it(
    campaign: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(campaign, "--seeds", "1", "--picture", str(tmp_path / "a.png")) == 0
    printed = capsys.readouterr()
    assert rows_of(printed.out)["loads"] == ["2"]
    assert printed.err == "No picture: pip install 'parsl-pcm[plot]'\n"


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")
@pytest.mark.parametrize("suffix", picture.SUFFIXES)
def test_picture_is_drawn(
    campaign: str, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{suffix}"
    what_if = ("--what-if", 'pools.0={"gpu": "A10", "steps": [[0, 4], [100, 2]]}')
    assert simulate(campaign, "--seeds", "1", "--picture", str(path), *what_if) == 0
    assert path.stat().st_size > 5000
    assert f"Picture: {path}" in capsys.readouterr().err


def test_ctrl_c_ends_without_many_words(
    campaign: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("parsl_pcm.simulator.campaign.simulate", interrupted)
    assert simulate(campaign, "--seeds", "1") == 130
    assert capsys.readouterr().err == "stopped\n"
