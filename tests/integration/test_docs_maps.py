"""The examples of ``docs/maps.md``, which are one script, do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

from tests.running import Script

PAGE = Path(__file__).parents[2] / "docs" / "maps.md"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_page_about_maps_run(tmp_path: Path):
    blocks = PYTHON.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) >= 10
    script = Script(tmp_path, "\n".join([*blocks, "parsl.dfk().cleanup()", "print('end')"]))
    assert [script.read_line() for _ in range(4)] == ["chat", "chien", "cheval", "oiseau"]
    assert script.end(timeout_s=120) == 0, script.errors()
