"""The page on scenario files says what the code does."""

from __future__ import annotations

import enum
import json
import re
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest

from parsl_pcm.simulator import scenario
from parsl_pcm.simulator.scenarios import shape
from parsl_pcm.simulator.scenarios.reading import ScenarioError, read_scenario
from parsl_pcm.simulator.site.trace import shipped_traces

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text()
EXAMPLE = PAGE.split("```toml\n")[1].split("```")[0]
HEADINGS = {
    "At the top": scenario.Scenario,
    "`[[contexts]]`": scenario.ContextModel,
    "`[[work]]`": scenario.Work,
    "`[[pools]]`": scenario.Pool,
    "`[pools.churn]`": scenario.Churn,
    "`[[gpus]]`": scenario.Gpu,
    "`[site]`": scenario.Site,
    "`[system]`": scenario.System,
    "`[published]`": scenario.Published,
}


def rows_of(heading: str) -> list[list[str]]:
    """Return key, default and range of each row below a heading of the page."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "| `" in line]
    return [[cell.strip() for cell in row[:3]] for row in rows]


def default_of(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "needed"
    value: Any = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory()
    if isinstance(value, enum.Enum):
        value = value.value
    return f"`{json.dumps(value)}`" if isinstance(value, float | int | str) and value != "" else ""


@pytest.mark.parametrize("heading", HEADINGS)
def test_page_has_every_key_with_its_default_and_range(heading: str) -> None:
    kind = HEADINGS[heading]
    hints = get_type_hints(kind, include_extras=True)
    wanted = [
        [f"`{field.name}`", default_of(field), shape.describe(hints[field.name])]
        for field in msgspec.structs.fields(kind)
    ]
    assert rows_of(heading) == wanted


def test_errors_of_the_page_are_told(tmp_path: Path) -> None:
    wrong = EXAMPLE.replace("item_s =", "items_s =").replace("count = 1", "count = 0")
    (tmp_path / "mine.toml").write_text(wrong)
    with pytest.raises(ScenarioError) as caught:
        read_scenario(tmp_path / "mine.toml")
    shown = PAGE.split("```text\n")[1].split("```")[0]
    assert str(caught.value).replace(str(tmp_path / "mine.toml"), "mine.toml") == shown.strip()


def test_page_lists_the_traces_that_come_with_the_package() -> None:
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| (?:events|counts) \|", PAGE, re.MULTILINE)
    assert sorted(listed) == shipped_traces()
