import argparse
from pathlib import Path

import pytest
from fact_check.claims import LABELS
from fact_check.models import find_model
from fact_check.prompts import make_prompt
from fact_check.settings import note_settings


def note(path, *, limit=None, claims=None, prompts=("few-shot",), labels=LABELS):
    arguments = argparse.Namespace(claims=claims, seed=0, limit=limit)
    made = [make_prompt(name, labels) for name in prompts]
    note_settings(path, arguments, [find_model("smollm2-135m")], made)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "settings.json"


def test_the_first_and_an_equal_run_are_told_nothing(path, capsys):
    note(path)
    note(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"limit": 60}, "limit: None -> 60"),
        ({"claims": Path("/c.jsonl")}, "claims: reference data -> /c.jsonl"),
        ({"prompts": ("few-shot", "free-text")}, "prompts: few-shot -> few-shot free-text"),
        ({"labels": LABELS[:2]}, "prompts: changed content of few-shot"),
    ],
)
def test_other_settings_are_told_once(path, capsys, changes, told):
    note(path)
    note(path, **changes)
    assert told in capsys.readouterr().out
    note(path, **changes)
    assert capsys.readouterr().out == ""


def test_a_note_that_nobody_can_read_is_replaced(path, capsys):
    path.write_text("{half", encoding="utf-8")
    note(path)
    note(path, limit=1)
    assert "limit: None -> 1" in capsys.readouterr().out
