"""What a spare process does before it is needed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from parsl_pcm.host.spare import import_early


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "0")
    return tmp_path


def test_module_that_fails_is_told_to_the_log_and_the_others_are_imported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "spare_that_ends.py").write_text("raise SystemExit('no GPU')")
    (folder / "spare_that_works.py").write_text("")
    import_early(["spare_that_is_absent", "spare_that_ends", "spare_that_works"])
    assert "spare_that_works" in sys.modules
    told = capsys.readouterr().err
    assert "No module named 'spare_that_is_absent'" in told
    assert "SystemExit: no GPU" in told


def test_what_the_site_says_about_asking_for_devices_stays(folder: Path) -> None:
    (folder / "spare_that_looks.py").write_text(
        "import os; value = os.environ['PYTORCH_NVML_BASED_CUDA_CHECK']"
    )
    import_early(["spare_that_looks"])
    assert sys.modules["spare_that_looks"].value == "0"
