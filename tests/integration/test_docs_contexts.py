"""The examples of ``docs/contexts.md``, which are one script, do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.running import Script

PAGE = Path(__file__).parents[2] / "docs" / "contexts.md"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_page_about_contexts_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # whatever this machine has
    blocks = PYTHON.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) >= 8
    script = Script(tmp_path, "\n".join([*blocks, "parsl.dfk().cleanup()", "print('end')"]))
    assert script.read_line() == "{'rough': 3}"
    assert script.read_line().startswith("variant 'exact' of context 'on_any_gpu' would never be")
    assert script.read_line().startswith("<sleeper: asked for 1; ")
    assert script.read_line().startswith("context ")
    assert script.end(timeout_s=120) == 0, script.errors()
