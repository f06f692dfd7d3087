import json
import subprocess
import sys

import pytest
from fact_check.claims import InputError
from fact_check.results import Result, ResultsFile


def result(claim_id, **changes):
    fields = {
        "id": claim_id,
        "model": "m",
        "prompt": "p",
        "label": "SUPPORTS",
        "answer": "SUPPORTS",
        "text": "Yes\u2028",
        "error": None,
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "seconds": 0.5,
        "model_key": "mk",
        "prompt_key": "pk",
        "claim_key": "ck",
    }
    return Result(**(fields | changes))


@pytest.fixture
def path(tmp_path):
    with ResultsFile(tmp_path / "results.jsonl") as file:
        file.append([result("a"), result("b")])
        file.append([result("c", answer=None, error="too long")])
    return file.path


def test_results_are_found_again(path):
    with ResultsFile(path) as file:
        assert list(file.results.values()) == [
            result("a"),
            result("b"),
            result("c", answer=None, error="too long"),
        ]


def test_results_are_on_disk_before_the_file_is_closed(tmp_path):
    with ResultsFile(tmp_path / "results.jsonl") as file:
        file.append([result("a")])
        assert json.loads(file.path.read_text(encoding="utf-8"))["id"] == "a"


@pytest.mark.parametrize("num_bytes", [1, 2, 40, 200])
def test_half_a_last_line_is_cut_off_and_can_be_done_again(path, num_bytes):
    whole = path.read_bytes()
    path.write_bytes(whole[:-num_bytes])
    with ResultsFile(path) as file:
        assert [each.id for each in file.results.values()] == ["a", "b"]
        file.append([result("c", answer=None, error="too long")])
    assert path.read_bytes() == whole


@pytest.mark.parametrize("key", ["model_key", "prompt_key", "claim_key"])
def test_another_model_prompt_or_claim_is_not_done(path, key):
    with ResultsFile(path) as file:
        assert result("a").key in file.results
        assert result("a", **{key: "other"}).key not in file.results


@pytest.mark.parametrize("line", [b"{broken\n", b'{"id": "x"}\n', b"[]\n", b"\xff\n"])
def test_a_broken_line_in_the_middle_is_refused_with_its_place(path, line):
    first, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line + b"".join(others))
    with pytest.raises(InputError, match=r"results\.jsonl:2: .*Delete that line"):
        ResultsFile(path)


def test_a_second_run_may_not_write_at_the_same_time(path):
    program = (
        "import sys; from pathlib import Path; from fact_check.results import ResultsFile\n"
        f"ResultsFile(Path({str(path)!r}))"
    )
    command = [sys.executable, "-c", program]
    env = {"PYTHONPATH": ":".join(sys.path)}
    with ResultsFile(path):
        other = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert "another run is writing to it" in other.stderr
